//! Waits until every worker acts on a revision.
//!
//! A worker that is not connected cannot say what it acts on. Until its lease ends it may act on what it knew, and counts as one that has not
//! applied the revision; so it does afterwards, where the organization wants to be served by workers that are cut off.

use std::time::Duration;

use bailiwick_domain::time::{Clock, SystemClock, Timestamp};
use bailiwick_proto::admin::v1::{Worker, WorkerState};

use super::worker;
use crate::{connection::Connection, failure::Failure, output::Output, when::relative};

const POLL: Duration = Duration::from_millis(250);

/// How far a revision has come.
#[derive(Debug, Default)]
pub(super) struct Applied {
    pub(super) workers: u64,
    pub(super) applied: u64,
    /// Absent, and serving nobody any more.
    pub(super) ended: u64,
    /// May still act on an older revision: name and why.
    pub(super) missing: Vec<String>,
}

impl Applied {
    /// No worker serves by an older revision.
    pub(super) fn everywhere(&self) -> bool {
        self.missing.is_empty()
    }

    fn of(workers: &[Worker], revision: u64, served_stale: bool, now: Timestamp) -> Self {
        let mut result = Self::default();
        for worker in workers.iter().filter(|worker| worker.role == "worker") {
            let name = &worker.name;
            result.workers += 1;
            if worker.state() == WorkerState::Absent {
                let end = Timestamp::from_micros(worker.lease_expires_at_micros);
                if served_stale {
                    let reason =
                        "absent: its organization is served also when the lease has ended (on_stale)";
                    result.missing.push(format!("{name} ({reason}; bailiwick worker revoke shuts it out)"));
                } else if worker.lease_expires_at_micros == 0 {
                    result
                        .missing
                        .push(format!("{name} (absent: it may serve by what it knew until its lease ends)"));
                } else if end > now {
                    let end = relative(end, now);
                    result.missing.push(format!(
                        "{name} (absent: it may serve by what it knew until its lease ends, {end})"
                    ));
                } else {
                    result.ended += 1;
                }
            } else if worker.applied_revision < revision {
                result.missing.push(format!("{name} (at revision {})", worker.applied_revision));
            } else {
                result.applied += 1;
            }
        }
        result
    }
}

/// Polls until no worker serves by an older revision, or the time is over. Says on the way how far it is. `served_stale`: whether the organization is served by workers
/// whose lease has ended.
pub(super) async fn until_applied(
    connection: &Connection,
    revision: u64,
    served_stale: bool,
    timeout: Duration,
    output: &Output,
) -> Result<Applied, Failure> {
    let started = SystemClock.now();
    let mut said = String::new();
    loop {
        let state = Applied::of(&worker::list(connection).await?, revision, served_stale, SystemClock.now());
        let progress =
            format!("revision {revision}: applied by {} of {} workers", state.applied, state.workers);
        if progress != said {
            output.note(&progress);
            said = progress;
        }
        if state.everywhere() || SystemClock.now().saturating_since(started) >= timeout {
            for worker in &state.missing {
                output.note(&format!("not applied: {worker}"));
            }
            return Ok(state);
        }
        tokio::time::sleep(POLL).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_micros(1_790_000_000_000_000);

    fn worker(name: &str, state: WorkerState, applied_revision: u64) -> Worker {
        Worker {
            name: name.to_owned(),
            role: "worker".to_owned(),
            state: state.into(),
            applied_revision,
            ..Worker::default()
        }
    }

    #[test]
    fn a_worker_that_is_behind_or_absent_is_named() {
        let ready = worker("a", WorkerState::Ready, 7);
        assert!(Applied::of(std::slice::from_ref(&ready), 7, false, NOW).everywhere());
        let workers = [ready, worker("b", WorkerState::Ready, 6), worker("c", WorkerState::Absent, 0)];
        let state = Applied::of(&workers, 7, false, NOW);
        assert_eq!((state.applied, state.workers), (1, 3));
        assert_eq!(state.missing.len(), 2);
        assert_eq!(state.missing[0], "b (at revision 6)");
        assert!(state.missing[1].starts_with("c (absent"));
    }

    #[test]
    fn r12_an_absent_worker_counts_until_its_lease_has_ended() {
        let absent = |lease_expires_at_micros| Worker {
            lease_expires_at_micros,
            ..worker("c", WorkerState::Absent, 0)
        };
        let (before, after) = (absent(NOW.as_micros()), absent(NOW.as_micros() + 60_000_000));
        assert!(Applied::of(std::slice::from_ref(&before), 7, false, NOW).everywhere());
        let state = Applied::of(&[after], 7, false, NOW);
        assert!(state.missing[0].contains("until its lease ends, "), "{:?}", state.missing);
        let state = Applied::of(&[before], 7, true, NOW);
        assert!(state.missing[0].contains("on_stale"), "{:?}", state.missing);
    }

    #[test]
    fn routers_apply_nothing() {
        let router = Worker { role: "router".to_owned(), ..worker("r", WorkerState::Ready, 0) };
        let state = Applied::of(&[router], 7, false, NOW);
        assert_eq!((state.workers, state.everywhere()), (0, true));
    }
}
