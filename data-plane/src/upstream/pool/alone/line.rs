//! The wire of a connection, and the call on it.

use std::{
    cell::{Cell, RefCell},
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker, ready},
};

use bailiwick_domain::usage::EventId;
use bailiwick_runtime::http1::{self, Body};
use bytes::Bytes;
use http::{Request, Response};
use tokio::io::{AsyncRead as _, ReadBuf};

use super::{
    reading::{Begun, Reader},
    request::{Cut, Outgoing},
};
use crate::{
    metering::{Carried, Meter, Recorded},
    upstream::{body::Outbound, connect::Stream},
};

/// What is read at once.
const READ_BYTES: usize = 64 << 10;

/// What one core reads into. What came for one call is copied out of it before another's is read, so a connection that waits has no memory of its own for it.
#[derive(Clone)]
pub(super) struct Scratch(Rc<RefCell<Box<[u8]>>>);

impl Default for Scratch {
    fn default() -> Self {
        Self(Rc::new(RefCell::new(vec![0; READ_BYTES].into_boxed_slice())))
    }
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failed {
    /// Nothing has gone out.
    Unsent,
    /// The connection broke when the request was on its way, or what came is no answer; or the call is not on record.
    Lost,
    /// None began in time: [`Line::sweep`].
    Late,
}

/// A connection's wire. It serves one call at a time, and nothing moves on it but what that call, or [`super::outbox`], moves.
pub(super) struct Line {
    /// `None`: it is closed.
    open: RefCell<Option<Open>>,
    /// Whether the request waits to be written with others.
    is_queued: Cell<bool>,
    awaits: Cell<Awaits>,
    /// Who waits for an answer.
    waiting: RefCell<Option<Waker>>,
}

/// What is waited for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Awaits {
    /// Nothing, or something that somebody else keeps the time of.
    Nothing,
    /// An answer, since this sweep.
    Answer { since: u32 },
    /// An answer that did not begin in time.
    Late,
}

struct Open {
    stream: Recorded<Box<dyn Stream>>,
    carried: Carried,
    scratch: Scratch,
    /// `None`: all of it has gone out.
    outgoing: Option<Outgoing>,
    /// Why it did not go out whole.
    cut: Option<Cut>,
    /// `None`: there was no call.
    reader: Option<Reader>,
}

impl Line {
    pub(super) fn new(stream: Box<dyn Stream>, meter: &Meter, scratch: &Scratch) -> Rc<Self> {
        let carried = Carried::default();
        let stream = Recorded::new(stream, meter.clone(), carried.clone());
        let scratch = scratch.clone();
        let open = Open { stream, carried, scratch, outgoing: None, cut: None, reader: None };
        let (is_queued, awaits, waiting) = (Cell::new(false), Cell::new(Awaits::Nothing), RefCell::new(None));
        Rc::new(Self { open: RefCell::new(Some(open)), is_queued, awaits, waiting })
    }

    /// Takes a request on, and a form out of it. It goes out with [`Self::poll_answer`]; where it is queued, with [`Self::write_queued`]. `since`: the sweep from which on its time counts.
    pub(super) fn begin(
        &self,
        request: &mut Request<Outbound>,
        call: EventId,
        is_queued: bool,
        since: Option<u32>,
    ) {
        self.awaits.set(since.map_or(Awaits::Nothing, |since| Awaits::Answer { since }));
        if let Some(open) = &mut *self.open.borrow_mut() {
            open.carried.carries(call);
            open.outgoing = Some(Outgoing::new(request));
            open.reader = Some(Reader::new());
            self.is_queued.set(is_queued);
        }
    }

    /// Writes what waited for others. The call hears of it when there is more to be done than to wait for an answer.
    pub(super) fn write_queued(&self) {
        if !self.is_queued.replace(false) {
            return;
        }
        let cx = &mut Context::from_waker(Waker::noop());
        let has_gone = |open: &mut Open| matches!(open.poll_write(cx), Poll::Ready(Ok(())));
        if !self.open.borrow_mut().as_mut().is_some_and(has_gone) {
            self.wake();
        }
    }

    /// Ends the waiting of a call whose answer has not begun for more than so many sweeps.
    pub(super) fn sweep(&self, now: u32, longest: u32) {
        if let Awaits::Answer { since } = self.awaits.get()
            && now.saturating_sub(since) > longest
        {
            self.awaits.set(Awaits::Late);
            self.wake();
        }
    }

    fn wake(&self) {
        if let Some(waiting) = &*self.waiting.borrow() {
            waiting.wake_by_ref();
        }
    }

    /// Writes what is to be written, and reads the head of the answer into the room of the request's. Of what was not sent, all is in the request again.
    pub(super) fn poll_answer(
        self: &Rc<Self>,
        request: &mut Request<Outbound>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Response<Body>, Failed>> {
        let polled = self.poll_begun(request, cx);
        match (&polled, self.awaits.get()) {
            (Poll::Ready(_), _) => {
                self.awaits.set(Awaits::Nothing);
                drop(self.waiting.take());
            }
            (Poll::Pending, Awaits::Late) => return Poll::Ready(Err(Failed::Late)),
            (Poll::Pending, _) => drop(self.waiting.replace(Some(cx.waker().clone()))),
        }
        polled
    }

    fn poll_begun(
        self: &Rc<Self>,
        request: &mut Request<Outbound>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Response<Body>, Failed>> {
        let mut open = self.open.borrow_mut();
        let Some(open) = &mut *open else { return Poll::Ready(Err(Failed::Lost)) };
        if !open.has_begun() {
            // Nobody has asked yet: it is closed, or what is there is no answer. So this is known before anything goes out, and whoever is read next is waited for.
            let is_quiet = open.poll_read(cx, |_came| ()).is_pending();
            if is_quiet && self.is_queued.get() {
                return Poll::Pending;
            }
            if !is_quiet {
                open.cut = Some(Cut::Refused);
            }
        }
        let _how_far = open.poll_write(cx);
        if open.carried.is_refused() {
            // No other connection lets it out either.
            return Poll::Ready(Err(Failed::Lost));
        }
        if open.cut.is_some() && !open.has_begun() {
            if let Some(outgoing) = open.outgoing.take() {
                outgoing.give_back(request);
            }
            return Poll::Ready(Err(Failed::Unsent));
        }
        match open.poll_head(request, cx) {
            Poll::Ready(Ok(begun)) => {
                let line = (!open.is_read()).then(|| Rc::clone(self) as Rc<dyn http1::Line>);
                let Begun { response, first, length } = begun;
                Poll::Ready(Ok(response.map(|()| Body::new(first, length, line))))
            }
            Poll::Ready(Err(_broken)) => Poll::Ready(Err(Failed::Lost)),
            Poll::Pending if open.cut == Some(Cut::Broken) => Poll::Ready(Err(Failed::Lost)),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl http1::Line for Line {
    fn poll_body(&self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Bytes>>> {
        let mut open = self.open.borrow_mut();
        let Some(open) = &mut *open else { return Poll::Ready(Err(io::ErrorKind::NotConnected.into())) };
        // The provider has answered before it has read all.
        let _how_far = open.poll_write(cx);
        match open.poll_body(cx) {
            Poll::Pending if open.cut == Some(Cut::Broken) => {
                Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
            }
            polled => polled,
        }
    }

    fn is_read(&self) -> bool {
        self.open.borrow().as_ref().is_some_and(Open::is_read)
    }
}

impl Line {
    /// Whether another call can follow.
    pub(super) fn is_at_rest(&self) -> bool {
        self.open.borrow().as_ref().is_some_and(|open| {
            open.outgoing.is_none() && open.cut.is_none() && open.reader.as_ref().is_none_or(Reader::keeps)
        })
    }

    /// Of a line at rest: whether it is open at the other end too, which has sent nothing that nobody asked for.
    pub(super) fn is_quiet(&self) -> bool {
        let cx = &mut Context::from_waker(Waker::noop());
        self.open.borrow_mut().as_mut().is_some_and(|open| open.poll_read(cx, |_came| ()).is_pending())
    }

    pub(super) fn is_closed(&self) -> bool {
        self.open.borrow().is_none()
    }

    /// Closes it, and the provider's work with it.
    pub(super) fn hang_up(&self) {
        drop(self.open.take());
    }
}

impl Open {
    /// Whether anything of the request has gone out.
    fn has_begun(&self) -> bool {
        self.outgoing.as_ref().is_none_or(Outgoing::has_begun)
    }

    fn is_read(&self) -> bool {
        self.reader.as_ref().is_none_or(Reader::is_over)
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Cut>> {
        if let Some(cut) = self.cut {
            return Poll::Ready(Err(cut));
        }
        let Some(outgoing) = &mut self.outgoing else { return Poll::Ready(Ok(())) };
        let written = ready!(outgoing.poll_write(&mut self.stream, cx));
        match &written {
            Ok(()) => self.outgoing = None,
            Err(cut) => {
                outgoing.refused();
                self.cut = Some(*cut);
            }
        }
        Poll::Ready(written)
    }

    /// Reads once. `take` is given what came: nothing, when no more comes.
    fn poll_read<T>(&mut self, cx: &mut Context<'_>, take: impl FnOnce(&[u8]) -> T) -> Poll<io::Result<T>> {
        let mut room = self.scratch.0.borrow_mut();
        let mut buffer = ReadBuf::new(&mut room);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
        Poll::Ready(Ok(take(buffer.filled())))
    }

    fn poll_head(
        &mut self,
        request: &mut Request<Outbound>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Begun>> {
        let mut reader = self.reader.take().unwrap_or_else(Reader::new);
        loop {
            let read = self.poll_read(cx, |came| match came {
                [] => Err(io::ErrorKind::UnexpectedEof.into()),
                came => reader.take_head(came, request.headers_mut()).map_err(io::Error::other),
            });
            let polled = match read {
                Poll::Pending => Poll::Pending,
                Poll::Ready(Ok(Ok(None))) => continue,
                Poll::Ready(Ok(Ok(Some(begun)))) => Poll::Ready(Ok(begun)),
                Poll::Ready(Ok(Err(error)) | Err(error)) => Poll::Ready(Err(error)),
            };
            self.reader = Some(reader);
            return polled;
        }
    }

    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Bytes>>> {
        let mut reader = self.reader.take().unwrap_or_else(Reader::new);
        loop {
            let may_end = reader.may_end();
            let read = self.poll_read(cx, |came| match came {
                [] if may_end => Ok(None),
                [] => Err(io::ErrorKind::UnexpectedEof.into()),
                came => reader.take_body(came).map(Some).map_err(io::Error::other),
            });
            let polled = match read {
                Poll::Pending => Poll::Pending,
                // Between chunks there is nothing for anybody.
                Poll::Ready(Ok(Ok(Some(data)))) if data.is_empty() && !reader.is_over() => continue,
                Poll::Ready(Ok(Ok(data))) => Poll::Ready(Ok(data.filter(|data| !data.is_empty()))),
                Poll::Ready(Ok(Err(error)) | Err(error)) => Poll::Ready(Err(error)),
            };
            self.reader = Some(reader);
            return polled;
        }
    }
}
