//! The body of a message, read as it is asked for.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

/// Where the rest of a body comes from.
pub trait Line {
    /// The body's next piece; `None`: it was whole.
    fn poll_body(&self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Bytes>>>;

    /// Whether the body said itself that this was all.
    fn is_read(&self) -> bool;
}

/// A message's body, in the pieces that came. It fails where it breaks off before its end.
pub struct Body {
    /// What came with the head.
    first: Bytes,
    /// Bytes that are still to come, those with it, where that is known.
    left: Option<u64>,
    /// Where the rest comes from. `None`: all of it has come, and the connection may be another message's.
    line: Option<Rc<dyn Line>>,
    /// Whether the message said itself that this was all: its connection's end does not.
    is_over: bool,
}

impl Body {
    /// `first` came with the head, of `length` bytes in all, where that is known. `None` as `line`: that was all.
    pub fn new(first: Bytes, length: Option<u64>, line: Option<Rc<dyn Line>>) -> Self {
        let is_over = line.is_none();
        Self { first, left: length, line, is_over }
    }

    /// All that is still to be taken of it, where that has come.
    pub fn whole(&self) -> Option<&Bytes> {
        self.line.is_none().then_some(&self.first)
    }

    fn goes(&mut self, data: Bytes) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.left = self.left.map(|left| left.saturating_sub(data.len() as u64));
        Poll::Ready(Some(Ok(Frame::data(data))))
    }
}

/// None at all.
impl Default for Body {
    fn default() -> Self {
        Self::from(Bytes::new())
    }
}

/// One that has come as a whole.
impl From<Bytes> for Body {
    fn from(whole: Bytes) -> Self {
        let length = whole.len() as u64;
        Self::new(whole, Some(length), None)
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if !self.first.is_empty() {
            let first = std::mem::take(&mut self.first);
            return self.goes(first);
        }
        let Some(line) = &self.line else { return Poll::Ready(None) };
        let polled = ready!(line.poll_body(cx));
        self.is_over = line.is_read();
        if self.is_over || !matches!(polled, Ok(Some(_))) {
            self.line = None;
        }
        match polled {
            Ok(Some(data)) => self.goes(data),
            Ok(None) => Poll::Ready(None),
            Err(broken) => Poll::Ready(Some(Err(broken))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_empty() && self.is_over
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

/// Says nothing of its content.
impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Body")
            .field("left", &self.left)
            .field("is_over", &self.is_over)
            .finish_non_exhaustive()
    }
}
