//! Rotations of keys: begun by `bailiwick region rotate-master-key` and `bailiwick org rotate-keys`, followed with `--wait`.

use std::time::Duration;

use bailiwick_domain::time::{Clock, SystemClock};
use bailiwick_proto::admin::v1::{
    GetKeyMaterialRequest, GetRotationRequest, ListRotationsRequest, RotateDataKeysRequest,
    RotateMasterKeyRequest, Rotation,
};
use clap::Args;

use crate::{
    connection::{Connection, EVERYTHING, idempotency_key, pages, request},
    failure::Failure,
    output::{Output, Record},
    when::duration,
};

const POLL: Duration = Duration::from_millis(500);

/// Whether the command waits for the end.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct Waiting {
    /// Wait until it is over, and say on the way how far it is
    #[arg(long)]
    wait: bool,
    /// How long to wait; the rotation goes on when the time is over
    #[arg(long, value_parser = duration, default_value = "1h", requires = "wait")]
    timeout: Duration,
}

pub(crate) async fn rotate_master_key(
    connection: &Connection,
    output: &Output,
    waiting: Waiting,
) -> Result<(), Failure> {
    let message = RotateMasterKeyRequest { idempotency_key: idempotency_key() };
    let begun = connection.key_material().rotate_master_key(request(message)).await?.into_inner().rotation;
    show(connection, output, begun.unwrap_or_default(), waiting).await
}

/// `organization` empty: the region's own.
pub(crate) async fn rotate_data_keys(
    connection: &Connection,
    output: &Output,
    organization: String,
    waiting: Waiting,
) -> Result<(), Failure> {
    let message = RotateDataKeysRequest { idempotency_key: idempotency_key(), organization_id: organization };
    let begun = connection.key_material().rotate_data_keys(request(message)).await?.into_inner().rotation;
    show(connection, output, begun.unwrap_or_default(), waiting).await
}

pub(crate) async fn list(connection: &Connection, output: &Output) -> Result<(), Failure> {
    let mut client = connection.key_material();
    let rotations = pages(EVERYTHING, async |page| {
        let message = ListRotationsRequest { page: Some(page) };
        let answer = client.list_rotations(request(message)).await?.into_inner();
        Ok((answer.rotations, answer.page))
    });
    let rotations: Vec<Record> = rotations.await?.iter().map(record).collect();
    output.list(&rotations);
    Ok(())
}

pub(crate) async fn key_material(connection: &Connection, output: &Output) -> Result<(), Failure> {
    let message = request(GetKeyMaterialRequest {});
    let material = connection.key_material().get_key_material(message).await?.into_inner();
    let uses: Vec<Record> = material
        .uses
        .iter()
        .map(|used| {
            let is_present = used.master_key == material.master_key;
            Record::default()
                .text("master_key", used.master_key.as_str())
                .count("data_keys", used.data_keys)
                .text("state", if is_present { "present" } else { "previous: rotate, then take it away" })
        })
        .collect();
    output.list(&uses);
    Ok(())
}

async fn show(
    connection: &Connection,
    output: &Output,
    begun: Rotation,
    waiting: Waiting,
) -> Result<(), Failure> {
    let rotation =
        if waiting.wait { until_over(connection, output, begun, waiting.timeout).await? } else { begun };
    output.one(&record(&rotation));
    if rotation.finished_at_micros == 0 && !waiting.wait {
        output.note("it goes on in the control plane; `bailiwick region rotations` says how far it is");
    }
    Ok(())
}

async fn until_over(
    connection: &Connection,
    output: &Output,
    begun: Rotation,
    timeout: Duration,
) -> Result<Rotation, Failure> {
    let started = SystemClock.now();
    let (mut rotation, mut said) = (begun, String::new());
    while rotation.finished_at_micros == 0 {
        let progress = format!("{} of {}", rotation.done, rotation.total);
        if progress != said {
            output.note(&progress);
            said = progress;
        }
        if SystemClock.now().saturating_since(started) >= timeout {
            return Err(Failure::failed(format!("{} is not over yet: {said}", rotation.id))
                .hint("it goes on in the control plane; its log says what holds it up"));
        }
        tokio::time::sleep(POLL).await;
        let message = GetRotationRequest { id: rotation.id.clone() };
        // A control plane that restarts goes on by itself: a call that fails says nothing of the rotation.
        match connection.key_material().get_rotation(request(message)).await {
            Ok(answer) => rotation = answer.into_inner().rotation.unwrap_or_default(),
            Err(status) if status.code() == tonic::Code::Unavailable => {
                said = "the control plane does not answer; trying again".to_owned();
                output.note(&said);
            }
            Err(status) => return Err(status.into()),
        }
    }
    Ok(rotation)
}

fn record(rotation: &Rotation) -> Record {
    Record::default()
        .text("id", rotation.id.as_str())
        .text("kind", rotation.kind.as_str())
        .text("organization", rotation.organization_id.as_str())
        .text("target", rotation.target.as_str())
        .count("done", rotation.done)
        .count("total", rotation.total)
        .time("started", rotation.started_at_micros)
        .time("finished", rotation.finished_at_micros)
}
