//! The limits that a call with a key is charged to, and how they stand.

use bailiwick_quota::{
    allocator::AccountUse,
    limit::{Account, Call, Limit, Over},
};

use super::Step;
use crate::{
    control_plane::ControlPlane,
    error::UseCaseError,
    records::{ApiKeyRecord, ModelRecord},
};

const STEP: &str = "limits";

impl ControlPlane {
    /// `None`: no limit is about such calls. Without a model: those that are about the key, whatever it calls.
    pub(super) async fn explain_limits(
        &self,
        key: &ApiKeyRecord,
        model: Option<&ModelRecord>,
    ) -> Result<Option<Step>, UseCaseError> {
        let limits = self.store().limit_list(key.organization).await?;
        let limits: Vec<Limit> =
            limits.iter().map(|row| row.limit).filter(|limit| is_about(limit, key, model)).collect();
        if limits.is_empty() {
            return Ok(None);
        }
        // Whoever lends none at the moment does not know how they stand.
        let stands = match self.limit_use() {
            Some(limit_use) => limit_use.of(key.organization).await,
            None => None,
        };
        let used = |limit: &Limit| {
            let account = account(limit, key, model?)?;
            let of_account = stands.as_ref()?.iter().find(|stands| stands.account == account);
            Some(of_account.map_or(0, |AccountUse { used, in_doubt, .. }| used.saturating_add(*in_doubt)))
        };
        let findings: Vec<String> = limits.iter().map(|limit| told(limit, used(limit))).collect();
        let finding = findings.join("; ");
        let used_up = limits.iter().find(|limit| used(limit).is_some_and(|used| used >= limit.amount()));
        Ok(Some(match used_up {
            None => Step::passed(STEP, finding),
            Some(limit) => {
                let money = limit.measure().is_money();
                let code = if money { "insufficient_quota" } else { "rate_limit_exceeded" };
                Step::failed(STEP, code, format!("limit {} is used up. {finding}", limit.id().number))
            }
        }))
    }
}

fn is_about(limit: &Limit, key: &ApiKeyRecord, model: Option<&ModelRecord>) -> bool {
    let scope = limit.scope();
    let of_key = !matches!(scope.key, Over::One(id) if id != key.id.into_inner());
    let of_model =
        model.is_none_or(|model| !matches!(scope.model, Over::One(id) if id != model.id.into_inner()));
    let mut deployments = model.into_iter().flat_map(|model| &model.deployments);
    let at_one = match scope.deployment {
        Over::One(id) if model.is_some() => deployments.any(|one| one.deployment.into_inner() == id),
        Over::One(_) | Over::All | Over::Each => true,
    };
    of_key && of_model && at_one
}

/// The one sum that a call is charged to when it begins.
fn account(limit: &Limit, key: &ApiKeyRecord, model: &ModelRecord) -> Option<Account> {
    let call = Call {
        organization: key.organization.into_inner(),
        key: key.id.into_inner(),
        member: None,
        model: model.id.into_inner(),
        deployment: None,
    };
    limit.account(&call)
}

fn told(limit: &Limit, used: Option<u64>) -> String {
    let scope = limit.scope();
    let key = whose(&scope.key, "the organization", "each key", "key");
    let model = whose(&scope.model, "", " and each model", " and model");
    let place = whose(&scope.deployment, "", " at each deployment", " at deployment");
    let used = used.map_or_else(String::new, |used| format!(", of which {used} are used, or in doubt"));
    let (number, amount, measure) = (limit.id().number, limit.amount(), limit.measure());
    format!("limit {number} allows {amount} {measure} for {key}{model}{place}{used}")
}

fn whose<T: ToString>(over: &Over<T>, all: &str, each: &str, one: &str) -> String {
    match over {
        Over::All => all.to_owned(),
        Over::Each => each.to_owned(),
        Over::One(id) => format!("{one} {}", id.to_string()),
    }
}
