//! What the control plane shows of itself besides the configuration log. Counts only: nothing of a tenant.

use bailiwick_core::records::RotationRecord;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

/// Usage intake.
#[derive(Clone, Debug, Default)]
pub(crate) struct UsageMetrics {
    inserted: Counter,
    duplicates: Counter,
    refused: Counter,
    unpriced: Counter,
    batches: Counter,
    /// Batches that the store did not take.
    pub(crate) store_errors: Counter,
}

impl UsageMetrics {
    pub(crate) fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("usage");
        registry.register("events_inserted", "Usage events stored", self.inserted.clone());
        registry.register(
            "events_duplicate",
            "Usage events that were stored before",
            self.duplicates.clone(),
        );
        registry.register(
            "events_refused",
            "Usage events of organizations that are not here",
            self.refused.clone(),
        );
        registry.register(
            "events_unpriced",
            "Usage events that came without a price, those that were stored before included: set a price for their deployments",
            self.unpriced.clone(),
        );
        registry.register("batches", "Batches acknowledged", self.batches.clone());
        registry.register("store_errors", "Batches that the store did not take", self.store_errors.clone());
    }

    pub(crate) fn count_unpriced(&self, events: u64) {
        self.unpriced.inc_by(events);
    }

    pub(crate) fn count(&self, inserted: u64, duplicates: u64, refused: u64) {
        self.inserted.inc_by(inserted);
        self.duplicates.inc_by(duplicates);
        self.refused.inc_by(refused);
        self.batches.inc();
    }
}

/// A periodic job.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Job {
    pub(crate) job: &'static str,
}

/// Rotations of keys.
#[derive(Clone, Debug, Default)]
pub(crate) struct RotationMetrics {
    done: Gauge,
    total: Gauge,
}

impl RotationMetrics {
    pub(crate) fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("rotation");
        registry.register("done", "Keys or values that the newest rotation has seen to", self.done.clone());
        registry.register("total", "Keys or values that the newest rotation is of", self.total.clone());
    }

    pub(crate) fn show(&self, rotation: &RotationRecord) {
        self.done.set(i64::try_from(rotation.done).unwrap_or(i64::MAX));
        self.total.set(i64::try_from(rotation.total).unwrap_or(i64::MAX));
    }
}

/// Periodic jobs: each shows its runs, its failures and when it last succeeded.
#[derive(Clone, Debug, Default)]
pub(crate) struct TaskMetrics {
    pub(crate) runs: Family<Job, Counter>,
    pub(crate) failures: Family<Job, Counter>,
    pub(crate) last_success: Family<Job, Gauge>,
}

impl TaskMetrics {
    pub(crate) fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("task");
        registry.register("runs", "Runs of a periodic job", self.runs.clone());
        registry.register("failures", "Runs that failed", self.failures.clone());
        registry.register(
            "last_success_timestamp_seconds",
            "When it last succeeded, in seconds since the Unix epoch",
            self.last_success.clone(),
        );
    }
}
