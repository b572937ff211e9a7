//! A connection to a worker: HTTP/1.1 over mutual TLS, one call at a time, driven by the call itself.

use std::rc::Rc;

use bailiwick_domain::time::Timestamp;
use bailiwick_runtime::{
    calling::{self, Failed, OutgoingRequest},
    http1::{Body, IncomingResponse},
    identity::ClientStream,
    serving::RequestBody,
};
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

/// A worker's answer, and the connection that it came on.
pub(crate) type Answered = (IncomingResponse<Body>, Connection);

impl Connection {
    /// Sends a request, and waits for the head of its answer.
    ///
    /// # Errors
    /// There is none. Of [`Failed::Unsent`] alone, nothing reached the worker: the request is whole, and may go elsewhere.
    pub(crate) async fn call(self, request: &mut OutgoingRequest<RequestBody>) -> Result<Answered, Failed> {
        let answered = self.line.call(request).await;
        if let Err(Failed::Lost(why)) = answered {
            tracing::warn!(%why, "a worker's connection broke before its answer");
        }
        Ok((answered?, self))
    }
}

/// Whatever still holds the line, with an answer above all, has a closed one.
impl Drop for Connection {
    fn drop(&mut self) {
        self.line.hang_up();
    }
}
