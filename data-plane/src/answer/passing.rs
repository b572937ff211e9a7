//! Bodies that pass through while they come: streams of events, and answers too large to hold.
//!
//! The call is recorded before the piece that ends the answer goes on. When the caller leaves, the body is dropped: the connection to the provider closes with
//! its lease, and the call settles with what had passed.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bailiwick_domain::{
    time::Clock,
    usage::{CallEnd, CallType, UsageSource},
};
use bailiwick_runtime::{
    fault,
    serving::{BoxError, ResponseBody},
};
use bytes::{Bytes, BytesMut};
use http::{Response, StatusCode, header};
use http_body::{Body, Frame};
use tokio::time::{Instant, Sleep, sleep};

use super::{reading::Reader, with_status};
use crate::{
    error,
    memory::Hold,
    metering::{OpenCall, Outcome, Used},
    metrics::{CoreMetrics, UpstreamFailure},
    placement::Ill,
    upstream::{Answer, AnswerBody, Answered, Lease},
};

/// Pieces that have come are joined up to this many bytes; larger ones go on uncopied.
const JOINED_BYTES: usize = 16 << 10;
/// And up to this many pieces.
const JOINED_PIECES: usize = 64;
/// Turns that others have before it counts that nothing more has come on a stream of HTTP/2: its connection takes one to hear that there is room, and one to fill it.
const TURNS: u8 = 2;

/// A stream of events.
pub(super) fn stream(
    answered: Answered<'_>,
    withhold_usage: bool,
    held: Hold,
    clock: &Arc<dyn Clock>,
    idle: Duration,
) -> Response<ResponseBody> {
    // It is told no length: what is kept back would be missing from it.
    let reader = Reader::of_events(answered.call_type, withhold_usage, held);
    pass(answered, reader, clock, idle)
}

/// An answer that proved too large to hold, of so many bytes, where that is known.
pub(super) fn large(
    answered: Answered<'_>,
    length: Option<u64>,
    clock: &Arc<dyn Clock>,
    idle: Duration,
) -> Response<ResponseBody> {
    let reader = Reader::of_object(answered.call_type);
    let mut response = pass(answered, reader, clock, idle);
    if let Some(length) = length {
        response.headers_mut().insert(header::CONTENT_LENGTH, length.into());
    }
    response
}

/// A stream that is translated, behind a head of our own.
pub(super) fn translated(
    answered: Answered<'_>,
    head: Response<()>,
    reader: Reader,
    clock: &Arc<dyn Clock>,
    idle: Duration,
) -> Response<ResponseBody> {
    let body = pass(answered, reader, clock, idle).into_body();
    head.map(|()| body)
}

fn pass(
    answered: Answered<'_>,
    reader: Reader,
    clock: &Arc<dyn Clock>,
    idle: Duration,
) -> Response<ResponseBody> {
    let Answered { answer, mut call, call_type, metrics, delimited, .. } = answered;
    let Answer { response, begun, lease, .. } = *answer;
    call.waits_long();
    let status = response.status();
    let body = response.into_body();
    let metering = Metering { call: Some(call), status, clock: Arc::clone(clock), metrics: metrics.clone() };
    let deadline = Box::pin(sleep(idle));
    let mut passing = Passing {
        body,
        call_type,
        delimited,
        lease: Some(lease),
        reader,
        ready: VecDeque::new(),
        metering,
        idle,
        deadline,
        is_waiting: false,
        gave_way: 0,
        end: None,
    };
    if !begun.is_empty() {
        passing.take(begun);
    }
    with_status(status, ResponseBody::stream(passing))
}

struct Passing {
    body: AnswerBody,
    call_type: CallType,
    /// Whether the answer says itself where it ends.
    delimited: bool,
    lease: Option<Lease>,
    reader: Reader,
    /// Pieces that may go on.
    ready: VecDeque<Bytes>,
    metering: Metering,
    idle: Duration,
    deadline: Pin<Box<Sleep>>,
    /// Whether the provider is waited for, and `deadline` runs.
    is_waiting: bool,
    /// Turns that others had since the last piece came.
    gave_way: u8,
    end: Option<End>,
}

/// How the body ends once everything that is ready has gone on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Whole,
    Cut,
}

/// The call while its answer passes.
struct Metering {
    call: Option<OpenCall>,
    status: StatusCode,
    clock: Arc<dyn Clock>,
    metrics: CoreMetrics,
}

impl Metering {
    /// Recorded once; what comes later changes nothing.
    fn settle(&mut self, end: CallEnd, reader: &Reader) {
        let Some(call) = self.call.take() else { return };
        let used = match self.status.is_success() {
            true => reader.used(call.call_type(), call.prompt(), end),
            false => Used::nothing(UsageSource::Estimated),
        };
        call.settle(Outcome { status: self.status.as_u16(), end, used }, self.clock.now()).at_once();
    }
}

impl Passing {
    fn take(&mut self, piece: Bytes) {
        fault::step("stream", &piece);
        self.reader.take(piece, &mut self.ready);
        if self.reader.is_done() {
            // Before the caller can know that it is the end (R10).
            self.metering.settle(CallEnd::Completed, &self.reader);
        } else if self.reader.is_failed() {
            self.broken(CallEnd::ProviderFailed);
            return;
        }
        // Whoever knows the length does not ask again after the last byte, and then the end would never be seen.
        if self.body.is_end_stream() {
            self.ended();
        }
    }

    /// The provider has said everything; or its connection has ended, which may be a cut.
    fn ended(&mut self) {
        let is_told = self.delimited || self.body.is_end_stream();
        if !is_told && self.metering.status.is_success() && !self.reader.is_closed() {
            self.broken(CallEnd::ProviderFailed);
            return;
        }
        self.reader.finish(&mut self.ready);
        if self.reader.is_failed() {
            self.broken(CallEnd::ProviderFailed);
            return;
        }
        self.metering.settle(CallEnd::Completed, &self.reader);
        if let Some(lease) = self.lease.take() {
            lease.keep();
        }
        self.end = Some(End::Whole);
    }

    /// The provider broke off. Behind its last event nothing was to come, so nobody is told.
    fn broken(&mut self, end: CallEnd) {
        let lease = self.lease.take();
        if self.reader.is_done() {
            self.end = Some(End::Whole);
            return;
        }
        if let Some(mut lease) = lease {
            let ill = if end == CallEnd::TimedOut { Ill::Late } else { Ill::Broken };
            lease.failed(ill, std::time::Instant::now());
        }
        self.metering.metrics.upstream_failed(match end {
            CallEnd::TimedOut => UpstreamFailure::TimedOut,
            _ => UpstreamFailure::InvalidResponse,
        });
        self.metering.settle(end, &self.reader);
        self.reader.tell(end, &mut self.ready);
        let separator = self.reader.separator();
        self.ready.extend(separator.map(|separator| error_event(self.call_type, separator, end)));
        self.end = Some(End::Cut);
    }

    /// Takes what the provider has sent by now: it goes on together, because a write to the caller's connection costs more than all that is done with a piece here.
    ///
    /// A connection that serves others too hands over one piece at a time, so it has a turn before it counts that nothing more has come.
    fn poll_pieces(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.end.is_none() && self.has_room() {
            if self.poll_provider(cx).is_ready() {
                self.gave_way = 0;
            } else if self.ready.is_empty() {
                return Poll::Pending;
            } else if self.gave_way >= TURNS || matches!(self.body, AnswerBody::Left(_)) {
                break;
            } else {
                self.gave_way += 1;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
        self.gave_way = 0;
        Poll::Ready(())
    }

    fn has_room(&self) -> bool {
        self.ready.len() < JOINED_PIECES && self.ready.iter().map(Bytes::len).sum::<usize>() < JOINED_BYTES
    }

    /// All that may go on.
    fn joined(&mut self) -> Option<Bytes> {
        let first = self.ready.pop_front()?;
        if self.ready.is_empty() {
            return Some(first);
        }
        let length = first.len() + self.ready.iter().map(Bytes::len).sum::<usize>();
        let mut joined = BytesMut::with_capacity(length);
        std::iter::once(first).chain(self.ready.drain(..)).for_each(|piece| joined.extend_from_slice(&piece));
        Some(joined.freeze())
    }

    fn poll_provider(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) else {
            // Counted from when it is waited for: a caller who takes long is not the provider's fault.
            if !self.is_waiting {
                self.is_waiting = true;
                let deadline = Instant::now() + self.idle;
                self.deadline.as_mut().reset(deadline);
            }
            ready!(self.deadline.as_mut().poll(cx));
            self.broken(CallEnd::TimedOut);
            return Poll::Ready(());
        };
        self.is_waiting = false;
        match frame.map(|frame| frame.map(Frame::into_data)) {
            Some(Ok(Ok(piece))) => self.take(piece),
            // Trailers are meant for one hop.
            Some(Ok(Err(_trailers))) => {}
            Some(Err(_broken)) => self.broken(CallEnd::ProviderFailed),
            None => self.ended(),
        }
        Poll::Ready(())
    }
}

/// An error in the middle of a stream, as the caller's SDK raises it.
fn error_event(call_type: CallType, separator: &str, end: CallEnd) -> Bytes {
    let error = if end == CallEnd::TimedOut { error::provider_timeout() } else { error::provider_invalid() };
    let (message, code) = (&error.message, error.code);
    match call_type {
        CallType::Message => {
            let start: &[u8] = b"event: error\ndata: ";
            [separator.as_bytes(), start, &error.anthropic_body(None), b"\n\n"].concat().into()
        }
        CallType::Response => {
            let value = serde_json::json!({"type": "error", "code": code, "message": message, "param": null});
            format!("{separator}event: error\ndata: {value}\n\n").into()
        }
        _ => {
            let value = serde_json::json!({"error": {
                "message": message, "type": error.kind, "param": null, "code": code,
            }});
            format!("{separator}data: {value}\n\n").into()
        }
    }
}

impl Drop for Passing {
    /// The caller left first.
    fn drop(&mut self) {
        self.metering.settle(CallEnd::CallerLeft, &self.reader);
    }
}

impl Body for Passing {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        ready!(self.poll_pieces(cx));
        if let Some(pieces) = self.joined() {
            return Poll::Ready(Some(Ok(Frame::data(pieces))));
        }
        match self.end {
            // The body ends with an error, so that nobody takes a part for the whole.
            Some(End::Cut) => Poll::Ready(Some(Err("the provider broke off".into()))),
            Some(End::Whole) | None => Poll::Ready(None),
        }
    }
}
