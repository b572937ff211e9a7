//! A connection to a worker: HTTP/1.1 over mutual TLS, one call at a time, driven by the call itself.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll},
};

use bailiwick_domain::time::Timestamp;
use bailiwick_runtime::{
    identity::ClientStream,
    serving::{BoxError, RequestBody},
};
use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body as _, Frame};
use hyper::{
    body::Incoming,
    client::conn::http1::{self, SendRequest},
};
use hyper_util::rt::TokioIo;
use tokio::task::coop;
use tokio_util::task::AbortOnDropHandle;

use crate::relay::Relay;

type Http = http1::Connection<TokioIo<ClientStream>, RequestBody>;

/// A connection to a worker. Dropped, it is closed.
pub(crate) struct Connection {
    pub(crate) requests: SendRequest<RequestBody>,
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
    Answered(Response<Incoming>, Connection),
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
    /// Sends a request, and waits for the head of its answer until [`Line::sweep`] finds that this takes too long.
    pub(crate) async fn call(mut self, request: Request<RequestBody>, now: u32) -> Sent {
        self.line.phase.set(Phase::Awaiting { since: now });
        // What is there is seen also when this task's turn is used up: no answer on a line that is over means that none comes.
        let mut answer = pin!(coop::unconstrained(self.requests.try_send_request(request)));
        let line = &self.line;
        let answered = poll_fn(|cx| {
            line.relay.drive(cx, |cx| {
                let is_over = line.poll(cx).is_ready();
                match answer.as_mut().poll(cx) {
                    Poll::Ready(answered) => Poll::Ready(Some(answered)),
                    Poll::Pending if is_over => Poll::Ready(None),
                    Poll::Pending => Poll::Pending,
                }
            })
        });
        match answered.await {
            Some(Ok(response)) => {
                self.line.phase.set(Phase::Answering);
                Sent::Answered(response, self)
            }
            Some(Err(mut error)) => match error.take_message() {
                Some(request) => Sent::Unsent(request),
                None if self.line.phase.get() == Phase::Late => Sent::Late,
                None if self.line.phase.get() == Phase::HungUp => Sent::Lost,
                None if error.error().is_user() => Sent::Broken,
                None => {
                    tracing::warn!(error = %error.error(), "a worker's connection broke before its answer");
                    Sent::Lost
                }
            },
            None => {
                tracing::warn!("a worker's connection ended before its answer");
                Sent::Lost
            }
        }
    }

    /// The next piece of the answer that [`Connection::call`] brought.
    pub(crate) fn poll_answer(
        &self,
        body: &mut Incoming,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let relay = &self.line.relay;
        let mut next = |cx: &mut Context<'_>| {
            Pin::new(&mut *body).poll_frame(cx).map(|frame| frame.map(|frame| frame.map_err(Into::into)))
        };
        // Most often it has come with the head.
        if let Poll::Ready(frame) = relay.poll_once(&mut next) {
            return Poll::Ready(frame);
        }
        relay.drive(cx, |cx| {
            let is_over = self.line.poll(cx).is_ready();
            match next(cx) {
                Poll::Pending if is_over => Poll::Ready(Some(Err("the worker's connection is over".into()))),
                polled => polled,
            }
        })
    }

    /// Whether it can take another request; nothing of the last one is left then, and nobody drives it until it does.
    pub(crate) fn rests(&self) -> bool {
        if !self.requests.is_ready() {
            // The end of the last answer may still be to be read.
            let _ready_now_or_never = self.line.poll_here();
        }
        self.line.phase.set(Phase::Idle { sweeps: 0 });
        self.line.relay.rest();
        self.requests.is_ready()
    }
}

/// The wire of a connection, and what is waited for on it.
pub(crate) struct Line {
    /// `None`: it is over.
    http: RefCell<Option<Box<Http>>>,
    relay: Relay,
    phase: Cell<Phase>,
}

/// What a line is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Nothing, for so many sweeps.
    Idle { sweeps: u32 },
    /// A call waits for the head of its answer, since this sweep.
    Awaiting { since: u32 },
    /// A call is read the rest of its answer.
    Answering,
    /// It was hung up because its call waited for too long.
    Late,
    /// It was hung up for another reason.
    HungUp,
}

impl Line {
    pub(crate) fn new(http: Http) -> Rc<Self> {
        Rc::new(Self {
            http: RefCell::new(Some(Box::new(http))),
            relay: Relay::new(),
            phase: Cell::new(Phase::Idle { sweeps: 0 }),
        })
    }

    /// Reads and writes what can be. Ready: it is over, and who has asked something on it has been told.
    fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut http = self.http.borrow_mut();
        if let Some(open) = http.as_mut() {
            if Pin::new(open).poll(cx).is_pending() {
                return Poll::Pending;
            }
            *http = None;
        }
        Poll::Ready(())
    }

    fn poll_here(&self) -> Poll<()> {
        let _noted = self.relay.take_woken();
        self.relay.poll_once(|cx| self.poll(cx))
    }

    pub(crate) fn is_over(&self) -> bool {
        self.http.borrow().is_none()
    }

    /// Closes it; a call on it hears so.
    pub(crate) fn hang_up(&self) {
        if self.phase.get() != Phase::Late {
            self.phase.set(Phase::HungUp);
        }
        drop(self.http.borrow_mut().take());
        self.relay.wake();
    }

    /// Hangs up when a call has waited, or nobody has used it, for longer than so many sweeps; and lets go of what the worker has closed meanwhile.
    pub(crate) fn sweep(&self, now: u32, longest_wait: u32, longest_idle: u32) {
        let phase = self.phase.get().at_sweep(now, longest_wait, longest_idle);
        self.phase.set(phase);
        match phase {
            Phase::Late | Phase::HungUp => self.hang_up(),
            Phase::Idle { .. } if self.relay.is_woken() => {
                let _over_or_not = self.poll_here();
            }
            Phase::Idle { .. } | Phase::Awaiting { .. } | Phase::Answering => {}
        }
    }
}

impl Phase {
    fn at_sweep(self, now: u32, longest_wait: u32, longest_idle: u32) -> Self {
        match self {
            Self::Awaiting { since } if now.saturating_sub(since) > longest_wait => Self::Late,
            Self::Idle { sweeps } if sweeps >= longest_idle => Self::HungUp,
            Self::Idle { sweeps } => Self::Idle { sweeps: sweeps + 1 },
            other => other,
        }
    }
}

#[cfg(test)]
mod tests;
