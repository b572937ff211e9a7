//! Models: public names, the deployments that serve them, and the models that stand in for them.

use bailiwick_domain::{
    id::{DeploymentId, ModelId, OrganizationId},
    jurisdiction::Local,
    names::ModelName,
    permission::Permission,
    routing::{self, Fallbacks, GivenRank, Rank, Strategy},
};

use crate::{
    caller::{Asking, Caller, Permit},
    control_plane::{ControlPlane, Mutation, StoreOrUseCase},
    error::{UseCaseError, Violation},
    idempotency::{Claimed, IdempotencyKey},
    organization::missing,
    ports::store::{StoreError, Transaction},
    records::{Chain, ChangedResource, ModelDeployment, ModelRecord, Page, PageOf, Revision},
};

const CREATE: &str = "model.create";
const WHAT: &str = "the model";
/// Deployments of one model.
pub const MAX_DEPLOYMENTS: usize = 32;

/// What a model begins with.
#[derive(Clone, Debug)]
pub struct NewModel {
    /// The caller's.
    pub idempotency_key: IdempotencyKey,
    /// Whose it will be.
    pub organization: Local<OrganizationId>,
    /// Public name.
    pub name: ModelName,
    /// Where it is served.
    pub deployments: GivenDeployments,
    /// How a call chooses among those of one order.
    pub strategy: Strategy,
    /// Models that stand in for it.
    pub fallbacks: Fallbacks,
}

/// Deployments, and what is said of their ranks.
#[derive(Clone, Debug, Default)]
pub struct GivenDeployments {
    /// Which.
    pub deployments: Vec<Local<DeploymentId>>,
    /// One each, or none.
    pub ranks: Vec<GivenRank>,
}

/// What shall become of a model; what is `None` stays.
#[derive(Clone, Debug, Default)]
pub struct ModelChange {
    /// Where it is served.
    pub deployments: Option<GivenDeployments>,
    /// How a call chooses among those of one order.
    pub strategy: Option<Strategy>,
    /// `Some(None)`: no longer one.
    pub fallback: Option<Option<ModelName>>,
    /// The same for prompts that are too long.
    pub context_window_fallback: Option<Option<ModelName>>,
    /// The same for refusals by a content policy.
    pub content_policy_fallback: Option<Option<ModelName>>,
}

impl ModelChange {
    fn is_nothing(&self) -> bool {
        let Self { deployments, strategy, fallback, context_window_fallback, content_policy_fallback } = self;
        deployments.is_none()
            && strategy.is_none()
            && [fallback, context_window_fallback, content_policy_fallback].iter().all(|name| name.is_none())
    }
}

impl ControlPlane {
    /// Creates a model.
    ///
    /// # Errors
    /// The name is taken; a deployment or a fallback is not the organization's; fallbacks lead in a circle; the caller may not.
    pub async fn model_create(
        &self,
        caller: &Caller,
        new: NewModel,
    ) -> Result<(ModelRecord, Revision), UseCaseError> {
        let NewModel { idempotency_key, organization, name, deployments, strategy, fallbacks } = new;
        let permit = self.organization_permit(caller, Permission::ModelWrite, organization).await?;
        let claim = self.claim(CREATE, organization, &idempotency_key);
        if let Some(id) = self.claimed_before(&claim).await? {
            return self.model_made_before(&permit, id).await;
        }
        self.check_deployments(organization, &deployments.deployments).await?;
        let deployments = ranked(strategy, &deployments)?;
        let (now, chain) = (self.now(), Chain::Organization(organization));
        let id: Local<ModelId> = self.parts.jurisdiction.mint_random(now);
        let row = ModelRecord { id, organization, name, deployments, strategy, fallbacks, created_at: now };
        let keys = self.keys(chain).await?;
        let mut transaction = match self.begin_claimed(&claim, &id, now).await? {
            Claimed::First(transaction) => transaction,
            Claimed::Before(id) => return self.model_made_before(&permit, id).await,
        };
        transaction.models_lock(organization).await.map_err(missing)?;
        check_fallbacks(&mut *transaction, &row).await?;
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

    /// Changes a model's deployments, its strategy or its fallbacks.
    ///
    /// # Errors
    /// There is no such model; a deployment or a fallback is not its organization's; fallbacks lead in a circle; nothing changes; the caller may not.
    pub async fn model_update(
        &self,
        caller: &Caller,
        id: Local<ModelId>,
        change: ModelChange,
    ) -> Result<(ModelRecord, Revision), UseCaseError> {
        let (permit, row) = self.model_row(&caller.asks(Permission::ModelWrite)?, id).await?;
        if change.is_nothing() {
            return Err(UseCaseError::invalid("deployment_ids", "is empty, and nothing else is changed"));
        }
        if let Some(given) = &change.deployments {
            self.check_deployments(row.organization, &given.deployments).await?;
        }
        let chain = Chain::Organization(row.organization);
        let keys = self.keys(chain).await?;
        let mut transaction = self.store().begin().await?;
        // From here on no other change of the organization's models goes on: neither this model nor what stands behind it becomes another.
        transaction.models_lock(row.organization).await.map_err(missing)?;
        let mut row = transaction.model_fetch(id).await?.ok_or(UseCaseError::NotFound { what: WHAT })?;
        changed(&mut row, change)?;
        check_fallbacks(&mut *transaction, &row).await?;
        transaction.model_set(&row).await?;
        let changes = [ChangedResource::Model(id)];
        let mutation = Mutation { chain, action: "model.update", subject: id.to_string(), changes: &changes };
        let revision = self.commit(&permit, &keys, transaction, mutation).await?;
        Ok((row, revision))
    }

    /// Deletes a model.
    ///
    /// # Errors
    /// There is no such model, or others fall back to it; the caller may not.
    pub async fn model_delete(&self, caller: &Caller, id: Local<ModelId>) -> Result<Revision, UseCaseError> {
        let (permit, row) = self.model_row(&caller.asks(Permission::ModelWrite)?, id).await?;
        let chain = Chain::Organization(row.organization);
        let keys = self.keys(chain).await?;
        let mut transaction = self.store().begin().await?;
        transaction.models_lock(row.organization).await.map_err(missing)?;
        let dependents = transaction.model_dependents(row.organization, &row.name).await?;
        if !dependents.is_empty() {
            let dependents: Vec<&str> = dependents.iter().map(ModelName::as_str).collect();
            let message = format!("models fall back to it; change them first: {}", dependents.join(", "));
            return Err(UseCaseError::refused("model_in_use", message));
        }
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
        let row = self.store().model_fetch(id).await?.ok_or(UseCaseError::NotFound { what: WHAT })?;
        Ok((self.owned(asking, row.organization, WHAT).await?, row))
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

/// Whatever stands behind the model is the organization's, and never the model itself: every circle that a change closes leads through what is changed. It is asked
/// within the transaction that changes it, with the models locked: two changes that close a circle only together come one after the other.
async fn check_fallbacks(transaction: &mut dyn Transaction, row: &ModelRecord) -> Result<(), UseCaseError> {
    let mut next: Vec<ModelName> = row.fallbacks.named().cloned().collect();
    for depth in 0..=Fallbacks::LONGEST_CHAIN {
        if next.contains(&row.name) {
            return Err(fallback_loop(&row.name));
        }
        let mut behind = Vec::new();
        for name in std::mem::take(&mut next) {
            if depth == Fallbacks::LONGEST_CHAIN {
                return Err(too_long(&row.name));
            }
            match transaction.model_fetch_by_name(row.organization, &name).await? {
                Some(found) => behind.extend(found.fallbacks.named().cloned()),
                None if depth == 0 => return Err(unknown_fallback(&row.fallbacks, &name)),
                // Its own fallback is gone: nothing stands behind it.
                None => {}
            }
        }
        behind.sort();
        behind.dedup();
        next = behind;
    }
    Ok(())
}

/// The deployments with their ranks.
fn ranked(strategy: Strategy, given: &GivenDeployments) -> Result<Vec<ModelDeployment>, UseCaseError> {
    let GivenDeployments { deployments, ranks } = given;
    if !ranks.is_empty() && ranks.len() != deployments.len() {
        return Err(UseCaseError::invalid("ranks", "there is one for each deployment, or none at all"));
    }
    let mut ranks = ranks.clone();
    ranks.resize(deployments.len(), GivenRank::default());
    let ranks = routing::ranks(strategy, &ranks).map_err(|(place, error)| {
        let field = format!("ranks[{place}]");
        UseCaseError::Invalid(vec![Violation { field, description: error.to_string() }])
    })?;
    let pairs = deployments.iter().zip(ranks);
    Ok(pairs.map(|(deployment, rank)| ModelDeployment { deployment: *deployment, rank }).collect())
}

fn changed(row: &mut ModelRecord, change: ModelChange) -> Result<(), UseCaseError> {
    let was_preference =
        row.deployments.iter().enumerate().all(|(place, one)| one.rank == Rank::alone(place));
    row.strategy = change.strategy.unwrap_or(row.strategy);
    let plain = || {
        let deployments = row.deployments.iter().map(|one| one.deployment).collect();
        GivenDeployments { deployments, ranks: Vec::new() }
    };
    // A strategy that compares deployments finds them side by side, unless somebody said where they stand.
    let again = (change.strategy.is_some() && was_preference).then(plain);
    if let Some(given) = change.deployments.or(again) {
        row.deployments = ranked(row.strategy, &given)?;
    }
    let Fallbacks { general, context_window, content_policy } = &mut row.fallbacks;
    let fallbacks = [
        (general, change.fallback),
        (context_window, change.context_window_fallback),
        (content_policy, change.content_policy_fallback),
    ];
    for (fallback, changed) in fallbacks {
        if let Some(changed) = changed {
            *fallback = changed;
        }
    }
    Ok(())
}

fn fallback_loop(name: &ModelName) -> UseCaseError {
    let message = format!("{name} would stand behind itself: let its fallbacks lead away from it");
    UseCaseError::refused("fallback_loop", message)
}

fn too_long(name: &ModelName) -> UseCaseError {
    let most = Fallbacks::LONGEST_CHAIN;
    let message = format!("more than {most} models would stand behind {name}: let fewer follow each other");
    UseCaseError::refused("fallback_loop", message)
}

fn unknown_fallback(fallbacks: &Fallbacks, name: &ModelName) -> UseCaseError {
    let field = match fallbacks {
        Fallbacks { general: Some(general), .. } if general == name => "fallback_model",
        Fallbacks { context_window: Some(window), .. } if window == name => "context_window_fallback_model",
        _ => "content_policy_fallback_model",
    };
    UseCaseError::invalid(field, "is not a model of the organization")
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
