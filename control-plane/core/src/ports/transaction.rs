//! A mutation of the store: what it changes, and the one way to end it.

use async_trait::async_trait;
use bailiwick_domain::{
    address::AllowedRanges,
    egress::Residency,
    id::{CredentialId, DeploymentId, ModelId, OrganizationId, RotationId, TokenKeyId, WorkerId},
    jurisdiction::Local,
    key::{JoinTokenId, KeyDigest, KeyId, ServiceAccountId},
    names::ModelName,
    organization::OrganizationStatus,
    provider::Provider,
    time::Timestamp,
};

use super::{
    store::StoreError,
    vault::{Sealed, WrappedDataKey},
};
use crate::records::{
    ApiKeyRecord, AuditDraft, AuthorityStage, BackupRecord, ChangedResource, ContractPriceRecord,
    CredentialRecord, DeploymentRecord, HeldCertificate, JoinTokenRecord, LimitDraft, LimitRecord,
    ModelRecord, OrganizationRecord, Revision, RevokedCertificate, RootSlot, RotationRecord,
    ServiceAccountRecord, TokenKeyRecord, TrustVersion, WorkerRecord,
};
use crate::sealed_columns::SealedColumn;

/// One mutation. Dropping it without [`Transaction::commit`] rolls everything back.
#[async_trait]
pub trait Transaction: Send {
    /// Notes which identifier a call with this method and idempotency key made. Err([`StoreError::Conflict`]) when another call did
    /// so meanwhile.
    async fn idempotency_insert(
        &mut self,
        method: &'static str,
        key: &str,
        subject: &str,
        at: Timestamp,
    ) -> Result<(), StoreError>;

    /// Stores a data key. Conflict when the version exists.
    async fn data_key_insert(&mut self, key: &WrappedDataKey) -> Result<(), StoreError>;
    /// Puts a data key's new wrapping in the place of its old one. False when the old one is not there any more: it was destroyed, or another process was
    /// faster.
    async fn data_key_rewrap(
        &mut self,
        old: &WrappedDataKey,
        new: &WrappedDataKey,
    ) -> Result<bool, StoreError>;
    /// Puts a sealed value in the place of another. False when the other is not there any more.
    async fn sealed_replace(
        &mut self,
        column: &SealedColumn,
        row: &str,
        old: &Sealed,
        new: &Sealed,
    ) -> Result<bool, StoreError>;
    /// Stores a new rotation.
    async fn rotation_insert(&mut self, row: &RotationRecord) -> Result<(), StoreError>;
    /// Notes how far a rotation is.
    async fn rotation_progress(
        &mut self,
        id: Local<RotationId>,
        done: u64,
        finished_at: Option<Timestamp>,
    ) -> Result<(), StoreError>;
    /// Notes a backup, before its first row is read.
    async fn backup_insert(&mut self, row: &BackupRecord) -> Result<(), StoreError>;
    /// Deletes an organization: destroys its data keys and what else its own row held, and begins the destruction of its rows. NotFound when it
    /// does not exist or is deleted.
    async fn organization_destroy(
        &mut self,
        id: Local<OrganizationId>,
        at: Timestamp,
    ) -> Result<(), StoreError>;
    /// Notes that everything was destroyed. NotFound when it was noted before.
    async fn destruction_finish(
        &mut self,
        organization: Local<OrganizationId>,
        at: Timestamp,
    ) -> Result<(), StoreError>;
    /// Stores a region secret once. Conflict when it exists.
    async fn region_secret_insert(&mut self, name: &'static str, sealed: &Sealed) -> Result<(), StoreError>;

    /// Stores a new organization.
    async fn organization_insert(&mut self, row: &OrganizationRecord) -> Result<(), StoreError>;
    /// Changes the status. Err([`StoreError::NotFound`]) when it does not exist or is deleted.
    async fn organization_set_status(
        &mut self,
        id: Local<OrganizationId>,
        status: OrganizationStatus,
    ) -> Result<(), StoreError>;
    /// Changes the residency. NotFound when it does not exist or is deleted.
    async fn organization_set_residency(
        &mut self,
        id: Local<OrganizationId>,
        residency: &Residency,
    ) -> Result<(), StoreError>;
    /// Changes from where its calls are taken. NotFound when it does not exist or is deleted.
    async fn organization_set_allowed_ranges(
        &mut self,
        id: Local<OrganizationId>,
        ranges: &AllowedRanges,
    ) -> Result<(), StoreError>;

    /// Stores a new limit under a number that the organization never had. Conflict with [`crate::records::TOO_MANY_LIMITS`] or
    /// [`crate::records::SAME_LIMIT`]; NotFound when the organization does not exist or is deleted.
    async fn limit_insert(&mut self, draft: &LimitDraft) -> Result<LimitRecord, StoreError>;
    /// Changes a limit's amount. NotFound when it is not there.
    async fn limit_set_amount(
        &mut self,
        organization: Local<OrganizationId>,
        number: u32,
        amount: u64,
    ) -> Result<(), StoreError>;
    /// Deletes a limit. NotFound when it is not there.
    async fn limit_delete(
        &mut self,
        organization: Local<OrganizationId>,
        number: u32,
    ) -> Result<(), StoreError>;

    /// Stores a new key.
    async fn key_insert(&mut self, row: &ApiKeyRecord) -> Result<(), StoreError>;
    /// Revokes. NotFound when it does not exist; a key that is revoked keeps its first time.
    async fn key_revoke(&mut self, id: Local<KeyId>, at: Timestamp) -> Result<(), StoreError>;
    /// Sets the expiry, e.g. the end of a rotation's overlap.
    async fn key_set_expiry(&mut self, id: Local<KeyId>, at: Timestamp) -> Result<(), StoreError>;
    /// Changes from where its calls are taken. NotFound when it does not exist.
    async fn key_set_allowed_ranges(
        &mut self,
        id: Local<KeyId>,
        ranges: &AllowedRanges,
    ) -> Result<(), StoreError>;

    /// Stores a new service account.
    async fn service_account_insert(&mut self, row: &ServiceAccountRecord) -> Result<(), StoreError>;
    /// Replaces the secret and counts the version up. NotFound when it does not exist or is revoked.
    async fn service_account_set_secret(
        &mut self,
        id: Local<ServiceAccountId>,
        digest: &KeyDigest,
        at: Timestamp,
    ) -> Result<(), StoreError>;
    /// Revokes. NotFound when it does not exist; one that is revoked keeps its first time.
    async fn service_account_revoke(
        &mut self,
        id: Local<ServiceAccountId>,
        at: Timestamp,
    ) -> Result<(), StoreError>;
    /// Stores a new token key.
    async fn token_key_insert(&mut self, row: &TokenKeyRecord) -> Result<(), StoreError>;
    /// Destroys a token key. NotFound when it is not there.
    async fn token_key_delete(&mut self, id: Local<TokenKeyId>) -> Result<(), StoreError>;

    /// Stores a new credential.
    async fn credential_insert(&mut self, row: &CredentialRecord) -> Result<(), StoreError>;
    /// Replaces the secret and counts the version up.
    async fn credential_replace(
        &mut self,
        id: Local<CredentialId>,
        secret: &Sealed,
        at: Timestamp,
    ) -> Result<(), StoreError>;
    /// Deletes. Conflict when a deployment uses it.
    async fn credential_delete(&mut self, id: Local<CredentialId>) -> Result<(), StoreError>;

    /// Stores a new deployment. Conflict when its credential is not of the same organization.
    async fn deployment_insert(&mut self, row: &DeploymentRecord) -> Result<(), StoreError>;
    /// Deletes. Conflict when a model uses it.
    async fn deployment_delete(&mut self, id: Local<DeploymentId>) -> Result<(), StoreError>;

    /// Sets or replaces a contract's price.
    async fn contract_price_set(&mut self, row: &ContractPriceRecord) -> Result<(), StoreError>;
    /// Removes one. NotFound when there is none.
    async fn contract_price_remove(
        &mut self,
        organization: Local<OrganizationId>,
        provider: Provider,
        upstream_model: &ModelName,
    ) -> Result<(), StoreError>;
    /// An organization's deployments of a provider's model, by id.
    async fn deployments_of_model(
        &mut self,
        organization: Local<OrganizationId>,
        provider: Provider,
        upstream_model: &ModelName,
    ) -> Result<Vec<Local<DeploymentId>>, StoreError>;

    /// Keeps an organization's models as they are for every other transaction that asks for the same, until this one ends; what is read after it stays true. NotFound
    /// when the organization does not exist or is deleted.
    async fn models_lock(&mut self, organization: Local<OrganizationId>) -> Result<(), StoreError>;
    /// A model, as this transaction sees it.
    async fn model_fetch(&mut self, id: Local<ModelId>) -> Result<Option<ModelRecord>, StoreError>;
    /// The organization's model of this name, as this transaction sees it.
    async fn model_fetch_by_name(
        &mut self,
        organization: Local<OrganizationId>,
        name: &ModelName,
    ) -> Result<Option<ModelRecord>, StoreError>;
    /// Models that fall back to the organization's model of this name, as this transaction sees them; 100 at most.
    async fn model_dependents(
        &mut self,
        organization: Local<OrganizationId>,
        name: &ModelName,
    ) -> Result<Vec<ModelName>, StoreError>;
    /// Stores a new model. Conflict when the name is taken, or a deployment is not of the same organization.
    async fn model_insert(&mut self, row: &ModelRecord) -> Result<(), StoreError>;
    /// Sets everything of a model but its identifier, its organization, its name and its age.
    async fn model_set(&mut self, row: &ModelRecord) -> Result<(), StoreError>;
    /// Deletes a model.
    async fn model_delete(&mut self, id: Local<ModelId>) -> Result<(), StoreError>;

    /// Stores a join token.
    async fn join_token_insert(&mut self, row: &JoinTokenRecord) -> Result<(), StoreError>;
    /// Consumes a token that is unused, unexpired and has this digest; NotFound otherwise. Of two transactions exactly one succeeds.
    async fn join_token_consume(
        &mut self,
        id: JoinTokenId,
        digest: &KeyDigest,
        now: Timestamp,
    ) -> Result<JoinTokenRecord, StoreError>;
    /// Stores an enrolled worker or router, or renews the row of one with the same role and name (its id is kept and returned).
    async fn worker_upsert(&mut self, row: &WorkerRecord) -> Result<Local<WorkerId>, StoreError>;
    /// Notes the end of a renewed certificate.
    async fn worker_set_certificate(
        &mut self,
        id: Local<WorkerId>,
        expires_at: Timestamp,
    ) -> Result<(), StoreError>;
    /// Removes a worker for good, and gives its row. NotFound when it is not there.
    async fn worker_remove(&mut self, id: Local<WorkerId>, at: Timestamp)
    -> Result<WorkerRecord, StoreError>;

    /// Refuses a holder's certificates, and forgets revocations that refuse nothing any more at `now`. A revocation is only ever widened.
    /// Conflict when too many are there.
    async fn certificate_revoke(
        &mut self,
        row: &RevokedCertificate,
        now: Timestamp,
    ) -> Result<TrustVersion, StoreError>;

    /// Notes that a holder was given a certificate. The end of what it has of a root never goes back.
    async fn certificate_note(&mut self, row: &HeldCertificate) -> Result<(), StoreError>;
    /// The change of the certificate authority goes on from `from` (else Err([`StoreError::Conflict`])) to `to`, with the root in `issuing` as the one that issues.
    /// Forgets notes of certificates that have ended by `now`.
    async fn authority_step(
        &mut self,
        from: AuthorityStage,
        to: AuthorityStage,
        issuing: RootSlot,
        now: Timestamp,
    ) -> Result<TrustVersion, StoreError>;
    /// Deletes a region secret. Nothing happens where there is none.
    async fn region_secret_delete(&mut self, name: &'static str) -> Result<(), StoreError>;

    /// Ends the mutation: appends the audit record to its chain, writes the configuration changes, advances the revision (last, and only when
    /// `changes` is not empty), commits. Gives the revision that holds afterwards.
    ///
    /// A record goes to an organization's chain only while the organization lives: NotFound when it was deleted meanwhile, also by a transaction
    /// that is just ending. So nothing is made in a deleted organization, whoever looked when.
    async fn commit(
        self: Box<Self>,
        audit: AuditDraft,
        changes: &[ChangedResource],
    ) -> Result<Revision, StoreError>;
}
