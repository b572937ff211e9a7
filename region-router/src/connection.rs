//! A connection to a worker: HTTP/1.1 over mutual TLS, one call at a time, driven by the call itself.

use std::rc::Rc;

use bailiwick_domain::time::Timestamp;
use bailiwick_runtime::{
    calling::{self, Failed},
    http1::Body,
    identity::ClientStream,
    serving::RequestBody,
};
use http::{Request, Response};
use tokio_util::task::AbortOnDropHandle;

pub(crate) type Line = calling::Line<ClientStream, RequestBody>;
pub(crate) type Lines = calling::Lines<ClientStream, RequestBody>;

/// A connection to a worker. Dropped, it is closed.
pub(crate) struct Connection {
    pub(crate) line: Rc<Line>,
    /// Fingerprint of the certificate that this router presented on it.
    pub(crate) presented: [u8; 32],
    /// When the worker's certificate expires.
    pub(crate) good_until: Timestamp,
    /// Hangs up when the worker is revoked.
    pub(crate) _watching: AbortOnDropHandle<()>,
}

/// What came of a call.
pub(crate) enum Sent {
    /// The worker's answer, and the connection that it came on.
    Answered(Response<Body>, Connection),
    /// Nothing reached the worker: the request is whole, and may go elsewhere.
    Unsent(Request<RequestBody>),
    /// The connection broke when the request was on its way.
    Lost,
    /// The request broke, and the connection with it: its caller's doing.
    Broken,
    /// The worker did not begin to answer in time.
    Late,
}

impl Connection {
    /// Sends a request, and waits for the head of its answer.
    pub(crate) async fn call(self, mut request: Request<RequestBody>) -> Sent {
        match self.line.call(&mut request).await {
            Ok(response) => Sent::Answered(response, self),
            Err(Failed::Unsent) => Sent::Unsent(request),
            Err(Failed::Broken) => Sent::Broken,
            Err(Failed::Late) => Sent::Late,
            Err(Failed::Lost(why)) => {
                tracing::warn!(%why, "a worker's connection broke before its answer");
                Sent::Lost
            }
        }
    }
}

/// Whatever still holds the line, with an answer above all, has a closed one.
impl Drop for Connection {
    fn drop(&mut self) {
        self.line.hang_up();
    }
}
