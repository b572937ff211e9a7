//! A core's way to units: takes them for calls, and lets calls wait where there are none at hand.

use std::{cell::Cell as Plain, rc::Rc, sync::Arc};

use bailiwick_domain::{id::DeploymentId, price::Price, time::Timestamp};
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
    /// Whether some of them are of money.
    pub(crate) of_money: bool,
}

/// A call that limits are about, and what it was taken to use.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limited {
    pub(crate) call: LimitedCall,
    pub(crate) estimate: Estimate,
    pub(crate) of_money: bool,
    /// Whether its organization has limits of deployments.
    pub(crate) of_deployments: bool,
}

impl Limited {
    /// Whether what was reserved is enough at a place with this price.
    pub(crate) fn covers(&self, price: Option<Price>) -> bool {
        !self.of_money || self.estimate.covers(price)
    }

    /// The same call, sent to a place.
    pub(crate) fn at(&self, deployment: DeploymentId, price: Option<Price>) -> (LimitedCall, Estimate) {
        (LimitedCall { deployment: Some(deployment), ..self.call }, self.estimate.at(price))
    }
}

impl Limiter {
    pub(crate) fn new(lent: Arc<Lent>, metrics: CoreMetrics) -> Self {
        Self { lent, cells: Cells::default(), waiting: Plain::new(0), metrics }
    }

    /// Takes what the call may use of every limit that is about it; of all, or of none. Waits for the exchange where units are missing, at most as long as the policy's patience is.
    ///
    /// # Errors
    /// 429: a limit is used up, smaller than the call, or nobody could be asked in time. 403: nobody knows what the call costs, and a limit of money is about it.
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
        let of_money = priced(&held, estimate)?;
        let wants: Wants<'_> = held.iter().filter_map(|held| want(held, estimate)).collect();
        let outcome = self.take(&held, &wants).await;
        let told = Told::of(&held, holder, self.lent.now(), shape, now);
        match outcome {
            Ok(reservation) => Ok(Reserved { reservation, told, of_money }),
            Err(error) => Err(told.in_error(error)),
        }
    }

    /// Takes what a call may use of the limits of the place that it is about to be sent to. `None`: there are none of that place.
    ///
    /// # Errors
    /// As [`Self::reserve`]: the place is to be passed over.
    pub(crate) async fn reserve_place(
        &self,
        limited: &Limited,
        limits: &Arc<[Limit]>,
        deployment: DeploymentId,
        price: Option<Price>,
    ) -> Result<Option<Reservation>, ApiError> {
        let (call, estimate) = limited.at(deployment, price);
        let held = self.cells.of(&call, limits, self.lent.holder());
        if held.is_empty() {
            return Ok(None);
        }
        priced(&held, &estimate)?;
        let wants: Wants<'_> = held.iter().filter_map(|held| want(held, &estimate)).collect();
        self.take(&held, &wants).await.map(Some)
    }

    /// Takes what a call at a place with this price may use of limits of money beyond what it holds. To be asked before the place is.
    ///
    /// # Errors
    /// As [`Self::reserve`]; nothing more is held then.
    pub(crate) async fn reserve_dearer(
        &self,
        limited: &Limited,
        limits: &Arc<[Limit]>,
        price: Option<Price>,
        reservation: &mut Reservation,
    ) -> Result<(), ApiError> {
        let held = self.cells.of(&limited.call, limits, self.lent.holder());
        let estimate = limited.estimate.at(price);
        priced(&held, &estimate)?;
        let of_money = held.iter().filter(|held| held.cell.measure().is_money());
        let lacking = of_money.filter_map(|held| {
            let wanted = want(held, &estimate)?;
            let units = wanted.units.checked_sub(reservation.held(&held.cell)).filter(|units| *units > 0)?;
            Some(Want { units, ..wanted })
        });
        let wants: Wants<'_> = lacking.collect();
        if !wants.is_empty() {
            let more = self.take(&held, &wants).await?;
            reservation.add(more);
        }
        Ok(())
    }

    /// Takes all of it, and waits where that may help.
    async fn take(&self, held: &Rc<[Held]>, wants: &[Want<'_>]) -> Result<Reservation, ApiError> {
        let outcome = match self.lent.holder().try_reserve(wants, self.lent.now()) {
            Outcome::Reserved(reservation) => Ok(reservation),
            Outcome::Refused(refusal) => Err(Some(refusal)),
            Outcome::Wait(waiting) => self.wait(waiting, wants).await,
        };
        outcome.map_err(|refusal| match refusal {
            Some(refusal) => {
                self.metrics.limit_refused(refusal.measure);
                refusal::answer(&refusal, scope_of(held, &refusal))
            }
            None => error::overloaded(),
        })
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

/// Whether a limit of money is about the call. Errors: one is, and nobody knows what the call costs.
fn priced(held: &[Held], estimate: &Estimate) -> Result<bool, ApiError> {
    let of_money = held.iter().find(|held| held.cell.measure().is_money());
    match of_money.filter(|_| !estimate.is_priced()) {
        Some(limit) => Err(refusal::unpriced(limit.cell.account().limit.number)),
        None => Ok(of_money.is_some()),
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
