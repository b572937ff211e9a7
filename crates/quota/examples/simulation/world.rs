//! A region in one thread: real allocator, real holders, a store, and a network with delays. Seeded, so that each run is the same.

// A test reads this file by its path, from another folder.
#[path = "world/messages.rs"]
mod messages;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    sync::Arc,
    time::Duration,
};

use crate::{
    accounts::START,
    convergence::Convergence,
    scenario::{BANDS, Demand, Outcomes, Scenario},
};
use bailiwick_domain::time::Timestamp;
use bailiwick_quota::{
    allocator::{Allocator, Stored},
    holder::{Cell, Holder, Monotonic, Outcome, Reservation, Used, Waiting, Want},
    policy::Policy,
    protocol::{FromHolder, HolderId, ToHolder},
};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

const MILLI: u64 = 1_000;
const SECOND: u64 = 1_000_000;
const MINUTE: u64 = 60 * SECOND;
/// The fleet is up and has named itself before demand begins.
const WARM_UP: u64 = 2 * SECOND;
const EXCHANGE_EVERY: u64 = 500 * MILLI;
const TICK_EVERY: u64 = 50 * MILLI;
/// What a transaction takes.
const COMMIT: u64 = 3 * MILLI;
/// The hot spot of [`Demand::Moving`] stays so long.
pub(crate) const SHIFT_EVERY: u64 = 15 * SECOND;
const BURST_EVERY: u64 = 10 * SECOND;

enum Event {
    Call,
    Burst(u64),
    Timer(usize),
    Tick,
    Up(FromHolder),
    Down(usize, ToHolder),
    TryAgain(usize, u64),
    End(u64),
    Outage(bool),
    Replace,
}

struct Site {
    holder: Holder,
    cell: Arc<Cell>,
    name: Option<HolderId>,
    asking: bool,
    waiting: BTreeMap<u64, (Waiting, u64, u64)>,
    drift_ppm: i64,
    offset: u64,
}

struct World {
    scenario: Scenario,
    rng: StdRng,
    now: u64,
    events: BinaryHeap<Reverse<(u64, u64, usize)>>,
    pending: Vec<Option<Event>>,
    free: Vec<usize>,
    order: u64,
    policy: Policy,
    store: Stored,
    term: u64,
    allocator: Allocator,
    sites: Vec<Site>,
    weights: Vec<f64>,
    reachable: bool,
    running: BTreeMap<u64, (Reservation, u64, u64, i64)>,
    calls: u64,
    /// Use in each window, by its start.
    used: BTreeMap<i64, u64>,
    convergence: Convergence,
    outcomes: Outcomes,
}

/// Runs it.
pub(crate) fn run(scenario: &Scenario) -> Outcomes {
    let mut world = World::new(scenario.clone());
    let end = WARM_UP + scenario.seconds * SECOND;
    while let Some(Reverse((at, _, index))) = world.events.pop() {
        if at > end {
            break;
        }
        world.now = at;
        world.free.push(index);
        if let Some(event) = world.pending[index].take() {
            world.happen(event);
        }
    }
    world.outcomes.seconds = scenario.seconds;
    world.outcomes.converged_after_micros =
        world.convergence.slowest(WARM_UP, WARM_UP + scenario.seconds * SECOND);
    world.outcomes
}

impl World {
    fn new(scenario: Scenario) -> Self {
        let mut rng = StdRng::seed_from_u64(scenario.seed);
        let policy = Policy::default();
        let allocator = Allocator::take_office(1, policy, [scenario.limit], &Stored::default(), time(0));
        let mut sites = Vec::new();
        for worker in 0..scenario.workers {
            let holder = Holder::new(policy, worker as u64 + 1, Vec::new());
            holder.connected();
            let cell = holder.cell(scenario.account, &scenario.limit);
            let drift_ppm = rng.random_range(-200..=200);
            let offset = rng.random_range(0..1_000_000_000);
            sites.push(Site {
                holder,
                cell,
                name: None,
                asking: false,
                waiting: BTreeMap::new(),
                drift_ppm,
                offset,
            });
        }
        let weights = (0..scenario.workers).map(|rank| 1.0 / (rank as f64 + 1.0).powf(1.1)).collect();
        let mut world = Self {
            rng,
            now: 0,
            events: BinaryHeap::new(),
            pending: Vec::new(),
            free: Vec::new(),
            order: 0,
            policy,
            store: Stored::default(),
            term: 1,
            allocator,
            sites,
            weights,
            reachable: true,
            running: BTreeMap::new(),
            calls: 0,
            used: BTreeMap::new(),
            convergence: Convergence::default(),
            outcomes: Outcomes::default(),
            scenario,
        };
        world.begin();
        world
    }

    fn begin(&mut self) {
        for worker in 0..self.scenario.workers {
            let phase = self.rng.random_range(0..EXCHANGE_EVERY);
            self.at(phase, Event::Timer(worker));
        }
        self.at(0, Event::Tick);
        match self.scenario.demand {
            Demand::Burst => self.at(WARM_UP, Event::Burst(0)),
            _ => self.at(WARM_UP, Event::Call),
        }
        if let Some((from, to)) = self.scenario.outage {
            self.at(WARM_UP + from * SECOND, Event::Outage(true));
            self.at(WARM_UP + to * SECOND, Event::Outage(false));
        }
        for second in self.scenario.replaced_at.clone() {
            self.at(WARM_UP + second * SECOND, Event::Replace);
        }
    }

    fn at(&mut self, time: u64, event: Event) {
        let index = self.free.pop().unwrap_or_else(|| {
            self.pending.push(None);
            self.pending.len() - 1
        });
        self.pending[index] = Some(event);
        self.order += 1;
        self.events.push(Reverse((time, self.order, index)));
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Call => {
                self.call();
                let mean = MINUTE / self.scenario.calls_per_minute.max(1);
                let gap = self.rng.random_range(0..=2 * mean);
                self.at(self.now + gap.max(1), Event::Call);
            }
            Event::Burst(left) => self.burst(left),
            Event::Timer(worker) => {
                self.send(worker);
                self.at(self.now + EXCHANGE_EVERY, Event::Timer(worker));
            }
            Event::Tick => {
                let step = self.allocator.tick(time(self.now));
                self.commit(step);
                self.at(self.now + TICK_EVERY, Event::Tick);
            }
            Event::Up(message) => self.hear(&message),
            Event::Down(worker, message) => self.answer(worker, &message),
            Event::TryAgain(worker, call) => self.try_again(worker, call),
            Event::End(call) => self.end(call),
            Event::Outage(begins) => self.outage(begins),
            Event::Replace => self.replace(),
        }
    }

    fn burst(&mut self, left: u64) {
        if left == 0 {
            let calls = self.scenario.calls_per_minute * BURST_EVERY / MINUTE;
            self.at(self.now + 1, Event::Burst(calls.max(1)));
            self.at(self.now + BURST_EVERY, Event::Burst(0));
        } else {
            self.call();
            if left > 1 {
                let gap = self.rng.random_range(1..=200);
                self.at(self.now + gap, Event::Burst(left - 1));
            }
        }
    }

    fn pick(&mut self) -> usize {
        let workers = self.scenario.workers;
        match self.scenario.demand {
            Demand::Even | Demand::Burst => self.rng.random_range(0..workers),
            Demand::One => 0,
            Demand::Zipf => {
                let all: f64 = self.weights.iter().sum();
                let mut point = self.rng.random_range(0.0..all);
                let at = self.weights.iter().position(|weight| {
                    point -= weight;
                    point <= 0.0
                });
                at.unwrap_or(0)
            }
            Demand::Moving if self.rng.random_range(0..10) == 0 => self.rng.random_range(0..workers),
            Demand::Moving => ((self.now.saturating_sub(WARM_UP) / SHIFT_EVERY) as usize * 7) % workers,
        }
    }

    fn call(&mut self) {
        let worker = self.pick();
        let calls = self.scenario.calls;
        let units = self.rng.random_range(calls.least_units..=calls.most_units);
        self.outcomes.asked += 1;
        self.outcomes.outage_asked += u64::from(!self.reachable);
        self.convergence.came(self.now);
        for (band, percent) in BANDS.into_iter().enumerate() {
            self.outcomes.came_below[band] +=
                u64::from(self.would_use(units) * 100 <= percent * self.scenario.limit.amount());
        }
        let site = &self.sites[worker];
        let outcome = site.holder.try_reserve(&[Want { cell: &site.cell, units }], self.clock(worker));
        self.calls += 1;
        if matches!(outcome, Outcome::Wait(_)) {
            self.outcomes.waited += 1;
            self.convergence.waited(self.now);
        }
        self.outcome(worker, self.calls, units, self.now, outcome);
    }

    fn window(&self) -> i64 {
        self.scenario.limit.measure().period().window(time(self.now)).starts.as_micros()
    }

    fn would_use(&self, units: u64) -> u64 {
        self.used.get(&self.window()).copied().unwrap_or_default() + units
    }

    fn outcome(&mut self, worker: usize, call: u64, units: u64, came: u64, outcome: Outcome) {
        match outcome {
            Outcome::Reserved(reservation) => {
                self.outcomes.admitted += 1;
                self.outcomes.outage_admitted += u64::from(!self.reachable);
                self.outcomes.longest_wait_micros = self.outcomes.longest_wait_micros.max(self.now - came);
                let window = self.window();
                let used = self.used.entry(window).or_default();
                *used += units;
                let over = used.saturating_sub(self.scenario.limit.amount());
                self.outcomes.over_admitted = self.outcomes.over_admitted.max(over);
                let least = self.scenario.calls.least_used_percent;
                let percent = self.rng.random_range(least..=100);
                self.running.insert(call, (reservation, units, units * percent / 100, window));
                let lasts = self.rng.random_range(0..=self.scenario.calls.longest_micros);
                if lasts == 0 { self.end(call) } else { self.at(self.now + lasts, Event::End(call)) }
            }
            Outcome::Wait(waiting) => {
                let until = self.policy.patience.as_micros() as u64 + came;
                let at =
                    waiting.try_again_at().map(|at| at.micros_since(self.clock(worker)) + self.now + MILLI);
                self.sites[worker].waiting.insert(call, (waiting, units, came));
                self.at(
                    at.map_or(until, |at| at.min(until)).max(self.now + 1),
                    Event::TryAgain(worker, call),
                );
                if !std::mem::replace(&mut self.sites[worker].asking, true) {
                    self.send(worker);
                }
            }
            Outcome::Refused(_) => {
                let amount = self.scenario.limit.amount();
                let use_now = self.would_use(units);
                for (band, percent) in BANDS.into_iter().enumerate() {
                    self.outcomes.refused_below[band] += u64::from(use_now * 100 <= percent * amount);
                }
                let permille = (use_now - units) * 1000 / amount;
                let least = self.outcomes.first_refusal_permille.unwrap_or(u64::MAX).min(permille);
                self.outcomes.first_refusal_permille = Some(least);
            }
        }
    }

    fn try_again(&mut self, worker: usize, call: u64) {
        let now = self.clock(worker);
        let site = &mut self.sites[worker];
        let Some((waiting, units, came)) = site.waiting.remove(&call) else { return };
        let outcome = site.holder.try_again(waiting, &[Want { cell: &site.cell, units }], now);
        // The worker's clock may be a little behind ours: it is given its last chance.
        self.outcome(worker, call, units, came, outcome);
    }

    fn end(&mut self, call: u64) {
        let Some((reservation, units, used, window)) = self.running.remove(&call) else { return };
        let parallel = self.scenario.limit.measure().is_parallel();
        reservation.settle(Used { tokens: used, nano_usd: used });
        if let Some(sum) = self.used.get_mut(&window) {
            *sum -= if parallel { units } else { units - used };
        }
    }

    fn clock(&self, worker: usize) -> Monotonic {
        let site = &self.sites[worker];
        let drift = self.now as i64 * site.drift_ppm / 1_000_000;
        Monotonic::from_micros(site.offset + (self.now as i64 + drift) as u64)
    }
}

fn time(now: u64) -> Timestamp {
    // 1.5 seconds after a minute began.
    START.saturating_add(Duration::from_micros(1_500 * MILLI + now))
}
