//! The region's configuration as workers need it: rows of the store with their secrets opened and their prices resolved.
//!
//! A value that does not open (changed from outside, or its organization's keys destroyed) withdraws its own resource and nothing
//! else: it is named in `unopened`, and everything beside it goes on.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use bailiwick_domain::{
    address::AllowedRanges,
    egress::Residency,
    id::{CredentialId, OrganizationId},
    jurisdiction::Local,
    organization::{OnStale, OrganizationStatus},
    price::Price,
};
use bailiwick_quota::limit::Limit;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use secrecy::SecretString;

use crate::{
    ports::{
        store::{Store, StoreError},
        vault::{DataKey, KeyScope, SealContext, Sealed, Vault, VaultError},
    },
    records::{
        ApiKeyRecord, ChangedResource, CredentialRecord, DeploymentRecord, ModelRecord, ResourceRow, Revision,
    },
};

/// Organizations whose data keys are unlocked at once: each may wait for a key management service.
const UNLOCKED_AT_ONCE: usize = 32;
/// How far a long reading has come is told every so many organizations.
const TOLD_EVERY: usize = 1000;

/// A resource as a worker needs it. The region's settings are not among them: they come from its control plane's own
/// settings.
#[derive(Debug)]
pub enum OpenedResource {
    /// A tenant.
    Organization {
        /// Identifier.
        id: Local<OrganizationId>,
        /// Refused with 403.
        suspended: bool,
        /// Whether workers with an expired lease serve it.
        on_stale: OnStale,
        /// Where its calls may be processed.
        residency: Residency,
        /// From where its calls are taken.
        allowed_ranges: AllowedRanges,
        /// What its calls may use, by number.
        limits: Vec<Limit>,
    },
    /// A key that is not revoked.
    ApiKey(ApiKeyRecord),
    /// A credential with its secret.
    Credential {
        /// Identifier.
        id: Local<CredentialId>,
        /// Whose it is.
        organization: Local<OrganizationId>,
        /// The provider's secret.
        secret: SecretString,
    },
    /// A model.
    Model(ModelRecord),
    /// A deployment, and what a call to it costs where that is known.
    Deployment(Box<DeploymentRecord>, Option<Price>),
}

/// Everything at one revision.
#[derive(Debug, Default)]
pub struct Configuration {
    /// Revision of all of it.
    pub revision: Revision,
    /// What opened.
    pub resources: Vec<OpenedResource>,
    /// What did not.
    pub unopened: Vec<ChangedResource>,
}

/// What changed between two revisions.
#[derive(Debug, Default)]
pub struct ConfigurationStep {
    /// Changes are those after this revision.
    pub from: Revision,
    /// Up to and including this one; equal to `from` when nothing changed.
    pub to: Revision,
    /// State of each at `to`; `None`: gone, or not to be opened.
    pub changes: Vec<(ChangedResource, Option<OpenedResource>)>,
    /// What did not open.
    pub unopened: Vec<ChangedResource>,
    /// The store's log no longer reaches back to `from`: read everything.
    pub truncated: bool,
}

/// Resolves what a call to a deployment costs; `None` when nobody knows.
pub type PriceOf = dyn Fn(&DeploymentRecord) -> Option<Price> + Send + Sync;

/// Reads the configuration of one region.
pub struct ConfigurationReader {
    store: Arc<dyn Store>,
    vault: Arc<dyn Vault>,
    price_of: Box<PriceOf>,
}

impl ConfigurationReader {
    /// A reader of this store.
    pub fn new(store: Arc<dyn Store>, vault: Arc<dyn Vault>, price_of: Box<PriceOf>) -> Self {
        Self { store, vault, price_of }
    }

    /// The store's epoch: a revision means something only within it.
    ///
    /// # Errors
    /// The store is away.
    pub async fn epoch(&self) -> Result<String, StoreError> {
        Ok(self.store.cluster_identity().await?.epoch)
    }

    /// The store's newest revision.
    ///
    /// # Errors
    /// The store is away.
    pub async fn revision(&self) -> Result<Revision, StoreError> {
        self.store.revision().await
    }

    /// Everything, at one revision.
    ///
    /// # Errors
    /// The store is away, or the master key cannot be had.
    pub async fn all(&self) -> Result<Configuration, ConfigurationError> {
        let read = self.store.configuration_rows().await?;
        let mut opening = Opening::of(self, owners(&read.rows)).await?;
        let mut configuration = Configuration { revision: read.revision, ..Configuration::default() };
        configuration.resources.reserve(read.rows.len());
        configuration.resources.extend(read.rows.into_iter().filter_map(|row| opening.open(row)));
        configuration.unopened = opening.unopened;
        Ok(configuration)
    }

    /// What changed after `since`, in at most `limit` revisions.
    ///
    /// # Errors
    /// As [`ConfigurationReader::all`].
    pub async fn since(&self, since: Revision, limit: u32) -> Result<ConfigurationStep, ConfigurationError> {
        let delta = self.store.configuration_delta(since, limit).await?;
        let rows = delta.changes.iter().filter_map(|(_, row)| row.as_ref());
        let mut opening = Opening::of(self, owners(rows)).await?;
        let opened =
            |(changed, row): (_, Option<ResourceRow>)| (changed, row.and_then(|row| opening.open(row)));
        let changes = delta.changes.into_iter().map(opened).collect();
        let unopened = opening.unopened;
        Ok(ConfigurationStep {
            from: delta.from,
            to: delta.to,
            changes,
            unopened,
            truncated: delta.truncated,
        })
    }
}

impl ConfigurationReader {
    /// The data keys of these organizations, unlocked many at a time: one after the other, a region of ten thousand would wait for its key
    /// management service for minutes.
    async fn unlocked(
        &self,
        owners: BTreeSet<Local<OrganizationId>>,
    ) -> Result<Unlocked, ConfigurationError> {
        let total = owners.len();
        let mut unlocked = HashMap::with_capacity(total);
        let keys = stream::iter(owners).map(|owner| self.keys_of(owner));
        let mut keys = keys.buffer_unordered(UNLOCKED_AT_ONCE);
        while let Some((owner, keys)) = keys.try_next().await? {
            unlocked.insert(owner, keys);
            if unlocked.len().is_multiple_of(TOLD_EVERY) {
                tracing::info!(done = unlocked.len(), total, "unlocking the data keys of organizations");
            }
        }
        Ok(unlocked)
    }

    async fn keys_of(&self, owner: Local<OrganizationId>) -> Result<KeysOf, ConfigurationError> {
        let mut unlocked = Vec::new();
        for wrapped in self.store.data_keys_fetch(KeyScope::Organization(owner)).await? {
            match self.vault.unlock(&wrapped).await {
                Ok(key) => unlocked.push(key),
                // A damaged key takes what it seals with it; a master key that cannot be had takes everything: try again.
                Err(VaultError::DoesNotOpen | VaultError::WrongVersion { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok((owner, unlocked))
    }
}

type KeysOf = (Local<OrganizationId>, Vec<Arc<dyn DataKey>>);
type Unlocked = HashMap<Local<OrganizationId>, Vec<Arc<dyn DataKey>>>;

/// Organizations of which something sealed is among the rows.
fn owners<'a>(rows: impl IntoIterator<Item = &'a ResourceRow>) -> BTreeSet<Local<OrganizationId>> {
    let owner = |row: &ResourceRow| match row {
        ResourceRow::Credential(credential) => Some(credential.organization),
        _ => None,
    };
    rows.into_iter().filter_map(owner).collect()
}

/// One reading: an organization's data keys are unlocked once.
struct Opening<'a> {
    reader: &'a ConfigurationReader,
    keys: Unlocked,
    unopened: Vec<ChangedResource>,
}

impl<'a> Opening<'a> {
    async fn of(
        reader: &'a ConfigurationReader,
        owners: BTreeSet<Local<OrganizationId>>,
    ) -> Result<Self, ConfigurationError> {
        Ok(Self { reader, keys: reader.unlocked(owners).await?, unopened: Vec::new() })
    }

    fn open(&mut self, row: ResourceRow) -> Option<OpenedResource> {
        Some(match row {
            ResourceRow::Organization(organization, limits) => OpenedResource::Organization {
                id: organization.id,
                suspended: organization.status != OrganizationStatus::Active,
                on_stale: organization.on_stale,
                residency: organization.residency,
                allowed_ranges: organization.allowed_ranges,
                limits: limits.iter().map(|row| row.limit).collect(),
            },
            ResourceRow::ApiKey(key) => OpenedResource::ApiKey(key),
            ResourceRow::Model(model) => OpenedResource::Model(model),
            ResourceRow::Deployment(deployment) => {
                let price = (self.reader.price_of)(&deployment);
                OpenedResource::Deployment(deployment, price)
            }
            ResourceRow::Credential(credential) => return self.open_credential(&credential),
        })
    }

    fn open_credential(&mut self, row: &CredentialRecord) -> Option<OpenedResource> {
        let keys = self.keys.get(&row.organization).map(Vec::as_slice).unwrap_or_default();
        let id = row.id.to_string();
        let place = SealContext { table: "credentials", column: "secret", row: &id };
        let Some(secret) = open_with(keys, place, &row.secret) else {
            self.unopened.push(ChangedResource::Credential(row.id));
            return None;
        };
        Some(OpenedResource::Credential { id: row.id, organization: row.organization, secret })
    }
}

/// Opens with the version that sealed it; the newest is the likeliest.
fn open_with(keys: &[Arc<dyn DataKey>], place: SealContext<'_>, sealed: &Sealed) -> Option<SecretString> {
    let opened = keys.iter().rev().find_map(|key| key.open(place, sealed).ok())?;
    std::str::from_utf8(&opened).ok().map(SecretString::from)
}

/// Why the configuration cannot be read now. Trying again can help.
#[derive(Debug, thiserror::Error)]
pub enum ConfigurationError {
    /// The store refuses.
    #[error("the store refused")]
    Store(#[from] StoreError),
    /// The master key cannot be had.
    #[error("the vault refused")]
    Vault(#[from] VaultError),
}
