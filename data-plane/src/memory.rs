//! How many bytes of bodies a worker holds at once: requests that are read, their copies for providers, and answers that wait to be whole or to be taken.
//!
//! A process that runs out of memory ends, and every call on it with it. So what callers can make it hold is counted before it is held, and a call that would go past
//! the bound is refused while the others go on. Connections, and answers of up to [`UNCOUNTED`] bytes, are bounded by their number.
//!
//! A core takes from the common bound in slices and gives back in slices: small bodies touch nothing that cores share.

use std::{
    cell::Cell,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
};

use bytes::Bytes;

/// Copies of a request's body that may exist at once: as it came, and as its provider gets it.
pub(crate) const COPIES: usize = 2;
/// Answers up to here are not counted while they wait for their caller.
pub(crate) const UNCOUNTED: usize = 16 << 10;
/// What a core takes at once.
const LARGEST_SLICE: usize = 1 << 20;

/// The process's bound.
#[derive(Debug)]
pub(crate) struct Budget {
    max: usize,
    slice: usize,
    taken: AtomicUsize,
    refused: AtomicU64,
    /// Whether calls were refused since there was room last.
    overloaded: AtomicBool,
}

/// There is no room for more.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the worker holds as many bytes as it may")]
pub(crate) struct Overloaded;

impl Budget {
    /// A bound for so many cores.
    pub(crate) fn new(max: usize, cores: usize) -> Arc<Self> {
        // What cores have in hand and do not use is at most a quarter of all.
        let slice = (max / 8 / cores.max(1)).clamp(1, LARGEST_SLICE);
        Arc::new(Self {
            max,
            slice,
            taken: AtomicUsize::new(0),
            refused: AtomicU64::new(0),
            overloaded: AtomicBool::new(false),
        })
    }

    /// A core's part in it.
    pub(crate) fn share(self: &Arc<Self>) -> Share {
        Share(Rc::new(Hand { budget: Arc::clone(self), free: Cell::new(0) }))
    }

    /// The bound, in bytes.
    pub(crate) fn max_bytes(&self) -> u64 {
        self.max as u64
    }

    /// What is held, with what cores have in hand for what comes next.
    pub(crate) fn held_bytes(&self) -> u64 {
        self.taken.load(Relaxed) as u64
    }

    /// Calls that were refused.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Relaxed)
    }

    fn take(&self, bytes: usize) -> bool {
        let more = |taken: usize| taken.checked_add(bytes).filter(|taken| *taken <= self.max);
        self.taken.fetch_update(Relaxed, Relaxed, more).is_ok()
    }

    fn give_back(&self, bytes: usize) {
        let left = self.taken.fetch_sub(bytes, Relaxed).saturating_sub(bytes);
        if left < self.max / 2 && self.overloaded.load(Relaxed) && self.overloaded.swap(false, Relaxed) {
            tracing::info!(held_bytes = left, refused = self.refused(), "there is room for bodies again");
        }
    }

    fn refuse(&self) -> Overloaded {
        self.refused.fetch_add(1, Relaxed);
        if !self.overloaded.swap(true, Relaxed) {
            tracing::warn!(
                max_bytes = self.max,
                "the worker holds as many bytes of bodies as it may; calls are refused until there is room"
            );
        }
        Overloaded
    }
}

/// One core's part in the bound. Clones are the same part.
#[derive(Clone, Debug)]
pub(crate) struct Share(Rc<Hand>);

#[derive(Debug)]
struct Hand {
    budget: Arc<Budget>,
    /// Taken, and not held by any call.
    free: Cell<usize>,
}

impl Share {
    /// Nothing yet, for one call.
    pub(crate) fn hold(&self) -> Hold {
        Hold { share: self.clone(), bytes: 0 }
    }

    fn take(&self, bytes: usize) -> bool {
        let Hand { budget, free } = &*self.0;
        if let Some(left) = free.get().checked_sub(bytes) {
            free.set(left);
            return true;
        }
        let missing = bytes - free.get();
        let taken = [missing.max(budget.slice), missing].into_iter().find(|taken| budget.take(*taken));
        let Some(taken) = taken else { return false };
        free.set(taken - missing);
        true
    }

    fn give_back(&self, bytes: usize) {
        let Hand { budget, free } = &*self.0;
        let all = free.get() + bytes;
        free.set(all.min(budget.slice));
        if all > budget.slice {
            budget.give_back(all - budget.slice);
        }
    }
}

impl Drop for Hand {
    fn drop(&mut self) {
        self.budget.give_back(self.free.get());
    }
}

/// What one call holds. Given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Hold {
    share: Share,
    bytes: usize,
}

impl Hold {
    /// Holds so many bytes in all, if it holds less.
    ///
    /// # Errors
    /// [`Overloaded`]; it is counted, and what was held before still is.
    pub(crate) fn grow_to(&mut self, bytes: usize) -> Result<(), Overloaded> {
        if self.try_grow_to(bytes) { Ok(()) } else { Err(self.share.0.budget.refuse()) }
    }

    /// The same for what can do without: nobody is refused.
    pub(crate) fn try_grow_to(&mut self, bytes: usize) -> bool {
        let more = bytes.saturating_sub(self.bytes);
        if more > 0 && !self.share.take(more) {
            return false;
        }
        self.bytes += more;
        true
    }
}

impl Hold {
    /// The same bytes, held until the last copy of them is dropped: also in the buffers of a connection whose caller takes its time.
    pub(crate) fn with(mut self, bytes: Bytes) -> Bytes {
        let held = std::mem::take(&mut self.bytes);
        Bytes::from_owner(Held { bytes, held, budget: Arc::clone(&self.share.0.budget) })
    }
}

struct Held {
    bytes: Bytes,
    held: usize,
    budget: Arc<Budget>,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.budget.give_back(self.held);
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.share.give_back(self.bytes);
    }
}

#[cfg(test)]
mod tests;
