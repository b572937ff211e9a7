//! The region's configuration as workers need it: rows of the store with their secrets opened and their prices resolved.
//!
//! A value that does not open (changed from outside, or its organization's keys destroyed) withdraws its own resource and nothing
//! else: it is named in `unopened`, and everything beside it goes on.

use std::{collections::HashMap, sync::Arc};

use bailiwick_domain::{
    id::{CredentialId, OrganizationId},
    jurisdiction::Local,
    organization::{OnStale, OrganizationStatus},
    price::Price,
};
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
    Deployment(DeploymentRecord, Option<Price>),
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
        let mut opening = Opening::of(self);
        let mut configuration = Configuration { revision: read.revision, ..Configuration::default() };
        configuration.resources.reserve(read.rows.len());
        for row in read.rows {
            configuration.resources.extend(opening.open(row).await?);
        }
        configuration.unopened = opening.unopened;
        Ok(configuration)
    }

    /// What changed after `since`, in at most `limit` revisions.
    ///
    /// # Errors
    /// As [`ConfigurationReader::all`].
    pub async fn since(&self, since: Revision, limit: u32) -> Result<ConfigurationStep, ConfigurationError> {
        let delta = self.store.configuration_delta(since, limit).await?;
        let mut opening = Opening::of(self);
        let mut changes = Vec::with_capacity(delta.changes.len());
        for (changed, row) in delta.changes {
            let opened = match row {
                Some(row) => opening.open(row).await?,
                None => None,
            };
            changes.push((changed, opened));
        }
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

/// One reading: an organization's data keys are unlocked once.
struct Opening<'a> {
    reader: &'a ConfigurationReader,
    keys: HashMap<Local<OrganizationId>, Vec<Arc<dyn DataKey>>>,
    unopened: Vec<ChangedResource>,
}

impl<'a> Opening<'a> {
    fn of(reader: &'a ConfigurationReader) -> Self {
        Self { reader, keys: HashMap::new(), unopened: Vec::new() }
    }

    async fn open(&mut self, row: ResourceRow) -> Result<Option<OpenedResource>, ConfigurationError> {
        Ok(Some(match row {
            ResourceRow::Organization(organization) => OpenedResource::Organization {
                id: organization.id,
                suspended: organization.status != OrganizationStatus::Active,
                on_stale: organization.on_stale,
            },
            ResourceRow::ApiKey(key) => OpenedResource::ApiKey(key),
            ResourceRow::Model(model) => OpenedResource::Model(model),
            ResourceRow::Deployment(deployment) => {
                let price = (self.reader.price_of)(&deployment);
                OpenedResource::Deployment(deployment, price)
            }
            ResourceRow::Credential(credential) => return self.open_credential(&credential).await,
        }))
    }

    async fn open_credential(
        &mut self,
        row: &CredentialRecord,
    ) -> Result<Option<OpenedResource>, ConfigurationError> {
        let keys = self.keys_of(row.organization).await?;
        let id = row.id.to_string();
        let place = SealContext { table: "credentials", column: "secret", row: &id };
        let Some(secret) = open_with(keys, place, &row.secret) else {
            self.unopened.push(ChangedResource::Credential(row.id));
            return Ok(None);
        };
        Ok(Some(OpenedResource::Credential { id: row.id, organization: row.organization, secret }))
    }

    async fn keys_of(
        &mut self,
        organization: Local<OrganizationId>,
    ) -> Result<&[Arc<dyn DataKey>], ConfigurationError> {
        if !self.keys.contains_key(&organization) {
            let mut unlocked = Vec::new();
            for wrapped in self.reader.store.data_keys_fetch(KeyScope::Organization(organization)).await? {
                match self.reader.vault.unlock(&wrapped).await {
                    Ok(key) => unlocked.push(key),
                    // A damaged key takes what it seals with it; a master key that cannot be had takes everything: try again.
                    Err(VaultError::DoesNotOpen | VaultError::WrongVersion { .. }) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            self.keys.insert(organization, unlocked);
        }
        Ok(self.keys.get(&organization).map(Vec::as_slice).unwrap_or_default())
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
