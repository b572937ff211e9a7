//! How a change gets into a snapshot.
//!
//! A resource that cannot be applied is refused with a reason; its last good state stays, and everything else goes on. A removal is never
//! refused. The digests are of what was *received*, applied or not, so that a refused resource is not taken for drift and sent again for ever.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use bailiwick_domain::{
    id::{CredentialId, DeploymentId, ModelId, OrganizationId},
    jurisdiction::Jurisdiction,
    key::KeyId,
};
use bailiwick_proto::{
    config::v1::{Resource, ResourceId, ResourceKind, resource::Kind},
    convert::{ConvertError, resource_id},
    digest::{Digest, Shards, encoded_digest, shard_of},
    worker::v1 as wire,
};
use prost::Message as _;
use zeroize::Zeroizing;

use super::{
    Snapshot, convert,
    entries::{Catalogue, ModelEntry},
    partitioned::Held,
};

/// A reason is cut to this many characters, which the contract allows.
const MAX_REASON_CHARS: usize = 512;

/// One resource could not be applied.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Refused {
    /// Which one.
    pub(crate) resource: ResourceId,
    /// What is wrong with it, without its content.
    pub(crate) reason: String,
}

/// What was received of resources that could not be applied, by kind and identifier. Few, and shared until one more comes.
pub(super) type RefusedResources = Arc<HashMap<(i32, Box<str>), (u8, Digest)>>;

impl Snapshot {
    /// An empty snapshot to build a whole state in, aside. It shares the lease, because a lease is the control plane's word and not the state's.
    pub(super) fn aside(&self, epoch: &str, revision: u64) -> Self {
        Self { epoch: epoch.into(), revision, lease: Arc::clone(&self.lease), ..Self::default() }
    }

    /// The state that a batch leads to, and what of it was refused. The caller has checked that the batch begins here.
    pub(crate) fn after(&self, jurisdiction: &Jurisdiction, batch: wire::Batch) -> (Self, Vec<Refused>) {
        let mut next = self.clone();
        let mut refused = Vec::new();
        for operation in batch.operations {
            match operation.operation {
                Some(wire::operation::Operation::Put(resource)) => {
                    refused.extend(next.put(jurisdiction, resource).err());
                }
                Some(wire::operation::Operation::Gone(id)) => next.gone(&id),
                None => {}
            }
        }
        next.revision = batch.to;
        next.judge_changed();
        (next, refused)
    }

    /// The state in which one shard is exactly what the repair says.
    pub(crate) fn repaired(
        &self,
        jurisdiction: &Jurisdiction,
        repair: wire::ShardRepair,
    ) -> (Self, Vec<Refused>) {
        let mut next = self.clone();
        let Ok(shard) = u8::try_from(repair.shard) else { return (next, Vec::new()) };
        // A resource that is refused below keeps its last good state only while the control plane still has one of its name.
        let mut beyond = self.names_in(shard);
        repair.resources.iter().filter_map(resource_id).for_each(|id| {
            beyond.remove(&(id.kind, id.id.into()));
        });
        for (kind, id) in beyond {
            next.gone(&ResourceId { kind, id: id.into() });
        }
        let refused =
            repair.resources.into_iter().filter_map(|resource| next.put(jurisdiction, resource).err());
        let refused = refused.collect();
        next.judge_changed();
        (next, refused)
    }

    /// Stores a resource in place of the one of its name.
    pub(super) fn put(&mut self, jurisdiction: &Jurisdiction, resource: Resource) -> Result<(), Refused> {
        let Some(id) = resource_id(&resource) else {
            let reason = "it is empty, or of a kind that this version does not know".into();
            return Err(Refused { resource: ResourceId::default(), reason });
        };
        let shard = shard_of(id.kind(), &id.id);
        let received = encoded_digest(&Zeroizing::new(resource.encode_to_vec()));
        self.forget_digest(&id);
        self.shards.toggle(shard, &received);
        self.store(jurisdiction, resource, shard, received).map_err(|error| {
            self.remember_refused(&id, shard, received);
            Refused { reason: error.to_string().chars().take(MAX_REASON_CHARS).collect(), resource: id }
        })
    }

    /// Takes a resource out, if it is in. A region always has settings: they are replaced, never removed.
    pub(super) fn gone(&mut self, id: &ResourceId) {
        if id.kind() == ResourceKind::RegionSettings {
            return;
        }
        self.forget_digest(id);
        match Named::parse(id) {
            Some(Named::Organization(id)) => drop(self.organizations.remove(&id)),
            Some(Named::ApiKey(id)) => self.keys.remove(&id),
            Some(Named::Credential(id)) => drop(self.credentials.remove(&id)),
            Some(Named::Model(id)) => self.model_removed(&id),
            Some(Named::Deployment(id)) => {
                self.judgement.forget(&id);
                self.deployments.remove(&id);
            }
            // It was never applied, so there is nothing to remove.
            Some(Named::RegionSettings) | None => {}
        }
    }

    /// Digests of what was received.
    pub(crate) fn shards(&self) -> &Shards {
        &self.shards
    }

    fn store(
        &mut self,
        jurisdiction: &Jurisdiction,
        resource: Resource,
        shard: u8,
        received: Digest,
    ) -> Result<(), ConvertError> {
        match resource.kind {
            Some(Kind::RegionSettings(settings)) => {
                let settings = convert::settings(jurisdiction, settings)?;
                if self.settings().is_none_or(|before| before.egress != settings.egress) {
                    self.judgement.of_everything();
                }
                self.settings = Some(held(settings, shard, received));
            }
            Some(Kind::Organization(organization)) => {
                let (id, entry) = convert::organization(jurisdiction, &organization)?;
                let before = self.organizations.find(&id).map(|known| known.residency.clone());
                if before.unwrap_or_default() != entry.residency {
                    self.judgement.of_organization(id);
                }
                self.organizations.insert(id, held(entry, shard, received));
            }
            Some(Kind::ApiKey(key)) => self.keys.insert(convert::key(jurisdiction, &key, shard, received)?),
            Some(Kind::Credential(credential)) => {
                let entry = convert::credential(jurisdiction, credential)?;
                self.credentials.insert(entry.id, held(entry, shard, received));
            }
            Some(Kind::Model(model)) => {
                self.model_stored(held(convert::model(jurisdiction, &model)?, shard, received));
            }
            Some(Kind::Deployment(deployment)) => {
                let entry = convert::deployment(jurisdiction, &deployment)?;
                self.judgement.of_deployment(entry.id);
                self.deployments.insert(entry.id, held(entry, shard, received));
            }
            None => {}
        }
        Ok(())
    }

    fn model_stored(&mut self, model: Held<ModelEntry>) {
        self.model_removed(&model.entry.id);
        let organization = model.entry.organization;
        let catalogue = self.catalogues.find(&organization).map(Arc::as_ref).cloned().unwrap_or_default();
        self.catalogues.insert(organization, uncounted(catalogue.with(&model.entry)));
        self.models.insert(model.entry.id, model);
    }

    fn model_removed(&mut self, id: &ModelId) {
        let Some(old) = self.models.remove(id) else { return };
        let organization = old.entry.organization;
        let rest =
            self.catalogues.find(&organization).map(|catalogue| catalogue.without(id)).unwrap_or_default();
        if rest.is_empty() {
            self.catalogues.remove(&organization);
        } else {
            self.catalogues.insert(organization, uncounted(rest));
        }
    }

    /// Takes what was last received of a resource out of the digests.
    fn forget_digest(&mut self, id: &ResourceId) {
        let name = (id.kind, id.id.as_str().into());
        let refused =
            self.refused.contains_key(&name).then(|| Arc::make_mut(&mut self.refused).remove(&name));
        if let Some((shard, received)) = refused.flatten().or_else(|| self.received(id)) {
            self.shards.toggle(shard, &received);
        }
    }

    fn remember_refused(&mut self, id: &ResourceId, shard: u8, received: Digest) {
        Arc::make_mut(&mut self.refused).insert((id.kind, id.id.as_str().into()), (shard, received));
    }

    /// What was received of a resource that is applied.
    fn received(&self, id: &ResourceId) -> Option<(u8, Digest)> {
        fn of<E>(held: &Held<E>) -> (u8, Digest) {
            (held.shard, held.received)
        }
        match Named::parse(id)? {
            Named::Organization(id) => self.organizations.held(&id).map(of),
            Named::ApiKey(id) => self.keys.row(&id).map(|row| (row.shard, row.received)),
            Named::Credential(id) => self.credentials.held(&id).map(of),
            Named::Model(id) => self.models.held(&id).map(of),
            Named::Deployment(id) => self.deployments.held(&id).map(of),
            Named::RegionSettings => {
                self.settings.as_ref().filter(|held| held.entry.code.as_str() == id.id).map(of)
            }
        }
    }

    /// Everything of one shard, applied or refused, the settings excepted.
    fn names_in(&self, shard: u8) -> HashSet<(i32, Box<str>)> {
        fn named<'a, T: ToString + 'a>(
            kind: ResourceKind,
            ids: impl Iterator<Item = &'a T> + 'a,
        ) -> impl Iterator<Item = (i32, Box<str>)> + 'a {
            ids.map(move |id| (kind.into(), id.to_string().into()))
        }
        let refused =
            self.refused.iter().filter(|(_, (other, _))| *other == shard).map(|(name, _)| name.clone());
        named(ResourceKind::Organization, self.organizations.ids_in(shard))
            .chain(named(ResourceKind::ApiKey, self.keys.ids_in(shard)))
            .chain(named(ResourceKind::Credential, self.credentials.ids_in(shard)))
            .chain(named(ResourceKind::Model, self.models.ids_in(shard)))
            .chain(named(ResourceKind::Deployment, self.deployments.ids_in(shard)))
            .chain(refused)
            .collect()
    }
}

/// A resource's name, parsed.
enum Named {
    RegionSettings,
    Organization(OrganizationId),
    ApiKey(KeyId),
    Credential(CredentialId),
    Model(ModelId),
    Deployment(DeploymentId),
}

impl Named {
    /// `None` for a name that no applied resource can have.
    fn parse(id: &ResourceId) -> Option<Self> {
        let text = id.id.as_str();
        match id.kind() {
            ResourceKind::RegionSettings => Some(Self::RegionSettings),
            ResourceKind::Organization => text.parse().map(Self::Organization).ok(),
            ResourceKind::ApiKey => text.parse().map(Self::ApiKey).ok(),
            ResourceKind::Credential => text.parse().map(Self::Credential).ok(),
            ResourceKind::Model => text.parse().map(Self::Model).ok(),
            ResourceKind::Deployment => text.parse().map(Self::Deployment).ok(),
            ResourceKind::Unspecified => None,
        }
    }
}

fn held<E>(entry: E, shard: u8, received: Digest) -> Held<E> {
    Held { entry: Arc::new(entry), shard, received }
}

/// What is derived here and no resource of the log.
fn uncounted(catalogue: Catalogue) -> Held<Catalogue> {
    held(catalogue, 0, Digest::default())
}
