//! One mutation. It ends in [`Transaction::commit`], or it never happened (R11).

use async_trait::async_trait;
use bailiwick_core::{
    ports::{
        store::{StoreError, Transaction},
        vault::{Sealed, WrappedDataKey},
    },
    records::{
        ApiKeyRecord, AuditDraft, AuthorityStage, BackupRecord, Chain, ChangedResource, ContractPriceRecord,
        CredentialRecord, DeploymentRecord, HeldCertificate, JoinTokenRecord, LimitDraft, LimitRecord,
        ModelRecord, OrganizationRecord, Revision, RevokedCertificate, RootSlot, RotationRecord,
        ServiceAccountRecord, TokenKeyRecord, TrustVersion, WorkerRecord,
    },
    sealed_columns::SealedColumn,
};
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
use sqlx::Any;

use crate::{
    audit, backup, configuration, contract_price, credential, data_key, deployment, destruction, error,
    idempotency, join_token, key, limit, model, organization, rotation, service_account, session::Session,
    token_key, trust, worker,
};

/// An open transaction. sqlx rolls it back when it is dropped.
pub(crate) struct SqlTransaction(pub(crate) Session<sqlx::Transaction<'static, Any>>);

#[async_trait]
impl Transaction for SqlTransaction {
    async fn idempotency_insert(
        &mut self,
        method: &'static str,
        key: &str,
        subject: &str,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        idempotency::insert(&mut self.0.db(), method, key, subject, at).await
    }

    async fn data_key_insert(&mut self, key: &WrappedDataKey) -> Result<(), StoreError> {
        data_key::insert(&mut self.0.db(), key).await
    }

    async fn data_key_rewrap(
        &mut self,
        old: &WrappedDataKey,
        new: &WrappedDataKey,
    ) -> Result<bool, StoreError> {
        rotation::rewrap(&mut self.0.db(), old, new).await
    }

    async fn sealed_replace(
        &mut self,
        column: &SealedColumn,
        row: &str,
        old: &Sealed,
        new: &Sealed,
    ) -> Result<bool, StoreError> {
        rotation::sealed_replace(&mut self.0.db(), column, row, old, new).await
    }

    async fn rotation_insert(&mut self, row: &RotationRecord) -> Result<(), StoreError> {
        rotation::insert(&mut self.0.db(), row).await
    }

    async fn rotation_progress(
        &mut self,
        id: Local<RotationId>,
        done: u64,
        finished_at: Option<Timestamp>,
    ) -> Result<(), StoreError> {
        rotation::progress(&mut self.0.db(), id, done, finished_at).await
    }

    async fn backup_insert(&mut self, row: &BackupRecord) -> Result<(), StoreError> {
        backup::insert(&mut self.0.db(), row).await
    }

    async fn organization_destroy(
        &mut self,
        id: Local<OrganizationId>,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        destruction::begin(&mut self.0.db(), id, at).await
    }

    async fn destruction_finish(
        &mut self,
        organization: Local<OrganizationId>,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        destruction::finish(&mut self.0.db(), organization, at).await
    }

    async fn region_secret_insert(&mut self, name: &'static str, sealed: &Sealed) -> Result<(), StoreError> {
        data_key::secret_insert(&mut self.0.db(), name, sealed).await
    }

    async fn organization_insert(&mut self, row: &OrganizationRecord) -> Result<(), StoreError> {
        organization::insert(&mut self.0.db(), row).await
    }

    async fn organization_set_status(
        &mut self,
        id: Local<OrganizationId>,
        status: OrganizationStatus,
    ) -> Result<(), StoreError> {
        organization::set_status(&mut self.0.db(), id, status).await
    }

    async fn organization_set_residency(
        &mut self,
        id: Local<OrganizationId>,
        residency: &Residency,
    ) -> Result<(), StoreError> {
        organization::set_residency(&mut self.0.db(), id, residency).await
    }

    async fn organization_set_allowed_ranges(
        &mut self,
        id: Local<OrganizationId>,
        ranges: &AllowedRanges,
    ) -> Result<(), StoreError> {
        organization::set_allowed_ranges(&mut self.0.db(), id, ranges).await
    }

    async fn limit_insert(&mut self, draft: &LimitDraft) -> Result<LimitRecord, StoreError> {
        limit::insert(&mut self.0.db(), draft).await
    }

    async fn limit_set_amount(
        &mut self,
        organization: Local<OrganizationId>,
        number: u32,
        amount: u64,
    ) -> Result<(), StoreError> {
        limit::set_amount(&mut self.0.db(), organization, number, amount).await
    }

    async fn limit_delete(
        &mut self,
        organization: Local<OrganizationId>,
        number: u32,
    ) -> Result<(), StoreError> {
        limit::delete(&mut self.0.db(), organization, number).await
    }

    async fn key_insert(&mut self, row: &ApiKeyRecord) -> Result<(), StoreError> {
        key::insert(&mut self.0.db(), row).await
    }

    async fn key_revoke(&mut self, id: Local<KeyId>, at: Timestamp) -> Result<(), StoreError> {
        key::revoke(&mut self.0.db(), id, at).await
    }

    async fn key_set_expiry(&mut self, id: Local<KeyId>, at: Timestamp) -> Result<(), StoreError> {
        key::set_expiry(&mut self.0.db(), id, at).await
    }

    async fn key_set_allowed_ranges(
        &mut self,
        id: Local<KeyId>,
        ranges: &AllowedRanges,
    ) -> Result<(), StoreError> {
        key::set_allowed_ranges(&mut self.0.db(), id, ranges).await
    }

    async fn service_account_insert(&mut self, row: &ServiceAccountRecord) -> Result<(), StoreError> {
        service_account::insert(&mut self.0.db(), row).await
    }

    async fn service_account_set_secret(
        &mut self,
        id: Local<ServiceAccountId>,
        digest: &KeyDigest,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        service_account::set_secret(&mut self.0.db(), id, digest, at).await
    }

    async fn service_account_revoke(
        &mut self,
        id: Local<ServiceAccountId>,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        service_account::revoke(&mut self.0.db(), id, at).await
    }

    async fn token_key_insert(&mut self, row: &TokenKeyRecord) -> Result<(), StoreError> {
        token_key::insert(&mut self.0.db(), row).await
    }

    async fn token_key_delete(&mut self, id: Local<TokenKeyId>) -> Result<(), StoreError> {
        token_key::delete(&mut self.0.db(), id).await
    }

    async fn credential_insert(&mut self, row: &CredentialRecord) -> Result<(), StoreError> {
        credential::insert(&mut self.0.db(), row).await
    }

    async fn credential_replace(
        &mut self,
        id: Local<CredentialId>,
        secret: &Sealed,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        credential::replace(&mut self.0.db(), id, secret, at).await
    }

    async fn credential_delete(&mut self, id: Local<CredentialId>) -> Result<(), StoreError> {
        credential::delete(&mut self.0.db(), id).await
    }

    async fn deployment_insert(&mut self, row: &DeploymentRecord) -> Result<(), StoreError> {
        deployment::insert(&mut self.0.db(), row).await
    }

    async fn contract_price_set(&mut self, row: &ContractPriceRecord) -> Result<(), StoreError> {
        contract_price::set(&mut self.0.db(), row).await
    }

    async fn contract_price_remove(
        &mut self,
        organization: Local<OrganizationId>,
        provider: Provider,
        upstream_model: &ModelName,
    ) -> Result<(), StoreError> {
        contract_price::remove(&mut self.0.db(), organization, provider, upstream_model).await
    }

    async fn deployments_of_model(
        &mut self,
        organization: Local<OrganizationId>,
        provider: Provider,
        upstream_model: &ModelName,
    ) -> Result<Vec<Local<DeploymentId>>, StoreError> {
        contract_price::deployments(&mut self.0.db(), organization, provider, upstream_model).await
    }

    async fn deployment_delete(&mut self, id: Local<DeploymentId>) -> Result<(), StoreError> {
        deployment::delete(&mut self.0.db(), id).await
    }

    async fn models_lock(&mut self, organization: Local<OrganizationId>) -> Result<(), StoreError> {
        model::lock_all(&mut self.0.db(), organization).await
    }

    async fn model_fetch(&mut self, id: Local<ModelId>) -> Result<Option<ModelRecord>, StoreError> {
        model::fetch(&mut self.0.db(), id).await
    }

    async fn model_fetch_by_name(
        &mut self,
        organization: Local<OrganizationId>,
        name: &ModelName,
    ) -> Result<Option<ModelRecord>, StoreError> {
        model::fetch_by_name(&mut self.0.db(), organization, name).await
    }

    async fn model_dependents(
        &mut self,
        organization: Local<OrganizationId>,
        name: &ModelName,
    ) -> Result<Vec<ModelName>, StoreError> {
        model::dependents(&mut self.0.db(), organization, name).await
    }

    async fn model_insert(&mut self, row: &ModelRecord) -> Result<(), StoreError> {
        model::insert(&mut self.0.db(), row).await
    }

    async fn model_set(&mut self, row: &ModelRecord) -> Result<(), StoreError> {
        model::set(&mut self.0.db(), row).await
    }

    async fn model_delete(&mut self, id: Local<ModelId>) -> Result<(), StoreError> {
        model::delete(&mut self.0.db(), id).await
    }

    async fn join_token_insert(&mut self, row: &JoinTokenRecord) -> Result<(), StoreError> {
        join_token::insert(&mut self.0.db(), row).await
    }

    async fn join_token_consume(
        &mut self,
        id: JoinTokenId,
        digest: &KeyDigest,
        now: Timestamp,
    ) -> Result<JoinTokenRecord, StoreError> {
        join_token::consume(&mut self.0.db(), id, digest, now).await
    }

    async fn worker_upsert(&mut self, row: &WorkerRecord) -> Result<Local<WorkerId>, StoreError> {
        worker::upsert(&mut self.0.db(), row).await
    }

    async fn worker_set_certificate(
        &mut self,
        id: Local<WorkerId>,
        expires_at: Timestamp,
    ) -> Result<(), StoreError> {
        worker::set_certificate(&mut self.0.db(), id, expires_at).await
    }

    async fn worker_remove(
        &mut self,
        id: Local<WorkerId>,
        at: Timestamp,
    ) -> Result<WorkerRecord, StoreError> {
        worker::remove(&mut self.0.db(), id, at).await
    }

    async fn certificate_note(&mut self, row: &HeldCertificate) -> Result<(), StoreError> {
        trust::note(&mut self.0.db(), row).await
    }

    async fn authority_step(
        &mut self,
        from: AuthorityStage,
        to: AuthorityStage,
        issuing: RootSlot,
        now: Timestamp,
    ) -> Result<TrustVersion, StoreError> {
        trust::step(&mut self.0.db(), from, to, issuing, now).await
    }

    async fn region_secret_delete(&mut self, name: &'static str) -> Result<(), StoreError> {
        data_key::secret_delete(&mut self.0.db(), name).await
    }

    async fn certificate_revoke(
        &mut self,
        row: &RevokedCertificate,
        now: Timestamp,
    ) -> Result<TrustVersion, StoreError> {
        trust::revoke(&mut self.0.db(), row, now).await
    }

    /// Everybody locks in one order, the organization, the chain's head and then the revision, so that no two mutations wait for each other. The
    /// revision is everybody's: it is locked as late as can be, because the audit record, which names it, must follow.
    async fn commit(
        mut self: Box<Self>,
        audit: AuditDraft,
        changes: &[ChangedResource],
    ) -> Result<Revision, StoreError> {
        let mut db = self.0.db();
        if let Chain::Organization(id) = audit.chain {
            organization::hold(&mut db, id).await?;
        }
        let place = audit::take_place(&mut db, audit.chain).await?;
        let advanced = match changes {
            [] => None,
            changes => Some(configuration::advance(&mut db, changes).await?),
        };
        audit::append(&mut db, place, &audit, advanced).await?;
        let revision = match advanced {
            Some(revision) => revision,
            None => configuration::revision(&mut db).await?,
        };
        self.0.connection.commit().await.map_err(error::of)?;
        Ok(revision)
    }
}
