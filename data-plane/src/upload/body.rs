//! A form on its way to a provider: what was held, and then what comes, as the provider takes it.

use std::{
    cell::Cell,
    collections::VecDeque,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use bailiwick_runtime::serving::BoxError;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::{Fault, Progress, Upload, held::Held, rest::Rest};

pub(crate) struct UploadBody {
    ready: VecDeque<Bytes>,
    /// Bytes that are still to go out, where that is known.
    left: Option<u64>,
    source: Source,
    progress: Rc<Progress>,
    _held: Rc<Held>,
}

/// Where what was not held comes from.
enum Source {
    /// Nothing was taken of it, and another body can still have it.
    Untouched(Rc<Cell<Option<Box<Rest>>>>),
    Taken(Box<Rest>),
    /// Another body has taken it.
    Gone,
    /// There is no more.
    Over,
}

impl UploadBody {
    pub(super) fn new(upload: &Upload, upstream_model: &str) -> Self {
        let held = Rc::clone(&upload.held);
        let ready = held.with_model(upstream_model);
        let left = upload.length.map(|length| {
            length.saturating_sub(held.model_at().len() as u64).saturating_add(upstream_model.len() as u64)
        });
        let source = match upload.is_whole {
            true => Source::Over,
            false if upload.can_be_sent() => Source::Untouched(Rc::clone(&upload.rest.borrow())),
            false => Source::Gone,
        };
        Self { ready, left, source, progress: Rc::new(Progress::begin()), _held: held }
    }

    /// What others know of it.
    pub(crate) fn progress(&self) -> &Rc<Progress> {
        &self.progress
    }

    fn poll_source(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Fault>>> {
        if let Source::Untouched(rest) = &self.source {
            self.source = match rest.take() {
                Some(rest) => Source::Taken(rest),
                // It was reclaimed for another: nobody waits for this one, and its connection ends with its lease.
                None => return Poll::Pending,
            };
        }
        let rest = match &mut self.source {
            Source::Taken(rest) => rest,
            Source::Gone => return Poll::Ready(Some(Err(Fault::Cut))),
            Source::Untouched(_) | Source::Over => return Poll::Ready(None),
        };
        let Poll::Ready(piece) = rest.poll_piece(cx) else {
            self.progress.waits();
            return Poll::Pending;
        };
        self.progress.streams(rest.form().stream());
        if rest.is_over() {
            self.source = Source::Over;
        }
        Poll::Ready(piece)
    }

    fn goes(&mut self, piece: Bytes) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.progress.moves();
        self.left = self.left.map(|left| left.saturating_sub(piece.len() as u64));
        if self.is_end_stream() {
            self.progress.finishes();
        }
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }
}

impl Body for UploadBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Some(piece) = self.ready.pop_front() {
            return self.goes(piece);
        }
        match ready!(self.poll_source(cx)) {
            Some(Ok(piece)) => self.goes(piece),
            None => {
                self.source = Source::Over;
                self.progress.moves();
                self.progress.finishes();
                Poll::Ready(None)
            }
            Some(Err(fault)) => {
                // The connection ends with it, so nobody takes a part for the whole.
                self.progress.fails(fault);
                Poll::Ready(Some(Err("the form broke off".into())))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ready.is_empty() && matches!(self.source, Source::Over)
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
