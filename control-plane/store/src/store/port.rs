//! The port: one line per function, which says where its statements are and whether it reads, reads a snapshot, or writes.

use async_trait::async_trait;
use bailiwick_core::{
    ports::{
        rows::{Replacement, RowReader},
        store::{Store, StoreError, Transaction},
        vault::{KeyScope, Sealed, WrappedDataKey},
    },
    records::{
        ApiKeyRecord, AuditRecord, BackupRecord, Chain, ClusterIdentity, ConfigurationDelta,
        ConfigurationRows, ContractPriceRecord, CredentialRecord, DeploymentRecord, DestructionRecord,
        HeldCertificate, JoinTokenRecord, LimitRecord, ModelRecord, OrganizationRecord, Page, PageOf,
        Revision, RevokedCertificate, RotationRecord, ServiceAccountRecord, TokenKeyRecord, TrustRecord,
        TrustVersion, UsageInserted, UsageQuery, UsageRow, WorkerRecord,
    },
    sealed_columns::SealedColumn,
};
use bailiwick_domain::{
    id::{CredentialId, DeploymentId, ModelId, OrganizationId, RotationId, TokenKeyId, WorkerId},
    jurisdiction::Local,
    key::{JoinTokenId, KeyId, ServiceAccountId},
    names::ModelName,
    spiffe::ProcessRole,
    time::Timestamp,
    usage::UsageEvent,
};

use crate::{
    audit, backup, configuration, contract_price, credential, data_key, deployment, destruction, error,
    idempotency, identity, join_token, key, limit, model, organization, replacement::SqlReplacement,
    rotation, rows::SqlRows, service_account, token_key, transaction::SqlTransaction, trust, usage, worker,
};

use super::SqlStore;

#[async_trait]
impl Store for SqlStore {
    fn backend(&self) -> &'static str {
        self.pools.backend.as_str()
    }

    async fn begin(&self) -> Result<Box<dyn Transaction>, StoreError> {
        Ok(Box::new(SqlTransaction(self.write().await?)))
    }

    async fn ping(&self) -> Result<(), StoreError> {
        let mut session = self.read().await?;
        session.db().execute(sqlx::query("SELECT 1")).await.map(|_| ())
    }

    async fn cluster_identity(&self) -> Result<ClusterIdentity, StoreError> {
        identity::fetch(&mut self.read().await?.db()).await
    }

    async fn region_secret_fetch(&self, name: &'static str) -> Result<Option<Sealed>, StoreError> {
        data_key::secret_fetch(&mut self.read().await?.db(), name).await
    }

    async fn data_keys_fetch(&self, scope: KeyScope) -> Result<Vec<WrappedDataKey>, StoreError> {
        data_key::fetch_all(&mut self.read().await?.db(), scope).await
    }

    async fn data_key_census(&self) -> Result<Vec<(String, u64)>, StoreError> {
        rotation::census(&mut self.read().await?.db()).await
    }

    async fn data_keys_of_others(&self, master: &str, limit: u32) -> Result<Vec<WrappedDataKey>, StoreError> {
        rotation::data_keys_of_others(&mut self.read().await?.db(), master, limit).await
    }

    async fn sealed_page(
        &self,
        column: &SealedColumn,
        scope: KeyScope,
        after: &str,
        limit: u32,
    ) -> Result<Vec<(String, Sealed)>, StoreError> {
        rotation::sealed_page(&mut self.read().await?.db(), column, scope, after, limit).await
    }

    async fn rotation_fetch(&self, id: Local<RotationId>) -> Result<Option<RotationRecord>, StoreError> {
        rotation::fetch(&mut self.read().await?.db(), id).await
    }

    async fn rotation_list(&self, page: &Page) -> Result<PageOf<RotationRecord>, StoreError> {
        rotation::list(&mut self.read().await?.db(), page).await
    }

    async fn rotation_open_list(&self) -> Result<Vec<RotationRecord>, StoreError> {
        rotation::open_list(&mut self.read().await?.db()).await
    }

    async fn idempotency_fetch(&self, method: &'static str, key: &str) -> Result<Option<String>, StoreError> {
        idempotency::fetch(&mut self.read().await?.db(), method, key).await
    }

    async fn organization_fetch(
        &self,
        id: Local<OrganizationId>,
    ) -> Result<Option<OrganizationRecord>, StoreError> {
        organization::fetch(&mut self.read().await?.db(), id).await
    }

    async fn organization_list(&self, page: &Page) -> Result<PageOf<OrganizationRecord>, StoreError> {
        organization::list(&mut self.read().await?.db(), page).await
    }

    async fn organization_count(&self) -> Result<u64, StoreError> {
        organization::count(&mut self.read().await?.db()).await
    }

    async fn limit_list(&self, organization: Local<OrganizationId>) -> Result<Vec<LimitRecord>, StoreError> {
        limit::list(&mut self.read().await?.db(), organization).await
    }

    async fn key_fetch(&self, id: Local<KeyId>) -> Result<Option<ApiKeyRecord>, StoreError> {
        key::fetch(&mut self.read().await?.db(), id).await
    }

    async fn key_list(
        &self,
        organization: Local<OrganizationId>,
        page: &Page,
    ) -> Result<PageOf<ApiKeyRecord>, StoreError> {
        key::list(&mut self.read().await?.db(), organization, page).await
    }

    async fn key_expired_list(&self, now: Timestamp, limit: u32) -> Result<Vec<ApiKeyRecord>, StoreError> {
        key::list_expired(&mut self.read().await?.db(), now, limit).await
    }

    async fn service_account_fetch(
        &self,
        id: Local<ServiceAccountId>,
    ) -> Result<Option<ServiceAccountRecord>, StoreError> {
        service_account::fetch(&mut self.read().await?.db(), id).await
    }

    async fn service_account_list(
        &self,
        organization: Local<OrganizationId>,
        page: &Page,
    ) -> Result<PageOf<ServiceAccountRecord>, StoreError> {
        service_account::list(&mut self.read().await?.db(), organization, page).await
    }

    async fn token_key_fetch(&self, id: Local<TokenKeyId>) -> Result<Option<TokenKeyRecord>, StoreError> {
        token_key::fetch(&mut self.read().await?.db(), id).await
    }

    async fn token_key_list(&self) -> Result<Vec<TokenKeyRecord>, StoreError> {
        token_key::list(&mut self.read().await?.db()).await
    }

    async fn credential_fetch(
        &self,
        id: Local<CredentialId>,
    ) -> Result<Option<CredentialRecord>, StoreError> {
        credential::fetch(&mut self.read().await?.db(), id).await
    }

    async fn credential_list(
        &self,
        organization: Local<OrganizationId>,
        page: &Page,
    ) -> Result<PageOf<CredentialRecord>, StoreError> {
        credential::list(&mut self.read().await?.db(), organization, page).await
    }

    async fn credential_users(
        &self,
        id: Local<CredentialId>,
    ) -> Result<Vec<Local<DeploymentId>>, StoreError> {
        credential::users(&mut self.read().await?.db(), id).await
    }

    async fn deployment_fetch(
        &self,
        id: Local<DeploymentId>,
    ) -> Result<Option<DeploymentRecord>, StoreError> {
        deployment::fetch(&mut self.read().await?.db(), id).await
    }

    async fn deployment_list(
        &self,
        organization: Local<OrganizationId>,
        page: &Page,
    ) -> Result<PageOf<DeploymentRecord>, StoreError> {
        deployment::list(&mut self.read().await?.db(), organization, page).await
    }

    async fn contract_price_list(
        &self,
        organization: Local<OrganizationId>,
        page: &Page,
    ) -> Result<PageOf<ContractPriceRecord>, StoreError> {
        contract_price::list(&mut self.read().await?.db(), organization, page).await
    }

    async fn deployment_users(&self, id: Local<DeploymentId>) -> Result<Vec<Local<ModelId>>, StoreError> {
        deployment::users(&mut self.read().await?.db(), id).await
    }

    async fn model_fetch(&self, id: Local<ModelId>) -> Result<Option<ModelRecord>, StoreError> {
        model::fetch(&mut self.read().await?.db(), id).await
    }

    async fn model_fetch_by_name(
        &self,
        organization: Local<OrganizationId>,
        name: &ModelName,
    ) -> Result<Option<ModelRecord>, StoreError> {
        model::fetch_by_name(&mut self.read().await?.db(), organization, name).await
    }

    async fn model_list(
        &self,
        organization: Local<OrganizationId>,
        page: &Page,
    ) -> Result<PageOf<ModelRecord>, StoreError> {
        model::list(&mut self.read().await?.db(), organization, page).await
    }

    async fn join_token_fetch(&self, id: JoinTokenId) -> Result<Option<JoinTokenRecord>, StoreError> {
        join_token::fetch(&mut self.read().await?.db(), id).await
    }

    async fn trust_version(&self) -> Result<TrustVersion, StoreError> {
        trust::version(&mut self.read().await?.db()).await
    }

    async fn trust_fetch(&self) -> Result<TrustRecord, StoreError> {
        trust::fetch(&mut self.snapshot().await?.db()).await
    }

    async fn held_certificates(&self, now: Timestamp) -> Result<Vec<HeldCertificate>, StoreError> {
        trust::held(&mut self.read().await?.db(), now).await
    }

    async fn revocation_fetch(
        &self,
        role: ProcessRole,
        name: &str,
    ) -> Result<Option<RevokedCertificate>, StoreError> {
        trust::revocation(&mut self.read().await?.db(), role, name).await
    }

    async fn worker_fetch_by_name(
        &self,
        role: ProcessRole,
        name: &str,
    ) -> Result<Option<WorkerRecord>, StoreError> {
        worker::fetch_by_name(&mut self.read().await?.db(), role, name).await
    }

    async fn worker_list(&self, page: &Page) -> Result<PageOf<WorkerRecord>, StoreError> {
        worker::list(&mut self.read().await?.db(), page).await
    }

    async fn worker_seen(&self, id: Local<WorkerId>, at: Timestamp) -> Result<(), StoreError> {
        worker::seen(&mut self.connection(&self.pools.writer).await?.db(), id, at).await
    }

    async fn revision(&self) -> Result<Revision, StoreError> {
        configuration::revision(&mut self.read().await?.db()).await
    }

    async fn configuration_rows(&self) -> Result<ConfigurationRows, StoreError> {
        configuration::rows(&mut self.snapshot().await?.db()).await
    }

    async fn configuration_delta(
        &self,
        since: Revision,
        limit: u32,
    ) -> Result<ConfigurationDelta, StoreError> {
        configuration::delta(&mut self.snapshot().await?.db(), since, limit).await
    }

    async fn usage_insert(&self, events: &[Local<UsageEvent>]) -> Result<UsageInserted, StoreError> {
        usage::insert(self, events).await
    }

    async fn usage_query(&self, query: &UsageQuery) -> Result<PageOf<UsageRow>, StoreError> {
        usage::query(&mut self.read().await?.db(), query).await
    }

    async fn usage_event_list(
        &self,
        organization: Local<OrganizationId>,
        page: &Page,
    ) -> Result<PageOf<Local<UsageEvent>>, StoreError> {
        usage::event_list(&mut self.read().await?.db(), organization, page).await
    }

    async fn rows(&self) -> Result<Box<dyn RowReader>, StoreError> {
        Ok(Box::new(SqlRows::of(self.snapshot().await?).await?))
    }

    async fn replacement(&self, replace: bool) -> Result<Box<dyn Replacement>, StoreError> {
        Ok(Box::new(SqlReplacement::begin(self.write().await?, replace).await?))
    }

    async fn backup_list(&self, page: &Page) -> Result<PageOf<BackupRecord>, StoreError> {
        backup::list(&mut self.read().await?.db(), page).await
    }

    async fn destruction_fetch(
        &self,
        organization: Local<OrganizationId>,
    ) -> Result<Option<DestructionRecord>, StoreError> {
        destruction::fetch(&mut self.read().await?.db(), organization).await
    }

    async fn destruction_unfinished(&self, limit: u32) -> Result<Vec<DestructionRecord>, StoreError> {
        destruction::unfinished(&mut self.read().await?.db(), limit).await
    }

    async fn destruction_step(
        &self,
        organization: Local<OrganizationId>,
        events: bool,
        limit: u32,
    ) -> Result<u64, StoreError> {
        let mut transaction = self.write().await?;
        let tables = self.tables(&mut transaction.db()).await?;
        let destroyed = destruction::step(&mut transaction.db(), tables, organization, events, limit).await?;
        transaction.connection.commit().await.map_err(error::of)?;
        Ok(destroyed)
    }

    async fn destruction_close_usage(
        &self,
        organization: Local<OrganizationId>,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let mut session = self.connection(&self.pools.writer).await?;
        destruction::close_usage(&mut session.db(), organization, at).await
    }

    async fn audit_list(&self, chain: Chain, page: &Page) -> Result<PageOf<AuditRecord>, StoreError> {
        audit::list(&mut self.read().await?.db(), chain, page).await
    }
}
