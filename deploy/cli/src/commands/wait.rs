//! Waits until every worker acts on a revision.
//!
//! A worker that is not connected cannot say what it acts on. Until its lease ends it may still serve by what it knew; after that it
//! refuses, except for organizations that chose to be served on.

use std::time::Duration;

use bailiwick_domain::time::{Clock, SystemClock, Timestamp};
use bailiwick_proto::{
    admin::v1::{GetOrganizationRequest, GetRegionRequest, Worker, WorkerState},
    config::v1::OnStale,
};

use super::worker;
use crate::{
    connection::{Connection, request},
    failure::Failure,
    output::Output,
    when::relative,
};

const POLL: Duration = Duration::from_millis(250);

/// How far a revision has come.
#[derive(Debug, Default)]
pub(super) struct Applied {
    pub(super) workers: u64,
    pub(super) applied: u64,
    /// Not connected, and refusing by now: name and why.
    ended: Vec<String>,
    /// May still act on an older revision: name and why.
    behind: Vec<String>,
}

impl Applied {
    /// No worker serves by an older revision.
    pub(super) fn everywhere(&self) -> bool {
        self.behind.is_empty()
    }

    pub(super) fn missing(&self) -> Vec<String> {
        self.behind.iter().chain(&self.ended).cloned().collect()
    }

    fn of(workers: &[Worker], revision: u64, serve_on: bool, now: Timestamp) -> Self {
        let mut result = Self::default();
        for worker in workers.iter().filter(|worker| worker.role == "worker") {
            result.workers += 1;
            let absent = worker.state() == WorkerState::Absent;
            let lease = Timestamp::from_micros(worker.lease_expires_at_micros);
            let name = &worker.name;
            if worker.applied_revision >= revision {
                result.applied += 1;
            } else if !absent {
                result.behind.push(format!("{name} (at revision {})", worker.applied_revision));
            } else if serve_on {
                result.behind.push(format!("{name} (absent; the organization is served on without a lease)"));
            } else if lease <= now {
                result.ended.push(format!("{name} (absent; it refuses, for its lease has ended)"));
            } else {
                result.behind.push(format!("{name} (absent; its lease ends {})", relative(lease, now)));
            }
        }
        result
    }
}

/// Polls until no worker serves by an older revision, or the time is over. Says on the way how far it is.
pub(super) async fn until_applied(
    connection: &Connection,
    revision: u64,
    organization: &str,
    timeout: Duration,
    output: &Output,
) -> Result<Applied, Failure> {
    let message = GetOrganizationRequest { id: organization.to_owned() };
    let organization = connection.organizations().get_organization(request(message)).await?.into_inner();
    let serve_on = organization.organization.unwrap_or_default().on_stale() == OnStale::Serve;
    let started = SystemClock.now();
    let mut said = String::new();
    loop {
        // Leases are told in the server's time.
        let region = connection.region().get_region(request(GetRegionRequest {})).await?.into_inner();
        let workers = worker::list(connection).await?;
        let state = Applied::of(&workers, revision, serve_on, Timestamp::from_micros(region.now_micros));
        let progress =
            format!("revision {revision}: applied by {} of {} workers", state.applied, state.workers);
        if progress != said {
            output.note(&progress);
            said = progress;
        }
        let over = SystemClock.now().saturating_since(started) >= timeout;
        if state.everywhere() || over {
            for worker in state.missing() {
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

    fn worker(name: &str, state: WorkerState, applied_revision: u64, lease: i64) -> Worker {
        Worker {
            name: name.to_owned(),
            role: "worker".to_owned(),
            state: state.into(),
            applied_revision,
            lease_expires_at_micros: lease,
            ..Worker::default()
        }
    }

    #[test]
    fn an_absent_worker_counts_as_refusing_only_when_its_lease_has_ended() {
        let now = Timestamp::from_micros(10_000_000);
        let ready = worker("a", WorkerState::Ready, 7, 20_000_000);
        let leased = worker("b", WorkerState::Absent, 6, 13_000_000);
        let ended = worker("c", WorkerState::Absent, 6, 9_000_000);
        let state = Applied::of(&[ready.clone(), leased], 7, false, now);
        assert!(!state.everywhere());
        assert_eq!((state.applied, state.workers), (1, 2));
        assert_eq!(state.missing(), ["b (absent; its lease ends in 3s)"]);
        let state = Applied::of(&[ready.clone(), ended.clone()], 7, false, now);
        assert!(state.everywhere());
        assert_eq!(state.missing().len(), 1);
        assert!(!Applied::of(&[ready, ended], 7, true, now).everywhere(), "served on without a lease");
    }

    #[test]
    fn routers_apply_nothing() {
        let router = Worker { role: "router".to_owned(), ..worker("r", WorkerState::Ready, 0, 0) };
        let state = Applied::of(&[router], 7, false, Timestamp::from_micros(0));
        assert_eq!((state.workers, state.everywhere()), (0, true));
    }
}
