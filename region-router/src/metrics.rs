//! What the router counts. No label carries anything of a caller.

use bailiwick_runtime::ops::Ops;
use http::StatusCode;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
};

/// Counters, shared by all cores.
#[derive(Clone, Default)]
pub(crate) struct Metrics {
    answers: [Counter; 6],
    refusals: Family<Refusal, Counter>,
    ejections: Counter,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Class {
    class: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Refusal {
    code: &'static str,
}

const CLASSES: [&str; 6] = ["other", "1xx", "2xx", "3xx", "4xx", "5xx"];

impl Metrics {
    pub(crate) fn register(ops: &Ops) -> Self {
        let metrics = Self::default();
        let answers = Family::<Class, Counter>::default();
        let of_class = |class| answers.get_or_create(&Class { class }).clone();
        let metrics = Self { answers: CLASSES.map(of_class), ..metrics };
        ops.register(|registry| {
            registry.register("bailiwick_router_answers", "Answers by class of status", answers.clone());
            registry.register(
                "bailiwick_router_refusals",
                "Answers of the router itself, by code",
                metrics.refusals.clone(),
            );
            registry.register(
                "bailiwick_router_worker_failures",
                "Workers that could not be reached",
                metrics.ejections.clone(),
            );
        });
        metrics
    }

    pub(crate) fn answered(&self, status: StatusCode) {
        let class = usize::from(status.as_u16() / 100);
        if let Some(counter) = self.answers.get(class).or(self.answers.first()) {
            counter.inc();
        }
    }

    pub(crate) fn refused(&self, code: &'static str) {
        self.refusals.get_or_create(&Refusal { code }).inc();
    }

    pub(crate) fn ejected(&self) {
        self.ejections.inc();
    }
}
