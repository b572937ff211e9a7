//! A response's body: nothing, a whole, another connection's body passed through, or anything that streams.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::registry::ConnectionState;

/// Why a body broke off.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A response's body. A body that ends with an error cuts the connection off, so that the caller never takes a part for the whole.
#[derive(Default)]
pub struct ResponseBody(Source);

#[derive(Default)]
enum Source {
    #[default]
    Empty,
    Whole(Bytes),
    Incoming(Incoming),
    Stream(Pin<Box<dyn Body<Data = Bytes, Error = BoxError>>>),
}

impl ResponseBody {
    /// No body.
    pub fn empty() -> Self {
        Self::default()
    }

    /// Any body; costs one allocation.
    pub fn stream(body: impl Body<Data = Bytes, Error: Into<BoxError>> + 'static) -> Self {
        Self(Source::Stream(Box::pin(http_body_util::BodyExt::map_err(body, Into::into))))
    }
}

impl From<Bytes> for ResponseBody {
    fn from(bytes: Bytes) -> Self {
        Self(if bytes.is_empty() { Source::Empty } else { Source::Whole(bytes) })
    }
}

impl From<Incoming> for ResponseBody {
    fn from(body: Incoming) -> Self {
        Self(Source::Incoming(body))
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut self.0 {
            Source::Empty => Poll::Ready(None),
            Source::Whole(bytes) => {
                let bytes = std::mem::take(bytes);
                self.0 = Source::Empty;
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Source::Incoming(body) => {
                Pin::new(body).poll_frame(cx).map(|frame| frame.map(|frame| frame.map_err(Into::into)))
            }
            Source::Stream(body) => body.as_mut().poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Source::Empty => true,
            Source::Whole(_) => false,
            Source::Incoming(body) => body.is_end_stream(),
            Source::Stream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Source::Empty => SizeHint::with_exact(0),
            Source::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Source::Incoming(body) => body.size_hint(),
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

/// A response's body that tells its connection when it is done: from then on, only what hyper has buffered is still to be written.
///
/// A body that breaks off is reported one turn late: hyper throws away what it has not sent yet when it hears of it, and the last piece
/// before the break may be the one that says why.
pub(super) struct Tracked {
    body: ResponseBody,
    state: Rc<ConnectionState>,
    broken: Option<BoxError>,
}

impl Tracked {
    pub(super) fn new(body: ResponseBody, state: Rc<ConnectionState>) -> Self {
        Self { body, state, broken: None }
    }
}

impl Drop for Tracked {
    fn drop(&mut self) {
        self.state.response_is_buffered();
    }
}

impl Body for Tracked {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Some(broken) = self.broken.take() {
            return Poll::Ready(Some(Err(broken)));
        }
        match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Ready(Some(Err(broken))) => {
                self.broken = Some(broken);
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            other => other,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
