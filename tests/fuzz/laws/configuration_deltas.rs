//! Batches of the configuration log, applied to a snapshot (R5, R12).

use std::collections::HashMap;

use bailiwick_domain::{
    jurisdiction::{Jurisdiction, Regional},
    key::KeyId,
    region::{RegionCode, Regions},
};
use bailiwick_proto::{
    config::v1::{ResourceKind, resource::Kind},
    convert::resource_id,
    digest::{Digest, Shards, resource_digest, shard_of},
    worker::v1::{Batch, Operation, ShardRepair, operation},
};
use prost::Message as _;

use crate::snapshot::Snapshot;

/// A reason goes into a message of the contract, which bounds it.
const LONGEST_REASON_CHARS: usize = 512;

/// What was received, by name: what the digests must be of.
#[derive(Default)]
struct Received(HashMap<(i32, String), (u8, Digest)>);

/// A batch is applied or refused piece by piece; the digests are of what was received; a key that was taken away is gone, whatever else the batch
/// says; and nothing of another region is ever held.
pub fn configuration_deltas(bytes: &[u8]) {
    let Ok(batch) = Batch::decode(bytes) else { return };
    let Some(here) = Regions::builtin().by_name_str("eu-central-1").map(Jurisdiction::of) else { return };
    let mut received = Received::default();
    batch.operations.iter().for_each(|operation| received.note(operation));
    let (next, refused) = Snapshot::default().after(&here, batch.clone());
    assert_eq!(next.revision(), batch.to);
    assert!(refused.len() <= batch.operations.len());
    assert!(refused.iter().all(|refused| refused.reason.chars().count() <= LONGEST_REASON_CHARS));
    assert_eq!(*next.shards(), received.digests(), "drift that is none, or none that is");
    assert_eq!(next.settings().map(|settings| settings.code).unwrap_or(here.code()), here.code());
    for (kind, id) in keys_of(&batch) {
        check_key(&next, &id, here.code(), received.0.contains_key(&(kind, id.clone())));
    }
    // A second time, everything is as it was; and a repair that names nothing leaves nothing of its shard.
    let (again, _) = next.after(&here, batch.clone());
    if !batch.operations.iter().any(is_gone) {
        assert_eq!(again.shards(), next.shards());
    }
    if let Some((_, id)) = keys_of(&batch).next() {
        let shard = shard_of(ResourceKind::ApiKey, &id);
        let repair = ShardRepair { revision: batch.to, shard: shard.into(), resources: Vec::new() };
        let (repaired, _) = next.repaired(&here, repair);
        assert!(
            id.parse().is_ok_and(|id: KeyId| repaired.key(&id).is_none()) || id.parse::<KeyId>().is_err()
        );
    }
}

impl Received {
    fn note(&mut self, operation: &Operation) {
        match &operation.operation {
            Some(operation::Operation::Put(resource)) => {
                let Some(id) = resource_id(resource) else { return };
                let shard = shard_of(id.kind(), &id.id);
                self.0.insert((id.kind, id.id), (shard, resource_digest(resource)));
            }
            // A region always has settings: they are replaced, never removed.
            Some(operation::Operation::Gone(id)) if id.kind() != ResourceKind::RegionSettings => {
                self.0.remove(&(id.kind, id.id.clone()));
            }
            _ => {}
        }
    }

    fn digests(&self) -> Shards {
        let mut shards = Shards::default();
        self.0.values().for_each(|(shard, digest)| shards.toggle(*shard, digest));
        shards
    }
}

/// Every key that the batch names.
fn keys_of(batch: &Batch) -> impl Iterator<Item = (i32, String)> {
    let api_key = i32::from(ResourceKind::ApiKey);
    batch.operations.iter().filter_map(move |operation| match &operation.operation {
        Some(operation::Operation::Put(resource)) => match &resource.kind {
            Some(Kind::ApiKey(key)) => Some((api_key, key.id.clone())),
            _ => None,
        },
        Some(operation::Operation::Gone(id)) if id.kind == api_key => Some((api_key, id.id.clone())),
        _ => None,
    })
}

fn check_key(snapshot: &Snapshot, text: &str, here: RegionCode, last_was_put: bool) {
    let Ok(id) = text.parse::<KeyId>() else { return };
    let Some(held) = snapshot.key(&id) else { return };
    assert!(last_was_put, "R12: a key that was taken away");
    assert_eq!(id.region_code(), here, "R5: a key of another region");
    assert_eq!(held.organization.region_code(), here, "R5: a key of another region's organization");
}

fn is_gone(operation: &Operation) -> bool {
    matches!(operation.operation, Some(operation::Operation::Gone(_)))
}
