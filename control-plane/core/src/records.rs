//! What the store keeps, as the use cases see it. Fields of type [`Sealed`] can be read only through the vault.

use bailiwick_domain::{
    address::AllowedRanges,
    egress::Residency,
    id::{BackupId, CredentialId, DeploymentId, ModelId, OrganizationId, RotationId, TokenKeyId, WorkerId},
    jurisdiction::Local,
    key::{JoinTokenId, KeyDigest, KeyId, ServiceAccountId},
    names::ModelName,
    organization::{OnStale, OrganizationRole, OrganizationStatus},
    price::Price,
    provider::{ApiVersion, Endpoint, Provider},
    region::RegionName,
    routing::{Fallbacks, Rank, Strategy},
    spiffe::ProcessRole,
    time::Timestamp,
};

use crate::ports::vault::{KeyScope, Sealed};

mod audit;
mod limit;
mod page;
mod trust;
mod usage;

pub use audit::{AuditDraft, AuditRecord, Chain};
pub use limit::{LimitDraft, LimitRecord, SAME_LIMIT, TOO_MANY_LIMITS};
pub use page::{Page, PageOf};
pub use trust::{
    AuthorityStage, HeldCertificate, MAX_REVOKED_CERTIFICATES, RevokedCertificate, RootSlot, TrustRecord,
    TrustVersion,
};
pub use usage::{UsageInserted, UsageQuery, UsageRow};

/// The region's configuration counter. Gap-free within an epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub u64);

/// Whose store it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterIdentity {
    /// Region that the store belongs to.
    pub region: RegionName,
    /// Installation, e.g. `local`.
    pub installation: String,
    /// Changes when a store is restored or loses a tail: workers then take a snapshot. A ULID.
    pub epoch: String,
    /// When the store was made.
    pub created_at: Timestamp,
}

/// A tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrganizationRecord {
    /// Identifier.
    pub id: Local<OrganizationId>,
    /// Display name, sealed (`organizations.name`).
    pub name: Sealed,
    /// Contact, sealed (`organizations.contact_email`).
    pub contact_email: Option<Sealed>,
    /// Keyed hash of the contact, for look-ups.
    pub contact_email_hash: Option<[u8; 32]>,
    /// Whether it is served.
    pub status: OrganizationStatus,
    /// Whether workers with an expired lease serve it.
    pub on_stale: OnStale,
    /// Where its calls may be processed.
    pub residency: Residency,
    /// From where its calls are taken.
    pub allowed_ranges: AllowedRanges,
    /// When it signed up.
    pub created_at: Timestamp,
}

/// An API key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKeyRecord {
    /// Identifier, part of the key.
    pub id: Local<KeyId>,
    /// Whose it is.
    pub organization: Local<OrganizationId>,
    /// Display name, sealed (`api_keys.name`).
    pub name: Sealed,
    /// HMAC of the whole key under the region's pepper.
    pub digest: KeyDigest,
    /// Public model names it may call; empty: all.
    pub allowed_models: Vec<ModelName>,
    /// From where its calls are taken, within what its organization allows.
    pub allowed_ranges: AllowedRanges,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}

/// A program of an organization that administers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceAccountRecord {
    /// Identifier, part of its secret.
    pub id: Local<ServiceAccountId>,
    /// Whose it is.
    pub organization: Local<OrganizationId>,
    /// Display name, sealed (`service_accounts.name`).
    pub name: Sealed,
    /// What it is in the organization. Never changes.
    pub role: OrganizationRole,
    /// HMAC of the whole secret under the region's pepper.
    pub digest: KeyDigest,
    /// Counts the secrets, from 1.
    pub version: u32,
    /// When it was made.
    pub created_at: Timestamp,
    /// When the secret was last replaced.
    pub rotated_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}

/// A key that signs, or signed, the region's bearer tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenKeyRecord {
    /// Identifier; tokens name it.
    pub id: Local<TokenKeyId>,
    /// The private key, sealed (`token_keys.sealed`).
    pub sealed: Sealed,
    /// When it was made.
    pub created_at: Timestamp,
}

/// A provider's secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialRecord {
    /// Identifier.
    pub id: Local<CredentialId>,
    /// Whose it is.
    pub organization: Local<OrganizationId>,
    /// Display name, sealed (`credentials.name`).
    pub name: Sealed,
    /// The secret, sealed (`credentials.secret`).
    pub secret: Sealed,
    /// Counts up with every replacement, from 1.
    pub version: u32,
    /// When it was made.
    pub created_at: Timestamp,
    /// When the secret was last replaced.
    pub replaced_at: Option<Timestamp>,
}

/// A public name and the deployments that serve it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelRecord {
    /// Identifier.
    pub id: Local<ModelId>,
    /// Whose it is.
    pub organization: Local<OrganizationId>,
    /// Name that callers use.
    pub name: ModelName,
    /// 1 to 32, in the order in which they were named.
    pub deployments: Vec<ModelDeployment>,
    /// How a call chooses among those of one order.
    pub strategy: Strategy,
    /// The models that stand in for it.
    pub fallbacks: Fallbacks,
    /// When it was made.
    pub created_at: Timestamp,
}

/// A deployment, as one of a model's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModelDeployment {
    /// Which.
    pub deployment: Local<DeploymentId>,
    /// Where it stands among the others.
    pub rank: Rank,
}

/// One model at one provider endpoint with one credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeploymentRecord {
    /// Identifier.
    pub id: Local<DeploymentId>,
    /// Whose it is.
    pub organization: Local<OrganizationId>,
    /// Dialect of the provider.
    pub provider: Provider,
    /// Base URL.
    pub endpoint: Endpoint,
    /// Provider's name of the model.
    pub upstream_model: ModelName,
    /// Secret to call it with.
    pub credential: Local<CredentialId>,
    /// Of Azure's API; `None`: the default.
    pub api_version: Option<ApiVersion>,
    /// Price set on the deployment itself.
    pub price: Option<Price>,
    /// What the operator has agreed with the organization for the model at this provider. It is read with the deployment, and stored by itself.
    pub contract_price: Option<Price>,
    /// When it was made.
    pub created_at: Timestamp,
}

/// What the operator has agreed with an organization: a price for one model at one provider, wherever it is deployed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContractPriceRecord {
    /// Whose it is.
    pub organization: Local<OrganizationId>,
    /// Of its deployments, those at this provider.
    pub provider: Provider,
    /// Provider's name of the model.
    pub upstream_model: ModelName,
    /// The price.
    pub price: Price,
    /// When it was set.
    pub set_at: Timestamp,
}

/// A one-time enrollment token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinTokenRecord {
    /// Identifier, part of the token.
    pub id: JoinTokenId,
    /// HMAC of the whole token under the region's pepper.
    pub digest: KeyDigest,
    /// Role that the certificate will have.
    pub role: ProcessRole,
    /// Name that the certificate will have.
    pub name: String,
    /// When it ends.
    pub expires_at: Timestamp,
    /// When it was consumed.
    pub used_at: Option<Timestamp>,
}

/// An enrolled worker or router.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerRecord {
    /// Identifier.
    pub id: Local<WorkerId>,
    /// Worker or router.
    pub role: ProcessRole,
    /// Name in its certificate; unique per role among those not removed.
    pub name: String,
    /// When it enrolled first.
    pub enrolled_at: Timestamp,
    /// End of its newest certificate.
    pub certificate_expires_at: Timestamp,
    /// When it was last heard of.
    pub last_seen_at: Option<Timestamp>,
}

/// A resource that a mutation changed or took away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChangedResource {
    /// The region's settings.
    RegionSettings,
    /// An organization.
    Organization(Local<OrganizationId>),
    /// An API key.
    ApiKey(Local<KeyId>),
    /// A credential.
    Credential(Local<CredentialId>),
    /// A model.
    Model(Local<ModelId>),
    /// A deployment.
    Deployment(Local<DeploymentId>),
}

/// The state of a resource that workers hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResourceRow {
    /// An organization that is not deleted, and its limits by number.
    Organization(OrganizationRecord, Vec<LimitRecord>),
    /// A key that is not revoked.
    ApiKey(ApiKeyRecord),
    /// A credential.
    Credential(CredentialRecord),
    /// A model.
    Model(ModelRecord),
    /// A deployment.
    Deployment(Box<DeploymentRecord>),
}

/// Everything at one revision.
#[derive(Clone, Debug, Default)]
pub struct ConfigurationRows {
    /// Revision of the snapshot.
    pub revision: Revision,
    /// Rows of all kinds.
    pub rows: Vec<ResourceRow>,
}

/// What changed in a range of revisions.
#[derive(Clone, Debug, Default)]
pub struct ConfigurationDelta {
    /// Changes are those after this revision.
    pub from: Revision,
    /// Up to and including this one.
    pub to: Revision,
    /// Each changed resource once, with its state at `to`; `None`: it is gone (deleted, revoked, or its organization is).
    pub changes: Vec<(ChangedResource, Option<ResourceRow>)>,
    /// The log no longer reaches back to `from`: take everything instead.
    pub truncated: bool,
}

/// A backup that was made, or begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackupRecord {
    /// Identifier.
    pub id: Local<BackupId>,
    /// When, before its first row was read.
    pub created_at: Timestamp,
    /// Until when its file of wrapped keys may be kept.
    pub keys_expire_at: Timestamp,
}

/// How far the destruction of a deleted organization is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DestructionRecord {
    /// Whose.
    pub organization: Local<OrganizationId>,
    /// When it was deleted, and its data keys with it.
    pub deleted_at: Timestamp,
    /// From when on no usage of it is taken any more.
    pub usage_closed_at: Option<Timestamp>,
    /// When everything was destroyed that is.
    pub finished_at: Option<Timestamp>,
    /// Rows that were destroyed, by table; the data keys are among them.
    pub destroyed: Vec<(String, u64)>,
    /// The end of the newest file of wrapped keys that may hold its keys; `None`: there is none.
    pub keys_in_backups_until: Option<Timestamp>,
}

/// A rotation of keys, under way or over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RotationRecord {
    /// Identifier.
    pub id: Local<RotationId>,
    /// What is rotated.
    pub subject: RotationSubject,
    /// To what: a master key's name, or a data key's version.
    pub target: String,
    /// Data keys or sealed values that there were when it began.
    pub total: u64,
    /// Those that were seen to.
    pub done: u64,
    /// When it was asked for.
    pub started_at: Timestamp,
    /// When it was over; `None`: under way.
    pub finished_at: Option<Timestamp>,
}

/// What a rotation is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RotationSubject {
    /// The master key: all data keys are wrapped anew.
    MasterKey,
    /// A scope's data keys: all its sealed values are sealed anew.
    DataKeys(KeyScope),
}
