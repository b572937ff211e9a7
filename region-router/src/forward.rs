//! Passes an admitted request to a worker, and the answer back, as they come.

use std::{
    net::IpAddr,
    pin::{Pin, pin},
    task::{Context, Poll, ready},
    time::Instant,
};

use bailiwick_domain::{address::ClientAddress, usage::RequestId};
use bailiwick_runtime::calling::{Failed, OutgoingRequest};
use bailiwick_runtime::http1::{self, IncomingResponse, is_one_of};
use bailiwick_runtime::serving::{
    API_KEY, ApiError, BoxError, CLIENT_ADDRESS, Fields, IncomingRequest, REQUEST_ID_HEADERS, RequestBody,
    ResponseBody, X_FORWARDED_FOR,
};
use bailiwick_runtime::turn;
use bytes::Bytes;
use http::{
    HeaderName, HeaderValue, Response, Version,
    header::{AUTHORIZATION, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, FORWARDED, HOST},
    uri::PathAndQuery,
};
use http_body::{Body, Frame, SizeHint};

use crate::{
    admission::Admitted,
    balance::{Balance, InFlight},
    connection::Connection,
    error,
    metrics::CoreMetrics,
    pool::Pool,
};

/// Workers that are tried for one call. More would only add waiting: then the region has another problem.
const ATTEMPTS: usize = 3;
/// What says which call it is.
static REQUEST_IDS: [HeaderName; 2] = REQUEST_ID_HEADERS;
/// What a caller's `Connection` may not have removed: whose call it is, and what its body is.
static CALLS: [HeaderName; 4] = [AUTHORIZATION, API_KEY, HOST, CONTENT_TYPE];
/// What that of a worker may not: what its answer's body is.
static ANSWERS: [HeaderName; 1] = [CONTENT_TYPE];
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
        request: &mut IncomingRequest<RequestBody>,
        told: Told,
        answer: &mut Fields,
    ) -> Result<Response<ResponseBody>, ApiError> {
        turn::give_way().await;
        let mut request = outgoing(request, told);
        let mut tried = Vec::new();
        while tried.len() < ATTEMPTS {
            let Some(worker) = self.balance.choose(&tried, Instant::now) else { break };
            let sent = pin!(self.pool.send(&worker, &mut request)).await;
            match sent {
                Ok((response, connection)) => {
                    turn::give_way().await;
                    worker.succeeded();
                    return Ok(incoming(response, connection, worker, answer));
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

/// The answer for the caller.
fn incoming(
    mut response: IncomingResponse<http1::Body>,
    connection: Connection,
    worker: InFlight,
    answer: &mut Fields,
) -> Response<ResponseBody> {
    let (head, closes) = head_of(&mut response, answer);
    let kept = Kept { connection, worker, closes };
    let body = response.into_body();
    head.map(|()| ResponseBody::stream(Passed { body, kept: Some(kept) }))
}

/// What it begins with, and whether the worker closes the connection behind it. What says how its body comes, and what becomes of the connection, is not passed on as it came.
fn head_of(response: &mut IncomingResponse<http1::Body>, answer: &mut Fields) -> (Response<()>, bool) {
    let mut head = Response::new(());
    *head.status_mut() = response.status();
    let known = response.body().size_hint().exact();
    // Where there is no body, but would be one: the method was `HEAD`.
    if let Some(length) = response.headers().content_length().filter(|length| known != Some(*length)) {
        head.headers_mut().insert(CONTENT_LENGTH, length.into());
    }
    // A worker that closes has answered before it read the whole body: what is left of it ends here as well.
    let closes = response.headers().names(&CONNECTION, "close");
    if closes {
        head.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    let mut headers = std::mem::take(response.headers_mut());
    headers.retain_end_to_end(&ANSWERS);
    answer.pass_on(headers);
    (head, closes)
}

/// Makes a caller's request one to a worker: with nothing that is meant for this hop alone, and with what the worker must know. It believes that because it comes from a router's certificate;
/// whatever the caller wrote by these names is gone, and what it wrote about where it comes from, too.
fn outgoing<B: Default>(request: &mut IncomingRequest<B>, told: Told) -> OutgoingRequest<B> {
    let mut headers = std::mem::take(request.headers_mut());
    headers.retain_end_to_end(&CALLS);
    let ours = REQUEST_IDS.iter().chain(&ORIGINS);
    let is_ours = |name: &[u8]| ours.clone().any(|ours| is_one_of(name, &[ours.as_str()]));
    headers.retain(|name| !is_ours(name));
    let mut fields = Fields::default();
    let [request_id, _] = &REQUEST_IDS;
    fields.put(request_id, &told.request_id.to_ascii());
    fields.put(&CLIENT_ADDRESS, &written(told.client));
    if request.version() == Version::HTTP_10 && !headers.contains(&HOST) {
        // A worker asks for one. Which host a caller asked is nothing to it, and may be empty (RFC 9112, section 3.2).
        fields.put(&HOST, b"");
    }
    fields.pass_on(headers);
    // The worker is asked for the path alone, whatever form the caller's target had.
    let target = request.uri().path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    let (method, body) = (request.method().clone(), std::mem::take(request.body_mut()));
    OutgoingRequest { method, target, fields, body }
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
