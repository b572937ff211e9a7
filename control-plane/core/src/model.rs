//! Models: public names, and the deployments that serve them.

use bailiwick_domain::{
    id::{DeploymentId, ModelId, OrganizationId},
    jurisdiction::Local,
    names::ModelName,
    permission::Permission,
};

use crate::{
    caller::{Asking, Caller, Permit},
    control_plane::{ControlPlane, Mutation, StoreOrUseCase},
    error::{UseCaseError, Violation},
    idempotency::{Claimed, IdempotencyKey},
    ports::store::StoreError,
    records::{Chain, ChangedResource, ModelRecord, Page, PageOf, Revision},
};

const CREATE: &str = "model.create";
/// Deployments of one model.
pub const MAX_DEPLOYMENTS: usize = 32;

impl ControlPlane {
    /// Creates a model.
    ///
    /// # Errors
    /// The name is taken; a deployment is not the organization's; the caller may not.
    pub async fn model_create(
        &self,
        caller: &Caller,
        idempotency_key: IdempotencyKey,
        organization: Local<OrganizationId>,
        name: ModelName,
        deployments: Vec<Local<DeploymentId>>,
    ) -> Result<(ModelRecord, Revision), UseCaseError> {
        let permit = self.organization_permit(caller, Permission::ModelWrite, organization).await?;
        let claim = self.claim(CREATE, organization, &idempotency_key);
        if let Some(id) = self.claimed_before(&claim).await? {
            return self.model_made_before(&permit, id).await;
        }
        self.check_deployments(organization, &deployments).await?;
        let (now, chain) = (self.now(), Chain::Organization(organization));
        let id: Local<ModelId> = self.parts.jurisdiction.mint_random(now);
        let row = ModelRecord { id, organization, name, deployments, created_at: now };
        let keys = self.keys(chain).await?;
        let mut transaction = match self.begin_claimed(&claim, &id, now).await? {
            Claimed::First(transaction) => transaction,
            Claimed::Before(id) => return self.model_made_before(&permit, id).await,
        };
        transaction.model_insert(&row).await.map_err(|error| taken(error, &row.name))?;
        let changes = [ChangedResource::Model(id)];
        let mutation = Mutation { chain, action: CREATE, subject: id.to_string(), changes: &changes };
        let revision = self.commit(&permit, &keys, transaction, mutation).await?;
        Ok((row, revision))
    }

    async fn model_made_before(
        &self,
        permit: &Permit,
        id: Local<ModelId>,
    ) -> Result<(ModelRecord, Revision), UseCaseError> {
        Ok((self.model_row(permit.asking(), id).await?.1, self.store().revision().await?))
    }

    /// A page of an organization's models.
    ///
    /// # Errors
    /// There is no such organization; the caller may not.
    pub async fn model_list(
        &self,
        caller: &Caller,
        organization: Local<OrganizationId>,
        page: &Page,
    ) -> Result<PageOf<ModelRecord>, UseCaseError> {
        self.organization_permit(caller, Permission::ModelRead, organization).await?;
        Ok(self.store().model_list(organization, page).await?)
    }

    /// Sets a model's deployments.
    ///
    /// # Errors
    /// There is no such model; a deployment is not its organization's; the caller may not.
    pub async fn model_update(
        &self,
        caller: &Caller,
        id: Local<ModelId>,
        deployments: Vec<Local<DeploymentId>>,
    ) -> Result<(ModelRecord, Revision), UseCaseError> {
        let (permit, row) = self.model_row(&caller.asks(Permission::ModelWrite)?, id).await?;
        self.check_deployments(row.organization, &deployments).await?;
        let chain = Chain::Organization(row.organization);
        let keys = self.keys(chain).await?;
        let mut transaction = self.store().begin().await?;
        transaction.model_set_deployments(id, &deployments).await?;
        let changes = [ChangedResource::Model(id)];
        let mutation = Mutation { chain, action: "model.update", subject: id.to_string(), changes: &changes };
        let revision = self.commit(&permit, &keys, transaction, mutation).await?;
        Ok((ModelRecord { deployments, ..row }, revision))
    }

    /// Deletes a model.
    ///
    /// # Errors
    /// There is no such model; the caller may not.
    pub async fn model_delete(&self, caller: &Caller, id: Local<ModelId>) -> Result<Revision, UseCaseError> {
        let (permit, row) = self.model_row(&caller.asks(Permission::ModelWrite)?, id).await?;
        let chain = Chain::Organization(row.organization);
        let keys = self.keys(chain).await?;
        let mut transaction = self.store().begin().await?;
        transaction.model_delete(id).await?;
        let changes = [ChangedResource::Model(id)];
        let mutation = Mutation { chain, action: "model.delete", subject: id.to_string(), changes: &changes };
        Ok(self.commit(&permit, &keys, transaction, mutation).await?)
    }

    async fn model_row(
        &self,
        asking: &Asking,
        id: Local<ModelId>,
    ) -> Result<(Permit, ModelRecord), UseCaseError> {
        let what = "the model";
        let row = self.store().model_fetch(id).await?.ok_or(UseCaseError::NotFound { what })?;
        Ok((self.owned(asking, row.organization, what).await?, row))
    }

    /// Another organization's deployment is as good as none.
    async fn check_deployments(
        &self,
        organization: Local<OrganizationId>,
        deployments: &[Local<DeploymentId>],
    ) -> Result<(), UseCaseError> {
        if !(1..=MAX_DEPLOYMENTS).contains(&deployments.len()) {
            return Err(UseCaseError::invalid("deployment_ids", "a model has 1 to 32 deployments"));
        }
        let mut violations = Vec::new();
        for (index, id) in deployments.iter().enumerate() {
            let mut violation = |description: &str| {
                let field = format!("deployment_ids[{index}]");
                violations.push(Violation { field, description: description.to_owned() });
            };
            if deployments.iter().take(index).any(|earlier| earlier == id) {
                violation("is named twice");
                continue;
            }
            let known = self.store().deployment_fetch(*id).await?;
            if known.is_none_or(|row| row.organization != organization) {
                violation("is not a deployment of the organization");
            }
        }
        if violations.is_empty() { Ok(()) } else { Err(UseCaseError::Invalid(violations)) }
    }
}

fn taken(error: StoreError, name: &ModelName) -> StoreOrUseCase {
    match error {
        StoreError::Conflict(_) => StoreOrUseCase::UseCase(UseCaseError::Refused {
            reason: "model_name_taken",
            message: format!(
                "the organization has a model named {name} already: update that one, or choose another name"
            ),
            exists: true,
        }),
        other => StoreOrUseCase::Store(other),
    }
}
