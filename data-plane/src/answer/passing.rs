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
    price::TokenCounts,
    time::Clock,
    usage::{CallEnd, UsageSource},
};
use bailiwick_runtime::serving::{BoxError, ResponseBody};
use bytes::Bytes;
use http::{Response, header};
use http_body::{Body, Frame};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep, sleep};

use crate::{
    dialects::{
        openai::{self, Event},
        sse::{self, Events},
        tail::UsageFinder,
    },
    error,
    metering::{OpenCall, Outcome},
    metrics::{CoreMetrics, UpstreamFailure},
    upstream::{Answered, Lease},
};

/// A stream of events.
pub(super) fn stream(answered: Answered, clock: Arc<dyn Clock>, idle: Duration) -> Response<ResponseBody> {
    let reader =
        Reader::Events { events: Events::default(), withhold: answered.withhold_usage, seen: 0, done: false };
    pass(answered, Bytes::new(), reader, clock, idle)
}

/// An answer of which `begun` was read before it proved too large to hold.
pub(super) fn large(
    answered: Answered,
    begun: Bytes,
    clock: Arc<dyn Clock>,
    idle: Duration,
) -> Response<ResponseBody> {
    pass(answered, begun, Reader::Whole(UsageFinder::default()), clock, idle)
}

fn pass(
    answered: Answered,
    begun: Bytes,
    reader: Reader,
    clock: Arc<dyn Clock>,
    idle: Duration,
) -> Response<ResponseBody> {
    let Answered { response, lease, call, metrics, .. } = answered;
    let (mut head, body) = response.into_parts();
    if matches!(reader, Reader::Events { .. }) {
        // What is kept back would be missing from it.
        head.headers.remove(header::CONTENT_LENGTH);
    }
    let metering = Metering { call: Some(call), status: head.status.as_u16(), tokens: None, clock, metrics };
    let mut passing = Passing {
        body,
        lease: Some(lease),
        reader,
        ready: VecDeque::new(),
        metering,
        idle,
        deadline: Box::pin(sleep(idle)),
        end: None,
    };
    if !begun.is_empty() {
        passing.take(begun);
    }
    Response::from_parts(head, ResponseBody::stream(passing))
}

/// How usage is read.
enum Reader {
    Events {
        events: Events,
        /// The event that carries nothing but usage is kept from the caller, who did not ask for it.
        withhold: bool,
        /// Pieces of the answer so far.
        seen: u64,
        /// The last event has passed.
        done: bool,
    },
    Whole(UsageFinder),
}

struct Passing {
    body: Incoming,
    lease: Option<Lease>,
    reader: Reader,
    /// Pieces that may go on.
    ready: VecDeque<Bytes>,
    metering: Metering,
    idle: Duration,
    deadline: Pin<Box<Sleep>>,
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
    status: u16,
    tokens: Option<TokenCounts>,
    clock: Arc<dyn Clock>,
    metrics: CoreMetrics,
}

impl Metering {
    /// Recorded once; what comes later changes nothing.
    fn settle(&mut self, end: CallEnd, passed: u64) {
        let Some(call) = self.call.take() else { return };
        let (source, tokens) = match self.tokens {
            Some(tokens) => (UsageSource::ProviderFinal, tokens),
            None if passed > 0 => (UsageSource::Partial, partial(passed)),
            None => (UsageSource::Estimated, TokenCounts::default()),
        };
        call.settle(Outcome { status: self.status, end, source, tokens }, self.clock.now());
    }
}

/// Each piece of a stream holds a token or more: a lower bound.
fn partial(passed: u64) -> TokenCounts {
    TokenCounts { completion: passed, ..TokenCounts::default() }
}

impl Passing {
    /// Looks at a piece and makes ready what may go on.
    fn take(&mut self, piece: Bytes) {
        match &mut self.reader {
            Reader::Whole(finder) => {
                finder.push(&piece);
                self.ready.push_back(piece);
            }
            Reader::Events { events, withhold, seen, done } => {
                events.push(&piece);
                while let Some(raw) = events.next() {
                    let event = if raw.whole { openai::event(&sse::data(&raw.bytes)) } else { Event::Other };
                    match event {
                        Event::Content => {
                            *seen += 1;
                            if let Some(call) = &mut self.metering.call {
                                call.progress(partial(*seen));
                            }
                        }
                        Event::Usage(tokens, alone) => {
                            self.metering.tokens = Some(tokens);
                            if let Some(call) = &mut self.metering.call {
                                call.progress(tokens);
                            }
                            if alone && *withhold {
                                continue;
                            }
                        }
                        Event::Done => {
                            *done = true;
                            // Before the caller can know that it is the end (R10).
                            self.metering.settle(CallEnd::Completed, *seen);
                        }
                        Event::Other => {}
                    }
                    if *withhold {
                        self.ready.push_back(raw.bytes);
                    }
                }
                // Nothing is to be kept back: the bytes go on as they came.
                if !*withhold {
                    self.ready.push_back(piece);
                }
            }
        }
    }

    /// The provider has said everything.
    fn ended(&mut self) {
        let passed = match &mut self.reader {
            Reader::Whole(finder) => {
                self.metering.tokens = finder.found().and_then(openai::usage_in);
                0
            }
            Reader::Events { events, withhold, seen, .. } => {
                let rest = events.rest();
                if *withhold && !rest.is_empty() {
                    self.ready.push_back(rest);
                }
                *seen
            }
        };
        self.metering.settle(CallEnd::Completed, passed);
        if let Some(lease) = self.lease.take() {
            lease.keep();
        }
        self.end = Some(End::Whole);
    }

    /// The provider broke off. Behind its last event nothing was to come, so nobody is told.
    fn broken(&mut self, end: CallEnd) {
        self.lease = None;
        let (seen, done) = match &self.reader {
            Reader::Events { seen, done, .. } => (*seen, *done),
            Reader::Whole(_) => (0, false),
        };
        if done {
            self.end = Some(End::Whole);
            return;
        }
        self.metering.metrics.upstream_failed(match end {
            CallEnd::TimedOut => UpstreamFailure::TimedOut,
            _ => UpstreamFailure::InvalidResponse,
        });
        self.metering.settle(end, seen);
        if matches!(self.reader, Reader::Events { .. }) {
            self.ready.push_back(error_event(end));
        }
        self.end = Some(End::Cut);
    }

    fn poll_provider(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                let next = Instant::now() + self.idle;
                self.deadline.as_mut().reset(next);
                // Trailers are meant for one hop.
                if let Ok(piece) = frame.into_data() {
                    self.take(piece);
                }
                Poll::Ready(())
            }
            Poll::Ready(None) => {
                self.ended();
                Poll::Ready(())
            }
            Poll::Ready(Some(Err(_broken))) => {
                self.broken(CallEnd::ProviderFailed);
                Poll::Ready(())
            }
            Poll::Pending => {
                ready!(self.deadline.as_mut().poll(cx));
                self.broken(CallEnd::TimedOut);
                Poll::Ready(())
            }
        }
    }
}

/// An error in the middle of a stream, as OpenAI sends it; SDKs raise it.
fn error_event(end: CallEnd) -> Bytes {
    let error = if end == CallEnd::TimedOut { error::provider_timeout() } else { error::provider_invalid() };
    let value = serde_json::json!({"error": {
        "message": error.message, "type": error.kind, "param": null, "code": error.code,
    }});
    Bytes::from(format!("data: {value}\n\n"))
}

impl Body for Passing {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        loop {
            if let Some(piece) = self.ready.pop_front() {
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
            match self.end {
                Some(End::Whole) => return Poll::Ready(None),
                // The body ends with an error, so that nobody takes a part for the whole.
                Some(End::Cut) => return Poll::Ready(Some(Err("the provider broke off".into()))),
                None => ready!(self.poll_provider(cx)),
            }
        }
    }
}
