//! The store of one region.
//!
//! Every function that takes an identifier takes a [`Local`] one: a foreign identifier cannot be asked for.
//! Every mutation goes through a [`Transaction`], and a transaction ends only in [`Transaction::commit`], which wants the
//! audit record and the configuration changes: there is no way to change something without a record of it.

use async_trait::async_trait;
use bailiwick_domain::{
    id::{CredentialId, DeploymentId, ModelId, OrganizationId, RotationId, TokenKeyId, WorkerId},
    jurisdiction::Local,
    key::{JoinTokenId, KeyId, ServiceAccountId},
    names::ModelName,
    time::Timestamp,
    usage::UsageEvent,
};

pub use super::transaction::Transaction;
use super::{
    rows::{Replacement, RowReader},
    vault::{KeyScope, Sealed, WrappedDataKey},
};
use crate::records::{
    ApiKeyRecord, AuditRecord, BackupRecord, Chain, ClusterIdentity, ConfigurationDelta, ConfigurationRows,
    ContractPriceRecord, CredentialRecord, DeploymentRecord, DestructionRecord, HeldCertificate,
    JoinTokenRecord, LimitRecord, ModelRecord, OrganizationRecord, Page, PageOf, Revision,
    RevokedCertificate, RotationRecord, ServiceAccountRecord, TokenKeyRecord, TrustRecord, TrustVersion,
    UsageInserted, UsageQuery, UsageRow, WorkerRecord,
};
use crate::sealed_columns::SealedColumn;

/// Reads, and the beginning of mutations. Implementations retry nothing: a lost connection is an error.
#[async_trait]
pub trait Store: Send + Sync {
    /// Names the backend for people: `sqlite` or `postgres`.
    fn backend(&self) -> &'static str;

    /// Begins a mutation. On SQLite it takes the write lock at once, so that it cannot fail half-way for want of it.
    async fn begin(&self) -> Result<Box<dyn Transaction>, StoreError>;

    /// The store answers. Used by readiness.
    async fn ping(&self) -> Result<(), StoreError>;

    /// Whose store this is. The implementation's constructor has already refused another region's or installation's.
    async fn cluster_identity(&self) -> Result<ClusterIdentity, StoreError>;

    /// The region's sealed secret of this name (`ca_key`, `pepper`), or a plain region value (`ca_certificate`).
    async fn region_secret_fetch(&self, name: &'static str) -> Result<Option<Sealed>, StoreError>;

    /// All versions of a scope's data keys, oldest first. Empty once destroyed.
    async fn data_keys_fetch(&self, scope: KeyScope) -> Result<Vec<WrappedDataKey>, StoreError>;

    /// How many data keys each master key wraps, by its name.
    async fn data_key_census(&self) -> Result<Vec<(String, u64)>, StoreError>;
    /// Data keys that another master key than this one wraps: at most `limit`.
    async fn data_keys_of_others(&self, master: &str, limit: u32) -> Result<Vec<WrappedDataKey>, StoreError>;
    /// Sealed values of a scope in a column, by their rows' names: those after `after`, at most `limit`.
    async fn sealed_page(
        &self,
        column: &SealedColumn,
        scope: KeyScope,
        after: &str,
        limit: u32,
    ) -> Result<Vec<(String, Sealed)>, StoreError>;

    /// One rotation.
    async fn rotation_fetch(&self, id: Local<RotationId>) -> Result<Option<RotationRecord>, StoreError>;
    /// Rotations, oldest first.
    async fn rotation_list(&self, page: &Page) -> Result<PageOf<RotationRecord>, StoreError>;
    /// Rotations that are under way, oldest first: at most 100.
    async fn rotation_open_list(&self) -> Result<Vec<RotationRecord>, StoreError>;

    /// The identifier that an earlier call with the same method and idempotency key made.
    async fn idempotency_fetch(&self, method: &'static str, key: &str) -> Result<Option<String>, StoreError>;

    /// One organization, deleted ones too.
    async fn organization_fetch(
        &self,
        id: Local<OrganizationId>,
    ) -> Result<Option<OrganizationRecord>, StoreError>;
    /// Organizations by id, oldest first.
    async fn organization_list(&self, page: &Page) -> Result<PageOf<OrganizationRecord>, StoreError>;
    /// How many organizations are not deleted.
    async fn organization_count(&self) -> Result<u64, StoreError>;

    /// An organization's limits, by number: at most [`bailiwick_quota::limit::MAX_LIMITS`].
    async fn limit_list(&self, organization: Local<OrganizationId>) -> Result<Vec<LimitRecord>, StoreError>;

    /// One key, revoked ones too.
    async fn key_fetch(&self, id: Local<KeyId>) -> Result<Option<ApiKeyRecord>, StoreError>;
    /// Keys of an organization, by id.
    async fn key_list(
        &self,
        organization: Local<OrganizationId>,
        page: &Page,
    ) -> Result<PageOf<ApiKeyRecord>, StoreError>;
    /// Keys whose expiry has passed by `now` and that are not revoked yet: at most `limit`.
    async fn key_expired_list(&self, now: Timestamp, limit: u32) -> Result<Vec<ApiKeyRecord>, StoreError>;

    /// One service account, revoked ones too.
    async fn service_account_fetch(
        &self,
        id: Local<ServiceAccountId>,
    ) -> Result<Option<ServiceAccountRecord>, StoreError>;
    /// Service accounts of an organization, by id.
    async fn service_account_list(
        &self,
        organization: Local<OrganizationId>,
        page: &Page,
    ) -> Result<PageOf<ServiceAccountRecord>, StoreError>;
    /// One token key.
    async fn token_key_fetch(&self, id: Local<TokenKeyId>) -> Result<Option<TokenKeyRecord>, StoreError>;
    /// The region's token keys, oldest first: the newest 100.
    async fn token_key_list(&self) -> Result<Vec<TokenKeyRecord>, StoreError>;

    /// One credential.
    async fn credential_fetch(&self, id: Local<CredentialId>)
    -> Result<Option<CredentialRecord>, StoreError>;
    /// Credentials of an organization, oldest first.
    async fn credential_list(
        &self,
        organization: Local<OrganizationId>,
        page: &Page,
    ) -> Result<PageOf<CredentialRecord>, StoreError>;
    /// Deployments that use a credential: at most 100.
    async fn credential_users(&self, id: Local<CredentialId>)
    -> Result<Vec<Local<DeploymentId>>, StoreError>;

    /// One deployment.
    async fn deployment_fetch(&self, id: Local<DeploymentId>)
    -> Result<Option<DeploymentRecord>, StoreError>;
    /// Deployments of an organization, oldest first.
    async fn deployment_list(
        &self,
        organization: Local<OrganizationId>,
        page: &Page,
    ) -> Result<PageOf<DeploymentRecord>, StoreError>;
    /// Contract prices of an organization, by provider and model.
    async fn contract_price_list(
        &self,
        organization: Local<OrganizationId>,
        page: &Page,
    ) -> Result<PageOf<ContractPriceRecord>, StoreError>;
    /// Models that use a deployment: at most 100.
    async fn deployment_users(&self, id: Local<DeploymentId>) -> Result<Vec<Local<ModelId>>, StoreError>;

    /// One model.
    async fn model_fetch(&self, id: Local<ModelId>) -> Result<Option<ModelRecord>, StoreError>;
    /// An organization's model by its public name.
    async fn model_fetch_by_name(
        &self,
        organization: Local<OrganizationId>,
        name: &ModelName,
    ) -> Result<Option<ModelRecord>, StoreError>;
    /// Models of an organization, oldest first.
    async fn model_list(
        &self,
        organization: Local<OrganizationId>,
        page: &Page,
    ) -> Result<PageOf<ModelRecord>, StoreError>;

    /// One join token, used ones too.
    async fn join_token_fetch(&self, id: JoinTokenId) -> Result<Option<JoinTokenRecord>, StoreError>;
    /// Version of what the region's processes trust.
    async fn trust_version(&self) -> Result<TrustVersion, StoreError>;
    /// Whom the region's processes trust, read in one snapshot.
    async fn trust_fetch(&self) -> Result<TrustRecord, StoreError>;
    /// Who holds a certificate that is valid at `now`, of whichever root.
    async fn held_certificates(&self, now: Timestamp) -> Result<Vec<HeldCertificate>, StoreError>;
    /// What is revoked of a holder.
    async fn revocation_fetch(
        &self,
        role: bailiwick_domain::spiffe::ProcessRole,
        name: &str,
    ) -> Result<Option<RevokedCertificate>, StoreError>;
    /// One worker or router by its name in certificates; removed ones are not found.
    async fn worker_fetch_by_name(
        &self,
        role: bailiwick_domain::spiffe::ProcessRole,
        name: &str,
    ) -> Result<Option<WorkerRecord>, StoreError>;
    /// Workers and routers that were not removed, by id.
    async fn worker_list(&self, page: &Page) -> Result<PageOf<WorkerRecord>, StoreError>;
    /// Notes when a worker was last heard of. Not audited: nothing is decided by it.
    async fn worker_seen(&self, id: Local<WorkerId>, at: Timestamp) -> Result<(), StoreError>;

    /// The region's revision row.
    async fn revision(&self) -> Result<Revision, StoreError>;
    /// All that workers need, at one revision, read in one snapshot. Deleted organizations, revoked keys and what belongs to them are absent.
    async fn configuration_rows(&self) -> Result<ConfigurationRows, StoreError>;
    /// What changed after `since`, with the state of each changed resource at `to`, read in one snapshot. At most `limit` revisions.
    async fn configuration_delta(
        &self,
        since: Revision,
        limit: u32,
    ) -> Result<ConfigurationDelta, StoreError>;

    /// Stores usage events that are new, and adds exactly those to the hourly roll-ups, in one transaction. Events whose organization does not exist here are
    /// not stored; their indices are in the answer.
    async fn usage_insert(&self, events: &[Local<UsageEvent>]) -> Result<UsageInserted, StoreError>;
    /// Sums of the hourly roll-ups.
    async fn usage_query(&self, query: &UsageQuery) -> Result<PageOf<UsageRow>, StoreError>;
    /// Single events of an organization, newest first.
    async fn usage_event_list(
        &self,
        organization: Local<OrganizationId>,
        page: &Page,
    ) -> Result<PageOf<Local<UsageEvent>>, StoreError>;

    /// Every row of every table, at the state of its first read.
    async fn rows(&self) -> Result<Box<dyn RowReader>, StoreError>;

    /// Begins to replace every row, in one transaction. Refused (Conflict) where a region is and `replace` is not said.
    async fn replacement(&self, replace: bool) -> Result<Box<dyn Replacement>, StoreError>;

    /// Backups that were made, oldest first.
    async fn backup_list(&self, page: &Page) -> Result<PageOf<BackupRecord>, StoreError>;

    /// How far the destruction of a deleted organization is.
    async fn destruction_fetch(
        &self,
        organization: Local<OrganizationId>,
    ) -> Result<Option<DestructionRecord>, StoreError>;
    /// Destructions that are not finished, oldest deletions first: at most `limit`.
    async fn destruction_unfinished(&self, limit: u32) -> Result<Vec<DestructionRecord>, StoreError>;
    /// Destroys at most `limit` rows of a deleted organization and counts them, in one transaction; gives how many. 0: none is left of those
    /// asked for. `events`: single usage events too, which must wait until its usage is closed. The record is that of the deletion before, and of
    /// [`Transaction::destruction_finish`] after.
    async fn destruction_step(
        &self,
        organization: Local<OrganizationId>,
        events: bool,
        limit: u32,
    ) -> Result<u64, StoreError>;
    /// From here on, usage of the organization is not stored any more: it counts as unknown.
    async fn destruction_close_usage(
        &self,
        organization: Local<OrganizationId>,
        at: Timestamp,
    ) -> Result<(), StoreError>;

    /// A chain's records, oldest first.
    async fn audit_list(&self, chain: Chain, page: &Page) -> Result<PageOf<AuditRecord>, StoreError>;
}

/// What can go wrong in the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The row is not there.
    #[error("not found")]
    NotFound,
    /// A uniqueness or reference rule stands against it; names the rule.
    #[error("conflicts with {0}")]
    Conflict(&'static str),
    /// The store cannot be reached, or is locked by others for too long. Trying again later can help.
    #[error("the store is unavailable")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The store belongs to someone else.
    #[error("this store belongs to {found}, not to {expected}")]
    ForeignStore {
        /// Region and installation that the store names.
        found: String,
        /// Region and installation of this process.
        expected: String,
    },
    /// A row cannot be read: it was changed from outside.
    #[error("a row of {table} cannot be read: {problem}")]
    Corrupt {
        /// Table of the row.
        table: &'static str,
        /// What is wrong; never the value.
        problem: String,
    },
    /// A page token that this store did not make.
    #[error("the page token is not one of ours")]
    PageToken,
    /// Anything else the database says.
    #[error("the database refused")]
    Database(#[source] Box<dyn std::error::Error + Send + Sync>),
}
