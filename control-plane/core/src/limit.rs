//! Limits: how much of something an organization's calls may use. Workers get them with the organization; who may use how much of them at a moment is
//! decided elsewhere, see `bailiwick_quota`.
//!
//! A limit of one key, one model or one deployment outlives what it is for: it limits nothing from then on, is still listed, and goes when somebody deletes it. A key that is rotated gives its limits to its
//! successor: see [`ControlPlane::key_rotate`].

use bailiwick_domain::{
    id::{DeploymentId, ModelId, OrganizationId},
    jurisdiction::Local,
    key::KeyId,
    permission::Permission,
};
use bailiwick_quota::{
    allocator::AccountUse,
    limit::{LimitId, MAX_AMOUNT, MAX_LIMITS, Measure, Over},
};

use crate::{
    caller::Caller,
    control_plane::{ControlPlane, Mutation},
    error::{UseCaseError, Violation},
    idempotency::{Claim, IdempotencyKey},
    ports::store::{StoreError, Transaction},
    records::{Chain, ChangedResource, LimitDraft, LimitRecord, Revision, SAME_LIMIT, TOO_MANY_LIMITS},
};

const CREATE: &str = "limit.create";
const WHAT: &str = "the limit";

/// What a limit begins with.
#[derive(Clone, Debug)]
pub struct NewLimit {
    /// The caller's.
    pub idempotency_key: IdempotencyKey,
    /// Whose it will be.
    pub organization: Local<OrganizationId>,
    /// What it counts.
    pub measure: Measure,
    /// How much, in each of the measure's windows.
    pub amount: u64,
    /// For which keys.
    pub keys: Over<Local<KeyId>>,
    /// For which models.
    pub models: Over<Local<ModelId>>,
    /// For which deployments; [`Over::All`]: for calls, wherever they go.
    pub deployments: Over<Local<DeploymentId>>,
}

impl ControlPlane {
    /// Creates a limit.
    ///
    /// # Errors
    /// The amount is too large; the key, the model or the deployment is not the organization's; the organization has a limit of this measure for the same of them, or as many as it
    /// can have; the caller may not.
    pub async fn limit_create(
        &self,
        caller: &Caller,
        new: NewLimit,
    ) -> Result<(LimitRecord, Revision), UseCaseError> {
        let organization = new.organization;
        let permit = self.organization_permit(caller, Permission::LimitWrite, organization).await?;
        let claim = self.claim(CREATE, organization, &new.idempotency_key);
        if let Some(made) = self.limit_made_before(&claim).await? {
            return Ok(made);
        }
        self.check_limit(&new).await?;
        let (now, chain) = (self.now(), Chain::Organization(organization));
        let draft = LimitDraft {
            organization,
            measure: new.measure,
            keys: new.keys,
            models: new.models,
            deployments: new.deployments,
            amount: new.amount,
            created_at: now,
        };
        let keys = self.keys(chain).await?;
        let mut transaction = self.store().begin().await?;
        // The organization is held from here on, and the claim is made after it: so is the number that it is for.
        let made = match transaction.limit_insert(&draft).await {
            Err(StoreError::Conflict(rule)) => {
                drop(transaction);
                return match self.limit_made_before(&claim).await? {
                    Some(made) => Ok(made),
                    None => Err(in_the_way(StoreError::Conflict(rule))),
                };
            }
            made => made.map_err(in_the_way)?,
        };
        let subject = made.limit.id().to_string();
        if let Err(error) = self.claim_within(transaction.as_mut(), &claim, &subject).await {
            drop(transaction);
            return self.limit_made_before(&claim).await?.ok_or_else(|| error.into());
        }
        let subject = described(&made);
        let mutation = Mutation {
            chain,
            action: CREATE,
            subject,
            changes: &[ChangedResource::Organization(organization)],
        };
        let revision = self.commit(&permit, &keys, transaction, mutation).await?;
        Ok((made, revision))
    }

    /// Changes a limit's amount. What is used of it already stays used.
    ///
    /// # Errors
    /// There is no such limit; the amount is too large; the caller may not.
    pub async fn limit_update(
        &self,
        caller: &Caller,
        organization: Local<OrganizationId>,
        number: u32,
        amount: u64,
    ) -> Result<(LimitRecord, Revision), UseCaseError> {
        let permit = self.organization_permit(caller, Permission::LimitWrite, organization).await?;
        if amount > MAX_AMOUNT {
            return Err(too_large());
        }
        let chain = Chain::Organization(organization);
        let keys = self.keys(chain).await?;
        let mut transaction = self.store().begin().await?;
        transaction.limit_set_amount(organization, number, amount).await.map_err(missing)?;
        let id = LimitId { organization: organization.into_inner(), number };
        let mutation = Mutation {
            chain,
            action: "limit.update",
            subject: format!("{id} amount={amount}"),
            changes: &[ChangedResource::Organization(organization)],
        };
        let revision = self.commit(&permit, &keys, transaction, mutation).await?;
        let row = self.limit_row(organization, number).await?;
        Ok((row.ok_or(UseCaseError::NotFound { what: WHAT })?, revision))
    }

    /// Deletes a limit, and with it what is known of its use: one that is made anew begins with nothing used.
    ///
    /// # Errors
    /// There is no such limit; the caller may not.
    pub async fn limit_delete(
        &self,
        caller: &Caller,
        organization: Local<OrganizationId>,
        number: u32,
    ) -> Result<Revision, UseCaseError> {
        let permit = self.organization_permit(caller, Permission::LimitWrite, organization).await?;
        let chain = Chain::Organization(organization);
        let keys = self.keys(chain).await?;
        let mut transaction = self.store().begin().await?;
        transaction.limit_delete(organization, number).await.map_err(missing)?;
        let id = LimitId { organization: organization.into_inner(), number };
        let mutation = Mutation {
            chain,
            action: "limit.delete",
            subject: id.to_string(),
            changes: &[ChangedResource::Organization(organization)],
        };
        Ok(self.commit(&permit, &keys, transaction, mutation).await?)
    }

    /// An organization's limits, by number.
    ///
    /// # Errors
    /// There is no such organization; the caller may not.
    pub async fn limit_list(
        &self,
        caller: &Caller,
        organization: Local<OrganizationId>,
    ) -> Result<Vec<LimitRecord>, UseCaseError> {
        self.organization_permit(caller, Permission::LimitRead, organization).await?;
        Ok(self.store().limit_list(organization).await?)
    }

    /// How an organization's limits stand at this moment: each account that anything is used or lent of.
    ///
    /// # Errors
    /// There is no such organization; this control plane lends no limits at the moment; the caller may not.
    pub async fn limit_usage(
        &self,
        caller: &Caller,
        organization: Local<OrganizationId>,
    ) -> Result<Vec<AccountUse>, UseCaseError> {
        self.organization_permit(caller, Permission::LimitRead, organization).await?;
        let known = match self.limit_use() {
            Some(limit_use) => limit_use.of(organization).await,
            None => None,
        };
        known.ok_or_else(|| {
            let message = "this control plane lends no limits at the moment, and does not know how they stand: try again";
            UseCaseError::refused("no_quota_office", message)
        })
    }

    /// Limits of the old key become limits of the new one as well, with nothing used: a rotation frees nobody.
    pub(crate) async fn limits_follow(
        &self,
        transaction: &mut dyn Transaction,
        organization: Local<OrganizationId>,
        old: Local<KeyId>,
        new: Local<KeyId>,
    ) -> Result<bool, UseCaseError> {
        let limits = self.store().limit_list(organization).await?;
        let of_old = limits.iter().filter(|row| row.limit.scope().key == Over::One(old.into_inner()));
        let mut followed = false;
        for row in of_old {
            let models = match row.limit.scope().model {
                Over::All => Over::All,
                Over::Each => Over::Each,
                Over::One(model) => Over::One(self.parts.jurisdiction.admit(model)?),
            };
            let deployments = match row.limit.scope().deployment {
                Over::All => Over::All,
                Over::Each => Over::Each,
                Over::One(deployment) => Over::One(self.parts.jurisdiction.admit(deployment)?),
            };
            let draft = LimitDraft {
                organization,
                measure: row.limit.measure(),
                keys: Over::One(new),
                models,
                deployments,
                amount: row.limit.amount(),
                created_at: self.now(),
            };
            transaction.limit_insert(&draft).await.map_err(in_the_way)?;
            followed = true;
        }
        Ok(followed)
    }

    async fn limit_row(
        &self,
        organization: Local<OrganizationId>,
        number: u32,
    ) -> Result<Option<LimitRecord>, UseCaseError> {
        let limits = self.store().limit_list(organization).await?;
        Ok(limits.into_iter().find(|row| row.limit.id().number == number))
    }

    async fn limit_made_before(
        &self,
        claim: &Claim,
    ) -> Result<Option<(LimitRecord, Revision)>, UseCaseError> {
        let Some(id) = self.claimed_before::<LimitId>(claim).await? else { return Ok(None) };
        let organization = self.parts.jurisdiction.admit(id.organization)?;
        let row = self.limit_row(organization, id.number).await?;
        // It was made, and is deleted.
        let row = row.ok_or(UseCaseError::NotFound { what: WHAT })?;
        Ok(Some((row, self.store().revision().await?)))
    }

    /// Another organization's key or model is as good as none.
    async fn check_limit(&self, new: &NewLimit) -> Result<(), UseCaseError> {
        if new.amount > MAX_AMOUNT {
            return Err(too_large());
        }
        let mut violations = Vec::new();
        let mut violation = |field: &str, description: &str| {
            violations.push(Violation { field: field.to_owned(), description: description.to_owned() });
        };
        if let Over::One(id) = new.keys {
            let known = self.store().key_fetch(id).await?.filter(|row| row.organization == new.organization);
            match known {
                None => violation("keys.key_id", "is not a key of the organization"),
                Some(row) if row.revoked_at.is_some() => violation("keys.key_id", "is revoked"),
                Some(_) => {}
            }
        }
        if let Over::One(id) = new.models {
            let known = self.store().model_fetch(id).await?;
            if known.is_none_or(|row| row.organization != new.organization) {
                violation("models.model_id", "is not a model of the organization");
            }
        }
        if let Over::One(id) = new.deployments {
            let known = self.store().deployment_fetch(id).await?;
            if known.is_none_or(|row| row.organization != new.organization) {
                violation("deployments.deployment_id", "is not a deployment of the organization");
            }
        }
        if violations.is_empty() { Ok(()) } else { Err(UseCaseError::Invalid(violations)) }
    }
}

/// What the record says: all of the limit, so that the chain tells what held when.
fn described(row: &LimitRecord) -> String {
    let (limit, scope) = (&row.limit, row.limit.scope());
    format!(
        "{} {}={} keys={} models={} deployments={}",
        limit.id(),
        limit.measure(),
        limit.amount(),
        whom(&scope.key),
        whom(&scope.model),
        whom(&scope.deployment)
    )
}

fn whom<T: ToString>(over: &Over<T>) -> String {
    match over {
        Over::All => "all".to_owned(),
        Over::Each => "each".to_owned(),
        Over::One(one) => one.to_string(),
    }
}

fn too_large() -> UseCaseError {
    UseCaseError::invalid("amount", format!("is over {MAX_AMOUNT}"))
}

fn missing(error: StoreError) -> UseCaseError {
    match error {
        StoreError::NotFound => UseCaseError::NotFound { what: WHAT },
        other => other.into(),
    }
}

fn in_the_way(error: StoreError) -> UseCaseError {
    match error {
        StoreError::NotFound => UseCaseError::NotFound { what: "the organization" },
        StoreError::Conflict(SAME_LIMIT) => UseCaseError::Refused {
            reason: "limit_exists",
            message: format!("the organization has {SAME_LIMIT}: update that one"),
            exists: true,
        },
        StoreError::Conflict(TOO_MANY_LIMITS) => UseCaseError::refused(
            "too_many_limits",
            format!(
                "the organization has {MAX_LIMITS} limits, which is {TOO_MANY_LIMITS}: delete one, or use one for each key, model or deployment"
            ),
        ),
        other => other.into(),
    }
}
