//! Wire types into domain types, and back. Every identifier is admitted on the way in: a foreign one makes the whole
//! conversion fail, so nothing half-converted exists.

pub mod limit;
pub mod quota;
pub mod usage;

use std::str::FromStr;

use bailiwick_domain::{
    address::{AddressError, AllowedRanges},
    egress::{EgressRule, HostPattern, Residency},
    guard::Guard,
    jurisdiction::{ForeignRegion, Jurisdiction, Local, Regional},
    organization::OnStale,
    packed::Packed as _,
    price::{PerMillion, Price},
    provider::{ApiVersion, Provider},
    routing::{self, GivenRank, Rank, Strategy},
    usage::{CallEnd, CallType, UsageEvent, UsageSource},
};

use self::usage::Offsets;
use crate::{
    config::v1::{self as config, ResourceId, ResourceKind, resource::Kind},
    worker::v1 as wire,
};

/// Why a message does not become a domain value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConvertError {
    /// A field breaks its rule.
    #[error("{field}: {problem}")]
    Field {
        /// Name of the field.
        field: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// An identifier of another region.
    #[error(transparent)]
    Foreign(#[from] ForeignRegion),
}

fn invalid(field: &'static str, problem: impl ToString) -> ConvertError {
    ConvertError::Field { field, problem: problem.to_string() }
}

/// Parses an identifier and admits it, where the guard of this name stands.
pub fn admit<T>(
    guard: Guard,
    jurisdiction: &Jurisdiction,
    field: &'static str,
    text: &str,
) -> Result<Local<T>, ConvertError>
where
    T: FromStr<Err: ToString> + Regional,
{
    let id: T = text.parse().map_err(|error: T::Err| invalid(field, error))?;
    Ok(jurisdiction.admit_at(guard, id)?)
}

/// A rank for the wire.
pub fn rank_to_wire(rank: Rank) -> config::Rank {
    config::Rank { order: Some(rank.order().into()), weight: Some(rank.weight().into()) }
}

/// A model's strategy, and the ranks of its deployments, from the wire.
pub fn routing_from_wire(model: &config::Model) -> Result<(Strategy, Vec<Rank>), ConvertError> {
    let strategy = match model.strategy.as_str() {
        "" => Strategy::default(),
        word => word.parse().map_err(|error| invalid("strategy", error))?,
    };
    if !model.ranks.is_empty() && model.ranks.len() != model.deployment_ids.len() {
        return Err(invalid("ranks", "has not one entry for each deployment, nor none"));
    }
    let mut given: Vec<GivenRank> =
        model.ranks.iter().map(|rank| GivenRank { order: rank.order, weight: rank.weight }).collect();
    given.resize(model.deployment_ids.len(), GivenRank::default());
    let ranks = routing::ranks(strategy, &given).map_err(|(_, error)| invalid("ranks", error))?;
    Ok((strategy, ranks))
}

/// A residency for the wire.
pub fn residency_to_wire(residency: &Residency) -> config::Residency {
    let mode = match residency {
        Residency::Region => config::ResidencyMode::Region,
        Residency::Listed(_) => config::ResidencyMode::Listed,
    };
    let hosts = residency.hosts().iter().map(ToString::to_string).collect();
    config::Residency { mode: mode.into(), hosts }
}

/// A residency from the wire. An absent one admits the region's jurisdiction alone; without a mode, the hosts say which is meant.
pub fn residency_from_wire(residency: Option<&config::Residency>) -> Result<Residency, ConvertError> {
    let Some(residency) = residency else { return Ok(Residency::Region) };
    let hosts = residency.hosts.iter().take(Residency::MOST_HOSTS + 1);
    let hosts: Result<Vec<HostPattern>, _> = hosts.map(|host| host.parse()).collect();
    let hosts = hosts.map_err(|error| invalid("residency.hosts", error))?;
    let mode = config::ResidencyMode::try_from(residency.mode);
    // One that this version does not know may admit less than what it would be taken for.
    let mode = mode.map_err(|_| invalid("residency.mode", "is not known"))?;
    let is_listed = match mode {
        config::ResidencyMode::Listed => true,
        config::ResidencyMode::Region => false,
        config::ResidencyMode::Unspecified => !hosts.is_empty(),
    };
    match (is_listed, hosts.is_empty()) {
        (true, _) => Residency::listed(hosts).map_err(|error| invalid("residency.hosts", error)),
        (false, true) => Ok(Residency::Region),
        (false, false) => {
            Err(invalid("residency.hosts", "are listed with RESIDENCY_MODE_LISTED, not with REGION"))
        }
    }
}

/// Allowed ranges for the wire.
pub fn allowed_ranges_to_wire(ranges: &AllowedRanges) -> Vec<String> {
    ranges.iter().map(ToString::to_string).collect()
}

/// Allowed ranges from the wire. None: anywhere. What is no range makes the whole list fail: what is left of it would admit others than were meant.
pub fn allowed_ranges_from_wire(ranges: &[String]) -> Result<AllowedRanges, ConvertError> {
    let field = "allowed_ranges";
    let ranges = ranges.iter().take(AllowedRanges::MOST + 1).map(|range| range.parse());
    let ranges = ranges.collect::<Result<Vec<_>, AddressError>>().map_err(|error| invalid(field, error))?;
    AllowedRanges::new(ranges).map_err(|error| invalid(field, error))
}

/// The version of a provider's API; empty: its dialect's default. None but Azure has one.
pub fn api_version_from_wire(provider: Provider, text: &str) -> Result<Option<ApiVersion>, ConvertError> {
    match (text, provider) {
        ("", _) => Ok(None),
        (_, Provider::AzureOpenAi) => text.parse().map(Some).map_err(|error| invalid("api_version", error)),
        _ => Err(invalid("api_version", "is for azure_openai alone")),
    }
}

/// An egress rule for the wire.
pub fn egress_rule_to_wire(rule: &EgressRule) -> config::EgressRule {
    config::EgressRule {
        pattern: rule.pattern.to_string(),
        jurisdiction: rule.jurisdiction.to_string(),
        private_ranges: rule.private_ranges.iter().map(ToString::to_string).collect(),
    }
}

/// An egress rule from the wire.
pub fn egress_rule_from_wire(rule: &config::EgressRule) -> Result<EgressRule, ConvertError> {
    fn parse<T: FromStr<Err: ToString>>(field: &'static str, text: &str) -> Result<T, ConvertError> {
        text.parse().map_err(|error: T::Err| invalid(field, error))
    }
    let ranges = rule.private_ranges.iter().map(|range| parse("egress_rules.private_ranges", range));
    Ok(EgressRule {
        pattern: parse("egress_rules.pattern", &rule.pattern)?,
        jurisdiction: parse("egress_rules.jurisdiction", &rule.jurisdiction)?,
        private_ranges: ranges.collect::<Result<_, _>>()?,
    })
}

/// A usage event for the wire, whose subject stands in this place of its report.
pub fn usage_event_to_wire(event: &UsageEvent, subject: u32) -> wire::UsageEvent {
    let Offsets { started, first_byte, finished } = Offsets::of(event);
    wire::UsageEvent {
        event_id: event.event_id.as_bytes().to_vec().into(),
        request_id: event.request_id.as_bytes().to_vec().into(),
        subject,
        call_type: call_type_to_wire(event.call_type).into(),
        status: event.status.into(),
        end: call_end_to_wire(event.end).into(),
        source: source_to_wire(event.source).into(),
        prompt_tokens: event.tokens.prompt,
        completion_tokens: event.tokens.completion,
        cost_nanos_usd: event.cost.as_nanos(),
        priced: event.priced,
        started_after_micros: started,
        first_byte_after_micros: first_byte,
        finished_after_micros: finished,
        attempts: event.attempts.into(),
        stream: event.stream,
        cached_prompt_tokens: event.tokens.cached_prompt,
        reasoning_tokens: event.tokens.reasoning,
        cache_write_tokens: event.tokens.cache_write,
        cache_write_hour_tokens: event.tokens.cache_write_hour,
        images: event.media.images,
        audio_millis: event.media.audio_millis,
    }
}

/// The subject of a usage event for the wire.
pub fn usage_subject_to_wire(event: &UsageEvent) -> wire::UsageSubject {
    wire::UsageSubject {
        organization_id: event.organization.to_packed().into(),
        key_id: event.key.to_packed().into(),
        model_id: event.model.to_packed().into(),
        deployment_id: event.deployment.to_packed().into(),
    }
}

pub(crate) fn call_type_to_wire(value: CallType) -> wire::CallType {
    match value {
        CallType::ChatCompletion => wire::CallType::ChatCompletion,
        CallType::Completion => wire::CallType::Completion,
        CallType::Embedding => wire::CallType::Embedding,
        CallType::Response => wire::CallType::Response,
        CallType::Message => wire::CallType::Message,
        CallType::TokenCount => wire::CallType::TokenCount,
        CallType::Image => wire::CallType::Image,
        CallType::Speech => wire::CallType::Speech,
        CallType::Moderation => wire::CallType::Moderation,
        CallType::Transcription => wire::CallType::Transcription,
        CallType::AudioTranslation => wire::CallType::AudioTranslation,
    }
}

fn call_type_from_wire(value: wire::CallType) -> Result<CallType, ConvertError> {
    match value {
        wire::CallType::ChatCompletion => Ok(CallType::ChatCompletion),
        wire::CallType::Completion => Ok(CallType::Completion),
        wire::CallType::Embedding => Ok(CallType::Embedding),
        wire::CallType::Response => Ok(CallType::Response),
        wire::CallType::Message => Ok(CallType::Message),
        wire::CallType::TokenCount => Ok(CallType::TokenCount),
        wire::CallType::Image => Ok(CallType::Image),
        wire::CallType::Speech => Ok(CallType::Speech),
        wire::CallType::Moderation => Ok(CallType::Moderation),
        wire::CallType::Transcription => Ok(CallType::Transcription),
        wire::CallType::AudioTranslation => Ok(CallType::AudioTranslation),
        wire::CallType::Unspecified => Err(invalid("call_type", "is unknown")),
    }
}

pub(crate) fn call_end_to_wire(value: CallEnd) -> wire::CallEnd {
    match value {
        CallEnd::Completed => wire::CallEnd::Completed,
        CallEnd::CallerLeft => wire::CallEnd::CallerLeft,
        CallEnd::ProviderFailed => wire::CallEnd::ProviderFailed,
        CallEnd::TimedOut => wire::CallEnd::TimedOut,
        CallEnd::Interrupted => wire::CallEnd::Interrupted,
    }
}

fn call_end_from_wire(value: wire::CallEnd) -> Result<CallEnd, ConvertError> {
    match value {
        wire::CallEnd::Completed => Ok(CallEnd::Completed),
        wire::CallEnd::CallerLeft => Ok(CallEnd::CallerLeft),
        wire::CallEnd::ProviderFailed => Ok(CallEnd::ProviderFailed),
        wire::CallEnd::TimedOut => Ok(CallEnd::TimedOut),
        wire::CallEnd::Interrupted => Ok(CallEnd::Interrupted),
        wire::CallEnd::Unspecified => Err(invalid("end", "is unknown")),
    }
}

pub(crate) fn source_to_wire(value: UsageSource) -> wire::UsageSource {
    match value {
        UsageSource::ProviderFinal => wire::UsageSource::ProviderFinal,
        UsageSource::Partial => wire::UsageSource::Partial,
        UsageSource::Estimated => wire::UsageSource::Estimated,
    }
}

fn source_from_wire(value: wire::UsageSource) -> Result<UsageSource, ConvertError> {
    match value {
        wire::UsageSource::ProviderFinal => Ok(UsageSource::ProviderFinal),
        wire::UsageSource::Partial => Ok(UsageSource::Partial),
        wire::UsageSource::Estimated => Ok(UsageSource::Estimated),
        wire::UsageSource::Unspecified => Err(invalid("source", "is unknown")),
    }
}

/// A price for the wire.
pub fn price_to_wire(price: &Price) -> config::Price {
    config::Price {
        input_nanos_usd_per_million: price.input.as_nanos(),
        output_nanos_usd_per_million: price.output.as_nanos(),
        cached_input_nanos_usd_per_million: price.cached_input.map(PerMillion::as_nanos),
        cache_write_nanos_usd_per_million: price.cache_write.map(PerMillion::as_nanos),
        image_nanos_usd: price.image.map(PerMillion::as_nanos),
        audio_nanos_usd_per_minute: price.audio_minute.map(PerMillion::as_nanos),
    }
}

/// A price from the wire: 0 to 10^15 nano-dollars (a million dollars) per million tokens, per image and per minute.
pub fn price_from_wire(price: &config::Price) -> Result<Price, ConvertError> {
    let checked = |field, nanos| PerMillion::from_nanos(nanos).map_err(|error| invalid(field, error));
    let cached = price.cached_input_nanos_usd_per_million;
    let write = price.cache_write_nanos_usd_per_million;
    Ok(Price {
        input: checked("price.input_nanos_usd_per_million", price.input_nanos_usd_per_million)?,
        output: checked("price.output_nanos_usd_per_million", price.output_nanos_usd_per_million)?,
        cached_input: cached.map(|n| checked("price.cached_input_nanos_usd_per_million", n)).transpose()?,
        cache_write: write.map(|n| checked("price.cache_write_nanos_usd_per_million", n)).transpose()?,
        image: price.image_nanos_usd.map(|n| checked("price.image_nanos_usd", n)).transpose()?,
        audio_minute: price
            .audio_nanos_usd_per_minute
            .map(|n| checked("price.audio_nanos_usd_per_minute", n))
            .transpose()?,
    })
}

/// Whether stale workers serve, for the wire.
pub fn on_stale_to_wire(value: OnStale) -> config::OnStale {
    match value {
        OnStale::Refuse => config::OnStale::Refuse,
        OnStale::Serve => config::OnStale::Serve,
    }
}

/// Whether stale workers serve; what is not said means refuse.
pub fn on_stale_from_wire(value: config::OnStale) -> OnStale {
    match value {
        config::OnStale::Serve => OnStale::Serve,
        config::OnStale::Refuse | config::OnStale::Unspecified => OnStale::Refuse,
    }
}

/// Names a resource. `None` for an empty one.
pub fn resource_id(resource: &config::Resource) -> Option<ResourceId> {
    let (kind, id) = match resource.kind.as_ref()? {
        Kind::RegionSettings(settings) => (ResourceKind::RegionSettings, &settings.region_code),
        Kind::Organization(organization) => (ResourceKind::Organization, &organization.id),
        Kind::ApiKey(key) => (ResourceKind::ApiKey, &key.id),
        Kind::Credential(credential) => (ResourceKind::Credential, &credential.id),
        Kind::Model(model) => (ResourceKind::Model, &model.id),
        Kind::Deployment(deployment) => (ResourceKind::Deployment, &deployment.id),
    };
    Some(ResourceId { kind: kind.into(), id: id.clone() })
}

#[cfg(test)]
mod tests;
