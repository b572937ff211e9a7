//! The configuration of the region, in memory, and the subscription that keeps it fresh.
//!
//! A request takes one pointer ([`SnapshotHandle::load`]) and reads from it until it is done: it sees one revision, whatever arrives
//! meanwhile. A change copies the partitions that it touches and swaps the pointer; nobody waits for it (R9).
//!
//! Start reading at [`Snapshot`] (what a request asks), then [`apply`](self::apply) (how a change gets in), [`subscription`] (where
//! changes come from) and [`transfer`] (how everything comes at once).
//!
//! Never here: a panic over what the control plane sent, a foreign identifier (R5), an older state after a newer one (R12).

mod apply;
mod convert;
mod entries;
mod judgement;
mod keys;
mod lease;
mod partitioned;
mod transfer;

pub(crate) mod subscription;

use std::{sync::Arc, time::Instant};

use arc_swap::{ArcSwap, Guard};
use bailiwick_domain::{
    id::{CredentialId, DeploymentId, ModelId, OrganizationId},
    key::KeyId,
};
use bailiwick_proto::digest::Shards;

pub(crate) use self::{
    apply::Refused,
    convert::bearer,
    entries::{
        CredentialEntry, DeploymentEntry, KeyEntry, ModelEntry, OrganizationEntry, PreparedEndpoint,
        RegionSettings, Secret, USER_AGENT,
    },
    lease::Lease,
};
use self::{
    apply::RefusedResources,
    entries::Catalogue,
    judgement::Judgement,
    keys::KeyTable,
    partitioned::{Held, Table},
};

/// Where the newest snapshot is found. All clones see the same.
#[derive(Clone, Default)]
pub(crate) struct SnapshotHandle(Arc<ArcSwap<Snapshot>>);

impl SnapshotHandle {
    /// The newest snapshot, for the synchronous part of a request. What crosses an `await` takes [`Self::load_full`].
    pub(crate) fn load(&self) -> Guard<Arc<Snapshot>> {
        self.0.load()
    }

    /// The newest snapshot, to be kept as long as a request lives.
    pub(crate) fn load_full(&self) -> Arc<Snapshot> {
        self.0.load_full()
    }

    /// Forgets everything, for good. Secrets are zeroed when the last request that uses them is done.
    pub(crate) fn forget(&self) {
        self.store(Snapshot::default());
    }

    fn store(&self, snapshot: Snapshot) {
        self.0.store(Arc::new(snapshot));
    }
}

/// All configuration at one revision. A clone shares everything that neither changes.
#[derive(Clone, Default)]
pub(crate) struct Snapshot {
    epoch: Arc<str>,
    revision: u64,
    lease: Arc<Lease>,
    settings: Option<Held<RegionSettings>>,
    organizations: Table<OrganizationId, OrganizationEntry>,
    keys: KeyTable,
    credentials: Table<CredentialId, CredentialEntry>,
    models: Table<ModelId, ModelEntry>,
    /// Each organization's models by name.
    catalogues: Table<OrganizationId, Catalogue>,
    deployments: Table<DeploymentId, DeploymentEntry>,
    /// What was received and could not be applied.
    refused: RefusedResources,
    judgement: Judgement,
    /// Digests of what was received.
    shards: Shards,
}

impl Snapshot {
    /// The region's settings; `None` while the worker has no configuration, and then there is no key either.
    pub(crate) fn settings(&self) -> Option<&RegionSettings> {
        self.settings.as_ref().map(|held| held.entry.as_ref())
    }

    /// An API key. Constant time, whatever the number of keys.
    pub(crate) fn key(&self, id: &KeyId) -> Option<KeyEntry> {
        self.keys.find(id)
    }

    /// An organization.
    pub(crate) fn organization(&self, id: &OrganizationId) -> Option<&Arc<OrganizationEntry>> {
        self.organizations.find(id)
    }

    /// The organization's model of a public name.
    pub(crate) fn model(&self, organization: &OrganizationId, name: &str) -> Option<&ModelEntry> {
        self.catalogues.find(organization)?.by_name(name).map(Arc::as_ref)
    }

    /// Whether there is a model of this identifier.
    pub(crate) fn has_model(&self, id: &ModelId) -> bool {
        self.models.find(id).is_some()
    }

    /// All models of an organization, by name.
    pub(crate) fn models_of(&self, organization: &OrganizationId) -> impl Iterator<Item = &Arc<ModelEntry>> {
        self.catalogues.find(organization).into_iter().flat_map(|catalogue| catalogue.iter())
    }

    /// A deployment.
    pub(crate) fn deployment(&self, id: &DeploymentId) -> Option<&Arc<DeploymentEntry>> {
        self.deployments.find(id)
    }

    /// A provider credential.
    pub(crate) fn credential(&self, id: &CredentialId) -> Option<&Arc<CredentialEntry>> {
        self.credentials.find(id)
    }

    /// Whether the lease has not run out: what the control plane revoked meanwhile would have been heard of.
    pub(crate) fn fresh_at(&self, now: Instant) -> bool {
        self.lease.fresh_at(now)
    }

    /// The region's configuration counter that this is the state at.
    pub(crate) fn revision(&self) -> u64 {
        self.revision
    }

    /// How many API keys there are.
    pub(crate) fn keys_held(&self) -> u64 {
        self.keys.len() as u64
    }

    /// How many resources there are whose last version could not be applied.
    pub(crate) fn refused_held(&self) -> u64 {
        self.refused.len() as u64
    }

    /// The lease, which outlives this snapshot.
    pub(crate) fn lease(&self) -> &Arc<Lease> {
        &self.lease
    }
}

#[cfg(test)]
impl SnapshotHandle {
    /// Applies resources, and renews the lease for an hour.
    pub(crate) fn put_all(
        &self,
        jurisdiction: &bailiwick_domain::jurisdiction::Jurisdiction,
        resources: impl IntoIterator<Item = bailiwick_proto::config::v1::Resource>,
    ) {
        let mut next = Snapshot::clone(&self.load());
        for resource in resources {
            next.put(jurisdiction, resource).expect("a good resource");
        }
        next.judge_changed();
        self.store(next);
        self.lend(std::time::Duration::from_secs(3600));
    }

    /// Lets the lease run out after `left`.
    pub(crate) fn lend(&self, left: std::time::Duration) {
        self.load().lease.renew(Instant::now(), left);
    }
}

#[cfg(test)]
mod tests;
