//! The body of an answer, from either kind of connection.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bailiwick_runtime::serving::BoxError;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::alone;

/// A body that comes.
pub(crate) enum AnswerBody {
    Alone(alone::Body),
    /// Of a stream of HTTP/2.
    Shared(Incoming),
}

impl AnswerBody {
    /// Whether there may be more than it tells of at once: a task beside the call hands over what has come, piece by piece.
    pub(crate) fn comes_by_another_task(&self) -> bool {
        matches!(self, Self::Shared(_))
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut *self {
            Self::Alone(body) => Pin::new(body).poll_frame(cx).map_err(Into::into),
            Self::Shared(body) => Pin::new(body).poll_frame(cx).map_err(Into::into),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Alone(body) => body.is_end_stream(),
            Self::Shared(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Alone(body) => body.size_hint(),
            Self::Shared(body) => body.size_hint(),
        }
    }
}
