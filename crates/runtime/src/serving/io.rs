//! A connection's stream as hyper reads and writes it: plain or TLS, with notes taken for the [registry](super::registry), hyper's own
//! refusals [put into shape](super::refusal), and a [close that lingers](super::linger).

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::linger::Linger;
use super::refusal::Reshaped;
use super::registry::{ConnectionState, Phase};

/// Pieces that are no longer together go out as one: the system call for several costs more than to copy so much.
const JOINED_BYTES: usize = 4 << 10;

/// Plain or TLS.
pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// The stream that hyper gets.
pub(super) struct ConnectionIo {
    transport: TokioIo<Transport>,
    refusal: Option<Reshaped>,
    closing: Closing,
}

impl ConnectionIo {
    pub(super) fn new(stream: Stream, state: Rc<ConnectionState>) -> Self {
        Self { transport: TokioIo::new(Transport { stream, state }), refusal: None, closing: Closing::No }
    }

    fn transport(&mut self) -> Pin<&mut Transport> {
        Pin::new(self.transport.inner_mut())
    }

    fn state(&self) -> &ConnectionState {
        &self.transport.inner().state
    }
}

impl Read for ConnectionIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_read(cx, buf)
    }
}

impl Write for ConnectionIo {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // Hyper writes by itself only when it refuses a head: while there is no request, or none yet.
        if self.refusal.is_none() && self.state().phase() != Phase::Busy {
            self.refusal = Reshaped::of(bufs, self.state().limits());
        }
        let this = &mut *self;
        let Some(refusal) = &mut this.refusal else {
            return this.transport().poll_write_vectored(cx, bufs);
        };
        // Ours goes out instead, and hyper is told that its own bytes did.
        let written = ready!(refusal.poll_write_to(Pin::new(this.transport.inner_mut()), cx))?;
        this.refusal = None;
        this.state().head_is_refused();
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.transport.inner().is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.transport().poll_flush(cx))?;
        self.state().flushed();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if matches!(this.closing, Closing::No) {
            this.closing = Closing::WriteSide { then_linger: this.state().may_be_sending() };
        }
        if let Closing::WriteSide { then_linger } = this.closing {
            ready!(this.transport().poll_shutdown(cx))?;
            this.closing = if then_linger { Closing::Linger(Linger::begin()) } else { Closing::Done };
        }
        match &mut this.closing {
            Closing::Linger(linger) => linger.poll(Pin::new(this.transport.inner_mut()), cx).map(Ok),
            _ => Poll::Ready(Ok(())),
        }
    }
}

/// How far the close of a connection is.
enum Closing {
    No,
    WriteSide { then_linger: bool },
    Linger(Linger),
    Done,
}

/// A stream that writes down what passes, by number and never by content.
pub(super) struct Transport {
    stream: Stream,
    state: Rc<ConnectionState>,
}

impl AsyncRead for Transport {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let Poll::Ready(read) = Pin::new(&mut self.stream).poll_read(cx, buf) else {
            self.state.awaits_bytes();
            return Poll::Pending;
        };
        read?;
        if buf.filled().len() > before {
            self.state.received();
        } else if buf.remaining() > 0 {
            self.state.caller_is_done();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Transport {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.state.write_is_stalled(written.is_pending());
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.state.write_is_stalled(flushed.is_pending());
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.state.write_is_stalled(written.is_pending());
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

/// The pieces behind each other. `None`: there is no room for them.
fn joined<'a>(pieces: &[IoSlice<'_>], room: &'a mut [u8]) -> Option<&'a [u8]> {
    let mut length = 0;
    for piece in pieces {
        room.get_mut(length..length + piece.len())?.copy_from_slice(piece);
        length += piece.len();
    }
    room.get(..length)
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => {
                let stream = Pin::new(stream);
                if let [only] = bufs {
                    return stream.poll_write(cx, only);
                }
                let mut room = [0; JOINED_BYTES];
                match joined(bufs, &mut room) {
                    Some(joined) => stream.poll_write(cx, joined),
                    None => stream.poll_write_vectored(cx, bufs),
                }
            }
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_joined_where_there_is_room_for_all() {
        let pieces = [IoSlice::new(b"he"), IoSlice::new(b""), IoSlice::new(b"llo")];
        assert_eq!(joined(&pieces, &mut [0; 6]), Some(&b"hello"[..]));
        assert_eq!(joined(&pieces, &mut [0; 5]), Some(&b"hello"[..]));
        assert_eq!(joined(&pieces, &mut [0; 4]), None);
        assert_eq!(joined(&[], &mut [0; 4]), Some(&b""[..]));
    }
}
