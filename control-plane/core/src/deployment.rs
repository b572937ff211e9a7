//! Deployments: one model at one provider endpoint with one credential.

use bailiwick_domain::{
    egress::Residency,
    id::{CredentialId, DeploymentId, OrganizationId},
    jurisdiction::Local,
    names::ModelName,
    permission::Permission,
    price::Price,
    provider::{ApiVersion, Endpoint, Provider},
};

use crate::{
    caller::{Asking, Caller, Permit},
    control_plane::{ControlPlane, Mutation},
    error::UseCaseError,
    idempotency::{Claimed, IdempotencyKey},
    ports::store::StoreError,
    records::{Chain, ChangedResource, DeploymentRecord, Page, PageOf, Revision},
};

const CREATE: &str = "deployment.create";

/// What a deployment begins with.
#[derive(Clone, Debug)]
pub struct NewDeployment {
    /// The caller's.
    pub idempotency_key: IdempotencyKey,
    /// Whose it will be.
    pub organization: Local<OrganizationId>,
    /// Dialect.
    pub provider: Provider,
    /// Base URL.
    pub endpoint: Endpoint,
    /// Provider's name of the model.
    pub upstream_model: ModelName,
    /// Must be the organization's.
    pub credential: Local<CredentialId>,
    /// Of Azure's API; `None`: the default.
    pub api_version: Option<ApiVersion>,
    /// Goes before the contract's, the operator's and the catalogue's.
    pub price: Option<Price>,
}

impl ControlPlane {
    /// Creates a deployment, if the region's egress policy and the organization's residency admit its endpoint (R7).
    ///
    /// # Errors
    /// The endpoint lies outside the policy or the residency; the credential is not the organization's; the caller may not.
    pub async fn deployment_create(
        &self,
        caller: &Caller,
        new: NewDeployment,
    ) -> Result<(DeploymentRecord, Revision), UseCaseError> {
        let permit = self.organization_permit(caller, Permission::ModelWrite, new.organization).await?;
        let residency = self.organization_active(new.organization).await?.residency;
        let claim = self.claim(CREATE, new.organization, &new.idempotency_key);
        if let Some(id) = self.claimed_before(&claim).await? {
            return self.deployment_made_before(&permit, id).await;
        }
        self.check_endpoint(&residency, &new.endpoint, &new.upstream_model)?;
        let credential = self.store().credential_fetch(new.credential).await?;
        if credential.is_none_or(|row| row.organization != new.organization) {
            return Err(UseCaseError::invalid("credential_id", "is not a credential of the organization"));
        }
        let (now, chain) = (self.now(), Chain::Organization(new.organization));
        let id: Local<DeploymentId> = self.parts.jurisdiction.mint_random(now);
        let row = DeploymentRecord {
            id,
            organization: new.organization,
            provider: new.provider,
            endpoint: new.endpoint,
            upstream_model: new.upstream_model,
            credential: new.credential,
            api_version: new.api_version,
            price: new.price,
            contract_price: None,
            created_at: now,
        };
        let keys = self.keys(chain).await?;
        let mut transaction = match self.begin_claimed(&claim, &id, now).await? {
            Claimed::First(transaction) => transaction,
            Claimed::Before(id) => return self.deployment_made_before(&permit, id).await,
        };
        transaction.deployment_insert(&row).await?;
        let changes = [ChangedResource::Deployment(id)];
        let mutation = Mutation { chain, action: CREATE, subject: id.to_string(), changes: &changes };
        let revision = self.commit(&permit, &keys, transaction, mutation).await?;
        // As it is read: with what is agreed for its model.
        Ok((self.store().deployment_fetch(id).await?.unwrap_or(row), revision))
    }

    async fn deployment_made_before(
        &self,
        permit: &Permit,
        id: Local<DeploymentId>,
    ) -> Result<(DeploymentRecord, Revision), UseCaseError> {
        Ok((self.deployment_row(permit.asking(), id).await?.1, self.store().revision().await?))
    }

    /// A page of an organization's deployments, and the residency that they are judged by.
    ///
    /// # Errors
    /// There is no such organization; the caller may not.
    pub async fn deployment_list(
        &self,
        caller: &Caller,
        organization: Local<OrganizationId>,
        page: &Page,
    ) -> Result<(PageOf<DeploymentRecord>, Residency), UseCaseError> {
        self.organization_permit(caller, Permission::ModelRead, organization).await?;
        let residency = self.organization_active(organization).await?.residency;
        Ok((self.store().deployment_list(organization, page).await?, residency))
    }

    /// Deletes a deployment that no model uses.
    ///
    /// # Errors
    /// There is no such deployment, or it is in use; the caller may not.
    pub async fn deployment_delete(
        &self,
        caller: &Caller,
        id: Local<DeploymentId>,
    ) -> Result<Revision, UseCaseError> {
        let (permit, row) = self.deployment_row(&caller.asks(Permission::ModelWrite)?, id).await?;
        let chain = Chain::Organization(row.organization);
        let keys = self.keys(chain).await?;
        let mut transaction = self.store().begin().await?;
        match transaction.deployment_delete(id).await {
            Err(StoreError::Conflict(_)) => {
                drop(transaction);
                let users = self.store().deployment_users(id).await?;
                let users: Vec<String> = users.iter().map(ToString::to_string).collect();
                let message = format!("models use the deployment; change them first: {}", users.join(", "));
                return Err(UseCaseError::refused("deployment_in_use", message));
            }
            deleted => deleted?,
        }
        let changes = [ChangedResource::Deployment(id)];
        let mutation =
            Mutation { chain, action: "deployment.delete", subject: id.to_string(), changes: &changes };
        Ok(self.commit(&permit, &keys, transaction, mutation).await?)
    }

    async fn deployment_row(
        &self,
        asking: &Asking,
        id: Local<DeploymentId>,
    ) -> Result<(Permit, DeploymentRecord), UseCaseError> {
        let what = "the deployment";
        let row = self.store().deployment_fetch(id).await?.ok_or(UseCaseError::NotFound { what })?;
        Ok((self.owned(asking, row.organization, what).await?, row))
    }
}
