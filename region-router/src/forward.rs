//! Passes an admitted request to a worker, and the answer back, as they come.

use std::{
    net::IpAddr,
    pin::{Pin, pin},
    task::{Context, Poll, ready},
    time::Instant,
};

use bailiwick_domain::{address::ClientAddress, usage::RequestId};
use bailiwick_runtime::calling::Failed;
use bailiwick_runtime::http1::{self, Passing, names};
use bailiwick_runtime::serving::{
    ApiError, BoxError, CLIENT_ADDRESS, Fields, REQUEST_ID_HEADERS, RequestBody, ResponseBody,
    X_FORWARDED_FOR,
};
use bailiwick_runtime::turn;
use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Request, Response, Uri,
    header::{CONNECTION, FORWARDED, HOST},
};
use http_body::{Body, Frame, SizeHint};

use crate::{
    admission::Admitted,
    balance::{Balance, InFlight},
    connection::Connection,
    error,
    headers::strip,
    metrics::CoreMetrics,
    pool::Pool,
};

/// Workers that are tried for one call. More would only add waiting: then the region has another problem.
const ATTEMPTS: usize = 3;
/// What says which call it is.
static REQUEST_IDS: [HeaderName; 2] = REQUEST_ID_HEADERS;
/// What says where a call comes from. Nobody here reads the last; somebody behind might.
static ORIGINS: [HeaderName; 4] =
    [CLIENT_ADDRESS, FORWARDED, X_FORWARDED_FOR, HeaderName::from_static("x-real-ip")];

/// One core's way to the workers.
pub(crate) struct Forward {
    pub(crate) balance: Balance,
    pub(crate) pool: Pool,
    pub(crate) metrics: CoreMetrics,
}

/// What a worker is told of a call beside what the caller wrote.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Told {
    pub(crate) request_id: RequestId,
    /// Where it comes from.
    pub(crate) client: ClientAddress,
}

impl Forward {
    /// Sends the call to a worker; to another one if nothing of it has reached the first.
    pub(crate) async fn call(
        &self,
        _admitted: Admitted,
        request: &mut Request<RequestBody>,
        told: Told,
        answer: &mut Fields,
    ) -> Result<Response<ResponseBody>, ApiError> {
        turn::give_way().await;
        prepare(request, told)?;
        let mut passing = Passing::to(answer);
        let mut tried = Vec::new();
        while tried.len() < ATTEMPTS {
            let Some(worker) = self.balance.choose(&tried, Instant::now) else { break };
            let sent = pin!(self.pool.send(&worker, request, &mut passing)).await;
            match sent {
                Ok((response, connection)) => {
                    turn::give_way().await;
                    worker.succeeded();
                    return Ok(incoming(response, connection, worker));
                }
                Err(Failed::Unsent) => {
                    worker.failed(Instant::now());
                    self.metrics.worker_failed();
                    tried.push(worker.address());
                }
                Err(Failed::Lost(_)) => {
                    worker.failed(Instant::now());
                    self.metrics.worker_failed();
                    return Err(error::worker_lost());
                }
                // A worker is not to blame for it.
                Err(Failed::Broken) => return Err(error::body_incomplete()),
                Err(Failed::Late) => return Err(error::worker_timeout()),
            }
        }
        Err(error::no_worker())
    }
}

fn incoming(
    response: Response<http1::Body>,
    connection: Connection,
    worker: InFlight,
) -> Response<ResponseBody> {
    let (head, body) = response.into_parts();
    // A worker that closes has answered before it read the whole body: what is left of it ends here as well.
    let closes = names(&head.headers, CONNECTION, "close");
    let kept = Kept { connection, worker, closes };
    Response::from_parts(head, ResponseBody::stream(Passed { body, kept: Some(kept) }))
}

/// Makes a caller's request one to a worker.
fn prepare<B>(request: &mut Request<B>, told: Told) -> Result<(), ApiError> {
    tell(request.headers_mut(), told)?;
    // The worker is asked for the path alone, whatever form the caller's target had.
    if request.uri().authority().is_some() {
        *request.uri_mut() = request.uri().path_and_query().cloned().map(Uri::from).unwrap_or_default();
    }
    if request.version() == http::Version::HTTP_10 && !request.headers().contains_key(HOST) {
        // A worker asks for one. Which host a caller asked is nothing to it, and may be empty (RFC 9112, section 3.2).
        request.headers_mut().insert(HOST, HeaderValue::from_static(""));
    }
    *request.version_mut() = http::Version::HTTP_11;
    Ok(())
}

/// Leaves nothing that is meant for this hop alone, and tells the worker what it must know. It believes these headers because they come from a router's certificate; whatever the caller wrote into them is gone, and what it wrote about where it
/// comes from, too.
fn tell(headers: &mut HeaderMap, told: Told) -> Result<(), ApiError> {
    let is_ours = |name: &str| REQUEST_IDS.iter().chain(&ORIGINS).any(|ours| ours.as_str() == name);
    strip(headers, is_ours);
    let id = HeaderValue::from_bytes(&told.request_id.to_ascii());
    let [name, _] = &REQUEST_IDS;
    headers.insert(name, id.map_err(|_| ApiError::internal("no request id"))?);
    let client = HeaderValue::from_maybe_shared(Bytes::from(written(told.client)));
    headers.insert(CLIENT_ADDRESS, client.map_err(|_| ApiError::internal("no client address"))?);
    Ok(())
}

/// An address as text. Each call tells one, so the short ones are not written by what writes anything.
fn written(address: ClientAddress) -> Vec<u8> {
    let IpAddr::V4(address) = address.ip() else { return address.to_string().into_bytes() };
    let mut text = Vec::with_capacity("255.255.255.255".len());
    for octet in address.octets() {
        if !text.is_empty() {
            text.push(b'.');
        }
        text.extend_from_slice(itoa::Buffer::new().format(octet).as_bytes());
    }
    text
}

/// What goes back into its place when the answer was read to its end. Dropped before, the connection is closed with it, and the worker hears that the
/// caller has left.
struct Kept {
    connection: Connection,
    worker: InFlight,
    /// The worker closes the connection behind this answer.
    closes: bool,
}

/// The worker's answer, passed on.
struct Passed {
    body: http1::Body,
    kept: Option<Kept>,
}

impl Passed {
    fn finish(&mut self) {
        if let Some(Kept { connection, worker, closes: false }) = self.kept.take() {
            worker.idle().keep(connection);
        }
    }
}

impl Body for Passed {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Self { body, kept } = &mut *self;
        if kept.is_none() {
            return Poll::Ready(None);
        }
        let frame = ready!(Pin::new(body).poll_frame(cx)).map(|frame| frame.map_err(BoxError::from));
        // Whoever knows the length does not ask again after the last byte.
        if frame.is_none() || self.body.is_end_stream() {
            self.finish();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Passed {
    fn drop(&mut self) {
        // An empty answer is never polled.
        if self.body.is_end_stream() {
            self.finish();
        }
    }
}

#[cfg(test)]
mod tests;
