//! What goes to a provider: bytes that are here, or a form that is still coming.

use std::{
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use bailiwick_runtime::{calling::Payload, serving::BoxError};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::upload::{Progress, UploadBody};

pub(super) enum Outbound {
    /// `None`: it has gone.
    Whole(Option<Bytes>),
    Form(Box<UploadBody>),
}

impl Outbound {
    /// How far a form has gone out.
    pub(super) fn progress(&self) -> Option<&Rc<Progress>> {
        match self {
            Self::Whole(_) => None,
            Self::Form(body) => Some(body.progress()),
        }
    }

    /// The same once more, where all of it is here.
    pub(super) fn again(&self) -> Option<Self> {
        match self {
            Self::Whole(bytes) => Some(Self::Whole(bytes.clone())),
            Self::Form(_) => None,
        }
    }
}

impl Default for Outbound {
    fn default() -> Self {
        Self::Whole(None)
    }
}

impl Payload for Outbound {
    fn whole(&self) -> Option<&Bytes> {
        match self {
            Self::Whole(bytes) => bytes.as_ref(),
            Self::Form(_) => None,
        }
    }

    fn refused(&self) {
        if let Self::Form(form) = self {
            form.progress().moves();
        }
    }
}

impl From<Bytes> for Outbound {
    fn from(bytes: Bytes) -> Self {
        Self::Whole(Some(bytes).filter(|bytes| !bytes.is_empty()))
    }
}

impl Body for Outbound {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut *self {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Form(body) => Pin::new(&mut **body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_none(),
            Self::Form(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Self::Form(body) => body.size_hint(),
        }
    }
}
