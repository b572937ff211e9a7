use bailiwick_domain::{
    key::ApiKey,
    time::{ManualClock, Timestamp},
};
use bailiwick_quota::{
    holder::{Outcome, Reservation, Want},
    limit::{Limit, Measure},
    policy::Policy,
};

use super::{
    super::{
        LimitedCall,
        cells::Cells,
        tests::{control_plane::ControlPlane, home, limit, organization},
    },
    *,
};
use crate::{
    metering::{
        Journals, Meter, StartedCall,
        tests::{call, completed, now},
    },
    polling::eventually,
};

/// A worker of one life, and the folder that it has.
struct Worker {
    lent: Arc<Lent>,
    names: Names,
    journals: Journals,
}

impl Worker {
    fn start(folder: &std::path::Path) -> Self {
        let journals = Journals::open(folder, 1, 1 << 20, Timestamp::from_micros(0)).unwrap();
        let names = Names::left_in(folder, &journals.lock, &journals.lives);
        let lent = Arc::new(Lent::new(Policy::default(), names.earlier()));
        Self { lent, names, journals }
    }

    fn held(limits: &Arc<[Limit]>, of: &Self) -> std::rc::Rc<[super::super::cells::Held]> {
        let key = ApiKey::generate(home().code()).key_id();
        let model = home().mint(Timestamp::from_micros(1), 1).into_inner();
        let call = LimitedCall { organization: organization(), key, model, deployment: None };
        Cells::default().of(&call, limits, of.lent.holder())
    }

    fn try_take(&self, limits: &Arc<[Limit]>, units: u64) -> Outcome {
        let held = Self::held(limits, self);
        let wants: Vec<_> = held.iter().map(|held| Want { cell: &held.cell, units }).collect();
        self.lent.holder().try_reserve(&wants, self.lent.now())
    }

    /// Asks as often as it takes.
    async fn take(&self, limits: &Arc<[Limit]>, units: u64) -> Reservation {
        let held = Self::held(limits, self);
        let wants: Vec<_> = held.iter().map(|held| Want { cell: &held.cell, units }).collect();
        let taking = async {
            loop {
                let mut outcome = self.lent.holder().try_reserve(&wants, self.lent.now());
                while let Outcome::Wait(waiting) = outcome {
                    let mut heard = self.lent.ask();
                    let _late = tokio::time::timeout(Duration::from_millis(20), heard.changed()).await;
                    outcome = self.lent.holder().try_again(waiting, &wants, self.lent.now());
                }
                if let Outcome::Reserved(reservation) = outcome {
                    return reservation;
                }
                let _late = tokio::time::timeout(Duration::from_millis(20), self.lent.ask().changed()).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), taking).await.expect("nothing was lent")
    }
}

/// Whether its name is on disk.
fn is_named(folder: &std::path::Path) -> bool {
    std::fs::read_to_string(folder.join("holders")).is_ok_and(|text| !text.contains("\"holders\":[]"))
}

fn parallel(amount: u64) -> Arc<[Limit]> {
    [limit(organization(), 1, Measure::ParallelRequests, amount)].into()
}

#[tokio::test]
async fn a_worker_that_was_killed_gives_its_parallel_calls_back_with_its_next_life() {
    let folder = tempfile::tempdir().unwrap();
    let limits = parallel(1);
    let mut control_plane = ControlPlane::start(limits.iter().copied()).await;
    let killed = Worker::start(folder.path());
    control_plane.lend(&killed.lent, killed.names.clone());
    let held = killed.take(&limits, 1).await;
    eventually(|| is_named(folder.path())).await;
    std::mem::forget(held);
    control_plane.kill_workers();
    drop(killed);

    let next = Worker::start(folder.path());
    assert_eq!(next.names.earlier().len(), 1);
    control_plane.lend(&next.lent, next.names.clone());
    drop(next.take(&limits, 1).await);
}

#[tokio::test]
async fn a_worker_that_was_killed_gives_the_money_back_that_its_journals_say_it_did_not_use() {
    let folder = tempfile::tempdir().unwrap();
    let limits: Arc<[Limit]> = [limit(organization(), 1, Measure::NanoUsdTotal, 1_000_000)].into();
    let mut control_plane = ControlPlane::start(limits.iter().copied()).await;
    let mut killed = Worker::start(folder.path());
    let meter = Meter::new(killed.journals.writers.pop(), Arc::new(ManualClock::at(now())));
    control_plane.lend(&killed.lent, killed.names.clone());
    // A call that is over, and one that is not.
    let started = StartedCall { organization: organization(), ..call() };
    let reserved = killed.take(&limits, 400_000).await;
    let mut over = meter.start(started).unwrap().holding(Some(reserved));
    over.attempts(1);
    let settled = over.settle(completed(50), now());
    assert_eq!(settled.cost().map(bailiwick_domain::money::NanoUsd::as_nanos), Some(100_000));
    settled.at_once();
    let running = killed.take(&limits, 500_000).await;
    eventually(|| is_named(folder.path())).await;
    std::mem::forget((running, meter));
    control_plane.kill_workers();
    drop(killed);

    let next = Worker::start(folder.path());
    assert_eq!(next.names.settlements().len(), 1);
    control_plane.lend(&next.lent, next.names.clone());
    let _rest = next.take(&limits, 900_000).await;
    assert!(!matches!(next.try_take(&limits, 1), Outcome::Reserved(_)), "that is all");
    // Once it is answered, it is said no more.
    eventually(|| {
        let text = std::fs::read_to_string(folder.path().join("holders")).unwrap();
        !text.contains("\"charged\":[")
    })
    .await;
}

#[tokio::test]
async fn a_worker_that_leaves_gives_back_what_it_does_not_use() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let limits: Arc<[Limit]> = [limit(organization(), 1, Measure::NanoUsdTotal, 100)].into();
    let mut control_plane = ControlPlane::start(limits.iter().copied()).await;
    let leaving = Worker::start(folder.path());
    control_plane.lend(&leaving.lent, leaving.names.clone());
    leaving.take(&limits, 40).await.settle(bailiwick_quota::holder::Used { tokens: 0, nano_usd: 30 });
    std::mem::replace(&mut control_plane.stop, CancellationToken::new()).cancel();
    eventually(|| {
        let last = control_plane.heard().pop();
        matches!(last, Some(FromHolder::Exchange(exchange)) if exchange.leaving)
    })
    .await;

    let staying = Worker::start(other.path());
    control_plane.lend(&staying.lent, staying.names.clone());
    drop(staying.take(&limits, 70).await);
}

#[tokio::test]
async fn a_control_plane_that_goes_away_is_dialled_again_and_told_everything() {
    let folder = tempfile::tempdir().unwrap();
    let limits = parallel(3);
    let mut control_plane = ControlPlane::start(limits.iter().copied()).await;
    let worker = Worker::start(folder.path());
    control_plane.lend(&worker.lent, worker.names.clone());
    let _held = worker.take(&limits, 2).await;
    assert!(worker.lent.is_connected());
    let before = control_plane.heard().len();
    control_plane.end_streams();
    // The same life: no second hello, and what it holds is told again.
    eventually(|| {
        control_plane.heard().iter().skip(before).any(|message| {
            matches!(message, FromHolder::Exchange(exchange) if exchange.reports.iter().any(|report| report.held == 2))
        })
    })
    .await;
    let hellos =
        control_plane.heard().iter().filter(|message| matches!(message, FromHolder::Hello(_))).count();
    assert_eq!(hellos, 1);
    eventually(|| worker.lent.is_connected()).await;
}

#[tokio::test]
async fn r9_a_control_plane_that_falls_silent_is_given_up_and_what_is_lent_is_used() {
    let folder = tempfile::tempdir().unwrap();
    let limits: Arc<[Limit]> = [limit(organization(), 1, Measure::RequestsPerMinute, 100)].into();
    let mut control_plane = ControlPlane::start(limits.iter().copied()).await;
    let worker = Worker::start(folder.path());
    control_plane.lend(&worker.lent, worker.names.clone());
    drop(worker.take(&limits, 1).await);
    eventually(|| worker.lent.is_connected()).await;
    control_plane.fall_silent();
    eventually(|| !worker.lent.is_connected()).await;
    assert!(worker.lent.lease_left() > Duration::from_secs(3000));
    let mut admitted = 1;
    while let Outcome::Reserved(call) = worker.try_take(&limits, 1) {
        drop(call);
        admitted += 1;
    }
    assert!((2..=100).contains(&admitted), "{admitted}");
    let Outcome::Refused(refusal) = worker.try_take(&limits, 1) else { panic!("nobody is asked") };
    assert_eq!(refusal.reason, bailiwick_quota::holder::Reason::CutOff);
}

#[tokio::test]
async fn r5_what_is_said_of_another_region_ends_the_stream() {
    let folder = tempfile::tempdir().unwrap();
    let limits = parallel(3);
    let mut control_plane = ControlPlane::start(limits.iter().copied()).await;
    let worker = Worker::start(folder.path());
    control_plane.lend(&worker.lent, worker.names.clone());
    drop(worker.take(&limits, 1).await);
    let foreign = bailiwick_domain::region::Regions::builtin();
    let foreign = Jurisdiction::of(foreign.by_name_str("us-east-1").unwrap());
    assert_eq!(control_plane.streams(), 1);
    control_plane.lend_of(foreign.mint(Timestamp::from_micros(1), 9).into_inner());
    eventually(|| control_plane.streams() > 1).await;
}
