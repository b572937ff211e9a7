//! A connection's stream.

use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;

use crate::socket::Socket;

/// Plain or TLS.
pub(super) type Stream = Either<Socket, Box<TlsStream<Socket>>>;

/// Closed, it is reset: what came last is not taken for the end.
pub(super) fn breaks(stream: &Stream) {
    let socket = match stream {
        Either::Left(socket) => socket,
        Either::Right(stream) => stream.get_ref().0,
    };
    // A connection that is over already cannot be told.
    let _set = socket.tcp().set_zero_linger();
}
