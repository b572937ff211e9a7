//! The wire of a connection: what comes from its caller, and what goes there, with notes taken for the [registry](super::registry).

use std::cell::RefCell;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};

use super::RequestBody;
use super::linger::Linger;
use super::registry::{ConnectionState, Phase};
use super::stream::{self, Stream};
use crate::http1::stock::Stock;
use crate::http1::writing::Sink;
use crate::http1::{HeadLimits, IncomingRequest, Line, Received, Refused, RequestReader};

/// Says to a caller who asks whether it may send its body that it may (RFC 9110, section 15.2.1).
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// A connection's wire. Shared by its conversation and the body that is received, which another task may read.
pub(super) struct Wire {
    /// `None`: it is closed.
    open: RefCell<Option<Open>>,
    state: Rc<ConnectionState>,
    stock: Rc<Stock>,
}

struct Open {
    stream: Stream,
    reader: RequestReader,
    /// What is still to be written of [`CONTINUE`], before the body is read; and whether it is to be flushed.
    interim: &'static [u8],
    is_unflushed: bool,
    /// Whether a head was refused: what follows it is nobody's.
    is_refused: bool,
    /// Whether the caller will send nothing more.
    is_done: bool,
    /// Who waits for the body.
    reads: Option<Waker>,
    /// Who waits for the caller to leave, while somebody else reads the body.
    watches: Option<Waker>,
}

impl Wire {
    pub(super) fn new(stream: Stream, state: Rc<ConnectionState>, stock: Rc<Stock>) -> Rc<Self> {
        let limits = HeadLimits { bytes: state.limits().header_bytes, fields: state.limits().headers };
        let reader = RequestReader::new(limits);
        let (is_unflushed, is_refused, is_done) = (false, false, false);
        let (reads, watches) = (None, None);
        let open = Open { stream, reader, interim: &[], is_unflushed, is_refused, is_done, reads, watches };
        Rc::new(Self { open: RefCell::new(Some(open)), state, stock })
    }

    pub(super) fn state(&self) -> &Rc<ConnectionState> {
        &self.state
    }

    pub(super) fn stock(&self) -> &Stock {
        &self.stock
    }

    /// The next request, put in the place of what is in `request`, and whether its caller may send another. `None`: there is none, because the caller has left, or the connection shall end.
    pub(super) async fn next(
        self: &Rc<Self>,
        request: &mut IncomingRequest<RequestBody>,
    ) -> Option<Result<bool, Refused>> {
        let received = poll_fn(|cx| self.poll_head(request, cx)).await?;
        Some(received.map(|Received { first, length, keeps, .. }| {
            let is_here = self.open.borrow().as_ref().is_none_or(|open| open.reader.is_over());
            let rest = (!is_here).then(|| Rc::clone(self) as Rc<dyn Line>);
            *request.body_mut() = RequestBody::new(first, length, rest);
            keeps
        }))
    }

    fn poll_head(
        &self,
        request: &mut IncomingRequest<RequestBody>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Received, Refused>>> {
        let mut open = self.open.borrow_mut();
        let Some(open) = &mut *open else { return Poll::Ready(None) };
        // What came behind the request before.
        let mut taken = Ok(None);
        if open.reader.holds_more() {
            self.state.received();
            taken = open.reader.take_head(&[], request);
        }
        loop {
            match taken {
                Ok(None) => {}
                Ok(Some(received)) => {
                    open.interim = if received.expects_continue { CONTINUE } else { &[] };
                    return Poll::Ready(Some(Ok(received)));
                }
                Err(refused) => {
                    open.is_refused = true;
                    return Poll::Ready(Some(Err(refused)));
                }
            }
            if self.state.is_finishing() && self.state.phase() == Phase::Idle {
                return Poll::Ready(None);
            }
            let read = open.poll_read(&self.stock, cx, |reader, came| {
                self.state.received();
                reader.take_head(came, request)
            });
            match read {
                Poll::Ready(Some(now)) => taken = now,
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// Ready when the caller has left, so that nobody wants an answer. What it sends meanwhile is held, and no more of it read.
    pub(super) fn poll_left(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut open = self.open.borrow_mut();
        let Some(open) = &mut *open else { return Poll::Ready(()) };
        if open.reader.holds_more() || open.is_refused {
            return Poll::Pending;
        }
        // Of a body that broke off, its caller is still to be told so.
        if !open.reader.is_over() {
            open.watches = Some(cx.waker().clone());
            return Poll::Pending;
        }
        match ready!(open.poll_read(&self.stock, cx, RequestReader::hold)) {
            Some(()) => Poll::Pending,
            None => Poll::Ready(()),
        }
    }

    /// The answer begins: nobody is told any more to send a body. What is left of a word that has begun goes before it.
    pub(super) fn answer_begins(&self) -> &'static [u8] {
        let mut open = self.open.borrow_mut();
        let interim = open.as_mut().map(|open| std::mem::take(&mut open.interim)).unwrap_or_default();
        if interim.len() < CONTINUE.len() { interim } else { &[] }
    }

    /// Whether something of the body is still to come that nobody waits for: whoever does holds the wire.
    pub(super) fn is_abandoned(self: &Rc<Self>) -> bool {
        !self.is_read() && Rc::strong_count(self) == 1
    }

    /// Whether the request was read to its end.
    pub(super) fn is_read(&self) -> bool {
        self.open.borrow().as_ref().is_some_and(|open| open.reader.is_over())
    }

    /// Closes it. `lingers`: once the caller has read what it was sent: [`super::linger`]. From the first moment on, what still comes is no body's.
    pub(super) async fn close(&self, lingers: bool) {
        let Some(Open { mut stream, is_done, .. }) = self.take() else { return };
        if poll_fn(|cx| Pin::new(&mut stream).poll_shutdown(cx)).await.is_err() {
            return;
        }
        if lingers && !is_done {
            let mut linger = Linger::begin();
            poll_fn(|cx| linger.poll(Pin::new(&mut stream), cx)).await;
        }
    }

    /// Closes it at once.
    pub(super) fn hang_up(&self) {
        drop(self.take());
    }

    fn take(&self) -> Option<Open> {
        let mut open = self.open.take()?;
        if let Some(reads) = open.reads.take() {
            reads.wake();
        }
        Some(open)
    }

    /// Has the caller see that the connection broke, where its end would be taken for an answer's.
    pub(super) fn breaks(&self) {
        if let Some(open) = &*self.open.borrow() {
            stream::breaks(&open.stream);
        }
    }
}

impl Sink for &Wire {
    fn poll_write(&mut self, cx: &mut Context<'_>, pieces: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let mut open = self.open.borrow_mut();
        let Some(open) = &mut *open else { return Poll::Ready(Err(io::ErrorKind::NotConnected.into())) };
        open.poll_write(&self.state, cx, pieces)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut open = self.open.borrow_mut();
        let Some(open) = &mut *open else { return Poll::Ready(Err(io::ErrorKind::NotConnected.into())) };
        open.poll_flush(&self.state, cx)
    }
}

impl Line for Wire {
    fn poll_body(&self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Bytes>>> {
        let mut open = self.open.borrow_mut();
        let Some(open) = &mut *open else { return Poll::Ready(Err(io::ErrorKind::NotConnected.into())) };
        let polled = open.poll_body(&self.state, &self.stock, cx);
        if polled.is_pending() {
            open.reads = Some(cx.waker().clone());
        } else if open.reader.is_over() || open.is_done {
            // In its own task, whoever watches asks again by itself.
            open.watches.take_if(|watches| !watches.will_wake(cx.waker())).into_iter().for_each(Waker::wake);
        }
        polled
    }

    fn is_read(&self) -> bool {
        Self::is_read(self)
    }
}

impl Open {
    /// Reads once, and has it taken. `None`: no more comes.
    fn poll_read<T>(
        &mut self,
        stock: &Stock,
        cx: &mut Context<'_>,
        take: impl FnOnce(&mut RequestReader, &[u8]) -> T,
    ) -> Poll<Option<T>> {
        let mut room = stock.to_read_into();
        let mut buffer = ReadBuf::new(&mut room);
        let read = ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer));
        match (read, buffer.filled()) {
            (Ok(()), came @ [_, ..]) => Poll::Ready(Some(take(&mut self.reader, came))),
            _ => {
                self.is_done = true;
                Poll::Ready(None)
            }
        }
    }

    fn poll_body(
        &mut self,
        state: &ConnectionState,
        stock: &Stock,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Option<Bytes>>> {
        ready!(self.poll_interim(state, cx))?;
        loop {
            let data = match ready!(self.poll_read(stock, cx, RequestReader::take_body)) {
                Some(Ok(data)) => data,
                Some(Err(malformed)) => {
                    self.is_refused = true;
                    return Poll::Ready(Err(io::Error::other(malformed)));
                }
                None => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
            };
            if !data.is_empty() {
                return Poll::Ready(Ok(Some(data)));
            }
            // Between chunks there is nothing for anybody.
            if self.reader.is_over() {
                return Poll::Ready(Ok(None));
            }
        }
    }

    fn poll_interim(&mut self, state: &ConnectionState, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.interim.is_empty() {
            let written = ready!(self.poll_write(state, cx, &[IoSlice::new(self.interim)]))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.interim = self.interim.get(written..).unwrap_or_default();
            self.is_unflushed = true;
        }
        if self.is_unflushed {
            ready!(self.poll_flush(state, cx))?;
            self.is_unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_write(
        &mut self,
        state: &ConnectionState,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let stream = Pin::new(&mut self.stream);
        // The system call for several does more.
        let written = match pieces {
            [only] => stream.poll_write(cx, only),
            several => stream.poll_write_vectored(cx, several),
        };
        state.write_is_stalled(written.is_pending());
        written
    }

    fn poll_flush(&mut self, state: &ConnectionState, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        state.write_is_stalled(flushed.is_pending());
        flushed
    }
}
