//! Limits, as administrators set them and workers hold them.

use bailiwick_domain::{
    guard::Guard,
    id::{DeploymentId, ModelId, OrganizationId},
    jurisdiction::{Jurisdiction, Local},
    key::KeyId,
};
use bailiwick_quota::limit::{Limit, LimitId, MAX_LIMITS, Measure, Over, Scope};

use super::{ConvertError, admit, invalid};
use crate::config::v1::{self as config, limited_deployments, limited_keys, limited_models};

/// A limit for the wire. `None`: one that is for members, which the contract does not know.
pub fn limit_to_wire(limit: &Limit) -> Option<config::Limit> {
    let Scope { key, member: Over::All, model, deployment } = limit.scope() else { return None };
    Some(config::Limit {
        number: limit.id().number,
        measure: measure_to_wire(limit.measure()).into(),
        amount: limit.amount(),
        keys: keys_to_wire(key),
        models: models_to_wire(model),
        deployments: deployments_to_wire(deployment),
    })
}

/// An organization's limits from the wire: at most [`MAX_LIMITS`], each with a number of its own. One that is wrong makes all of them fail: calls that a limit
/// would have held are not to be served as if there were none.
pub fn limits_from_wire(
    guard: Guard,
    jurisdiction: &Jurisdiction,
    organization: Local<OrganizationId>,
    limits: &[config::Limit],
) -> Result<Vec<Limit>, ConvertError> {
    if limits.len() > MAX_LIMITS {
        return Err(invalid("limits", format!("holds {}, not at most {MAX_LIMITS}", limits.len())));
    }
    let mut known: Vec<Limit> = Vec::with_capacity(limits.len());
    for limit in limits {
        if known.iter().any(|earlier| earlier.id().number == limit.number) {
            return Err(invalid("limits.number", "comes twice"));
        }
        known.push(limit_from_wire(guard, jurisdiction, organization, limit)?);
    }
    Ok(known)
}

/// A limit from the wire.
pub fn limit_from_wire(
    guard: Guard,
    jurisdiction: &Jurisdiction,
    organization: Local<OrganizationId>,
    limit: &config::Limit,
) -> Result<Limit, ConvertError> {
    if limit.number == 0 {
        return Err(invalid("limits.number", "is 0"));
    }
    let id = LimitId { organization: organization.into_inner(), number: limit.number };
    let measure = measure_from_wire(limit.measure)?;
    let key = keys_from_wire(guard, jurisdiction, limit.keys.as_ref())?;
    let model = models_from_wire(guard, jurisdiction, limit.models.as_ref())?;
    let deployment = deployments_from_wire(guard, jurisdiction, limit.deployments.as_ref())?;
    let scope = Scope {
        key: key.map(Local::into_inner),
        member: Over::All,
        model: model.map(Local::into_inner),
        deployment: deployment.map(Local::into_inner),
    };
    Limit::new(id, measure, scope, limit.amount).map_err(|error| invalid("limits.amount", error))
}

/// A measure for the wire.
pub fn measure_to_wire(measure: Measure) -> config::LimitMeasure {
    match measure {
        Measure::RequestsPerMinute => config::LimitMeasure::RequestsPerMinute,
        Measure::TokensPerMinute => config::LimitMeasure::TokensPerMinute,
        Measure::ParallelRequests => config::LimitMeasure::ParallelRequests,
        Measure::NanoUsdPerDay => config::LimitMeasure::NanosUsdPerDay,
        Measure::NanoUsdPerMonth => config::LimitMeasure::NanosUsdPerMonth,
        Measure::NanoUsdTotal => config::LimitMeasure::NanosUsdTotal,
    }
}

/// A measure from the wire.
pub fn measure_from_wire(measure: i32) -> Result<Measure, ConvertError> {
    match config::LimitMeasure::try_from(measure) {
        Ok(config::LimitMeasure::RequestsPerMinute) => Ok(Measure::RequestsPerMinute),
        Ok(config::LimitMeasure::TokensPerMinute) => Ok(Measure::TokensPerMinute),
        Ok(config::LimitMeasure::ParallelRequests) => Ok(Measure::ParallelRequests),
        Ok(config::LimitMeasure::NanosUsdPerDay) => Ok(Measure::NanoUsdPerDay),
        Ok(config::LimitMeasure::NanosUsdPerMonth) => Ok(Measure::NanoUsdPerMonth),
        Ok(config::LimitMeasure::NanosUsdTotal) => Ok(Measure::NanoUsdTotal),
        Ok(config::LimitMeasure::Unspecified) => Err(invalid("measure", "is missing")),
        Err(_) => Err(invalid("measure", "is not known")),
    }
}

/// Keys for the wire; all of them are not named.
pub fn keys_to_wire(key: &Over<KeyId>) -> Option<config::LimitedKeys> {
    let which = match key {
        Over::All => return None,
        Over::One(id) => limited_keys::Which::KeyId(id.to_string()),
        Over::Each => limited_keys::Which::Each(true),
    };
    Some(config::LimitedKeys { which: Some(which) })
}

/// Keys from the wire. Absent: all together. What is there and says nothing is refused: it may be of a newer contract, and mean less than all.
pub fn keys_from_wire(
    guard: Guard,
    jurisdiction: &Jurisdiction,
    keys: Option<&config::LimitedKeys>,
) -> Result<Over<Local<KeyId>>, ConvertError> {
    match keys.map(|keys| keys.which.as_ref()) {
        None => Ok(Over::All),
        Some(Some(limited_keys::Which::KeyId(id))) => {
            admit(guard, jurisdiction, "keys.key_id", id).map(Over::One)
        }
        Some(Some(limited_keys::Which::Each(true))) => Ok(Over::Each),
        Some(Some(limited_keys::Which::Each(false)) | None) => {
            Err(invalid("keys", "says neither which one, nor that each is meant"))
        }
    }
}

/// Models for the wire; all of them are not named.
pub fn models_to_wire(model: &Over<ModelId>) -> Option<config::LimitedModels> {
    let which = match model {
        Over::All => return None,
        Over::One(id) => limited_models::Which::ModelId(id.to_string()),
        Over::Each => limited_models::Which::Each(true),
    };
    Some(config::LimitedModels { which: Some(which) })
}

/// Models from the wire, as [`keys_from_wire`].
pub fn models_from_wire(
    guard: Guard,
    jurisdiction: &Jurisdiction,
    models: Option<&config::LimitedModels>,
) -> Result<Over<Local<ModelId>>, ConvertError> {
    match models.map(|models| models.which.as_ref()) {
        None => Ok(Over::All),
        Some(Some(limited_models::Which::ModelId(id))) => {
            admit(guard, jurisdiction, "models.model_id", id).map(Over::One)
        }
        Some(Some(limited_models::Which::Each(true))) => Ok(Over::Each),
        Some(Some(limited_models::Which::Each(false)) | None) => {
            Err(invalid("models", "says neither which one, nor that each is meant"))
        }
    }
}

/// Deployments for the wire; all of them are not named.
pub fn deployments_to_wire(deployment: &Over<DeploymentId>) -> Option<config::LimitedDeployments> {
    let which = match deployment {
        Over::All => return None,
        Over::One(id) => limited_deployments::Which::DeploymentId(id.to_string()),
        Over::Each => limited_deployments::Which::Each(true),
    };
    Some(config::LimitedDeployments { which: Some(which) })
}

/// Deployments from the wire, as [`keys_from_wire`].
pub fn deployments_from_wire(
    guard: Guard,
    jurisdiction: &Jurisdiction,
    deployments: Option<&config::LimitedDeployments>,
) -> Result<Over<Local<DeploymentId>>, ConvertError> {
    match deployments.map(|deployments| deployments.which.as_ref()) {
        None => Ok(Over::All),
        Some(Some(limited_deployments::Which::DeploymentId(id))) => {
            admit(guard, jurisdiction, "deployments.deployment_id", id).map(Over::One)
        }
        Some(Some(limited_deployments::Which::Each(true))) => Ok(Over::Each),
        Some(Some(limited_deployments::Which::Each(false)) | None) => {
            Err(invalid("deployments", "says neither which one, nor that each is meant"))
        }
    }
}

#[cfg(test)]
mod tests;
