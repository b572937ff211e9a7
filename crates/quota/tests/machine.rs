//! Attacks on the sum: any interleaving of calls, messages that are lost, doubled, late and out of order, crashes of workers and of the control plane, two control planes at a time, workers that are cut
//! off, clocks that drift. After each step, what was admitted in each window is at most the limit.

#![expect(clippy::expect_used, clippy::indexing_slicing, reason = "tests, not production")]

#[path = "support/accounts.rs"]
mod accounts;
#[path = "support/store.rs"]
mod store;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use accounts::{START, limit};
use bailiwick_domain::time::Timestamp;
use bailiwick_quota::{
    allocator::{Allocator, Committed},
    holder::{Cell, Holder, Monotonic, Outcome, Reservation, Used, Waiting, Want},
    limit::{Account, Limit, Measure},
    policy::Policy,
    protocol::{Consumed, FromHolder, HolderId, Settlement, ToHolder},
};
use proptest::prelude::*;
use store::Store;

const WORKERS: usize = 4;

/// Limits of all kinds, small, so that they are met.
fn limits() -> Vec<(Limit, Account)> {
    vec![
        limit(Measure::RequestsPerMinute, 40),
        limit(Measure::TokensPerMinute, 5_000),
        limit(Measure::ParallelRequests, 12),
        limit(Measure::NanoUsdTotal, 200_000),
    ]
}

fn policy() -> Policy {
    Policy {
        lease_life: Duration::from_secs(150),
        longest_call: Duration::from_secs(40),
        ..Policy::default()
    }
}

#[derive(Clone, Debug)]
enum Action {
    Pass {
        millis: u64,
    },
    Call {
        worker: usize,
        tokens: u64,
        nano_usd: u64,
    },
    /// One call after the other, each as long as it takes.
    Rush {
        worker: usize,
        calls: usize,
    },
    TryAgain {
        worker: usize,
    },
    End {
        call: usize,
        percent: u64,
    },
    Send {
        worker: usize,
    },
    DeliverUp {
        message: usize,
        keep: bool,
    },
    DeliverDown {
        message: usize,
        keep: bool,
    },
    Lose {
        up: bool,
        message: usize,
    },
    Connect {
        worker: usize,
    },
    CutOff {
        worker: usize,
    },
    CrashWorker {
        worker: usize,
        supersede: bool,
    },
    CrashAllocator {
        with_messages: bool,
    },
    Usurp,
    Talk,
}

fn actions() -> impl Strategy<Value = Action> {
    let worker = 0..WORKERS;
    let any_message = 0_usize..1000;
    prop_oneof![
        6 => prop_oneof![5 => 0_u64..400, 2 => 400_u64..20_000, 2 => 20_000_u64..100_000].prop_map(|millis| Action::Pass { millis }),
        // Nothing of some limits, so that each of them is the one that is met.
        30 => (worker.clone(), prop_oneof![Just(0), 1_u64..900], prop_oneof![3 => Just(0), 1 => 1_u64..9_000])
            .prop_map(|(worker, tokens, nano_usd)| Action::Call { worker, tokens, nano_usd }),
        4 => (worker.clone(), 1_usize..60).prop_map(|(worker, calls)| Action::Rush { worker, calls }),
        10 => worker.clone().prop_map(|worker| Action::TryAgain { worker }),
        12 => (any_message.clone(), 0_u64..=100).prop_map(|(call, percent)| Action::End { call, percent }),
        12 => worker.clone().prop_map(|worker| Action::Send { worker }),
        12 => (any_message.clone(), prop::bool::weighted(0.2)).prop_map(|(message, keep)| Action::DeliverUp { message, keep }),
        12 => (any_message.clone(), prop::bool::weighted(0.2)).prop_map(|(message, keep)| Action::DeliverDown { message, keep }),
        2 => (any::<bool>(), any_message).prop_map(|(up, message)| Action::Lose { up, message }),
        3 => worker.clone().prop_map(|worker| Action::Connect { worker }),
        2 => worker.clone().prop_map(|worker| Action::CutOff { worker }),
        1 => (worker, any::<bool>()).prop_map(|(worker, supersede)| Action::CrashWorker { worker, supersede }),
        2 => any::<bool>().prop_map(|with_messages| Action::CrashAllocator { with_messages }),
        1 => Just(Action::Usurp),
        14 => Just(Action::Talk),
    ]
}

struct Worker {
    holder: Holder,
    cells: Vec<Arc<Cell>>,
    name: Option<HolderId>,
    connected: bool,
    life: u64,
    waits: Vec<(Waiting, [u64; 4])>,
    drift_ppm: i64,
}

struct Running {
    worker: usize,
    life: u64,
    began: Timestamp,
    reservation: Option<Reservation>,
    units: [u64; 4],
}

/// The last window of each account that was charged in each name, and how much.
type Written = BTreeMap<(HolderId, Account), (Timestamp, u64)>;

struct World {
    limits: Vec<(Limit, Account)>,
    now_micros: u64,
    store: Store,
    allocator: Allocator,
    /// In office no longer, and does not know.
    usurped: Option<Allocator>,
    workers: Vec<Worker>,
    up: Vec<FromHolder>,
    down: Vec<(usize, ToHolder)>,
    running: Vec<Running>,
    /// Admitted and over, by limit and window: what it used, or all it had reserved where nobody can tell.
    used: BTreeMap<(usize, Timestamp), u64>,
    /// What each life of each worker has written down with its calls: by name, account and window.
    written: BTreeMap<(usize, u64), Written>,
    /// What the next lives have to tell of those before, again and again.
    settlements: BTreeMap<usize, Vec<FromHolder>>,
    nonces: u64,
    admitted: u64,
    /// Of what a dead life used, its next one tells so much.
    told_percent: u64,
    /// The guard that a test takes away.
    send_before_storing: bool,
}

impl World {
    fn new() -> Self {
        let mut store = Store::default();
        let limits = limits();
        let term = store.next_term();
        let allocator = Allocator::take_office(
            term,
            policy(),
            limits.iter().map(|(limit, _)| *limit),
            &store.rows,
            START,
        );
        let mut world = Self {
            limits,
            now_micros: 0,
            store,
            allocator,
            usurped: None,
            workers: Vec::new(),
            up: Vec::new(),
            down: Vec::new(),
            running: Vec::new(),
            used: BTreeMap::new(),
            written: BTreeMap::new(),
            settlements: BTreeMap::new(),
            nonces: 0,
            admitted: 0,
            told_percent: 100,
            send_before_storing: false,
        };
        for index in 0..WORKERS {
            let worker = world.new_worker(index, Vec::new(), 0);
            world.workers.push(worker);
        }
        world
    }

    fn new_worker(&mut self, index: usize, supersedes: Vec<HolderId>, life: u64) -> Worker {
        self.nonces += 1000;
        let holder = Holder::new(policy(), self.nonces, supersedes);
        holder.connected();
        let cells = self.limits.iter().map(|(limit, account)| holder.cell(*account, limit)).collect();
        let drift_ppm = [-240, 240, 0, 100][index];
        Worker { holder, cells, name: None, connected: true, life, waits: Vec::new(), drift_ppm }
    }

    fn now(&self) -> Timestamp {
        START.saturating_add(Duration::from_micros(self.now_micros))
    }

    /// The worker's own clock: another beginning, another speed.
    fn clock(&self, worker: usize) -> Monotonic {
        let offset = 1_000_000 * (worker as u64 + 1);
        let drift = i128::from(self.now_micros) * i128::from(self.workers[worker].drift_ppm) / 1_000_000;
        Monotonic::from_micros(offset + u64::try_from(i128::from(self.now_micros) + drift).expect("positive"))
    }

    fn act(&mut self, action: &Action) {
        match *action {
            Action::Pass { millis } => self.pass(millis),
            Action::Call { worker, tokens, nano_usd } => self.call(worker, [1, tokens, 1, nano_usd]),
            Action::Rush { worker, calls } => {
                for _ in 0..calls {
                    self.call(worker, [1, 0, 0, 0]);
                    if !self.workers[worker].waits.is_empty() {
                        self.talk();
                        self.try_again(worker);
                    }
                }
            }
            Action::TryAgain { worker } => self.try_again(worker),
            Action::End { call, percent } => self.end(call, percent),
            Action::Send { worker } => self.send(worker),
            Action::DeliverUp { message, keep } => self.deliver_up(message, keep),
            Action::DeliverDown { message, keep } => self.deliver_down(message, keep),
            Action::Lose { up: true, message } => drop(take(&mut self.up, message, false)),
            Action::Lose { up: false, message } => drop(take(&mut self.down, message, false)),
            Action::Connect { worker } => {
                self.workers[worker].connected = true;
                self.workers[worker].holder.connected();
            }
            Action::CutOff { worker } => self.cut_off(worker),
            Action::CrashWorker { worker, supersede } => self.crash_worker(worker, supersede),
            Action::CrashAllocator { with_messages } => self.crash_allocator(with_messages),
            Action::Usurp => {
                let fresh = self.take_office();
                self.usurped = Some(std::mem::replace(&mut self.allocator, fresh));
            }
            Action::Talk => self.talk(),
        }
    }

    fn pass(&mut self, millis: u64) {
        // In pieces, so that no call outlives the longest.
        for _ in 0..millis.div_ceil(5_000).max(1) {
            self.now_micros += millis * 1000 / millis.div_ceil(5_000).max(1);
            let longest = policy().longest_call.as_micros();
            while let Some(old) = self
                .running
                .iter()
                .position(|call| self.now().saturating_since(call.began).as_micros() + 6_000_000 > longest)
            {
                self.end(old, 100);
            }
            let step = self.allocator.tick(self.now());
            self.commit(step);
        }
    }

    fn call(&mut self, worker: usize, units: [u64; 4]) {
        let now = self.clock(worker);
        let at = &self.workers[worker];
        let wants: Vec<Want<'_>> =
            at.cells.iter().zip(units).map(|(cell, units)| Want { cell, units }).collect();
        let outcome = at.holder.try_reserve(&wants, now);
        self.outcome(worker, units, outcome);
    }

    fn try_again(&mut self, worker: usize) {
        let now = self.clock(worker);
        let Some((waiting, units)) = self.workers[worker].waits.pop() else { return };
        let at = &self.workers[worker];
        let wants: Vec<Want<'_>> =
            at.cells.iter().zip(units).map(|(cell, units)| Want { cell, units }).collect();
        let outcome = at.holder.try_again(waiting, &wants, now);
        self.outcome(worker, units, outcome);
    }

    fn outcome(&mut self, worker: usize, units: [u64; 4], outcome: Outcome) {
        match outcome {
            Outcome::Reserved(reservation) => {
                self.admitted += 1;
                let (began, life) = (self.now(), self.workers[worker].life);
                self.running.push(Running { worker, life, began, reservation: Some(reservation), units });
            }
            Outcome::Wait(waiting) => self.workers[worker].waits.push((waiting, units)),
            Outcome::Refused(_) => {}
        }
    }

    fn end(&mut self, call: usize, percent: u64) {
        if self.running.is_empty() {
            return;
        }
        let index = call % self.running.len();
        let mut call = self.running.remove(index);
        let used = call.units.map(|units| units * percent / 100);
        self.settle(&mut call, Used { tokens: used[1], nano_usd: used[3] });
        self.count(&call, [call.units[0], used[1], 0, used[3]]);
    }

    /// As a worker does: what is charged to limits of money is written down.
    fn settle(&mut self, call: &mut Running, used: Used) {
        let written = self.written.entry((call.worker, call.life)).or_default();
        call.reservation.take().expect("running").settle_telling(used, |charge| {
            let starts = charge.window.starts;
            let sum = written.entry((charge.holder, charge.account)).or_insert((starts, 0));
            *sum = if sum.0 == starts { (starts, sum.1 + charge.units) } else { (starts, charge.units) };
        });
    }

    /// The next life tells what the dead one used, in each of its names.
    fn tell_of(&mut self, worker: usize, life: u64, name: HolderId) {
        let written = self.written.remove(&(worker, life)).unwrap_or_default();
        let mut settlements: BTreeMap<HolderId, Vec<Consumed>> = [(name, Vec::new())].into();
        for ((holder, account), (window_starts, units)) in written {
            let units = units * self.told_percent / 100;
            settlements.entry(holder).or_default().push(Consumed { account, window_starts, units });
        }
        let settlements = settlements.into_iter();
        let settlements =
            settlements.map(|(holder, used)| FromHolder::Settlement(Settlement { holder, used }));
        self.settlements.insert(worker, settlements.collect());
    }

    fn count(&mut self, call: &Running, used: [u64; 4]) {
        for (index, used) in used.into_iter().enumerate() {
            let window = self.limits[index].0.measure().period().window(call.began).starts;
            *self.used.entry((index, window)).or_default() += used;
        }
    }

    fn send(&mut self, worker: usize) {
        if self.workers[worker].connected {
            let message = self.workers[worker].holder.exchange(self.clock(worker));
            self.up.push(message);
            self.up.extend(self.settlements.get(&worker).into_iter().flatten().cloned());
        }
    }

    fn deliver_up(&mut self, message: usize, keep: bool) {
        let Some(message) = take(&mut self.up, message, keep) else { return };
        let now = self.now();
        // Some still reach the one who is in office no longer.
        if let Some(usurped) = &mut self.usurped {
            let term = usurped.term();
            let step = usurped.hear(&message, now);
            if self.store.write(term, step.rows()) {
                self.post(step.stored(Committed::after_the_transaction()));
            } else {
                self.usurped = None;
            }
        }
        let step = self.allocator.hear(&message, now);
        self.commit(step);
    }

    fn commit(&mut self, step: bailiwick_quota::allocator::Step) {
        if self.send_before_storing {
            self.post(step.stored(Committed::after_the_transaction()));
            return;
        }
        assert!(self.store.write(self.allocator.term(), step.rows()), "in office");
        self.post(step.stored(Committed::after_the_transaction()));
    }

    fn post(&mut self, messages: Vec<ToHolder>) {
        for message in messages {
            for worker in 0..WORKERS {
                let to = message.holder();
                if to.is_none() || to == self.workers[worker].name {
                    self.down.push((worker, message.clone()));
                }
            }
        }
    }

    fn deliver_down(&mut self, message: usize, keep: bool) {
        let Some((worker, message)) = take(&mut self.down, message, keep) else { return };
        if !self.workers[worker].connected {
            return;
        }
        let now = self.clock(worker);
        self.workers[worker].holder.hear(&message, now);
        if let FromHolder::Exchange(exchange) = self.workers[worker].holder.exchange(now) {
            self.workers[worker].name = Some(exchange.holder);
        } else {
            self.workers[worker].name = None;
        }
    }

    fn cut_off(&mut self, worker: usize) {
        self.workers[worker].connected = false;
        self.workers[worker].holder.disconnected();
        if let Some(name) = self.workers[worker].name {
            self.allocator.disconnected(name);
        }
    }

    /// Its calls end with it; what they used, nobody knows.
    fn crash_worker(&mut self, worker: usize, supersede: bool) {
        let life = self.workers[worker].life;
        let (dead, alive): (Vec<_>, Vec<_>) = std::mem::take(&mut self.running)
            .into_iter()
            .partition(|call| call.worker == worker && call.life == life);
        self.running = alive;
        for mut call in dead {
            let units = call.units;
            self.count(&call, [units[0], units[1], 0, units[3]]);
            self.settle(&mut call, Used { tokens: units[1], nano_usd: units[3] });
        }
        let name = self.workers[worker].name.filter(|_| supersede);
        self.workers[worker] = self.new_worker(worker, name.into_iter().collect(), life + 1);
        if let Some(name) = name {
            self.tell_of(worker, life, name);
        }
    }

    fn take_office(&mut self) -> Allocator {
        let term = self.store.next_term();
        let limits = self.limits.iter().map(|(limit, _)| *limit);
        Allocator::take_office(term, policy(), limits, &self.store.rows, self.now())
    }

    fn crash_allocator(&mut self, with_messages: bool) {
        self.allocator = self.take_office();
        if with_messages {
            self.down.clear();
        }
        for worker in self.workers.iter().filter(|worker| worker.connected) {
            worker.holder.connected();
        }
    }

    /// All that is under way arrives, and everybody speaks.
    fn talk(&mut self) {
        (0..WORKERS).for_each(|worker| self.send(worker));
        for _ in 0..2 {
            while !self.up.is_empty() {
                self.deliver_up(0, false);
            }
            while !self.down.is_empty() {
                self.deliver_down(0, false);
            }
            (0..WORKERS).for_each(|worker| self.send(worker));
        }
    }

    /// The law.
    fn check(&self) -> Result<(), String> {
        let mut sums = self.used.clone();
        for call in &self.running {
            for (index, units) in call.units.into_iter().enumerate() {
                let window = self.limits[index].0.measure().period().window(call.began).starts;
                *sums.entry((index, window)).or_default() += units;
            }
        }
        for ((index, window), sum) in sums {
            let limit = &self.limits[index].0;
            if sum > limit.amount() {
                return Err(format!("{sum} of {} {} since {window:?}", limit.amount(), limit.measure()));
            }
        }
        Ok(())
    }
}

fn take<T: Clone>(from: &mut Vec<T>, index: usize, keep: bool) -> Option<T> {
    let index = index.checked_rem(from.len())?;
    if keep { from.get(index).cloned() } else { Some(from.remove(index)) }
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 4000, ..ProptestConfig::default() })]

    #[test]
    fn the_sum_never_exceeds_the_limit(actions in prop::collection::vec(actions(), 1..250)) {
        let mut world = World::new();
        for action in &actions {
            world.act(action);
            if let Err(problem) = world.check() {
                return Err(TestCaseError::fail(problem));
            }
        }
    }
}

#[test]
fn a_control_plane_that_sends_before_it_stores_would_exceed_the_limit() {
    let mut world = World::new();
    world.send_before_storing = true;
    let mut problem = Ok(());
    for round in 0..40 {
        for worker in 0..WORKERS {
            world.act(&Action::Call { worker, tokens: 1, nano_usd: 1 });
            world.act(&Action::Talk);
            world.act(&Action::TryAgain { worker });
        }
        if round % 3 == 2 {
            world.act(&Action::CrashAllocator { with_messages: true });
        }
        problem = problem.and_then(|()| world.check());
    }
    assert!(problem.is_err(), "{} admitted", world.admitted);
}

/// Each worker in turn uses what it gets, and is killed; how much was used in all, of 200,000.
fn used_by_worker_after_worker(told_percent: u64) -> (u64, Result<(), String>) {
    let mut world = World::new();
    world.told_percent = told_percent;
    for _ in 0..20 {
        for worker in 0..WORKERS {
            world.act(&Action::Call { worker, tokens: 0, nano_usd: 6_000 });
            world.act(&Action::Talk);
            world.act(&Action::TryAgain { worker });
            world.act(&Action::End { call: 0, percent: 100 });
            world.act(&Action::CrashWorker { worker, supersede: true });
            world.act(&Action::Talk);
            world.act(&Action::Talk);
            // Its requests are a minute's.
            world.act(&Action::Pass { millis: 20_000 });
        }
    }
    let used = world.used.iter().filter(|((limit, _), _)| *limit == 3).map(|(_, used)| used).sum();
    (used, world.check())
}

#[test]
fn what_killed_workers_did_not_use_is_used_by_others_and_no_more_than_that() {
    // Thirty-three calls of six thousand.
    assert_eq!(used_by_worker_after_worker(100), (198_000, Ok(())));
}

#[test]
fn next_lives_that_told_less_than_was_used_would_exceed_the_limit() {
    assert!(used_by_worker_after_worker(50).1.is_err());
}

#[test]
fn the_attack_is_no_vacuum() {
    let mut world = World::new();
    for _ in 0..60 {
        for worker in 0..WORKERS {
            world.act(&Action::Call { worker, tokens: 10, nano_usd: 10 });
            world.act(&Action::Talk);
            world.act(&Action::TryAgain { worker });
            world.act(&Action::End { call: 0, percent: 50 });
        }
        world.check().expect("within the limits");
    }
    assert_eq!(world.admitted, 40, "all that the limit of requests allows");
}
