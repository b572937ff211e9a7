//! Resources from the wire, checked: every identifier is admitted (R5), every bound is held, every secret is moved into what zeroes it.

use std::sync::Arc;

use bailiwick_domain::{
    egress::{EgressPolicy, EgressRule},
    guard::Guard,
    id::{CredentialId, DeploymentId, ModelId, OrganizationId},
    jurisdiction::{ForeignRegion, Jurisdiction, Local, Regional},
    key::{KeyDigest, KeyId, Pepper},
    names::ModelName,
    provider::{Endpoint, Provider},
    provider_secret::{ProviderSecret, aws_region_of},
    region::RegionCode,
    routing::Fallbacks,
    time::Timestamp,
};
use bailiwick_proto::{
    config::v1 as wire,
    convert::{
        self, ConvertError, allowed_ranges_from_wire, egress_rule_from_wire, limit::limits_from_wire,
        on_stale_from_wire, price_from_wire, residency_from_wire, routing_from_wire,
    },
    digest::Digest,
};
use bytes::Bytes;
use http::HeaderValue;
use secrecy::ExposeSecret as _;
use zeroize::{Zeroize as _, Zeroizing};

use super::{
    entries::{
        CredentialEntry, DeploymentEntry, ModelEntry, OrganizationEntry, PreparedEndpoint, RegionSettings,
        Route, Secret,
    },
    keys::{KeyRow, Restrictions},
};
use crate::{
    dialects,
    tokens::{Exchanged, Grant},
};

const MAX_ALLOWED_MODELS: usize = 100;
const MAX_DEPLOYMENTS: usize = 32;
const MAX_EGRESS_RULES: usize = 10_000;

type Converted<T> = Result<T, ConvertError>;

pub(super) fn settings(
    jurisdiction: &Jurisdiction,
    mut settings: wire::RegionSettings,
) -> Converted<RegionSettings> {
    let mut secret = Zeroizing::new(std::mem::take(&mut settings.pepper));
    let code: RegionCode = parse("region_code", &settings.region_code)?;
    if code != jurisdiction.code() && Guard::ConfigurationIdentifiers.stands() {
        return Err(ForeignRegion { found: code, expected: jurisdiction.code() }.into());
    }
    let egress = egress(jurisdiction, &settings)?;
    let mut bytes: [u8; 32] =
        secret.as_slice().try_into().map_err(|_| invalid("pepper", "has not 32 bytes"))?;
    let pepper = Pepper::from_bytes(bytes);
    bytes.zeroize();
    secret.zeroize();
    Ok(RegionSettings { code, pepper, egress })
}

/// Both ends have to mean the same place: what `region` admits depends on it.
fn egress(jurisdiction: &Jurisdiction, settings: &wire::RegionSettings) -> Converted<EgressPolicy> {
    let (home, told) = (&jurisdiction.region().jurisdiction, &settings.jurisdiction);
    if home.as_str() != told {
        return Err(invalid(
            "jurisdiction",
            format!("is not {home}, where this worker's configuration has its region"),
        ));
    }
    let policy = EgressPolicy::new(home.clone(), rules("egress_rules", &settings.egress_rules)?)
        .map_err(|error| invalid("egress_rules", error))?;
    policy
        .with_issuers(rules("issuer_rules", &settings.issuer_rules)?)
        .map_err(|error| invalid("issuer_rules", error))
}

fn rules(field: &'static str, rules: &[wire::EgressRule]) -> Converted<Vec<EgressRule>> {
    if rules.len() > MAX_EGRESS_RULES {
        return Err(invalid(field, format!("has over {MAX_EGRESS_RULES} entries")));
    }
    rules.iter().map(egress_rule_from_wire).collect()
}

pub(super) fn organization(
    jurisdiction: &Jurisdiction,
    organization: &wire::Organization,
) -> Converted<(OrganizationId, OrganizationEntry)> {
    let id = admit::<OrganizationId>(jurisdiction, "id", &organization.id)?;
    let on_stale = on_stale_from_wire(organization.on_stale());
    let residency = residency_from_wire(organization.residency.as_ref())?;
    let allowed_ranges = allowed_ranges_from_wire(&organization.allowed_ranges)?;
    let limits = limits_from_wire(Guard::ConfigurationIdentifiers, jurisdiction, id, &organization.limits)?;
    let limits = Some(limits).filter(|limits| !limits.is_empty()).map(Arc::from);
    let suspended = organization.suspended;
    let entry = OrganizationEntry { suspended, on_stale, residency, allowed_ranges, limits };
    Ok((id.into_inner(), entry))
}

pub(super) fn key(
    jurisdiction: &Jurisdiction,
    key: &wire::ApiKey,
    shard: u8,
    received: Digest,
) -> Converted<KeyRow> {
    if key.expires_at_micros < 0 {
        return Err(invalid("expires_at_micros", "is negative"));
    }
    let restrictions = Restrictions {
        expires_at: Some(key.expires_at_micros).filter(|at| *at != 0).map(Timestamp::from_micros),
        allowed_models: allowed_models(&key.allowed_models)?,
        allowed_ranges: allowed_ranges_from_wire(&key.allowed_ranges)?,
    };
    Ok(KeyRow {
        id: admit::<KeyId>(jurisdiction, "id", &key.id)?.into_inner(),
        shard,
        organization: admit::<OrganizationId>(jurisdiction, "organization_id", &key.organization_id)?
            .into_inner(),
        digest: KeyDigest(
            key.digest.as_slice().try_into().map_err(|_| invalid("digest", "has not 32 bytes"))?,
        ),
        received,
        restrictions: Some(restrictions)
            .filter(|narrowed| *narrowed != Restrictions::default())
            .map(Arc::new),
    })
}

fn allowed_models(names: &[String]) -> Converted<Option<Arc<[ModelName]>>> {
    if names.len() > MAX_ALLOWED_MODELS {
        return Err(invalid("allowed_models", format!("has over {MAX_ALLOWED_MODELS} entries")));
    }
    let names: Arc<[ModelName]> =
        names.iter().map(|name| parse("allowed_models", name)).collect::<Converted<_>>()?;
    Ok(Some(names).filter(|names| !names.is_empty()))
}

/// What stands before a secret that is sent as a bearer's (RFC 6750, section 2.1).
const BEARER: &[u8] = b"Bearer ";

pub(super) fn credential(
    jurisdiction: &Jurisdiction,
    mut credential: wire::Credential,
) -> Converted<CredentialEntry> {
    let text = Zeroizing::new(std::mem::take(&mut credential.secret));
    let id = admit::<CredentialId>(jurisdiction, "id", &credential.id)?.into_inner();
    let organization =
        admit::<OrganizationId>(jurisdiction, "organization_id", &credential.organization_id)?.into_inner();
    let secret = match ProviderSecret::parse(&text).map_err(|error| invalid("secret", error))? {
        ProviderSecret::Shown(secret) => {
            let (authorization, alone) = bearer(secret.expose_secret())?;
            Secret::Shown { authorization, alone }
        }
        ProviderSecret::Aws(key) => Secret::Aws(key),
        ProviderSecret::Entra(client) => exchanged(id, organization, Grant::Entra(client)),
        ProviderSecret::Google(key) => exchanged(id, organization, Grant::Google(key)),
    };
    Ok(CredentialEntry { id, organization, secret })
}

fn exchanged(id: CredentialId, organization: OrganizationId, grant: Grant) -> Secret {
    Secret::Exchanged(Arc::new(Exchanged::new(id, organization, grant)))
}

/// A secret in the forms that are sent, both of the same bytes, and marked sensitive: `Bearer …`, and alone. Errors: no header can carry it.
pub(crate) fn bearer(secret: &str) -> Converted<(HeaderValue, HeaderValue)> {
    // The header owns the only copy, and zeroes it when the last request is done with it.
    let mut header = Zeroizing::new(Vec::with_capacity(BEARER.len() + secret.len()));
    header.extend_from_slice(BEARER);
    header.extend_from_slice(secret.as_bytes());
    let header = Bytes::from_owner(header);
    let value = |bytes: Bytes| {
        let mut value = HeaderValue::from_maybe_shared(bytes)
            .map_err(|_| invalid("secret", "has characters that no HTTP header can carry"))?;
        value.set_sensitive(true);
        Ok::<_, ConvertError>(value)
    };
    let alone = value(header.slice(BEARER.len()..))?;
    Ok((value(header)?, alone))
}

pub(super) fn model(jurisdiction: &Jurisdiction, model: &wire::Model) -> Converted<ModelEntry> {
    if !(1..=MAX_DEPLOYMENTS).contains(&model.deployment_ids.len()) {
        return Err(invalid("deployment_ids", format!("has not 1 to {MAX_DEPLOYMENTS} entries")));
    }
    let (strategy, ranks) = routing_from_wire(model)?;
    let deployments = model.deployment_ids.iter().zip(ranks).map(|(id, rank)| {
        let id = admit::<DeploymentId>(jurisdiction, "deployment_ids", id)?.into_inner();
        Ok(Route { id, rank })
    });
    let name: ModelName = parse("name", &model.name)?;
    let fallback = |field, name: &str| if name.is_empty() { Ok(None) } else { parse(field, name).map(Some) };
    Ok(ModelEntry {
        id: admit::<ModelId>(jurisdiction, "id", &model.id)?.into_inner(),
        organization: admit::<OrganizationId>(jurisdiction, "organization_id", &model.organization_id)?
            .into_inner(),
        name_header: header("name", name.as_str())?,
        name,
        deployments: deployments.collect::<Converted<_>>()?,
        strategy,
        fallbacks: Fallbacks {
            general: fallback("fallback_model", &model.fallback_model)?,
            context_window: fallback("context_window_fallback_model", &model.context_window_fallback_model)?,
            content_policy: fallback("content_policy_fallback_model", &model.content_policy_fallback_model)?,
        },
        created_at: Timestamp::from_micros(model.created_at_micros),
    })
}

pub(super) fn deployment(
    jurisdiction: &Jurisdiction,
    deployment: &wire::Deployment,
) -> Converted<DeploymentEntry> {
    let provider: Provider = parse("provider", &deployment.provider)?;
    let endpoint: Endpoint = parse("endpoint", &deployment.endpoint)?;
    let prepared =
        PreparedEndpoint::of(&endpoint).ok_or_else(|| invalid("endpoint", "has no usable host"))?;
    Ok(DeploymentEntry {
        id_header: header("id", &deployment.id)?,
        id: admit::<DeploymentId>(jurisdiction, "id", &deployment.id)?.into_inner(),
        organization: admit::<OrganizationId>(jurisdiction, "organization_id", &deployment.organization_id)?
            .into_inner(),
        dialect: dialects::of(provider),
        api_version: convert::api_version_from_wire(provider, &deployment.api_version)?,
        aws_region: match provider {
            Provider::Bedrock => aws_region_of(&prepared.host).map(Box::from),
            _ => None,
        },
        upstream_model: parse("upstream_model", &deployment.upstream_model)?,
        credential: admit::<CredentialId>(jurisdiction, "credential_id", &deployment.credential_id)?
            .into_inner(),
        price: deployment.price.as_ref().map(price_from_wire).transpose()?,
        prepared,
    })
}

fn admit<T>(jurisdiction: &Jurisdiction, field: &'static str, text: &str) -> Converted<Local<T>>
where
    T: std::str::FromStr<Err: ToString> + Regional,
{
    convert::admit(Guard::ConfigurationIdentifiers, jurisdiction, field, text)
}

fn header(field: &'static str, text: &str) -> Converted<HeaderValue> {
    HeaderValue::try_from(text).map_err(|error| invalid(field, error))
}

fn parse<T: std::str::FromStr<Err: ToString>>(field: &'static str, text: &str) -> Converted<T> {
    text.parse().map_err(|error: T::Err| invalid(field, error))
}

fn invalid(field: &'static str, problem: impl ToString) -> ConvertError {
    ConvertError::Field { field, problem: problem.to_string() }
}
