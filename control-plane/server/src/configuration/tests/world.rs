//! Small regions to test with.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use bailiwick_core::records::Revision;
use bailiwick_proto::{
    config::v1::{self as config, Resource, ResourceKind, resource::Kind},
    convert,
    digest::{self, Shards},
    worker::v1::{self as wire, operation},
};

use super::super::{
    entry::{Entry, Name},
    history::Operation,
    resources::Resources,
    state::{Change, Held, State},
};

pub(super) const EPOCH: &str = "01JD0W6KQ4V6J5T6T9N2X8Y3ZB";

pub(super) fn organization(id: &str) -> Resource {
    let organization = config::Organization { id: id.into(), ..config::Organization::default() };
    Resource { kind: Some(Kind::Organization(organization)) }
}

pub(super) fn key(id: &str, organization: &str) -> Resource {
    let key = config::ApiKey {
        id: id.into(),
        organization_id: organization.into(),
        digest: vec![7; 32],
        ..config::ApiKey::default()
    };
    Resource { kind: Some(Kind::ApiKey(key)) }
}

pub(super) fn put(resource: Resource) -> Operation {
    Operation::Put(Arc::new(Entry::new(resource).expect("has content")))
}

pub(super) fn gone(kind: ResourceKind, id: &str) -> Operation {
    Operation::Gone(Name::new(kind, id))
}

pub(super) fn change(from: u64, to: u64, operations: Vec<Operation>) -> Change {
    Change { from: Revision(from), to: Revision(to), operations }
}

/// One organization with `keys` keys, at revision 10.
pub(super) fn state(keys: usize) -> State {
    let keys = (0..keys).map(|n| key(&format!("key_{n}"), "org_a"));
    let entries = std::iter::once(organization("org_a")).chain(keys);
    let resources: Resources = entries.filter_map(Entry::new).map(Arc::new).collect();
    State::new(EPOCH, Revision(10), resources)
}

/// A worker that does what the contract says, and panics where the server breaks it.
#[derive(Debug, Default)]
pub(super) struct Worker {
    pub(super) revision: u64,
    pub(super) epoch: String,
    pub(super) resources: BTreeMap<(i32, String), Resource>,
    pub(super) digests: Shards,
}

impl Worker {
    pub(super) fn with(state: &State) -> Self {
        let mut worker =
            Self { revision: state.revision.0, epoch: state.epoch.to_string(), ..Self::default() };
        for entry in state.resources.iter() {
            worker.put(entry.to_wire());
        }
        worker
    }

    pub(super) fn held(&self) -> Held {
        Held { epoch: self.epoch.clone(), revision: Revision(self.revision), digests: self.digests.clone() }
    }

    pub(super) fn apply(&mut self, batch: wire::Batch) {
        assert_eq!(batch.from, self.revision, "a gap");
        assert!(batch.to > batch.from);
        for operation in batch.operations {
            match operation.operation.expect("known") {
                operation::Operation::Put(resource) => self.put(resource),
                operation::Operation::Gone(id) => self.remove(id.kind, &id.id),
            }
        }
        self.revision = batch.to;
    }

    pub(super) fn repair(&mut self, shard: u8, resources: Vec<Resource>) {
        let in_shard = |(kind, id): &(i32, String)| {
            digest::shard_of(ResourceKind::try_from(*kind).expect("known"), id) == shard
        };
        let held: Vec<_> = self.resources.keys().filter(|name| in_shard(name)).cloned().collect();
        held.into_iter().for_each(|(kind, id)| self.remove(kind, &id));
        resources.into_iter().for_each(|resource| self.put(resource));
    }

    pub(super) fn holds(&self, kind: ResourceKind, id: &str) -> bool {
        self.resources.contains_key(&(kind.into(), id.to_owned()))
    }

    pub(super) fn put(&mut self, resource: Resource) {
        let id = convert::resource_id(&resource).expect("has content");
        self.remove(id.kind, &id.id);
        self.toggle(&resource);
        self.resources.insert((id.kind, id.id), resource);
    }

    pub(super) fn remove(&mut self, kind: i32, id: &str) {
        if let Some(resource) = self.resources.remove(&(kind, id.to_owned())) {
            self.toggle(&resource);
        }
    }

    fn toggle(&mut self, resource: &Resource) {
        let id = convert::resource_id(resource).expect("has content");
        self.digests.toggle(digest::shard_of(id.kind(), &id.id), &digest::resource_digest(resource));
    }
}

/// What a worker said, as the server noted it.
#[derive(Clone, Debug, Default)]
pub(super) struct Notes(pub(super) Arc<Mutex<Noted>>);

#[derive(Debug, Default)]
pub(super) struct Noted {
    pub(super) acknowledged: Option<Revision>,
    pub(super) refused: Vec<(String, String)>,
}

/// Attendance that a test reads.
pub(super) struct Attending {
    pub(super) notes: Notes,
    pub(super) removed: tokio_util::sync::CancellationToken,
}

impl super::super::subscription::Attendance for Attending {
    fn leased(&mut self, _lease: std::time::Duration) {}

    fn acknowledged(&mut self, revision: Revision) {
        self.notes.0.lock().expect("unpoisoned").acknowledged = Some(revision);
    }

    fn refused(&mut self, _revision: Revision, resource: &str, reason: &str) {
        self.notes.0.lock().expect("unpoisoned").refused.push((resource.into(), reason.into()));
    }

    fn removed(&mut self) -> impl Future<Output = ()> + Send {
        self.removed.cancelled()
    }
}
