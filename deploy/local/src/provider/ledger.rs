//! What was served: counts, no content.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use serde::Serialize;

/// Sums per model, and per position of the accepted key.
#[derive(Debug, Default)]
pub(crate) struct Ledger(Mutex<Served>);

/// The sums.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Served {
    /// Calls whose request was understood, answered to the end or not.
    pub(crate) started: u64,
    /// Calls whose answer was handed to the connection whole.
    pub(crate) completed: u64,
    /// Calls refused for their API key.
    pub(crate) unauthorized: u64,
    /// Of the completed calls.
    pub(crate) prompt_tokens: u64,
    /// Of the completed calls.
    pub(crate) completion_tokens: u64,
    /// Calls per accepted key: `0` is the first one given on the command line.
    pub(crate) by_key: BTreeMap<usize, u64>,
}

impl Ledger {
    pub(crate) fn note(&self, change: impl FnOnce(&mut Served)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub(crate) fn read(&self) -> Served {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
