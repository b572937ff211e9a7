//! A connection, and the call on it.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use http::Method;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::coop;

use super::Payload;
use super::request::{Cut, Outgoing, OutgoingRequest};
use crate::http1::stock::Stock;
use crate::http1::{self, Begun, Body, IncomingResponse, ResponseReader};

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failed {
    /// Nothing has gone out.
    Unsent,
    /// The connection broke when the request was on its way, or what came is no answer ([`io::ErrorKind::InvalidData`]).
    Lost(io::ErrorKind),
    /// The request's body broke off.
    Broken,
    /// None began in time.
    Late,
}

/// A connection. It serves one call at a time, and nothing moves on it but what that call moves, or whoever writes for several.
pub struct Line<S, B> {
    /// `None`: it is closed.
    open: RefCell<Option<Open<S, B>>>,
    /// Whether the request waits to be written with others.
    is_queued: Cell<bool>,
    phase: Cell<Phase>,
    /// Sweeps since the core began.
    now: Rc<Cell<u32>>,
    /// Who waits for an answer, or for more of it.
    waiting: RefCell<Option<Waker>>,
}

/// What it is used for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Nothing, since this sweep.
    Rests { since: u32 },
    /// A call waits for its answer to begin, since this sweep.
    Awaits { since: u32 },
    /// One waited for too long.
    Late,
    /// Something that somebody else keeps the time of.
    Goes,
    /// A call that it was closed before.
    Over,
}

struct Open<S, B> {
    stream: S,
    stock: Rc<Stock>,
    /// `None`: all of it has gone out.
    outgoing: Option<Outgoing<B>>,
    /// Why it did not go out whole.
    cut: Option<Cut>,
    /// `None`: there was no call.
    reader: Option<ResponseReader>,
}

impl<S, B> Line<S, B> {
    pub(super) fn new(stream: S, stock: Rc<Stock>, now: Rc<Cell<u32>>) -> Self {
        let open = Open { stream, stock, outgoing: None, cut: None, reader: None };
        Self {
            open: RefCell::new(Some(open)),
            is_queued: Cell::new(false),
            phase: Cell::new(Phase::Goes),
            now,
            waiting: RefCell::default(),
        }
    }

    /// Whether it leads nowhere any more.
    pub fn is_closed(&self) -> bool {
        self.open.borrow().is_none()
    }

    /// Closes it, and the work at the other end with it. Whoever waits for something on it hears so.
    pub fn hang_up(&self) {
        drop(self.open.take());
        self.wake();
    }

    fn wake(&self) {
        if let Some(waiting) = self.waiting.take() {
            waiting.wake();
        }
    }

    fn waits(&self, cx: &Context<'_>) {
        drop(self.waiting.replace(Some(cx.waker().clone())));
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + 'static, B: Payload + 'static> Line<S, B> {
    /// Takes a request on, and sends it; waits for the head of its answer. What was not sent is in the request again, as it was.
    ///
    /// # Errors
    /// There is no answer.
    pub async fn call(
        self: &Rc<Self>,
        request: &mut OutgoingRequest<B>,
    ) -> Result<IncomingResponse<Body>, Failed> {
        self.begin(request, false, true);
        poll_fn(|cx| self.poll_answer(request, cx)).await
    }

    /// Takes a request on, and a body out of it that is still coming. It goes out with [`Self::poll_answer`]; where it is queued, with [`Self::write_queued`]. `is_timed`: it
    /// may be late from now on; otherwise somebody else keeps the time.
    pub fn begin(&self, request: &mut OutgoingRequest<B>, is_queued: bool, is_timed: bool) {
        let phase = if is_timed { Phase::Awaits { since: self.now.get() } } else { Phase::Goes };
        self.phase.set(phase);
        if let Some(open) = &mut *self.open.borrow_mut() {
            open.reader = Some(ResponseReader::new(request.method == Method::HEAD));
            open.outgoing = Some(Outgoing::new(request, &open.stock));
            self.is_queued.set(is_queued);
        } else {
            self.phase.set(Phase::Over);
        }
    }

    /// Writes what waited for others. The call hears of it when there is more to be done than to wait for an answer.
    pub fn write_queued(&self) {
        if !self.is_queued.replace(false) {
            return;
        }
        let cx = &mut Context::from_waker(Waker::noop());
        let has_gone = |open: &mut Open<S, B>| matches!(open.poll_write(cx), Poll::Ready(Ok(())));
        if !self.open.borrow_mut().as_mut().is_some_and(has_gone) {
            self.wake();
        }
    }

    /// Writes what is to be written, and reads the head of the answer. What was not sent is in the request again, as it was.
    ///
    /// # Errors
    /// There is no answer.
    pub fn poll_answer(
        self: &Rc<Self>,
        request: &mut OutgoingRequest<B>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<IncomingResponse<Body>, Failed>> {
        let polled = self.poll_begun(request, cx);
        match (&polled, self.phase.get()) {
            (Poll::Ready(_), _) => {
                self.phase.set(Phase::Goes);
                drop(self.waiting.take());
            }
            (Poll::Pending, Phase::Late) => return Poll::Ready(Err(Failed::Late)),
            (Poll::Pending, _) => self.waits(cx),
        }
        polled
    }

    fn poll_begun(
        self: &Rc<Self>,
        request: &mut OutgoingRequest<B>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<IncomingResponse<Body>, Failed>> {
        let mut open = self.open.borrow_mut();
        let Some(open) = &mut *open else {
            let is_unsent = self.phase.get() == Phase::Over;
            let lost = Failed::Lost(io::ErrorKind::NotConnected);
            return Poll::Ready(Err(if is_unsent { Failed::Unsent } else { lost }));
        };
        if !open.has_begun() {
            // Nobody has asked yet: it is closed, or what is there is no answer. So this is known before anything goes out, and whoever is read next is waited for.
            let is_quiet = open.is_quiet(cx);
            if is_quiet && self.is_queued.get() {
                return Poll::Pending;
            }
            if !is_quiet {
                open.cut = Some(Cut::Refused);
            }
        }
        let _how_far = open.poll_write(cx);
        if open.cut.is_some() && !open.has_begun() {
            if let Some(outgoing) = open.outgoing.take() {
                outgoing.give_back(request);
            }
            return Poll::Ready(Err(Failed::Unsent));
        }
        match open.poll_head(cx) {
            Poll::Ready(Ok(begun)) => {
                let line = (!open.is_read()).then(|| Rc::clone(self) as Rc<dyn http1::Line>);
                let Begun { response, first, length } = begun;
                Poll::Ready(Ok(response.map(|()| Body::new(first, length, line))))
            }
            _ if open.cut == Some(Cut::Broken) => Poll::Ready(Err(Failed::Broken)),
            Poll::Ready(Err(broken)) => Poll::Ready(Err(Failed::Lost(broken.kind()))),
            Poll::Pending => Poll::Pending,
        }
    }

    /// Its call is over. Whether another can follow; if so, it rests from now on, and is to be kept.
    pub fn rest(&self) -> bool {
        self.phase.set(Phase::Rests { since: self.now.get() });
        drop(self.waiting.take());
        self.open.borrow().as_ref().is_some_and(|open| {
            open.outgoing.is_none() && open.reader.as_ref().is_none_or(ResponseReader::keeps)
        })
    }

    /// [`super::Lines::sweep`].
    pub(super) fn sweep(&self, longest_wait: u32, longest_rest: u32) {
        let now = self.now.get();
        match self.phase.get() {
            Phase::Awaits { since } if now.saturating_sub(since) > longest_wait => {
                self.phase.set(Phase::Late);
                self.wake();
            }
            Phase::Rests { since } if now.saturating_sub(since) > longest_rest || !self.is_quiet() => {
                self.hang_up();
            }
            _ => {}
        }
    }

    /// Of a line at rest: whether it is open at the other end too, which has sent nothing that nobody asked for.
    fn is_quiet(&self) -> bool {
        let cx = &mut Context::from_waker(Waker::noop());
        self.open.borrow_mut().as_mut().is_some_and(|open| open.is_quiet(cx))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin, B: Payload> http1::Line for Line<S, B> {
    fn poll_body(&self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Bytes>>> {
        let mut open = self.open.borrow_mut();
        let Some(open) = &mut *open else { return Poll::Ready(Err(io::ErrorKind::NotConnected.into())) };
        // The answer has begun before all was read at the other end.
        let _how_far = open.poll_write(cx);
        match open.poll_body(cx) {
            Poll::Pending if open.cut == Some(Cut::Broken) => {
                Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
            }
            Poll::Pending => {
                self.waits(cx);
                Poll::Pending
            }
            ready => ready,
        }
    }

    fn is_read(&self) -> bool {
        self.open.borrow().as_ref().is_some_and(Open::is_read)
    }
}

impl<S, B> Open<S, B> {
    fn is_read(&self) -> bool {
        self.reader.as_ref().is_none_or(ResponseReader::is_over)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin, B: Payload> Open<S, B> {
    /// Whether anything of the request has gone out.
    fn has_begun(&self) -> bool {
        self.outgoing.as_ref().is_none_or(Outgoing::has_begun)
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Cut>> {
        if let Some(cut) = self.cut {
            return Poll::Ready(Err(cut));
        }
        let Some(outgoing) = &mut self.outgoing else { return Poll::Ready(Ok(())) };
        let written = ready!(outgoing.poll_write(&mut self.stream, &self.stock, cx));
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
        let mut room = self.stock.to_read_into();
        let mut buffer = ReadBuf::new(&mut room);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
        Poll::Ready(Ok(take(buffer.filled())))
    }

    /// Whether nothing has come, and no end. Told also when this task's turn is used up.
    fn is_quiet(&mut self, cx: &mut Context<'_>) -> bool {
        let read = pin!(coop::unconstrained(poll_fn(|cx| self.poll_read(cx, |_came| ()))));
        read.poll(cx).is_pending()
    }

    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Begun>> {
        let mut reader = self.reader.take().unwrap_or_else(|| ResponseReader::new(false));
        loop {
            let read = self.poll_read(cx, |came| match came {
                [] => Err(io::ErrorKind::UnexpectedEof.into()),
                came => reader.take_head(came).map_err(invalid),
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
        let mut reader = self.reader.take().unwrap_or_else(|| ResponseReader::new(false));
        loop {
            let may_end = reader.may_end();
            let read = self.poll_read(cx, |came| match came {
                [] if may_end => Ok(None),
                [] => Err(io::ErrorKind::UnexpectedEof.into()),
                came => reader.take_body(came).map(Some).map_err(invalid),
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

fn invalid(malformed: http1::Malformed) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, malformed)
}
