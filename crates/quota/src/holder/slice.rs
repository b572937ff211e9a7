//! The units of one account in one window, as all cores of a worker share them.
//!
//! One counter for all cores, not one for each: a slice is often a handful of units, and a call must not be refused because another core holds them. What cores pay for it is one
//! compare-and-swap on a line that they share, some tens of nanoseconds where a limit is so hot that they meet there.
//!
//! `available + held + consumed + returned = granted`, whenever nobody is in the middle of a step. The order within each step lets a report that falls into one err to the side of more use.

use super::atomic::{AtomicI64, AtomicU64, Ordering};

/// The units of one account in one window.
#[derive(Debug)]
pub(super) struct Slice {
    /// What the window began with.
    pub(super) opening: u64,
    /// Below zero where calls took more than they had reserved.
    available: AtomicI64,
    held: AtomicU64,
    consumed: AtomicU64,
    returned: AtomicU64,
}

impl Slice {
    pub(super) fn new(opening: u64) -> Self {
        Self {
            opening,
            available: AtomicI64::new(signed(opening)),
            held: AtomicU64::new(0),
            consumed: AtomicU64::new(0),
            returned: AtomicU64::new(0),
        }
    }

    /// Takes all of it or nothing. Takes no lock, waits for nobody, allocates nothing.
    pub(super) fn take(&self, units: u64) -> bool {
        let taken = self.subtract_if(|available| (available >= signed(units)).then_some(units));
        if taken.is_some() {
            self.held.fetch_add(units, Ordering::AcqRel);
        }
        taken.is_some()
    }

    /// A call is over that had taken `units`, and used so much for good; the rest is free for others.
    pub(super) fn settle(&self, units: u64, used: u64) {
        self.consumed.fetch_add(used, Ordering::AcqRel);
        self.held.fetch_sub(units, Ordering::AcqRel);
        self.available.fetch_add(signed(units).saturating_sub(signed(used)), Ordering::AcqRel);
    }

    /// Use that nobody had reserved.
    pub(super) fn charge(&self, units: u64) {
        self.settle(0, units);
    }

    /// More units from the control plane.
    pub(super) fn add(&self, units: u64) {
        self.available.fetch_add(signed(units), Ordering::AcqRel);
    }

    /// Gives idle units back, down to `keep`: from here on nobody takes them.
    pub(super) fn give_back(&self, keep: u64) {
        let over = |available: i64| {
            u64::try_from(available.saturating_sub(signed(keep))).ok().filter(|over| *over > 0)
        };
        if let Some(units) = self.subtract_if(over) {
            self.returned.fetch_add(units, Ordering::AcqRel);
        }
    }

    /// Units that may be taken now.
    pub(super) fn available(&self) -> u64 {
        u64::try_from(self.available.load(Ordering::Acquire)).unwrap_or_default()
    }

    pub(super) fn held(&self) -> u64 {
        self.held.load(Ordering::Acquire)
    }

    pub(super) fn consumed(&self) -> u64 {
        self.consumed.load(Ordering::Acquire)
    }

    pub(super) fn returned(&self) -> u64 {
        self.returned.load(Ordering::Acquire)
    }

    /// Subtracts what `decide` says of the present number, if anything; and says it.
    fn subtract_if(&self, decide: impl Fn(i64) -> Option<u64>) -> Option<u64> {
        let mut seen = self.available.load(Ordering::Acquire);
        loop {
            let units = decide(seen)?;
            let left = seen.saturating_sub(signed(units));
            match self.available.compare_exchange(seen, left, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Some(units),
                Err(now) => seen = now,
            }
        }
    }
}

/// Amounts are bounded far below.
fn signed(units: u64) -> i64 {
    i64::try_from(units).unwrap_or(i64::MAX)
}
