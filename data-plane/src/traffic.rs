//! What the worker counts of its calls. No label carries anything of a tenant.

use bailiwick_runtime::ops::Ops;
use http::StatusCode;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
};

const CLASSES: [&str; 6] = ["other", "1xx", "2xx", "3xx", "4xx", "5xx"];

/// Counters, shared by all cores.
#[derive(Clone, Default)]
pub(crate) struct Traffic {
    answers: [Counter; 6],
    refusals: Family<Refusal, Counter>,
    in_flight: Gauge,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Class {
    class: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Refusal {
    code: &'static str,
}

/// A call whose answer has not begun.
pub(crate) struct InFlight<'a>(&'a Gauge);

impl Traffic {
    pub(crate) fn register(ops: &Ops) -> Self {
        let answers = Family::<Class, Counter>::default();
        let of_class = |class| answers.get_or_create(&Class { class }).clone();
        let traffic = Self { answers: CLASSES.map(of_class), ..Self::default() };
        ops.register(|registry| {
            registry.register("bailiwick_worker_answers", "Answers by class of status", answers.clone());
            registry.register("bailiwick_worker_refusals", "Answers of the worker itself, by code", traffic.refusals.clone());
            registry.register("bailiwick_worker_waiting", "Calls whose answer has not begun", traffic.in_flight.clone());
        });
        traffic
    }

    pub(crate) fn begin(&self) -> InFlight<'_> {
        self.in_flight.inc();
        InFlight(&self.in_flight)
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
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}
