//! A response's body: nothing, a whole, or anything that streams.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

/// Why a body broke off.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Where records are written before answers are: that they were served.
pub trait WriteAhead {
    /// Writes what waits there.
    fn write_ahead(&self);
}

/// Something that waits to be written there. Dropped, it is.
pub struct Ahead(Rc<dyn WriteAhead>);

impl Ahead {
    /// It waits there.
    pub fn new(log: Rc<dyn WriteAhead>) -> Self {
        Self(log)
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        self.0.write_ahead();
    }
}

/// A response's body. A body that ends with an error cuts the connection off, so that the caller never takes a part for the whole.
#[derive(Default)]
pub struct ResponseBody {
    source: Source,
    ahead: Option<Ahead>,
}

#[derive(Default)]
enum Source {
    #[default]
    Empty,
    Whole(Bytes),
    Stream(Pin<Box<dyn Body<Data = Bytes, Error = BoxError>>>),
}

impl ResponseBody {
    /// No body.
    pub fn empty() -> Self {
        Self::default()
    }

    /// Any body; costs one allocation.
    pub fn stream(body: impl Body<Data = Bytes, Error: Into<BoxError>> + 'static) -> Self {
        Source::Stream(Box::pin(http_body_util::BodyExt::map_err(body, Into::into))).into()
    }

    /// Has this written before a byte of the answer is, and also where none will be, because its caller has left.
    #[must_use]
    pub fn behind(mut self, ahead: Ahead) -> Self {
        self.ahead = Some(ahead);
        self
    }

    /// The answer is about to be written.
    pub(super) fn write_ahead(&mut self) {
        drop(self.ahead.take());
    }
}

impl From<Source> for ResponseBody {
    fn from(source: Source) -> Self {
        Self { source, ahead: None }
    }
}

impl From<Bytes> for ResponseBody {
    fn from(bytes: Bytes) -> Self {
        if bytes.is_empty() { Source::Empty } else { Source::Whole(bytes) }.into()
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut self.source {
            Source::Empty => Poll::Ready(None),
            Source::Whole(bytes) => {
                let bytes = std::mem::take(bytes);
                self.source = Source::Empty;
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Source::Stream(body) => body.as_mut().poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Empty => true,
            Source::Whole(_) => false,
            Source::Stream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Empty => SizeHint::with_exact(0),
            Source::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Source::Stream(body) => body.size_hint(),
        }
    }
}

/// Says nothing of its content.
impl std::fmt::Debug for ResponseBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ResponseBody")
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    impl WriteAhead for Cell<u32> {
        fn write_ahead(&self) {
            self.set(self.get() + 1);
        }
    }

    #[test]
    fn what_is_written_ahead_is_written_once_also_where_nobody_takes_the_answer() {
        let [first, second] = [(); 2].map(|()| Rc::new(Cell::new(0)));
        let body = ResponseBody::empty().behind(Ahead::new(first.clone()));
        assert_eq!(first.get(), 0);
        let mut body = body.behind(Ahead::new(second.clone()));
        assert_eq!((first.get(), second.get()), (1, 0), "nothing is forgotten for another");
        body.write_ahead();
        body.write_ahead();
        drop(body);
        drop(ResponseBody::from(Bytes::from_static(b"served")).behind(Ahead::new(second.clone())));
        assert_eq!((first.get(), second.get()), (1, 2));
    }
}
