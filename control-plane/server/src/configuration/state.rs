//! The state of the log: what it holds, what led there, and what a worker needs that comes back.

use std::sync::Arc;

use bailiwick_core::records::Revision;
use bailiwick_proto::{config::v1::ResourceKind, digest::Shards};

use super::{
    entry::{Entry, Name},
    history::{History, MAX_STEP_BYTES, Operation, Step},
    resources::{Resources, Shard},
};

/// More differing shards than this are not repaired one by one.
const MAX_REPAIRS: usize = 64;

/// Everything at one revision.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) epoch: Arc<str>,
    pub(crate) revision: Revision,
    pub(crate) resources: Resources,
    pub(crate) history: History,
}

/// What the store says has changed: absolute states at `to`.
#[derive(Debug)]
pub(crate) struct Change {
    pub(crate) from: Revision,
    pub(crate) to: Revision,
    pub(crate) operations: Vec<Operation>,
}

/// What a worker says that it holds.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) epoch: String,
    pub(crate) revision: Revision,
    pub(crate) digests: Shards,
}

/// How a worker gets from what it holds to the newest revision.
#[derive(Debug)]
pub(crate) enum Resume {
    /// From a snapshot: the epoch is another one, the history too short, or the drift too wide.
    TakeSnapshot,
    /// By these steps; then by putting these shards right.
    Steps(Vec<Arc<Step>>, Vec<(u8, Arc<Shard>)>),
}

impl State {
    /// A state without a past.
    pub(crate) fn new(epoch: &str, revision: Revision, resources: Resources) -> Self {
        Self { epoch: epoch.into(), revision, resources, history: History::default() }
    }

    /// Takes one step. False, and nothing happens, when the change does not begin where the log stands.
    pub(crate) fn apply(&mut self, change: Change) -> bool {
        if change.from != self.revision || change.to <= change.from {
            return false;
        }
        let mut operations = Vec::with_capacity(change.operations.len());
        let mut toggles = Vec::new();
        for operation in change.operations {
            match operation {
                // What goes with an organization goes with it, however many rows the change named.
                Operation::Gone(name) if name.kind == ResourceKind::Organization => {
                    for belonging in self.belonging_to(&name) {
                        toggles.extend(self.resources.remove(&belonging));
                        operations.push(Operation::Gone(belonging));
                    }
                    toggles.extend(self.resources.remove(&name));
                    operations.push(Operation::Gone(name));
                }
                Operation::Gone(name) => {
                    toggles.extend(self.resources.remove(&name));
                    operations.push(Operation::Gone(name));
                }
                Operation::Put(entry) => {
                    toggles.extend(self.resources.put(Arc::clone(&entry)));
                    operations.push(Operation::Put(entry));
                }
            }
        }
        self.revision = change.to;
        self.history.push(Arc::new(Step { from: change.from, to: change.to, operations, toggles }));
        true
    }

    /// The way for a worker that comes back.
    pub(crate) fn resume(&self, held: &Held) -> Resume {
        if held.epoch != *self.epoch {
            return Resume::TakeSnapshot;
        }
        let Some(steps) = self.history.since(held.revision, self.revision) else {
            return Resume::TakeSnapshot;
        };
        // What its digests will be once it has taken the steps. Where it joins in the middle of one, some of it is in
        // already and the forecast is off: then a shard is sent that was right.
        let mut forecast = held.digests.clone();
        for (shard, digest) in steps.iter().flat_map(|step| &step.toggles) {
            forecast.toggle(*shard, digest);
        }
        let differing = forecast.differing(self.resources.digests());
        if differing.len() > MAX_REPAIRS {
            return Resume::TakeSnapshot;
        }
        let shards =
            differing.into_iter().filter_map(|shard| Some((shard, Arc::clone(self.resources.shard(shard)?))));
        let repairs: Vec<_> = shards.collect();
        if repairs.iter().any(|(_, shard)| encoded_size(shard) > MAX_STEP_BYTES) {
            return Resume::TakeSnapshot;
        }
        Resume::Steps(steps, repairs)
    }

    /// What makes `resources` of what the log holds, as one change to `to`.
    pub(crate) fn difference(&self, to: Revision, resources: &Resources) -> Change {
        let gone = self.resources.iter().filter(|entry| resources.find(&entry.name).is_none());
        let differs = |entry: &&Arc<Entry>| {
            self.resources.find(&entry.name).is_none_or(|mine| mine.digest != entry.digest)
        };
        let operations = gone
            .map(|entry| Operation::Gone(entry.name.clone()))
            .chain(resources.iter().filter(differs).map(|entry| Operation::Put(Arc::clone(entry))))
            .collect();
        Change { from: self.revision, to, operations }
    }

    fn belonging_to(&self, organization: &Name) -> Vec<Name> {
        let belongs = |entry: &&Arc<Entry>| {
            entry.organization.as_ref() == Some(&organization.id) && entry.name != *organization
        };
        self.resources.iter().filter(belongs).map(|entry| entry.name.clone()).collect()
    }
}

fn encoded_size(shard: &Shard) -> usize {
    shard.values().map(|entry| entry.encoding.len() + 16).sum()
}
