//! What the log shows of itself. Counts only: nothing of a tenant.

use std::sync::atomic::AtomicU64;

use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge},
    registry::Registry,
};

use super::state::State;

/// Figures of the log; all clones are the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct LogMetrics {
    revision: Gauge<u64, AtomicU64>,
    resources: Gauge<u64, AtomicU64>,
    withdrawn: Gauge<u64, AtomicU64>,
    /// Streams that are open.
    pub(crate) subscribers: Gauge,
    /// Streams that were ended because their worker did not come along.
    pub(crate) slow_subscribers: Counter,
    /// Resources that workers refused.
    pub(crate) refusals: Counter,
    /// Snapshots that were packed.
    pub(crate) snapshots: Counter,
    /// Snapshots that were refused because too many ran.
    pub(crate) snapshots_limited: Counter,
    /// Shards that were repaired.
    pub(crate) repairs: Counter,
    /// Failed readings of the store.
    pub(crate) store_errors: Counter,
}

impl LogMetrics {
    pub(crate) fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("configuration");
        registry.register("revision", "Newest revision in the log", self.revision.clone());
        registry.register("resources", "Resources in the log", self.resources.clone());
        registry.register("withdrawn_resources", "Resources that do not open", self.withdrawn.clone());
        registry.register("subscribers", "Open subscriptions", self.subscribers.clone());
        registry.register(
            "slow_subscribers",
            "Subscriptions that fell behind",
            self.slow_subscribers.clone(),
        );
        registry.register("refusals", "Resources that workers refused", self.refusals.clone());
        registry.register("snapshots", "Snapshots sent", self.snapshots.clone());
        registry.register(
            "snapshots_limited",
            "Snapshots refused for want of a slot",
            self.snapshots_limited.clone(),
        );
        registry.register("shard_repairs", "Shards that drifted and were repaired", self.repairs.clone());
        registry.register("store_errors", "Failed readings of the store", self.store_errors.clone());
    }

    pub(crate) fn show(&self, state: &State, withdrawn: usize) {
        self.revision.set(state.revision.0);
        self.resources.set(state.resources.len() as u64);
        self.withdrawn.set(withdrawn as u64);
    }
}
