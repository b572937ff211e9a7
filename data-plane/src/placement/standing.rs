//! What one core knows of deployments: how many calls it has there, how soon they answer, and whether they are well. Nothing of it is shared between cores, nor asked
//! of anybody: each core learns from its own calls.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    rc::Rc,
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use bailiwick_domain::{id::DeploymentId, routing::Strategy};
use foldhash::fast::RandomState;
use http::uri::{InvalidUri, PathAndQuery};
use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};

use super::{
    Place,
    budget::Budget,
    cooling::{Cooling, Severity},
    ordering,
};
use crate::{
    metrics::{CoreMetrics, Routing},
    snapshot::{CredentialEntry, DeploymentEntry, Snapshot},
};

/// Of each answer's time in the moving average.
const SHARE_OF_THE_NEWEST: f64 = 0.25;
/// After this long without an answer, what is known of a deployment's latency counts for a third.
const FADING: Duration = Duration::from_secs(10);
/// Deployments that are forgotten at the earliest when there are more.
const FEW: usize = 64;

/// All that one core knows. It forgets deployments that are gone.
pub(crate) struct Standings {
    by_id: RefCell<HashMap<DeploymentId, Rc<Standing>, RandomState>>,
    /// How many there were after those that are gone were forgotten.
    kept: Cell<usize>,
    random: RefCell<SmallRng>,
    metrics: CoreMetrics,
}

/// One deployment's.
pub(crate) struct Standing {
    id: DeploymentId,
    /// What it was learned of: another endpoint or another secret begins anew.
    of: RefCell<(Weak<DeploymentEntry>, Weak<CredentialEntry>)>,
    in_flight: Cell<u32>,
    latency: Cell<Option<Latency>>,
    cooling: RefCell<Cooling>,
    budget: RefCell<Budget>,
    /// Paths that were called there.
    paths: RefCell<Vec<Path>>,
}

/// A path as a request has it, and what it was made of: parts of an endpoint that is called can change.
struct Path {
    prefix: Box<str>,
    path: &'static str,
    target: PathAndQuery,
}

#[derive(Clone, Copy)]
struct Latency {
    micros: f64,
    at: Instant,
}

/// Why a deployment is not well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ill {
    /// No connection.
    Unreachable,
    /// Its address lies outside the region's egress policy.
    Outside,
    /// It broke off, or what it sent was no answer.
    Broken,
    /// It did not answer in time.
    Late,
    /// It answered with a status that speaks of an outage; and how long it wants to be left alone.
    Failing(Option<Duration>),
    /// Too many calls; and how long it wants to be left alone.
    Limited(Option<Duration>),
    /// It refuses the credential, or the account is exhausted.
    Refusing,
}

impl Ill {
    fn severity(self) -> Severity {
        match self {
            Self::Unreachable | Self::Outside | Self::Broken | Self::Late => Severity::Counts,
            Self::Failing(None) | Self::Limited(None) => Severity::Counts,
            Self::Failing(Some(after)) | Self::Limited(Some(after)) => Severity::AtOnce(after),
            Self::Refusing => Severity::AtOnce(Duration::ZERO),
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Outside => "egress_refused",
            Self::Broken => "broken",
            Self::Late => "late",
            Self::Failing(_) => "failing",
            Self::Limited(_) => "rate_limited",
            Self::Refusing => "credential_refused",
        }
    }
}

impl Standings {
    /// The seed decides what is left to chance.
    pub(crate) fn new(seed: u64, metrics: CoreMetrics) -> Self {
        Self {
            by_id: RefCell::default(),
            kept: Cell::new(0),
            random: RefCell::new(SmallRng::seed_from_u64(seed)),
            metrics,
        }
    }

    pub(super) fn of(
        &self,
        snapshot: &Snapshot,
        deployment: &Arc<DeploymentEntry>,
        credential: &Arc<CredentialEntry>,
    ) -> Rc<Standing> {
        let mut by_id = self.by_id.borrow_mut();
        if let Some(found) = by_id.get(&deployment.id) {
            found.learn_of(deployment, credential);
            return Rc::clone(found);
        }
        if by_id.len() >= FEW.max(2 * self.kept.get()) {
            by_id.retain(|id, _| snapshot.deployment(id).is_some());
            self.kept.set(by_id.len());
        }
        let of = (Arc::downgrade(deployment), Arc::downgrade(credential));
        let made = Rc::new(Standing::new(deployment.id, of));
        by_id.insert(deployment.id, Rc::clone(&made));
        made
    }

    pub(super) fn order(&self, strategy: Strategy, places: &mut [Place<'_>], now: Instant) {
        let mut random = self.random.borrow_mut();
        ordering::order(
            places,
            |place| place.rank,
            |place| match strategy {
                Strategy::Weighted => 0,
                Strategy::LeastInFlight => place.standing.in_flight.get().into(),
                Strategy::LowestLatency => place.standing.latency_micros(now),
            },
            |total| random.random_range(0..total),
        );
    }

    /// Spreads what happens at one time: from three quarters of it to five.
    pub(crate) fn spread(&self, duration: Duration) -> Duration {
        duration.mul_f64(self.random.borrow_mut().random_range(0.75..1.25))
    }

    /// Begins to call a deployment. `None`: it is being probed, and another call was quicker.
    pub(crate) fn begin(&self, standing: &Rc<Standing>, forced: bool, now: Instant) -> Option<Attempt> {
        let is_probe = standing.cooling.borrow_mut().begin(now);
        if !is_probe && !forced && !standing.admits(now) {
            return None;
        }
        standing.in_flight.set(standing.in_flight.get().saturating_add(1));
        if let Some(latency) = standing.latency.get() {
            // One call tries a slow one again; those behind it see what is known until that call has its answer.
            standing.latency.set(Some(Latency { at: now, ..latency }));
        }
        Some(Attempt { standing: Rc::clone(standing), is_probe, is_ill: false })
    }

    /// A deployment failed a call.
    pub(crate) fn failed(&self, attempt: &mut Attempt, ill: Ill, now: Instant) {
        if attempt.is_ill {
            return;
        }
        attempt.is_ill = true;
        let spread = self.spread(Duration::from_secs(1)).as_secs_f64();
        let standing = &attempt.standing;
        let is_probe = std::mem::take(&mut attempt.is_probe);
        let cools = standing.cooling.borrow_mut().failed(ill.severity(), is_probe, now, spread);
        if let Some(cools_for) = cools {
            self.metrics.routed(Routing::CooledDown);
            let (reason, millis) = (ill.as_str(), u64::try_from(cools_for.as_millis()).unwrap_or(u64::MAX));
            tracing::warn!(deployment = %standing.id, reason, millis, "a deployment cools down");
        }
    }

    /// A deployment's answer has begun, and speaks of no failure.
    pub(crate) fn answered(&self, attempt: &mut Attempt, waited: Duration, now: Instant) {
        let standing = &attempt.standing;
        let newest = waited.as_secs_f64() * 1e6;
        let micros = standing.latency.get().map_or(newest, |known| {
            known.micros.mul_add(1.0 - SHARE_OF_THE_NEWEST, newest * SHARE_OF_THE_NEWEST)
        });
        standing.latency.set(Some(Latency { micros, at: now }));
        if std::mem::take(&mut attempt.is_probe) {
            standing.cooling.borrow_mut().probed();
            self.metrics.routed(Routing::Recovered);
            tracing::info!(deployment = %standing.id, "a deployment is called again");
        }
    }
}

impl Standing {
    fn new(id: DeploymentId, of: (Weak<DeploymentEntry>, Weak<CredentialEntry>)) -> Self {
        Self {
            id,
            of: RefCell::new(of),
            in_flight: Cell::new(0),
            latency: Cell::new(None),
            cooling: RefCell::default(),
            budget: RefCell::default(),
            paths: RefCell::default(),
        }
    }

    /// A path behind an endpoint's own, in the form that a request has it. Made once: what it consists of is read and copied each time otherwise. Errors: together they are no path.
    pub(crate) fn target(&self, prefix: &str, path: &'static str) -> Result<PathAndQuery, InvalidUri> {
        let mut paths = self.paths.borrow_mut();
        let known = paths.iter().position(|known| known.path == path);
        if let Some(known) = known.and_then(|known| paths.get(known)).filter(|known| *known.prefix == *prefix)
        {
            return Ok(known.target.clone());
        }
        let target = PathAndQuery::try_from([prefix, path].concat())?;
        // One of each path, of which there are as many as endpoints that callers use.
        paths.retain(|known| known.path != path);
        paths.push(Path { prefix: prefix.into(), path, target: target.clone() });
        Ok(target)
    }

    /// What an administrator changed is tried at once.
    fn learn_of(&self, deployment: &Arc<DeploymentEntry>, credential: &Arc<CredentialEntry>) {
        let mut of = self.of.borrow_mut();
        let (known, secret) = &*of;
        if std::ptr::eq(known.as_ptr(), Arc::as_ptr(deployment))
            && std::ptr::eq(secret.as_ptr(), Arc::as_ptr(credential))
        {
            return;
        }
        *of = (Arc::downgrade(deployment), Arc::downgrade(credential));
        self.cooling.replace(Cooling::default());
        self.latency.set(None);
    }

    /// Whether it is well, or may be probed.
    pub(crate) fn admits(&self, now: Instant) -> bool {
        self.cooling.borrow().admits(now)
    }

    /// A call begins with it: that pays for a part of a retry.
    pub(crate) fn called(&self) {
        self.budget.borrow_mut().called();
    }

    /// Whether a call that failed here may be tried again, here or elsewhere.
    pub(crate) fn may_retry(&self, now: Instant) -> bool {
        self.budget.borrow_mut().withdraw(now)
    }

    fn latency_micros(&self, now: Instant) -> u64 {
        let Some(Latency { micros, at }) = self.latency.get() else { return 0 };
        let idle = now.saturating_duration_since(at).as_secs_f64() / FADING.as_secs_f64();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "saturates, and is no less than 0"
        )]
        let faded = (micros * (-idle).exp()) as u64;
        faded
    }
}

/// A call at a deployment, from its request to the end of its answer.
pub(crate) struct Attempt {
    standing: Rc<Standing>,
    is_probe: bool,
    is_ill: bool,
}

impl Attempt {
    /// What came of it speaks of the call alone. One that was to find out has found out nothing.
    pub(crate) fn says_nothing(&mut self) {
        self.is_ill = true;
    }

    /// The answer was read to its end.
    pub(crate) fn finished(self) {
        if !self.is_ill {
            self.standing.cooling.borrow_mut().succeeded();
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        let standing = &self.standing;
        standing.in_flight.set(standing.in_flight.get().saturating_sub(1));
        if self.is_probe {
            standing.cooling.borrow_mut().not_probed();
        }
    }
}

#[cfg(test)]
mod tests;
