//! Periodic jobs. Each is idempotent, takes no input, and shows how it fares in `/metrics`.
//!
//! A job that concerns the region runs on the one replica that leads it; one that concerns this process runs on each.

pub(crate) mod authority;
pub(crate) mod certificate;
pub(crate) mod configuration_log;
pub(crate) mod destruction;
pub(crate) mod key_expiry;
pub(crate) mod rotation;
pub(crate) mod store_watch;
pub(crate) mod token_keys;

use std::{future::Future, sync::Arc, time::Duration};

use bailiwick_core::ports::coordination::Coordination;
use bailiwick_domain::time::Clock;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::metrics::{Job, TaskMetrics};

/// Runs jobs.
#[derive(Clone)]
pub(crate) struct Runner {
    pub(crate) coordination: Arc<dyn Coordination>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) metrics: TaskMetrics,
    pub(crate) stop: CancellationToken,
}

/// Where a job runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// On the replica that leads it.
    Region,
    /// On each.
    Process,
}

impl Runner {
    /// Runs `work` at once and then `every` so often, until stopped. A failure is logged once, until it works again; the next run tries anew.
    pub(crate) async fn run<F, W>(self, job: &'static str, scope: Scope, every: Duration, mut work: W)
    where
        F: Future<Output = anyhow::Result<()>> + Send,
        W: FnMut() -> F + Send,
    {
        let repeat = async {
            let _leadership = match scope {
                Scope::Region => Some(self.coordination.lead(job).await),
                Scope::Process => None,
            };
            let mut ticks = tokio::time::interval(every);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let mut failing = false;
            loop {
                ticks.tick().await;
                failing = self.note(job, work().await, failing);
            }
        };
        tokio::select! {
            () = repeat => {}
            () = self.stop.cancelled() => {}
        }
    }

    fn note(&self, job: &'static str, outcome: anyhow::Result<()>, was_failing: bool) -> bool {
        let label = Job { job };
        self.metrics.runs.get_or_create(&label).inc();
        match outcome {
            Ok(()) => {
                let seconds = self.clock.now().as_micros() / 1_000_000;
                self.metrics.last_success.get_or_create(&label).set(seconds);
                false
            }
            Err(error) => {
                self.metrics.failures.get_or_create(&label).inc();
                if !was_failing {
                    tracing::warn!(job, error = %format_args!("{error:#}"), "a periodic job failed; it is tried again");
                }
                true
            }
        }
    }
}

#[cfg(test)]
mod tests;
