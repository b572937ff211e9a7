//! Limits, from the wire and for it.

use bailiwick_core::{limit::NewLimit, records::LimitRecord};
use bailiwick_domain::{
    id::{DeploymentId, ModelId},
    jurisdiction::Local,
    key::KeyId,
};
use bailiwick_proto::{
    admin::v1 as wire,
    config::v1::{
        LimitedDeployments, LimitedKeys, LimitedModels, limited_deployments, limited_keys, limited_models,
    },
    convert::limit::{deployments_to_wire, keys_to_wire, models_to_wire},
};
use bailiwick_quota::{
    allocator::AccountUse,
    limit::{Measure, Over},
};

use crate::admin::edge::Edge;

/// Sums that are told of at once.
const MOST_SUMS: usize = 1_000;

/// A limit that is to be made; `None` when something was wrong, which the edge has noted.
pub(super) fn new(edge: &mut Edge<'_>, request: &wire::CreateLimitRequest) -> Option<NewLimit> {
    let fields = (
        edge.idempotency_key(&request.idempotency_key),
        edge.id("organization_id", &request.organization_id),
        measure(edge, &request.measure),
        keys(edge, request.keys.as_ref()),
        models(edge, request.models.as_ref()),
        deployments(edge, request.deployments.as_ref()),
    );
    let (
        Some(idempotency_key),
        Some(organization),
        Some(measure),
        Some(keys),
        Some(models),
        Some(deployments),
    ) = fields
    else {
        return None;
    };
    let amount = request.amount;
    Some(NewLimit { idempotency_key, organization, measure, amount, keys, models, deployments })
}

fn measure(edge: &mut Edge<'_>, word: &str) -> Option<Measure> {
    let measure = Measure::parse(word);
    if measure.is_none() {
        let words = Measure::ALL.iter().map(|measure| measure.as_str()).collect::<Vec<_>>().join(", ");
        edge.violation("measure", format!("is one of {words}"));
    }
    measure
}

fn keys(edge: &mut Edge<'_>, keys: Option<&LimitedKeys>) -> Option<Over<Local<KeyId>>> {
    match keys.map(|keys| keys.which.as_ref()) {
        None => Some(Over::All),
        Some(Some(limited_keys::Which::KeyId(id))) => edge.id("keys.key_id", id).map(Over::One),
        Some(Some(limited_keys::Which::Each(true))) => Some(Over::Each),
        Some(Some(limited_keys::Which::Each(false)) | None) => unsaid(edge, "keys"),
    }
}

fn models(edge: &mut Edge<'_>, models: Option<&LimitedModels>) -> Option<Over<Local<ModelId>>> {
    match models.map(|models| models.which.as_ref()) {
        None => Some(Over::All),
        Some(Some(limited_models::Which::ModelId(id))) => edge.id("models.model_id", id).map(Over::One),
        Some(Some(limited_models::Which::Each(true))) => Some(Over::Each),
        Some(Some(limited_models::Which::Each(false)) | None) => unsaid(edge, "models"),
    }
}

fn deployments(
    edge: &mut Edge<'_>,
    deployments: Option<&LimitedDeployments>,
) -> Option<Over<Local<DeploymentId>>> {
    match deployments.map(|deployments| deployments.which.as_ref()) {
        None => Some(Over::All),
        Some(Some(limited_deployments::Which::DeploymentId(id))) => {
            edge.id("deployments.deployment_id", id).map(Over::One)
        }
        Some(Some(limited_deployments::Which::Each(true))) => Some(Over::Each),
        Some(Some(limited_deployments::Which::Each(false)) | None) => unsaid(edge, "deployments"),
    }
}

fn unsaid<T>(edge: &mut Edge<'_>, field: &str) -> Option<T> {
    edge.violation(
        field,
        "says neither which one, nor `each: true`; leave it out for all together".to_owned(),
    );
    None
}

pub(super) fn limit(row: &LimitRecord) -> wire::Limit {
    let (limit, scope) = (&row.limit, row.limit.scope());
    wire::Limit {
        organization_id: row.organization.to_string(),
        number: limit.id().number,
        measure: limit.measure().to_string(),
        amount: limit.amount(),
        keys: keys_to_wire(&scope.key),
        models: models_to_wire(&scope.model),
        deployments: deployments_to_wire(&scope.deployment),
        created_at_micros: row.created_at.as_micros(),
    }
}

pub(super) fn usage(mut found: Vec<AccountUse>) -> wire::GetLimitUsageResponse {
    found.sort_by_key(|account| (account.account.limit, std::cmp::Reverse(account.used)));
    let more = found.len().saturating_sub(MOST_SUMS);
    wire::GetLimitUsageResponse {
        usage: found.iter().take(MOST_SUMS).map(account).collect(),
        more: u32::try_from(more).unwrap_or(u32::MAX),
    }
}

fn account(found: &AccountUse) -> wire::LimitUsage {
    let ever = found.window.is_endless();
    let micros = |at: bailiwick_domain::time::Timestamp| if ever { 0 } else { at.as_micros() };
    wire::LimitUsage {
        number: found.account.limit.number,
        key_id: found.account.key.map(|key| key.to_string()).unwrap_or_default(),
        model_id: found.account.model.map(|model| model.to_string()).unwrap_or_default(),
        deployment_id: found.account.deployment.map(|deployment| deployment.to_string()).unwrap_or_default(),
        window_starts_micros: micros(found.window.starts),
        window_ends_micros: micros(found.window.ends),
        amount: found.amount,
        used: found.used,
        lent: found.lent,
        in_doubt: found.in_doubt,
    }
}
