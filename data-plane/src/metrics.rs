//! What a worker shows of itself. Labels never carry what a tenant wrote: statuses and classes only.
//!
//! Each core counts in memory of its own, and the sum is made when somebody asks: nothing is shared, nor locked, on a request's path.

mod class;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use bailiwick_quota::limit::Measure;
use bailiwick_runtime::serving::{
    ConnectionInfo, Fields, IncomingRequest, RequestBody, ResponseBody, Service,
};
use http::{Response, StatusCode};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric},
    metrics::{counter::ConstCounter, gauge::ConstGauge},
    registry::Registry,
};

pub(crate) use self::class::{Routing, UpstreamFailure};
use crate::{limits::Lent, memory::Budget, metering::Account, snapshot::SnapshotHandle};

const FIRST_STATUS: u16 = 100;
const STATUSES: usize = 500;

/// One core's counters. Clones count together.
#[derive(Clone, Debug, Default)]
pub(crate) struct CoreMetrics(Arc<Counters>);

#[derive(Debug)]
struct Counters {
    answers: Box<[AtomicU64]>,
    upstream_failures: [AtomicU64; UpstreamFailure::ALL.len()],
    limit_refusals: [AtomicU64; Measure::ALL.len()],
    limit_waiting: AtomicU64,
    routing: [AtomicU64; Routing::ALL.len()],
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            answers: (0..STATUSES).map(|_| AtomicU64::new(0)).collect(),
            upstream_failures: Default::default(),
            limit_refusals: Default::default(),
            limit_waiting: AtomicU64::new(0),
            routing: Default::default(),
        }
    }
}

impl CoreMetrics {
    /// A caller is answered.
    fn answered(&self, status: StatusCode) {
        let index = usize::from(status.as_u16().saturating_sub(FIRST_STATUS));
        count(self.0.answers.get(index));
    }

    /// A limit has refused a call.
    pub(crate) fn limit_refused(&self, measure: Measure) {
        let index = Measure::ALL.iter().position(|other| *other == measure);
        count(index.and_then(|index| self.0.limit_refusals.get(index)));
    }

    /// So many calls wait for units of their limits.
    pub(crate) fn limit_waiting(&self, calls: usize) {
        self.0.limit_waiting.store(calls as u64, Ordering::Relaxed);
    }

    /// A call to a provider failed.
    pub(crate) fn upstream_failed(&self, class: UpstreamFailure) {
        count(self.0.upstream_failures.get(class.index()));
    }

    /// A call goes another way than the first, or a deployment is left alone, or no longer.
    pub(crate) fn routed(&self, class: Routing) {
        count(self.0.routing.get(class.index()));
    }
}

fn count(counter: Option<&AtomicU64>) {
    if let Some(counter) = counter {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// A service whose answers are counted.
pub(crate) struct Counted<S> {
    inner: S,
    metrics: CoreMetrics,
}

impl<S> Counted<S> {
    pub(crate) fn new(inner: S, metrics: CoreMetrics) -> Self {
        Self { inner, metrics }
    }
}

impl<S: Service> Service for Counted<S> {
    async fn call(
        &self,
        request: &mut IncomingRequest<RequestBody>,
        connection: &ConnectionInfo,
        told: &mut Fields,
    ) -> Response<ResponseBody> {
        let response = self.inner.call(request, connection, told).await;
        self.metrics.answered(response.status());
        response
    }
}

/// All figures of a worker, read when they are asked for.
#[derive(Clone)]
pub(crate) struct WorkerMetrics {
    cores: Arc<[CoreMetrics]>,
    snapshot: SnapshotHandle,
    account: Arc<Account>,
    memory: Arc<Budget>,
    lent: Arc<Lent>,
}

impl WorkerMetrics {
    pub(crate) fn new(
        cores: usize,
        snapshot: SnapshotHandle,
        account: Arc<Account>,
        memory: Arc<Budget>,
        lent: Arc<Lent>,
    ) -> Self {
        let cores = (0..cores).map(|_| CoreMetrics::default()).collect();
        Self { cores, snapshot, account, memory, lent }
    }

    /// One core's counters. A core that does not exist counts for nobody.
    pub(crate) fn core(&self, index: usize) -> CoreMetrics {
        self.cores.get(index).cloned().unwrap_or_default()
    }

    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register_collector(Box::new(self.clone()));
    }

    fn sum<'a>(&'a self, counter: impl Fn(&'a Counters) -> Option<&'a AtomicU64>) -> u64 {
        let each = self.cores.iter().filter_map(|core| counter(&core.0));
        each.map(|counter| counter.load(Ordering::Relaxed)).sum()
    }
}

impl fmt::Debug for WorkerMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WorkerMetrics")
    }
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct StatusLabel {
    status: u16,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct MeasureLabel {
    measure: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ClassLabel {
    class: &'static str,
}

impl Collector for WorkerMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        self.encode_answers(&mut encoder)?;
        self.encode_upstream(&mut encoder)?;
        self.encode_limits(&mut encoder)?;
        let snapshot = self.snapshot.load();
        let lease = snapshot.lease().left(Instant::now()).as_secs_f64();
        gauge(&mut encoder, "configuration_revision", "Revision that is applied", snapshot.revision())?;
        gauge(&mut encoder, "configuration_keys", "API keys that are held", snapshot.keys_held())?;
        gauge(
            &mut encoder,
            "configuration_refused_resources",
            "Resources whose last version is not applied",
            snapshot.refused_held(),
        )?;
        gauge(
            &mut encoder,
            "configuration_deployments_outside_egress",
            "Deployments that are not called: the egress policy or their organization's residency does not admit them",
            snapshot.egress_refused_held(),
        )?;
        gauge(&mut encoder, "configuration_lease_seconds", "Time until the lease runs out", lease)?;
        gauge(
            &mut encoder,
            "calls_open",
            "Calls that are metered and not settled",
            self.account.open_calls(),
        )?;
        gauge(&mut encoder, "journal_bytes", "Bytes of usage on disk", self.account.bytes())?;
        gauge(
            &mut encoder,
            "journal_max_bytes",
            "Bytes at which calls are refused",
            self.account.max_bytes(),
        )?;
        gauge(
            &mut encoder,
            "usage_unsent_events",
            "Events that are not acknowledged",
            self.account.unsent(),
        )?;
        gauge(
            &mut encoder,
            "journal_unwritable",
            "Journals, one a core, whose disk did not take the last record",
            self.account.unwritable(),
        )?;
        gauge(&mut encoder, "held_bytes", "Bytes of bodies that are held", self.memory.held_bytes())?;
        gauge(
            &mut encoder,
            "held_max_bytes",
            "Bytes of bodies at which calls are refused",
            self.memory.max_bytes(),
        )?;
        let help = "Records that the disk did not take at first";
        counter(&mut encoder, "journal_disk_failures", help, self.account.disk_failures())?;
        let help = "Calls that were refused because as much was held as may be";
        counter(&mut encoder, "overloaded_refusals", help, self.memory.refused())?;
        let help = "Calls that were settled without a price: set one for their deployments";
        counter(&mut encoder, "usage_unpriced_calls", help, self.account.unpriced())?;
        let help = "Events that the control plane has stored";
        counter(&mut encoder, "usage_acknowledged_events", help, self.account.acknowledged())
    }
}

impl WorkerMetrics {
    fn encode_answers(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let kind = ConstCounter::new(0_u64).metric_type();
        let mut family =
            encoder.encode_descriptor("answers", "Answers to callers by HTTP status", None, kind)?;
        for (index, status) in (FIRST_STATUS..).take(STATUSES).enumerate() {
            let answers = self.sum(|core| core.answers.get(index));
            if answers > 0 {
                ConstCounter::new(answers).encode(family.encode_family(&StatusLabel { status })?)?;
            }
        }
        Ok(())
    }

    fn encode_upstream(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let kind = ConstCounter::new(0_u64).metric_type();
        let help = "Calls to providers that failed";
        let mut family = encoder.encode_descriptor("upstream_failures", help, None, kind)?;
        for class in UpstreamFailure::ALL {
            let failures = self.sum(|core| core.upstream_failures.get(class.index()));
            let label = ClassLabel { class: class.as_str() };
            ConstCounter::new(failures).encode(family.encode_family(&label)?)?;
        }
        let kind = ConstCounter::new(0_u64).metric_type();
        let help = "Retries, fallbacks and cool-downs of deployments";
        let mut family = encoder.encode_descriptor("routing", help, None, kind)?;
        for class in Routing::ALL {
            let count = self.sum(|core| core.routing.get(class.index()));
            let label = ClassLabel { class: class.as_str() };
            ConstCounter::new(count).encode(family.encode_family(&label)?)?;
        }
        Ok(())
    }
}

impl WorkerMetrics {
    fn encode_limits(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let kind = ConstCounter::new(0_u64).metric_type();
        let help = "Calls that a limit has refused";
        let mut family = encoder.encode_descriptor("limit_refusals", help, None, kind)?;
        for (index, measure) in Measure::ALL.iter().enumerate() {
            let refusals = self.sum(|core| core.limit_refusals.get(index));
            let label = MeasureLabel { measure: measure.as_str() };
            ConstCounter::new(refusals).encode(family.encode_family(&label)?)?;
        }
        let waiting = self.sum(|core| Some(&core.limit_waiting));
        gauge(encoder, "limit_waiting_calls", "Calls that wait for units of their limits", waiting)?;
        gauge(encoder, "limit_accounts", "Accounts of limits that are known here", self.lent.accounts())?;
        let help = "Whether limits are exchanged with the control plane";
        gauge(encoder, "limit_exchange_connected", help, u64::from(self.lent.is_connected()))?;
        let help = "Time that leases of limits live without another answer";
        gauge(encoder, "limit_lease_seconds", help, self.lent.lease_left().as_secs_f64())
    }
}

fn counter(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    value: u64,
) -> Result<(), fmt::Error> {
    let counter = ConstCounter::new(value);
    let metric = encoder.encode_descriptor(name, help, None, counter.metric_type())?;
    counter.encode(metric)
}

fn gauge<N>(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: N) -> Result<(), fmt::Error>
where
    ConstGauge<N>: EncodeMetric,
{
    let gauge = ConstGauge::new(value);
    let metric = encoder.encode_descriptor(name, help, None, gauge.metric_type())?;
    gauge.encode(metric)
}

#[cfg(test)]
mod tests;
