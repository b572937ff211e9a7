//! What a journal's writer tells those that follow it: how far it is written, and which files are to be synced.

use std::{
    fs::File,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// What others may know of a journal that is being written.
#[derive(Debug)]
pub(super) struct Published(Mutex<Newest>);

/// The newest segment.
#[derive(Debug)]
pub(super) struct Newest {
    pub(super) number: u32,
    /// Whole records end here.
    pub(super) length: u64,
    pub(super) file: Arc<File>,
    /// Files that may hold what is not synced: earlier segments.
    pub(super) closed: Vec<Arc<File>>,
    /// Nothing more will be written, and no call is open.
    pub(super) complete: bool,
}

impl Published {
    /// Of a journal that begins with this segment.
    pub(super) fn new(newest: Newest) -> Self {
        Self(Mutex::new(newest))
    }

    /// Held for a few instructions only.
    pub(super) fn lock(&self) -> MutexGuard<'_, Newest> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
