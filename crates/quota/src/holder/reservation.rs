//! What a call holds of its limits: taken before it, settled after it, on every way out.

use std::sync::Arc;

use smallvec::SmallVec;

use super::{
    cell::{Cell, Current},
    clock::Monotonic,
};
use crate::limit::Measure;

/// Calls have a handful of limits; more than these cost an allocation.
pub(super) const INLINE: usize = 8;

/// What a call asks for of one account.
#[derive(Clone, Copy, Debug)]
pub struct Want<'a> {
    /// Where.
    pub cell: &'a Arc<Cell>,
    /// How much, at most: of requests 1, of tokens and money what the call could cost.
    pub units: u64,
}

/// What a call used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// Tokens of all kinds.
    pub tokens: u64,
    /// Cost.
    pub nano_usd: u64,
}

/// Units of several accounts, taken together. Dropped without a word, it counts them as used; parallel calls end.
#[derive(Debug)]
#[must_use = "units are held until it is settled or dropped"]
pub struct Reservation {
    parts: SmallVec<[Part; INLINE]>,
}

#[derive(Debug)]
struct Part {
    cell: Arc<Cell>,
    taken_from: Arc<Current>,
    units: u64,
    settled: bool,
}

impl Reservation {
    pub(super) fn new() -> Self {
        Self { parts: SmallVec::new() }
    }

    pub(super) fn push(&mut self, cell: &Arc<Cell>, taken_from: Arc<Current>, units: u64) {
        self.parts.push(Part { cell: Arc::clone(cell), taken_from, units, settled: false });
    }

    /// The call is over and this is what it used. More than was reserved is charged, and owed by the limit's present window.
    pub fn settle(mut self, used: Used) {
        for part in &mut self.parts {
            let units = match part.cell.measure() {
                Measure::RequestsPerMinute => part.units,
                Measure::TokensPerMinute => used.tokens,
                Measure::ParallelRequests => 0,
                Measure::NanoUsdPerDay | Measure::NanoUsdPerMonth | Measure::NanoUsdTotal => used.nano_usd,
            };
            part.settle(units);
        }
    }

    /// Lets go of everything, for a call that waits until it can have all at once.
    pub(super) fn wait_with(self, waiting: &mut Waiting) {
        self.parts.iter().for_each(|part| waiting.push(&part.cell, part.units));
        self.cancel();
    }

    /// The call was not made: nothing was used.
    pub fn cancel(mut self) {
        self.parts.iter_mut().for_each(|part| part.settle(0));
    }
}

impl Part {
    fn settle(&mut self, used: u64) {
        if !std::mem::replace(&mut self.settled, true) {
            self.cell.settle(&self.taken_from, self.units, used);
        }
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        let used = if self.cell.measure().is_parallel() { 0 } else { self.units };
        self.settle(used);
    }
}

/// A call that waits for units, until its patience ends. Dropped, it asks no longer.
#[derive(Debug)]
#[must_use = "a call that waits asks for units as long as this lives"]
pub struct Waiting {
    short: SmallVec<[(Arc<Cell>, u64); INLINE]>,
    pub(super) until: Monotonic,
    pub(super) try_again_at: Option<Monotonic>,
}

impl Waiting {
    pub(super) fn new(until: Monotonic) -> Self {
        Self { short: SmallVec::new(), until, try_again_at: None }
    }

    pub(super) fn push(&mut self, cell: &Arc<Cell>, units: u64) {
        cell.wait(units);
        self.short.push((Arc::clone(cell), units));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.short.is_empty()
    }

    pub(super) fn first(&self) -> Option<&Arc<Cell>> {
        self.short.first().map(|(cell, _)| cell)
    }

    /// The last instant at which it should try again. Before that: whenever an answer was taken in, and at [`Self::try_again_at`].
    pub fn until(&self) -> Monotonic {
        self.until
    }

    /// When a window begins for which it waits.
    pub fn try_again_at(&self) -> Option<Monotonic> {
        self.try_again_at
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.short.drain(..).for_each(|(cell, units)| cell.wait_no_more(units));
    }
}
