//! `bailiwick worker`.

use bailiwick_domain::time::{Clock, SystemClock, Timestamp};
use bailiwick_proto::admin::v1::{ListWorkersRequest, RemoveWorkerRequest, Worker, WorkerState};
use clap::Subcommand;

use crate::{
    connection::{Connection, EVERYTHING, pages, request},
    failure::Failure,
    input::Consent,
    output::{Output, Record},
    when::relative,
};

#[derive(Debug, Subcommand)]
pub(crate) enum WorkerCommand {
    /// Shows every worker and router that ever enrolled and was not removed; absent ones too
    Status,
    /// Removes a worker: its certificate is not renewed, and its streams are closed
    Remove {
        /// Its name or its id
        worker: String,
        #[command(flatten)]
        consent: Consent,
    },
}

impl WorkerCommand {
    pub(crate) async fn run(self, connection: &Connection, output: &Output) -> Result<(), Failure> {
        let workers = list(connection).await?;
        match self {
            Self::Status => {
                let now = SystemClock.now();
                output.list(&workers.iter().map(|worker| record(worker, output, now)).collect::<Vec<_>>());
                Ok(())
            }
            Self::Remove { worker, consent } => {
                let worker = find(&workers, &worker)?;
                consent
                    .obtain(&format!("remove the {} {} ({})", worker.role, worker.name, worker.id), output)?;
                let message = RemoveWorkerRequest { id: worker.id.clone() };
                connection.region().remove_worker(request(message)).await?;
                output.one(&Record::default().text("removed", &worker.id).text("name", &worker.name));
                Ok(())
            }
        }
    }
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
