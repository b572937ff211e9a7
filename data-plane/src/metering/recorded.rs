//! A connection to a provider, behind the journal: no byte of a call goes out before its record is written (R10).

use std::{
    cell::Cell,
    io::{self, IoSlice},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use bailiwick_domain::usage::EventId;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Meter;

/// A stream that carries one call at a time, whose record is on disk before the first byte of it goes out. Without a call, none does.
///
/// When the disk does not take the record, the connection fails, and the call with it.
pub(crate) struct Recorded<S> {
    stream: S,
    meter: Meter,
    carried: Carried,
}

/// The call that a connection carries.
#[derive(Clone, Default)]
pub(crate) struct Carried(Rc<Cell<State>>);

#[derive(Clone, Copy, Default)]
enum State {
    #[default]
    Nothing,
    /// This one, of which nothing has gone out.
    New(EventId),
    Recorded,
    /// The disk did not take its record.
    Refused,
}

impl Carried {
    /// What goes out from now on is of this call.
    pub(crate) fn carries(&self, call: EventId) {
        self.0.set(State::New(call));
    }

    /// Whether the disk did not take its record: it goes out nowhere.
    pub(crate) fn is_refused(&self) -> bool {
        matches!(self.0.get(), State::Refused)
    }
}

impl<S> Recorded<S> {
    pub(crate) fn new(stream: S, meter: Meter, carried: Carried) -> Self {
        Self { stream, meter, carried }
    }

    fn record(&self) -> io::Result<()> {
        match self.carried.0.get() {
            State::Recorded => Ok(()),
            State::New(call) => {
                let written = self.meter.write_for(&call);
                self.carried.0.set(if written.is_ok() { State::Recorded } else { State::Refused });
                written
            }
            State::Nothing | State::Refused => Err(io::Error::other("it carries no call")),
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Recorded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Recorded<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.record()?;
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.record()?;
        Pin::new(&mut self.stream).poll_write_vectored(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
