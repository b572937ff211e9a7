//! What lending limits shows of itself. Counts only: nothing of a tenant.

use bailiwick_quota::allocator::Overview;
use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge},
    registry::Registry,
};

/// See [`super`].
#[derive(Clone, Debug, Default)]
pub(crate) struct QuotaMetrics {
    term: Gauge,
    streams: Gauge,
    limits: Gauge,
    accounts: Gauge,
    waiting: Gauge,
    holders: Gauge,
    lost: Gauge,
    pub(super) messages: Counter,
    pub(super) transactions: Counter,
    pub(super) rows: Counter,
    /// Things said in another worker's name.
    pub(super) foreign_names: Counter,
    /// Workers that did not read their answers.
    pub(super) slow_streams: Counter,
    pub(super) offices_lost: Counter,
}

impl QuotaMetrics {
    pub(crate) fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("quota");
        registry.register("term", "Number of the term in office; 0: none", self.term.clone());
        registry.register("streams", "Workers that are connected", self.streams.clone());
        registry.register("limits", "Limits of all organizations", self.limits.clone());
        registry.register("accounts", "Sums that anything is used or lent of", self.accounts.clone());
        registry.register("accounts_waiting", "Sums that somebody waits for", self.waiting.clone());
        registry.register("holders", "Lives of workers that have a name", self.holders.clone());
        registry.register(
            "holders_lost",
            "Of these, those that ended without saying what they used",
            self.lost.clone(),
        );
        registry.register("messages", "Messages of workers", self.messages.clone());
        registry.register(
            "transactions",
            "Transactions that stored what was lent",
            self.transactions.clone(),
        );
        registry.register("rows", "Rows that were stored", self.rows.clone());
        registry.register(
            "foreign_names",
            "Messages in the name of another worker, which were refused",
            self.foreign_names.clone(),
        );
        registry.register(
            "slow_streams",
            "Streams that were ended because their worker did not read",
            self.slow_streams.clone(),
        );
        registry.register(
            "offices_lost",
            "Terms that ended before this process did",
            self.offices_lost.clone(),
        );
    }

    pub(super) fn show(&self, term: u64, streams: usize, overview: Overview) {
        let set = |gauge: &Gauge, count: usize| gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
        self.term.set(i64::try_from(term).unwrap_or(i64::MAX));
        set(&self.streams, streams);
        set(&self.limits, overview.limits);
        set(&self.accounts, overview.accounts);
        set(&self.waiting, overview.waiting);
        set(&self.holders, overview.holders);
        set(&self.lost, overview.lost);
    }
}
