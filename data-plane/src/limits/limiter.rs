//! A core's way to units: takes them for calls, and lets calls wait where there are none at hand.

use std::{cell::Cell as Plain, rc::Rc, sync::Arc};

use bailiwick_domain::time::Timestamp;
use bailiwick_quota::{
    holder::{Outcome, Refusal, Reservation, Waiting, Want},
    limit::{Limit, Scope},
};
use bailiwick_runtime::serving::{ApiError, ErrorShape};
use tokio::time::{Instant, timeout_at};

use super::{
    Estimate, LimitedCall, Told,
    cells::{Cells, Held},
    lent::Lent,
    refusal,
};
use crate::{error, metrics::CoreMetrics};

/// Calls of one core that may wait at once, each for a quarter of a second at most. One more is refused at once, and told to come again in a second: a worker whose control plane does not
/// answer shall hold its callers' bodies no longer than it must.
const MOST_WAITING: usize = 1024;
/// Limits of one call that need no allocation.
const INLINE: usize = 8;

type Wants<'a> = smallvec::SmallVec<[Want<'a>; INLINE]>;

/// One core's.
pub(crate) struct Limiter {
    lent: Arc<Lent>,
    cells: Cells,
    waiting: Plain<usize>,
    metrics: CoreMetrics,
}

/// What a call holds of its limits, and what its caller is told of them.
pub(crate) struct Reserved {
    pub(crate) reservation: Reservation,
    pub(crate) told: Told,
}

impl Limiter {
    pub(crate) fn new(lent: Arc<Lent>, metrics: CoreMetrics) -> Self {
        Self { lent, cells: Cells::default(), waiting: Plain::new(0), metrics }
    }

    /// Takes what the call may use of every limit that is about it; of all, or of none. Waits for the exchange where units are missing, at most as long as the policy's patience is.
    ///
    /// # Errors
    /// 429: a limit is used up, smaller than the call, or nobody could be asked in time.
    pub(crate) async fn reserve(
        &self,
        call: &LimitedCall,
        limits: &Arc<[Limit]>,
        estimate: &Estimate,
        shape: ErrorShape,
        now: Timestamp,
    ) -> Result<Reserved, ApiError> {
        let holder = self.lent.holder();
        let held = self.cells.of(call, limits, holder);
        let wants: Wants<'_> = held.iter().filter_map(|held| want(held, estimate)).collect();
        let outcome = match holder.try_reserve(&wants, self.lent.now()) {
            Outcome::Reserved(reservation) => Ok(reservation),
            Outcome::Refused(refusal) => Err(Some(refusal)),
            Outcome::Wait(waiting) => self.wait(waiting, &wants).await,
        };
        let told = Told::of(&held, holder, self.lent.now(), shape, now);
        match outcome {
            Ok(reservation) => Ok(Reserved { reservation, told }),
            Err(Some(refusal)) => {
                self.metrics.limit_refused(refusal.measure);
                Err(told.in_error(refusal::answer(&refusal, scope_of(&held, &refusal))))
            }
            Err(None) => Err(error::overloaded()),
        }
    }

    /// `Err(None)`: it waited for nothing that could be named, which does not happen.
    async fn wait(&self, waiting: Waiting, wants: &[Want<'_>]) -> Result<Reservation, Option<Refusal>> {
        let (lent, holder) = (&self.lent, self.lent.holder());
        if self.waiting.get() >= MOST_WAITING {
            return Err(holder.give_up(waiting, lent.now()));
        }
        let _waits = Waits::begin(&self.waiting, &self.metrics);
        let mut heard = lent.ask();
        let mut waiting = waiting;
        loop {
            // First of all without waiting: an answer may have come since it was looked last.
            waiting = match holder.try_again(waiting, wants, lent.now()) {
                Outcome::Reserved(reservation) => return Ok(reservation),
                Outcome::Refused(refusal) => return Err(Some(refusal)),
                Outcome::Wait(waiting) => waiting,
            };
            let until = waiting.try_again_at().map_or(waiting.until(), |at| at.min(waiting.until()));
            let until = Instant::from_std(lent.instant(until));
            let _heard_or_late = timeout_at(until, heard.changed()).await;
        }
    }
}

fn want<'a>(held: &'a Held, estimate: &Estimate) -> Option<Want<'a>> {
    let units = estimate.units(held.cell.measure(), held.cell.amount());
    (units > 0).then_some(Want { cell: &held.cell, units })
}

fn scope_of<'a>(held: &'a Rc<[Held]>, refusal: &Refusal) -> &'a Scope {
    let found = held.iter().find(|held| *held.cell.account() == refusal.account);
    found.map_or(&Scope::ORGANIZATION, |held| &held.scope)
}

/// A call that waits; also when its caller leaves meanwhile.
struct Waits<'a>(&'a Plain<usize>, &'a CoreMetrics);

impl<'a> Waits<'a> {
    fn begin(waiting: &'a Plain<usize>, metrics: &'a CoreMetrics) -> Self {
        waiting.set(waiting.get().saturating_add(1));
        metrics.limit_waiting(waiting.get());
        Self(waiting, metrics)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
        self.1.limit_waiting(self.0.get());
    }
}

#[cfg(test)]
mod tests;
