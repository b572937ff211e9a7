//! What a caller sends, as it comes: read as a form while it passes, and bounded in size and in time.

use std::{
    cell::Cell,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use bailiwick_runtime::serving::{ApiError, RequestBody};
use bytes::{Bytes, BytesMut};
use http::HeaderValue;
use http_body::Body as _;
use tokio::time::{Instant, Sleep, sleep};

use super::Fault;
use crate::{body::LONGEST_PAUSE, error, request::form::Form};

pub(super) struct Rest {
    body: RequestBody,
    form: Form,
    /// What the form's reader wants to see again.
    kept: Bytes,
    came: usize,
    limit: usize,
    pause: Pin<Box<Sleep>>,
    /// Whether the caller is waited for, and `pause` runs.
    is_waiting: bool,
    /// Whether the caller's body was read to its end.
    is_read: Rc<Cell<bool>>,
}

impl Rest {
    pub(super) fn new(
        body: RequestBody,
        content_type: &HeaderValue,
        limit: usize,
        is_read: Rc<Cell<bool>>,
    ) -> Result<Self, ApiError> {
        let (form, pause) = (Form::new(content_type)?, Box::pin(sleep(LONGEST_PAUSE)));
        Ok(Self { body, form, kept: Bytes::new(), came: 0, limit, pause, is_waiting: false, is_read })
    }

    pub(super) fn form(&self) -> &Form {
        &self.form
    }

    /// Whether everything has come, and is a good form.
    pub(super) fn is_over(&self) -> bool {
        self.is_read.get() && self.form.is_over()
    }

    /// The next piece that may go on. `None`: it was whole. A fault is the end.
    pub(super) fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Fault>>> {
        loop {
            let came = match ready!(self.poll_caller(cx)) {
                None => return Poll::Ready(self.form.end().err().map(|bad| Err(bad.into()))),
                Some(Ok(came)) => came,
                Some(Err(fault)) => return Poll::Ready(Some(Err(fault))),
            };
            match self.pass(came) {
                Ok(piece) if piece.is_empty() => {}
                passed => return Poll::Ready(Some(passed.map_err(Fault::from))),
            }
        }
    }

    fn poll_caller(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Fault>>> {
        loop {
            let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) else {
                if !self.is_waiting {
                    self.is_waiting = true;
                    self.pause.as_mut().reset(Instant::now() + LONGEST_PAUSE);
                }
                ready!(self.pause.as_mut().poll(cx));
                return Poll::Ready(Some(Err(error::body_late().into())));
            };
            self.is_waiting = false;
            match frame {
                None => {
                    self.is_read.set(true);
                    return Poll::Ready(None);
                }
                Some(Err(_broken)) => return Poll::Ready(Some(Err(Fault::Cut))),
                // Trailers are meant for one hop.
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(piece) if !piece.is_empty() => return Poll::Ready(Some(Ok(piece))),
                    _ => {}
                },
            }
        }
    }

    /// What of it may go on. Errors: 413, and 400.
    fn pass(&mut self, piece: Bytes) -> Result<Bytes, ApiError> {
        self.came = self.came.saturating_add(piece.len());
        if self.came > self.limit {
            return Err(error::too_large(self.limit));
        }
        let mut piece = if self.kept.is_empty() {
            piece
        } else {
            let mut both = BytesMut::with_capacity(self.kept.len() + piece.len());
            both.extend_from_slice(&self.kept);
            both.extend_from_slice(&piece);
            both.freeze()
        };
        let done = self.form.read(&piece)?;
        let goes_on = piece.split_to(done.min(piece.len()));
        // A copy, because a slice would hold all that it was cut from.
        self.kept = Bytes::copy_from_slice(&piece);
        if self.body.is_end_stream() {
            // Before its provider has all that was announced: it might take that for whole.
            self.form.end()?;
            self.is_read.set(true);
        }
        Ok(goes_on)
    }
}
