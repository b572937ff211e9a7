//! What the router counts. No label carries anything of a caller.
//!
//! Each core counts in memory of its own, and the sum is made when somebody asks: nothing is shared on a request's path.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use http::StatusCode;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric},
    metrics::{counter::ConstCounter, gauge::ConstGauge},
    registry::Registry,
};

use crate::workers::Workers;

/// Classes of statuses. What has none of its own is of the first.
const CLASSES: [&str; 6] = ["other", "1xx", "2xx", "3xx", "4xx", "5xx"];

/// One core's counters. Clones count together.
#[derive(Clone, Debug, Default)]
pub(crate) struct CoreMetrics(Arc<Counters>);

#[derive(Debug, Default)]
struct Counters {
    answers: [AtomicU64; CLASSES.len()],
    /// By code. Nobody else is there but who asks for the sum.
    refusals: Mutex<BTreeMap<&'static str, u64>>,
    worker_failures: AtomicU64,
}

impl Counters {
    fn refusals(&self) -> MutexGuard<'_, BTreeMap<&'static str, u64>> {
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CoreMetrics {
    /// A caller is answered.
    pub(crate) fn answered(&self, status: StatusCode) {
        let Self(counters) = self;
        let class = usize::from(status.as_u16() / 100);
        if let Some(counter) = counters.answers.get(class).or(counters.answers.first()) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The router itself answers, with an error of this code.
    pub(crate) fn refused(&self, code: &'static str) {
        *self.0.refusals().entry(code).or_default() += 1;
    }

    /// A worker could not be reached, or broke off.
    pub(crate) fn worker_failed(&self) {
        self.0.worker_failures.fetch_add(1, Ordering::Relaxed);
    }
}

/// All figures of a router, read when they are asked for.
#[derive(Clone, Debug)]
pub(crate) struct RouterMetrics {
    cores: Arc<Mutex<Vec<CoreMetrics>>>,
    workers: Workers,
}

impl RouterMetrics {
    pub(crate) fn new(workers: Workers) -> Self {
        Self { cores: Arc::default(), workers }
    }

    /// For one core more.
    pub(crate) fn core(&self) -> CoreMetrics {
        let core = CoreMetrics::default();
        self.cores().push(core.clone());
        core
    }

    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register_collector(Box::new(self.clone()));
    }

    fn cores(&self) -> MutexGuard<'_, Vec<CoreMetrics>> {
        self.cores.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sum<'a>(cores: &'a [CoreMetrics], counter: impl Fn(&'a Counters) -> Option<&'a AtomicU64>) -> u64 {
        let each = cores.iter().filter_map(|core| counter(&core.0));
        each.map(|counter| counter.load(Ordering::Relaxed)).sum()
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ClassLabel {
    class: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CodeLabel {
    code: &'static str,
}

impl Collector for RouterMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let cores = self.cores();
        encode_answers(&mut encoder, &cores)?;
        encode_refusals(&mut encoder, &cores)?;
        let help = "Calls that a worker could not be reached for, or broke off";
        let failures = ConstCounter::new(Self::sum(&cores, |core| Some(&core.worker_failures)));
        let kind = failures.metric_type();
        failures.encode(encoder.encode_descriptor("router_worker_failures", help, None, kind)?)?;
        let workers = ConstGauge::new(self.workers.load().len() as u64);
        let (help, kind) = ("Workers that calls are passed to", workers.metric_type());
        workers.encode(encoder.encode_descriptor("router_workers", help, None, kind)?)
    }
}

fn encode_answers(encoder: &mut DescriptorEncoder<'_>, cores: &[CoreMetrics]) -> Result<(), fmt::Error> {
    let kind = ConstCounter::new(0_u64).metric_type();
    let help = "Answers to callers by class of status";
    let mut family = encoder.encode_descriptor("router_answers", help, None, kind)?;
    for (index, class) in CLASSES.into_iter().enumerate() {
        let answers = RouterMetrics::sum(cores, |core| core.answers.get(index));
        ConstCounter::new(answers).encode(family.encode_family(&ClassLabel { class })?)?;
    }
    Ok(())
}

fn encode_refusals(encoder: &mut DescriptorEncoder<'_>, cores: &[CoreMetrics]) -> Result<(), fmt::Error> {
    let mut refusals = BTreeMap::<&'static str, u64>::new();
    for CoreMetrics(core) in cores {
        for (code, count) in &*core.refusals() {
            *refusals.entry(code).or_default() += count;
        }
    }
    let kind = ConstCounter::new(0_u64).metric_type();
    let help = "Answers of the router itself, by code";
    let mut family = encoder.encode_descriptor("router_refusals", help, None, kind)?;
    for (code, count) in refusals {
        ConstCounter::new(count).encode(family.encode_family(&CodeLabel { code })?)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
