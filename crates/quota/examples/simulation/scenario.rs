//! What is simulated, and what is told of it.

use bailiwick_quota::limit::{Account, Limit, Measure};

use crate::accounts::limit;

/// How calls spread over workers and time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Demand {
    Even,
    Zipf,
    One,
    Moving,
    Burst,
}

impl Demand {
    pub(crate) const ALL: [Self; 5] = [Self::Even, Self::Zipf, Self::One, Self::Moving, Self::Burst];
}

/// What a call takes, and for how long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Calls {
    pub(crate) least_units: u64,
    pub(crate) most_units: u64,
    /// What is used of what was reserved, at least.
    pub(crate) least_used_percent: u64,
    pub(crate) longest_micros: u64,
}

/// Calls of one unit that is used at once.
pub(crate) const REQUESTS: Calls =
    Calls { least_units: 1, most_units: 1, least_used_percent: 100, longest_micros: 0 };

/// One run.
#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    pub(crate) limit: Limit,
    pub(crate) account: Account,
    pub(crate) workers: usize,
    pub(crate) demand: Demand,
    pub(crate) calls: Calls,
    /// Calls per minute, over all workers.
    pub(crate) calls_per_minute: u64,
    pub(crate) seconds: u64,
    /// Mean time of a message, one way.
    pub(crate) latency_micros: u64,
    /// From when to when no message passes to or from the control plane, in seconds.
    pub(crate) outage: Option<(u64, u64)>,
    /// In these seconds the control plane is replaced by another that knows only what is stored.
    pub(crate) replaced_at: Vec<u64>,
    pub(crate) seed: u64,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outcomes {
    /// Largest excess over the limit in any window.
    pub(crate) over_admitted: u64,
    pub(crate) asked: u64,
    pub(crate) admitted: u64,
    /// Calls that came, and were refused, while use including them was at most 5, 50, 95, 100 percent of the limit.
    pub(crate) came_below: [u64; 4],
    pub(crate) refused_below: [u64; 4],
    /// Least use at which a call was refused, in thousandths of the limit.
    pub(crate) first_refusal_permille: Option<u64>,
    pub(crate) waited: u64,
    pub(crate) longest_wait_micros: u64,
    /// Longest time after a shift until a second passed in which fewer than 1 in 20 calls had to wait.
    pub(crate) converged_after_micros: Option<u64>,
    pub(crate) messages: u64,
    pub(crate) transactions: u64,
    pub(crate) seconds: u64,
    /// Calls that came and that were admitted while the control plane was out of reach.
    pub(crate) outage_asked: u64,
    pub(crate) outage_admitted: u64,
}

/// Percentages of the limit up to which refusals are told apart.
pub(crate) const BANDS: [u64; 4] = [5, 50, 95, 100];

/// Requests per minute at a percentage of the limit.
pub(crate) fn scenario(workers: usize, demand: Demand, amount: u64, percent: u64) -> Scenario {
    let (limit, account) = limit(Measure::RequestsPerMinute, amount);
    Scenario {
        limit,
        account,
        workers,
        demand,
        calls: REQUESTS,
        calls_per_minute: amount * percent / 100,
        seconds: 178,
        latency_micros: 5_000,
        outage: None,
        replaced_at: Vec::new(),
        seed: 42,
    }
}
