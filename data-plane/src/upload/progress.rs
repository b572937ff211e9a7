//! What others know of a form that is on its way.

use std::{
    cell::{Cell, RefCell},
    pin::pin,
    time::Duration,
};

use bailiwick_runtime::serving::ApiError;
use tokio::time::{Instant, timeout_at};

use crate::error;

/// Why a form did not go out whole, which is its caller's doing.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// Its caller is told why.
    Refused(ApiError),
    /// Its caller broke off.
    Cut,
}

impl From<ApiError> for Fault {
    fn from(error: ApiError) -> Self {
        Self::Refused(error)
    }
}

impl From<Fault> for ApiError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Refused(error) => error,
            Fault::Cut => error::body_incomplete(),
        }
    }
}

/// How far a form has gone out to one provider.
#[derive(Debug)]
pub(crate) struct Progress {
    moved: Cell<Instant>,
    waits_for_caller: Cell<bool>,
    is_finished: Cell<bool>,
    stream: Cell<bool>,
    fault: RefCell<Option<Fault>>,
}

impl Progress {
    /// Nothing, yet.
    pub(crate) fn begin() -> Self {
        Self {
            moved: Cell::new(Instant::now()),
            waits_for_caller: Cell::new(false),
            is_finished: Cell::new(false),
            stream: Cell::new(false),
            fault: RefCell::new(None),
        }
    }

    /// Whether all of it went out.
    pub(crate) fn is_finished(&self) -> bool {
        self.is_finished.get()
    }

    /// When the last of it went out, by now.
    pub(crate) fn moved(&self) -> Instant {
        self.moved.get()
    }

    /// Whether it asked for a stream behind what was held of it.
    pub(crate) fn asks_for_stream(&self) -> bool {
        self.stream.get()
    }

    /// Why it does not go on.
    pub(crate) fn fault(&self) -> Option<Fault> {
        self.fault.borrow().clone()
    }

    /// Waits for an answer for as long as its provider is not late. `None`: it has taken nothing, nor answered, for so long. While the caller is waited for, that is not the provider's doing.
    pub(crate) async fn answered_within<T>(
        &self,
        bound: Duration,
        answer: impl Future<Output = T>,
    ) -> Option<T> {
        let mut answer = pin!(answer);
        loop {
            let until = if self.waits_for_caller.get() { Instant::now() } else { self.moved.get() } + bound;
            match timeout_at(until, &mut answer).await {
                Ok(answered) => return Some(answered),
                Err(_late) if self.waits_for_caller.get() || self.moved.get() + bound > until => {}
                Err(_late) => return None,
            }
        }
    }

    /// From now on it is the provider that is waited for.
    pub(crate) fn moves(&self) {
        self.moved.set(Instant::now());
        self.waits_for_caller.set(false);
    }

    pub(super) fn waits(&self) {
        self.waits_for_caller.set(true);
    }

    pub(super) fn streams(&self, stream: bool) {
        self.stream.set(stream);
    }

    /// All of it.
    pub(crate) fn finishes(&self) {
        self.is_finished.set(true);
    }

    pub(super) fn fails(&self, fault: Fault) {
        self.fault.replace(Some(fault));
    }
}
