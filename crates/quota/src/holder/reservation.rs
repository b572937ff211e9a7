//! What a call holds of its limits: taken before it, settled after it, on every way out.

use std::sync::Arc;

use smallvec::SmallVec;

use super::{
    cell::{Cell, Charge, Current},
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
    /// Units that earlier parts have of the same cell.
    before: u64,
    /// Whether a later part has more of the same cell.
    is_continued: bool,
    settled: bool,
}

impl Reservation {
    pub(super) fn new() -> Self {
        Self { parts: SmallVec::new() }
    }

    pub(super) fn push(&mut self, cell: &Arc<Cell>, taken_from: Arc<Current>, units: u64) {
        let cell = Arc::clone(cell);
        self.parts.push(Part { cell, taken_from, units, before: 0, is_continued: false, settled: false });
    }

    /// Units that are held of the cell.
    pub fn held(&self, cell: &Arc<Cell>) -> u64 {
        let of_cell = self.parts.iter().rfind(|part| Arc::ptr_eq(&part.cell, cell));
        of_cell.map_or(0, |part| part.before.saturating_add(part.units))
    }

    /// Holds more of what it holds already, or of further accounts: both are settled as one.
    pub fn add(&mut self, mut more: Self) {
        for mut part in more.parts.drain(..) {
            if let Some(last) = self.parts.iter_mut().rfind(|last| Arc::ptr_eq(&last.cell, &part.cell)) {
                last.is_continued = true;
                part.before = last.before.saturating_add(last.units);
            }
            self.parts.push(part);
        }
    }

    /// The call is over and this is what it used. More than was reserved is charged, and owed by the limit's present window.
    pub fn settle(self, used: Used) {
        self.settle_telling(used, |_| {});
    }

    /// The same, and tells what of limits of money is charged where: what a next life of this worker has to know of this one.
    pub fn settle_telling(mut self, used: Used, mut tell: impl FnMut(Charge)) {
        for part in &mut self.parts {
            match part.cell.measure() {
                Measure::RequestsPerMinute => part.settle(part.units, &mut |_| {}),
                Measure::TokensPerMinute => part.settle(part.of(used.tokens), &mut |_| {}),
                Measure::ParallelRequests => part.settle(0, &mut |_| {}),
                Measure::NanoUsdPerDay | Measure::NanoUsdPerMonth | Measure::NanoUsdTotal => {
                    part.settle(part.of(used.nano_usd), &mut tell);
                }
            }
        }
    }

    /// Lets go of everything, for a call that waits until it can have all at once.
    pub(super) fn wait_with(self, waiting: &mut Waiting) {
        self.parts.iter().for_each(|part| waiting.push(&part.cell, part.units));
        self.cancel();
    }

    /// The call was not made: nothing was used.
    pub fn cancel(mut self) {
        self.parts.iter_mut().for_each(|part| part.settle(0, &mut |_| {}));
    }
}

impl Part {
    /// What of a cell's use this part bears: the first parts as much as they have, the last one all the rest.
    fn of(&self, used: u64) -> u64 {
        let rest = used.saturating_sub(self.before);
        if self.is_continued { rest.min(self.units) } else { rest }
    }

    fn settle(&mut self, used: u64, tell: &mut dyn FnMut(Charge)) {
        if !std::mem::replace(&mut self.settled, true) {
            self.cell.settle(&self.taken_from, self.units, used, tell);
        }
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        let used = if self.cell.measure().is_parallel() { 0 } else { self.units };
        self.settle(used, &mut |_| {});
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
