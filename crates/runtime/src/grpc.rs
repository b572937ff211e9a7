//! gRPC between processes of one region: tonic over our own mutual TLS.
//!
//! Clients take a [`channel`], servers serve the stream of [`incoming()`] connections. A handler finds who is at the other end in
//! `request.extensions()`: on listeners for certificates a verified [`Peer`](crate::identity::Peer).

mod incoming;

#[cfg(test)]
mod tests;

use std::io;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tonic::transport::{Channel, Endpoint, Uri};
use tower::service_fn;

use crate::identity::{ClientStream, Dial};

pub use incoming::{GrpcConnection, Handshake, incoming};

/// How often a connection is asked whether it lives, and how long it may take to answer: a peer that vanished without a word is
/// noticed within twice this.
pub const KEEPALIVE: Duration = Duration::from_secs(5);

/// The ALPN name of HTTP/2, the only protocol that gRPC listeners speak.
const HTTP2: &[u8] = b"h2";

/// Keeps a configuration stream of large messages moving on a link with some latency; the default of 64 KiB would not.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 4 << 20;

/// A channel to `address` (`host:port`), dialled by `dialer` at first use and again whenever it broke. Each call fails at once
/// with `UNAVAILABLE` while nobody answers; back-off is the caller's.
///
/// # Errors
/// `address` is not `host:port`.
pub fn channel(address: &str, dialer: &impl Dial) -> Result<Channel, AddressError> {
    let refused = || AddressError { address: address.to_owned() };
    let (host, port) = address.rsplit_once(':').ok_or_else(refused)?;
    if host.is_empty() || port.parse::<u16>().is_err() {
        return Err(refused());
    }
    // TLS is the dialer's: tonic sees a stream that is secure already.
    let uri = Uri::builder()
        .scheme("http")
        .authority(address)
        .path_and_query("/")
        .build()
        .map_err(|_malformed| refused())?;
    let endpoint = Endpoint::from(uri)
        .http2_keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES);

    let dialer = dialer.speaking(HTTP2);
    let address = address.to_owned();
    Ok(endpoint.connect_with_connector_lazy(service_fn(move |_uri: Uri| {
        let (dialer, address) = (dialer.clone(), address.clone());
        async move { dial(&dialer, &address).await.map(TokioIo::new) }
    })))
}

/// The first address of a name at which someone answers whom the dialer expects.
async fn dial(dialer: &impl Dial, address: &str) -> io::Result<ClientStream> {
    let mut failure = io::Error::new(io::ErrorKind::NotFound, format!("{address} resolves to no address"));
    for candidate in tokio::net::lookup_host(address).await? {
        match dialer.connect(candidate).await {
            Ok(stream) => return Ok(stream),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

/// An address that cannot be dialled.
#[derive(Debug, thiserror::Error)]
#[error("{address:?} is not an address to dial, expected host:port")]
pub struct AddressError {
    address: String,
}
