//! The body of an answer, read as it is asked for.

use std::{
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::line::Line;

/// An answer's body.
pub(crate) struct Body {
    /// What came with the head.
    first: Bytes,
    /// Bytes that are still to come, those with it, where that is known.
    left: Option<u64>,
    /// Where the rest comes from. `None`: all of it has come, and the connection may be another call's.
    line: Option<Rc<Line>>,
    /// Whether the answer said itself that this was all: its connection's end does not.
    is_over: bool,
}

impl Body {
    pub(super) fn new(first: Bytes, length: Option<u64>, line: Option<Rc<Line>>) -> Self {
        let is_over = line.is_none();
        Self { first, left: length, line, is_over }
    }

    fn goes(&mut self, data: Bytes) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.left = self.left.map(|left| left.saturating_sub(data.len() as u64));
        Poll::Ready(Some(Ok(Frame::data(data))))
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
