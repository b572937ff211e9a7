//! What a request finds in a snapshot: parsed once, when it arrives, so that no request parses it again.

use std::{fmt, sync::Arc};

use bailiwick_dialects::Dialect;
use bailiwick_domain::{
    address::AllowedRanges,
    egress::{EgressPolicy, Residency},
    id::{CredentialId, DeploymentId, ModelId, OrganizationId},
    key::{KeyDigest, KeyId, Pepper},
    names::ModelName,
    organization::OnStale,
    price::Price,
    provider::{ApiVersion, Endpoint},
    provider_secret::AwsKey,
    region::RegionCode,
    routing::{Fallbacks, Rank, Strategy},
    time::Timestamp,
};
use bailiwick_quota::limit::Limit;
use bailiwick_runtime::serving::FieldLines;
use http::{HeaderValue, header};

use crate::tokens::Exchanged;

/// What the region has exactly once.
#[derive(Debug)]
pub(crate) struct RegionSettings {
    /// The region's short form.
    pub(crate) code: RegionCode,
    /// API keys are verified under it.
    pub(crate) pepper: Pepper,
    /// Which provider endpoints may be called (R7).
    pub(crate) egress: EgressPolicy,
}

/// An API key, as it is looked up: a copy of the few words that are stored of it.
#[derive(Clone, Debug)]
pub(crate) struct KeyEntry {
    /// Its identifier.
    pub(crate) id: KeyId,
    /// Whose it is.
    pub(crate) organization: OrganizationId,
    /// What the presented key is compared with.
    pub(crate) digest: KeyDigest,
    /// When it is refused from; `None`: never.
    pub(crate) expires_at: Option<Timestamp>,
    /// The models that it may call; `None`: all of its organization's.
    pub(crate) allowed_models: Option<Arc<[ModelName]>>,
    /// From where its calls are taken.
    pub(crate) allowed_ranges: AllowedRanges,
}

impl KeyEntry {
    /// Whether it may call the model of this public name.
    pub(crate) fn allows(&self, model: &str) -> bool {
        match &self.allowed_models {
            None => true,
            Some(allowed) => allowed.iter().any(|name| name.as_str() == model),
        }
    }
}

/// An organization.
#[derive(Clone, Debug)]
pub(crate) struct OrganizationEntry {
    /// Whether its calls are refused.
    pub(crate) suspended: bool,
    /// Whether it is served when the lease has run out.
    pub(crate) on_stale: OnStale,
    /// Where its calls may be processed (R7).
    pub(crate) residency: Residency,
    /// From where its calls are taken.
    pub(crate) allowed_ranges: AllowedRanges,
    /// What its calls may use; `None`: as much as they like.
    pub(crate) limits: Option<Arc<[Limit]>>,
}

/// A public model.
#[derive(Debug)]
pub(crate) struct ModelEntry {
    /// Its identifier.
    pub(crate) id: ModelId,
    /// Whose it is.
    pub(crate) organization: OrganizationId,
    /// What callers call it.
    pub(crate) name: ModelName,
    /// The same, for the answer's header.
    pub(crate) name_header: HeaderValue,
    /// Where it is served: 1 to 32.
    pub(crate) deployments: Box<[Route]>,
    /// How a call chooses among those of one order.
    pub(crate) strategy: Strategy,
    /// The models that stand in for it.
    pub(crate) fallbacks: Fallbacks,
    /// Callers see it in `/v1/models`.
    pub(crate) created_at: Timestamp,
}

/// A deployment, as one of a model's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Route {
    pub(crate) id: DeploymentId,
    pub(crate) rank: Rank,
}

/// One model at one provider endpoint.
#[derive(Debug)]
pub(crate) struct DeploymentEntry {
    /// Its identifier.
    pub(crate) id: DeploymentId,
    /// The same, for the answer's header.
    pub(crate) id_header: HeaderValue,
    /// Whose it is.
    pub(crate) organization: OrganizationId,
    /// What the provider speaks.
    pub(crate) dialect: Dialect,
    /// The version of Azure's API; `None`: the dialect's default.
    pub(crate) api_version: Option<ApiVersion>,
    /// Bedrock alone: the region that signs, where the endpoint says it.
    pub(crate) aws_region: Option<Box<str>>,
    /// The provider's name of the model.
    pub(crate) upstream_model: ModelName,
    /// What the provider is shown.
    pub(crate) credential: CredentialId,
    /// `None`: unknown, calls are metered as unpriced.
    pub(crate) price: Option<Price>,
    /// The endpoint in the pieces that a request is made of.
    pub(crate) prepared: PreparedEndpoint,
}

impl DeploymentEntry {
    /// Whether a connection that was made for this one serves the other: the configuration can have changed between them.
    pub(crate) fn leads_where(self: &Arc<Self>, other: &Arc<Self>) -> bool {
        Arc::ptr_eq(self, other) || self.prepared == other.prepared
    }
}

/// What this program calls itself.
pub(crate) const USER_AGENT: HeaderValue =
    HeaderValue::from_static(concat!("bailiwick/", env!("CARGO_PKG_VERSION")));

/// An endpoint in the pieces that a request is made of.
#[derive(Debug, PartialEq)]
pub(crate) struct PreparedEndpoint {
    /// Whether it is spoken to over TLS.
    pub(crate) is_tls: bool,
    /// Host name or address literal, IPv6 without brackets: what is resolved, checked and verified.
    pub(crate) host: Arc<str>,
    /// The scheme's default included.
    pub(crate) port: u16,
    /// `Host` header: IPv6 in brackets, the port unless it is the scheme's default.
    pub(crate) host_header: HeaderValue,
    /// What each request to it says.
    pub(crate) fields: FieldLines,
    /// What stands before the dialect's path, such as `/v1`; empty or starting with a slash, never ending with one.
    pub(crate) path_prefix: Box<str>,
}

impl PreparedEndpoint {
    /// `None` when the host cannot stand in a header, which a parsed URL's can.
    pub(crate) fn of(endpoint: &Endpoint) -> Option<Self> {
        let url = endpoint.url();
        let mut host_header = url.host_str()?.to_owned();
        if let Some(port) = url.port() {
            host_header.push_str(&format!(":{port}"));
        }
        let host_header = HeaderValue::try_from(host_header).ok()?;
        let user_agent = USER_AGENT;
        let fields = FieldLines::new([
            (header::HOST, host_header.as_bytes()),
            // Usage is read in passing, so answers come uncompressed.
            (header::ACCEPT_ENCODING, b"identity"),
            (header::USER_AGENT, user_agent.as_bytes()),
        ]);
        Some(Self {
            is_tls: endpoint.is_tls(),
            host: endpoint.host().into(),
            port: endpoint.port(),
            host_header,
            fields,
            path_prefix: url.path().trim_end_matches('/').into(),
        })
    }
}

/// A provider's secret.
pub(crate) struct CredentialEntry {
    /// Its identifier.
    pub(crate) id: CredentialId,
    /// Whose it is.
    pub(crate) organization: OrganizationId,
    /// What is done with it.
    pub(crate) secret: Secret,
}

/// How a provider learns who calls. Zeroed when the last request that uses it is done.
pub(crate) enum Secret {
    /// It is shown, in the forms that are sent: `Bearer …`, and alone. Both are the same bytes, and marked sensitive.
    Shown {
        /// `Authorization` header.
        authorization: HeaderValue,
        /// For headers that carry it alone.
        alone: HeaderValue,
    },
    /// It signs, and is shown to nobody.
    Aws(AwsKey),
    /// It is exchanged for tokens, and those are shown.
    Exchanged(Arc<Exchanged>),
}

impl fmt::Debug for CredentialEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CredentialEntry({}, [redacted])", self.id)
    }
}

/// The models of one organization, sorted by name. Two of one name can meet for a moment, while a name moves from one to the other.
#[derive(Clone, Debug, Default)]
pub(super) struct Catalogue(Vec<Arc<ModelEntry>>);

impl Catalogue {
    pub(super) fn by_name(&self, name: &str) -> Option<&Arc<ModelEntry>> {
        let first = self.0.partition_point(|model| model.name.as_str() < name);
        self.0.get(first).filter(|model| model.name.as_str() == name)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<ModelEntry>> {
        self.0.iter()
    }

    pub(super) fn with(&self, model: &Arc<ModelEntry>) -> Self {
        let place = self.0.partition_point(|other| (&other.name, other.id) < (&model.name, model.id));
        let (before, after) = self.0.split_at_checked(place).unwrap_or_default();
        Self(before.iter().chain([model]).chain(after).map(Arc::clone).collect())
    }

    pub(super) fn without(&self, id: &ModelId) -> Self {
        Self(self.0.iter().filter(|model| model.id != *id).map(Arc::clone).collect())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
