//! Which worker gets a call: of two taken at random, the one with fewer calls in flight
//! (power of two choices: <https://www.eecs.harvard.edu/~michaelm/postscripts/handbook2001.pdf>). Workers that could not be reached are left alone for a while.
//!
//! Each core counts for itself: what it sees of a worker is a fair sample, and nothing is shared.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    net::SocketAddr,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    pool::Idle,
    workers::{Worker, Workers},
};

const FIRST_EJECTION: Duration = Duration::from_millis(500);
const LONGEST_EJECTION: Duration = Duration::from_secs(15);

/// One core's balance.
pub(crate) struct Balance {
    workers: Workers,
    known: RefCell<Known>,
}

#[derive(Default)]
struct Known {
    /// The view that `tracks` belongs to.
    view: Option<Arc<Vec<Worker>>>,
    tracks: Vec<Rc<Track>>,
}

/// What a core knows of one worker.
pub(crate) struct Track {
    worker: Worker,
    in_flight: Cell<usize>,
    failures: Cell<u32>,
    ejected_until: Cell<Option<Instant>>,
    idle: Idle,
}

/// A call in flight: counted until it is dropped.
pub(crate) struct InFlight(Rc<Track>);

impl Balance {
    pub(crate) fn new(workers: Workers) -> Self {
        Self { workers, known: RefCell::default() }
    }

    /// Chooses a worker that is not in `tried`. While all are ejected, they are tried all the same: a guess is better than a refusal.
    /// `now` is asked only for workers that were ejected.
    pub(crate) fn choose(&self, tried: &[SocketAddr], now: impl Fn() -> Instant) -> Option<InFlight> {
        self.refresh();
        let known = self.known.borrow();
        let untried = || known.tracks.iter().filter(|track| !tried.contains(&track.worker.address));
        let is_healthy = |track: &&Rc<Track>| track.ejected_until.get().is_none_or(|until| until <= now());
        let (one, other) = two_of(|| untried().filter(is_healthy)).or_else(|| two_of(untried))?;
        let chosen = if other.in_flight.get() < one.in_flight.get() { other } else { one };
        chosen.in_flight.set(chosen.in_flight.get() + 1);
        Some(InFlight(Rc::clone(chosen)))
    }

    /// Takes a new view over; what is known of workers that are still the same process is kept.
    fn refresh(&self) {
        let view = self.workers.load();
        let mut known = self.known.borrow_mut();
        if known.view.as_ref().is_some_and(|seen| Arc::ptr_eq(seen, &view)) {
            return;
        }
        let old: HashMap<(&str, &str), &Rc<Track>> = known
            .tracks
            .iter()
            .map(|track| ((track.worker.name.as_str(), track.worker.boot_id.as_str()), track))
            .collect();
        let same = |worker: &Worker| {
            let found = old.get(&(worker.name.as_str(), worker.boot_id.as_str())).copied();
            found.filter(|track| track.worker.address == worker.address).cloned()
        };
        let tracks =
            view.iter().map(|worker| same(worker).unwrap_or_else(|| Rc::new(Track::of(worker)))).collect();
        *known = Known { view: Some(Arc::clone(&view)), tracks };
    }
}

/// Two at random, which may be the same.
fn two_of<'a, Candidates: Iterator<Item = &'a Rc<Track>>>(
    candidates: impl Fn() -> Candidates,
) -> Option<(&'a Rc<Track>, &'a Rc<Track>)> {
    let count = candidates().count();
    let (one, other) = if count > 1 { rand::random::<(u32, u32)>() } else { (0, 0) };
    let pick = |random: u32| candidates().nth((random as usize).checked_rem(count)?);
    Some((pick(one)?, pick(other)?))
}

impl Track {
    fn of(worker: &Worker) -> Self {
        Self {
            worker: worker.clone(),
            in_flight: Cell::default(),
            failures: Cell::default(),
            ejected_until: Cell::default(),
            idle: Idle::default(),
        }
    }
}

impl InFlight {
    pub(crate) fn address(&self) -> SocketAddr {
        self.0.worker.address
    }

    /// Connections to it.
    pub(crate) fn idle(&self) -> &Idle {
        &self.0.idle
    }

    /// The worker answered.
    pub(crate) fn succeeded(&self) {
        if self.0.failures.get() != 0 {
            self.0.failures.set(0);
            self.0.ejected_until.set(None);
        }
    }

    /// The worker could not be reached, or broke off: it is left alone, longer with each failure in a row.
    pub(crate) fn failed(&self, now: Instant) {
        let failures = self.0.failures.get().saturating_add(1);
        self.0.failures.set(failures);
        let wait =
            FIRST_EJECTION.saturating_mul(1 << failures.min(6).saturating_sub(1)).min(LONGEST_EJECTION);
        self.0.ejected_until.set(Some(now + wait));
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.set(self.0.in_flight.get().saturating_sub(1));
    }
}

#[cfg(test)]
mod tests;
