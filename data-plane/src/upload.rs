//! A form with a file, which passes while it comes: no more of it is held than it takes to know what is asked for.
//!
//! ```text
//! begin: read until the model is known, and a little further → Upload (held, counted)
//!        permit, place, admit
//! body:  what was held, with the provider's name of the model → the rest, as it comes
//! ```
//!
//! A form whose file stands before its model has to be held until the model comes; both ways [`Bounds`] hold, and what is held is counted ([`crate::memory`]). What follows is
//! taken from the caller only as its provider takes it, so a slow provider makes a slow caller, and takes no memory.
//!
//! What was sent is gone: a call can be tried again only as long as nothing of what was not held has been taken ([`Upload::can_be_sent`]): when no provider could be reached, above all.
//!
//! Start reading at [`Upload::begin`]; then `rest` (what comes), `body` (what goes), `progress` (what others know of it).

mod body;
mod held;
mod progress;
mod rest;

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    rc::Rc,
};

use bailiwick_runtime::serving::{ApiError, RequestBody};
use bytes::Bytes;
use http::HeaderValue;
use http_body::Body as _;

pub(crate) use self::{
    body::UploadBody,
    progress::{Fault, Progress},
};
use self::{held::Held, rest::Rest};
use crate::{error, memory::Hold, request::Asked};

/// Bytes that are held behind the model: a form that is whole by then can be sent more than once.
pub(crate) const HELD_BEHIND_MODEL: usize = 64 << 10;

/// A form that has come as far as its model, and maybe as a whole.
pub(crate) struct Upload {
    content_type: HeaderValue,
    held: Rc<Held>,
    /// Bytes in all, where they are known.
    length: Option<u64>,
    /// Whether there is more than is held.
    is_whole: bool,
    /// What is still to come, until a body takes it.
    rest: RefCell<Rc<Cell<Option<Box<Rest>>>>>,
    /// Whether the caller's body was read to its end.
    is_read: Rc<Cell<bool>>,
}

impl Upload {
    /// Reads a form until its model is known, and then until it is whole, or has gone on for [`HELD_BEHIND_MODEL`]. No form may have more bytes than `limit`.
    ///
    /// # Errors
    /// 413 past the bound (at once, where Content-Length says so), 408 when it stalls, 400 when it breaks off, is not a good form or has no model, 503 when the worker holds as
    /// much as it may: `hold` grows before there is anything to hold.
    pub(crate) async fn begin(
        body: RequestBody,
        content_type: &HeaderValue,
        limit: usize,
        hold: Hold,
    ) -> Result<(Self, Asked), ApiError> {
        let size = body.size_hint();
        if size.lower() > limit as u64 {
            return Err(error::too_large(limit));
        }
        let is_read = Rc::new(Cell::new(false));
        let mut rest = Rest::new(body, content_type, limit, Rc::clone(&is_read))?;
        let mut held = Held::new(hold, size.exact());
        let mut enough = None;
        while !rest.is_over() && enough.is_none_or(|enough| held.bytes() < enough) {
            match poll_fn(|cx| rest.poll_piece(cx)).await {
                None => break,
                Some(Ok(piece)) => held.push(&piece)?,
                Some(Err(fault)) => return Err(fault.into()),
            }
            if enough.is_none() && rest.form().has_model() {
                enough = Some(held.bytes().saturating_add(HELD_BEHIND_MODEL));
            }
        }
        let asked = rest.form().asked()?;
        let is_whole = rest.is_over();
        let held = held.finish(asked.model_at().clone());
        let length = if is_whole { Some(held.bytes() as u64) } else { size.exact() };
        let rest = RefCell::new(Rc::new(Cell::new(Some(Box::new(rest)).filter(|_| !is_whole))));
        let content_type = content_type.clone();
        Ok((Self { content_type, held: Rc::new(held), length, is_whole, rest, is_read }, asked))
    }

    /// Its type, in which its boundary stands.
    pub(crate) fn content_type(&self) -> &HeaderValue {
        &self.content_type
    }

    /// How many bytes it has; `None`: nobody knows yet.
    pub(crate) fn bytes(&self) -> Option<usize> {
        self.length.and_then(|length| usize::try_from(length).ok())
    }

    /// What is held of its beginning.
    pub(crate) fn beginning(&self) -> &[u8] {
        self.held.blocks().first().map_or(&[], Bytes::as_ref)
    }

    /// Whether all of it is here, or can still be had.
    pub(crate) fn can_be_sent(&self) -> bool {
        let cell = self.rest.borrow();
        let rest = cell.take();
        let is_there = rest.is_some();
        cell.set(rest);
        self.is_whole || is_there
    }

    /// Whether the caller may be sending it still.
    pub(crate) fn is_unread(&self) -> bool {
        !self.is_read.get()
    }

    /// Takes what is still to come from the body that was to have it, which may be on its way still to a provider that has answered already. To be called as soon as another shall be made: until
    /// then that one takes it as its provider does.
    pub(crate) fn reclaim(&self) {
        let rest = self.rest.borrow().take();
        self.rest.replace(Rc::new(Cell::new(rest)));
    }

    /// The same form for a provider that calls the model so.
    pub(crate) fn body(&self, upstream_model: &str) -> UploadBody {
        UploadBody::new(self, upstream_model)
    }
}

#[cfg(test)]
pub(crate) mod tests;
