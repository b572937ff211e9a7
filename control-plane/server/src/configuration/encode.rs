//! Opened resources as the wire knows them.

use bailiwick_core::{
    configuration::OpenedResource,
    records::{ApiKeyRecord, ChangedResource, DeploymentRecord, ModelRecord},
};
use bailiwick_domain::{egress::EgressPolicy, names::ModelName, price::Price, region::RegionCode};
use bailiwick_proto::{
    config::v1::{self as config, ResourceKind, resource::Kind},
    convert::{self, limit::limit_to_wire},
};
use secrecy::ExposeSecret as _;

use super::entry::{Entry, Name};

/// The region's settings, as this control plane was told them.
pub(crate) fn region_settings(code: RegionCode, pepper: &[u8; 32], egress: &EgressPolicy) -> Option<Entry> {
    let jurisdiction = egress.home().map(ToString::to_string).unwrap_or_default();
    encoded(Kind::RegionSettings(config::RegionSettings {
        region_code: code.to_string(),
        pepper: pepper.to_vec(),
        egress_rules: egress.rules().map(convert::egress_rule_to_wire).collect(),
        jurisdiction,
        issuer_rules: egress.issuer_rules().map(convert::egress_rule_to_wire).collect(),
    }))
}

/// Any other resource.
pub(crate) fn entry(resource: &OpenedResource) -> Option<Entry> {
    encoded(match resource {
        OpenedResource::Organization { id, suspended, on_stale, residency, allowed_ranges, limits } => {
            Kind::Organization(config::Organization {
                id: id.to_string(),
                suspended: *suspended,
                on_stale: convert::on_stale_to_wire(*on_stale).into(),
                residency: Some(convert::residency_to_wire(residency)),
                allowed_ranges: convert::allowed_ranges_to_wire(allowed_ranges),
                limits: limits.iter().filter_map(limit_to_wire).collect(),
            })
        }
        OpenedResource::ApiKey(key) => Kind::ApiKey(api_key(key)),
        OpenedResource::Credential { id, organization, secret } => Kind::Credential(config::Credential {
            id: id.to_string(),
            organization_id: organization.to_string(),
            secret: secret.expose_secret().to_owned(),
        }),
        OpenedResource::Model(row) => Kind::Model(model(row)),
        OpenedResource::Deployment(row, price) => Kind::Deployment(deployment(row, price.as_ref())),
    })
}

/// What a change names. `code` is the region's own, whose settings may be meant.
pub(crate) fn name(changed: &ChangedResource, code: RegionCode) -> Name {
    let (kind, id) = match changed {
        ChangedResource::RegionSettings => (ResourceKind::RegionSettings, code.to_string()),
        ChangedResource::Organization(id) => (ResourceKind::Organization, id.to_string()),
        ChangedResource::ApiKey(id) => (ResourceKind::ApiKey, id.to_string()),
        ChangedResource::Credential(id) => (ResourceKind::Credential, id.to_string()),
        ChangedResource::Model(id) => (ResourceKind::Model, id.to_string()),
        ChangedResource::Deployment(id) => (ResourceKind::Deployment, id.to_string()),
    };
    Name::new(kind, &id)
}

fn api_key(key: &ApiKeyRecord) -> config::ApiKey {
    config::ApiKey {
        id: key.id.to_string(),
        organization_id: key.organization.to_string(),
        digest: key.digest.0.to_vec(),
        expires_at_micros: key.expires_at.map_or(0, |at| at.as_micros()),
        allowed_models: key.allowed_models.iter().map(ToString::to_string).collect(),
        allowed_ranges: convert::allowed_ranges_to_wire(&key.allowed_ranges),
    }
}

fn model(model: &ModelRecord) -> config::Model {
    let name = |name: &Option<ModelName>| name.as_ref().map(ToString::to_string).unwrap_or_default();
    config::Model {
        id: model.id.to_string(),
        organization_id: model.organization.to_string(),
        name: model.name.to_string(),
        deployment_ids: model.deployments.iter().map(|one| one.deployment.to_string()).collect(),
        created_at_micros: model.created_at.as_micros(),
        ranks: model.deployments.iter().map(|one| convert::rank_to_wire(one.rank)).collect(),
        strategy: model.strategy.to_string(),
        fallback_model: name(&model.fallbacks.general),
        context_window_fallback_model: name(&model.fallbacks.context_window),
        content_policy_fallback_model: name(&model.fallbacks.content_policy),
    }
}

fn deployment(deployment: &DeploymentRecord, price: Option<&Price>) -> config::Deployment {
    config::Deployment {
        id: deployment.id.to_string(),
        organization_id: deployment.organization.to_string(),
        provider: deployment.provider.to_string(),
        endpoint: deployment.endpoint.to_string(),
        upstream_model: deployment.upstream_model.to_string(),
        credential_id: deployment.credential.to_string(),
        price: price.map(convert::price_to_wire),
        api_version: deployment.api_version.as_ref().map(ToString::to_string).unwrap_or_default(),
    }
}

fn encoded(kind: Kind) -> Option<Entry> {
    Entry::new(config::Resource { kind: Some(kind) })
}
