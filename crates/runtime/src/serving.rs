//! HTTP/1.1 serving for what stands on the path of tenants' calls: the worker and the router.
//!
//! One thread per core, each with a runtime of its own, its own listeners (`SO_REUSEPORT`: the kernel spreads the connections) and its own
//! [`Service`]. Nothing is shared between cores on a request's path, so nothing there locks, and a service need not be `Send`.
//!
//! Around the service, per connection: limits on head size, number of headers, idle time and connections ([`HttpLimits`]); a guard that
//! turns a panic into a 500; refusals in the shape that callers' SDKs read, also for heads that cannot be parsed; a close that lets
//! a caller who is still sending read the answer; and a drain that finishes what is under way.
//!
//! Start reading at [`serve_per_core`], then `cores` (a core's life), `connection` (a connection's), `wire` (what comes) and `answer` (what goes).

mod answer;
mod body;
mod client;
mod connection;
mod cores;
mod error;
mod linger;
mod listen;
mod preface;
mod presented;
mod refusal;
mod registry;
mod stream;
mod wire;

#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::time::Duration;

use bailiwick_domain::address::ClientAddress;
use bailiwick_domain::usage::RequestId;
use http::Response;

use crate::drain::Watch;
use crate::identity::{Acceptor, Peer, PublicAcceptor};

pub use crate::http1::{FieldLines, Fields, HeaderSection, IncomingRequest};
pub use body::{Ahead, BoxError, ResponseBody, WriteAhead};
pub use client::{CLIENT_ADDRESS, ClientAddressFrom, TrustedHops, X_FORWARDED_FOR};
pub use cores::{Serving, ServingError, serve_per_core};
pub use error::{ApiError, ErrorKind, ErrorShape, REQUEST_ID_HEADERS};
pub use preface::{MalformedPreface, announced};
pub use presented::{API_KEY, NotPresented, presented_key};

/// A request's body. It is taken from the caller as it is asked for, but for what came with the head: 64 KiB at most. It fails when the caller leaves before its end, or sends what is no body.
pub type RequestBody = crate::http1::Body;

/// What answers requests on one core. It answers always: errors are responses, see [`ApiError`].
pub trait Service: 'static {
    /// Answers one request, which is lent: what of it the response needs has to be taken out, and what is left is let go of before the response is written. Dropped when the caller leaves before
    /// the response has begun; afterwards, the response's body is. A panic here is answered with a 500.
    ///
    /// `told` is empty, and goes into the answer's head with the response's own headers.
    fn call(
        &self,
        request: &mut IncomingRequest<RequestBody>,
        connection: &ConnectionInfo,
        told: &mut Fields,
    ) -> impl Future<Output = Response<ResponseBody>>;
}

/// What is known of the caller's connection before its first request.
#[derive(Debug, Clone)]
pub struct ConnectionInfo {
    /// The verified process at the other end; `None` on a listener without mutual TLS.
    pub peer: Option<Peer>,
    /// The address at the other end.
    pub remote: SocketAddr,
    /// For whom a trusted hop says that it speaks, see [`Listen::preface_from`].
    pub announced: Option<ClientAddress>,
}

/// A listener.
#[derive(Clone)]
pub struct Listen {
    /// Where. Port 0 lets the system choose, see [`Serving::addresses`].
    pub address: SocketAddr,
    /// How connections are secured.
    pub transport: Transport,
    /// Machines whose connections begin with a PROXY protocol preface of version 2, and are closed when they do not. Of others nothing is taken for a preface: one that they send is a
    /// malformed request, or no handshake.
    pub preface_from: Option<TrustedHops>,
}

/// How a listener's connections are secured.
#[derive(Clone, Debug)]
pub enum Transport {
    /// Not at all: for this machine alone, or behind what terminates TLS.
    Plain,
    /// TLS by which only this end is known: for callers from outside.
    Public(PublicAcceptor),
    /// Mutual TLS inside the region.
    Mutual(Acceptor),
}

/// What a service may want to know while it is made. It is made on its core's thread, inside that core's runtime, so it may start local tasks.
#[derive(Debug, Clone)]
pub struct CoreContext {
    /// Which core, from 0.
    pub index: usize,
    /// How many there are.
    pub cores: usize,
    /// Tells when to finish. Hold a clone only for as long as something is under way that the process should wait for.
    pub drain: Watch,
}

/// Bounds on what callers may ask of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HttpLimits {
    /// Bytes of a request's head. Above: 431.
    pub header_bytes: usize,
    /// Header fields of a request. Above: 431. More than 100 cost an allocation a request.
    pub headers: usize,
    /// From the first byte of a head (or the connection's beginning) to its last. Checked once a second.
    pub header_read_timeout: Duration,
    /// Between a response's end and the next request's first byte. Checked once a second.
    pub idle: Duration,
    /// How long a caller may take none of the bytes that wait for it. Checked once a second.
    pub write_stall: Duration,
    /// Connections per core. Above, the longest idle connection is closed, or, while all are busy, new ones wait.
    pub max_connections: usize,
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self {
            header_bytes: 64 * 1024,
            headers: 100,
            header_read_timeout: Duration::from_secs(10),
            idle: Duration::from_secs(75),
            write_stall: Duration::from_secs(60),
            max_connections: 16_384,
        }
    }
}

/// What a panic in a service is answered with; its message is not told, nor logged.
fn panicked() -> Response<ResponseBody> {
    ApiError::internal(
        "the gateway failed to answer this call; retry it, and report the request id if it fails again",
    )
    .into_response(RequestId::random())
}
