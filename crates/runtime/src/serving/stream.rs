//! A connection's stream.

use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;

/// Plain or TLS.
pub(super) type Stream = Either<TcpStream, Box<TlsStream<TcpStream>>>;

/// Closed, it is reset: what came last is not taken for the end.
pub(super) fn breaks(stream: &Stream) {
    let stream = match stream {
        Either::Left(stream) => stream,
        Either::Right(stream) => stream.get_ref().0,
    };
    // A connection that is over already cannot be told.
    let _set = stream.set_zero_linger();
}
