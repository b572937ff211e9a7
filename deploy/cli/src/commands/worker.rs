//! `bailiwick worker`.

use std::time::Duration;

use bailiwick_domain::time::{Clock, SystemClock, Timestamp};
use bailiwick_proto::admin::v1::{ListWorkersRequest, RevokeWorkerRequest, Worker, WorkerState};
use clap::Subcommand;

use super::trust;
use crate::{
    connection::{Connection, EVERYTHING, pages, request},
    failure::{Exit, Failure},
    input::Consent,
    output::{Output, Record, Value},
    when::relative,
};

/// Whoever is shut out can neither use nor tell. So nothing is guessed to its favour.
const HELD: &str = "usage that it has not reported is lost, and what it was lent of limits counts as used until their minute, day or month is over; of a limit for ever, until that is raised or made anew. \
     bailiwick limit list shows it as in_doubt. A worker that is only to be stopped is better stopped with SIGTERM: then it reports everything and gives back what it did not use";

#[derive(Debug, Subcommand)]
pub(crate) enum WorkerCommand {
    /// Shows every worker and router that ever enrolled and was not revoked; absent ones too
    Status,
    /// Shuts a worker or router out: every process of the region refuses its certificate, and its connections end
    #[command(alias = "remove")]
    Revoke {
        /// Its name or its id
        worker: String,
        #[command(flatten)]
        consent: Consent,
        /// Wait until every connected process refuses it; exit code 1 when one does not
        #[arg(long)]
        wait: bool,
        /// How long to wait, in seconds
        #[arg(long, requires = "wait", default_value_t = 30, value_name = "SECONDS")]
        timeout: u64,
    },
}

impl WorkerCommand {
    pub(crate) async fn run(self, connection: &Connection, output: &Output) -> Result<Exit, Failure> {
        let workers = list(connection).await?;
        match self {
            Self::Status => {
                let now = SystemClock.now();
                output.list(&workers.iter().map(|worker| record(worker, output, now)).collect::<Vec<_>>());
                Ok(Exit::Done)
            }
            Self::Revoke { worker, consent, wait, timeout } => {
                let worker = find(&workers, &worker)?;
                consent
                    .obtain(&format!("revoke the {} {} ({})", worker.role, worker.name, worker.id), output)?;
                let timeout = wait.then(|| Duration::from_secs(timeout));
                revoke(connection, worker, timeout, output).await
            }
        }
    }
}

async fn revoke(
    connection: &Connection,
    worker: &Worker,
    timeout: Option<Duration>,
    output: &Output,
) -> Result<Exit, Failure> {
    let message = RevokeWorkerRequest { id: worker.id.clone() };
    let version = connection.trust().revoke_worker(request(message)).await?.into_inner().version;
    let record = Record::default().text("revoked", &worker.id).text("name", &worker.name);
    let record = record.text("role", &worker.role).count("version", version);
    if worker.role == "worker" {
        output.note(HELD);
    }
    let Some(timeout) = timeout else {
        output.one(&record);
        return Ok(Exit::Done);
    };
    let unaware = trust::until_known(connection, version, timeout, output).await?;
    let everywhere = unaware.is_empty();
    output.one(&record.with("not_applied", Value::List(unaware)));
    Ok(if everywhere { Exit::Done } else { Exit::Failed })
}

/// Workers and routers.
pub(super) async fn list(connection: &Connection) -> Result<Vec<Worker>, Failure> {
    let client = connection.region();
    pages(EVERYTHING, async |page| {
        let answer =
            client.clone().list_workers(request(ListWorkersRequest { page: Some(page) })).await?.into_inner();
        Ok((answer.workers, answer.page))
    })
    .await
}

fn find<'a>(workers: &'a [Worker], wanted: &str) -> Result<&'a Worker, Failure> {
    let mut found = workers.iter().filter(|worker| worker.id == wanted || worker.name == wanted);
    match (found.next(), found.next()) {
        (Some(worker), None) => Ok(worker),
        (None, _) => Err(Failure::not_found(format!("no worker has the name or id {wanted:?}"))
            .hint("bailiwick worker status")),
        (Some(_), Some(_)) => Err(Failure::usage(format!("more than one worker has the name {wanted:?}"))
            .hint("give its id: bailiwick worker status")),
    }
}

pub(super) fn state(worker: &Worker) -> &'static str {
    match worker.state() {
        WorkerState::Unspecified => "unknown",
        WorkerState::Absent => "absent",
        WorkerState::Syncing => "syncing",
        WorkerState::Ready => "ready",
        WorkerState::Draining => "draining",
    }
}

/// People want to know how long, programs when.
fn record(worker: &Worker, output: &Output, now: Timestamp) -> Record {
    let record = Record::default()
        .text("name", &worker.name)
        .text("role", &worker.role)
        .text("state", state(worker))
        .count("revision", worker.applied_revision)
        .count("lag", worker.lag);
    let moment = |record: Record, name, micros: i64| match (output.is_json(), micros) {
        (true, _) | (_, 0) => record.time(name, micros),
        (false, _) => record.text(name, relative(Timestamp::from_micros(micros), now)),
    };
    let record = moment(record, "lease", worker.lease_expires_at_micros);
    let record = moment(record, "certificate", worker.certificate_expires_at_micros);
    let record = moment(record, "seen", worker.last_seen_at_micros);
    record
        .text("build", &worker.build)
        .text("last_refusal", &worker.last_refusal)
        .text("address", &worker.advertise_address)
        .text("id", &worker.id)
}
