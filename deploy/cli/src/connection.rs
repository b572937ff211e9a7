//! A connection to the admin API of a context's control plane, and what every request to it shares.

use std::time::Duration;

use bailiwick_domain::{
    spiffe::{ProcessRole, TrustDomain},
    usage::RequestId,
};
use bailiwick_proto::admin::v1::{
    Change, PageRequest, PageResponse, audit_service_client::AuditServiceClient,
    backup_service_client::BackupServiceClient, credential_service_client::CredentialServiceClient,
    destruction_service_client::DestructionServiceClient,
    key_material_service_client::KeyMaterialServiceClient, key_service_client::KeyServiceClient,
    model_service_client::ModelServiceClient, organization_service_client::OrganizationServiceClient,
    region_service_client::RegionServiceClient, trust_service_client::TrustServiceClient,
    usage_service_client::UsageServiceClient,
};
use bailiwick_runtime::{
    grpc,
    identity::{Connector, Identity},
};
use tonic::{Request, Status, transport::Channel};

use crate::{contexts::Context, failure::Failure};

/// How long one request may take.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The largest page that the server gives.
const PAGE_SIZE: i32 = 1000;

/// A region's control plane.
pub(crate) struct Connection {
    pub(crate) channel: Channel,
    /// What is presented, and the roots by which the control plane is verified.
    pub(crate) identity: Identity,
}

impl Connection {
    /// Reads the identity; dials at the first request.
    pub(crate) fn open(context: &Context) -> Result<Self, Failure> {
        let identity = identity(context)?;
        let connector = connector(&identity)?;
        let channel = grpc::channel(&context.admin, &connector)
            .map_err(|error| Failure::usage(format!("context {}: {error}", context.name)))?;
        Ok(Self { channel, identity })
    }

    pub(crate) fn organizations(&self) -> OrganizationServiceClient<Channel> {
        OrganizationServiceClient::new(self.channel.clone())
    }

    pub(crate) fn keys(&self) -> KeyServiceClient<Channel> {
        KeyServiceClient::new(self.channel.clone())
    }

    pub(crate) fn credentials(&self) -> CredentialServiceClient<Channel> {
        CredentialServiceClient::new(self.channel.clone())
    }

    pub(crate) fn models(&self) -> ModelServiceClient<Channel> {
        ModelServiceClient::new(self.channel.clone())
    }

    pub(crate) fn region(&self) -> RegionServiceClient<Channel> {
        RegionServiceClient::new(self.channel.clone())
    }

    pub(crate) fn trust(&self) -> TrustServiceClient<Channel> {
        TrustServiceClient::new(self.channel.clone())
    }

    pub(crate) fn usage(&self) -> UsageServiceClient<Channel> {
        UsageServiceClient::new(self.channel.clone())
    }

    pub(crate) fn key_material(&self) -> KeyMaterialServiceClient<Channel> {
        KeyMaterialServiceClient::new(self.channel.clone())
    }

    pub(crate) fn backup(&self) -> BackupServiceClient<Channel> {
        BackupServiceClient::new(self.channel.clone())
    }

    pub(crate) fn destruction(&self) -> DestructionServiceClient<Channel> {
        DestructionServiceClient::new(self.channel.clone())
    }

    pub(crate) fn audit(&self) -> AuditServiceClient<Channel> {
        AuditServiceClient::new(self.channel.clone())
    }
}

/// The identity of a context, checked.
pub(crate) fn identity(context: &Context) -> Result<Identity, Failure> {
    let trust_domain = TrustDomain::new(context.region.clone(), &context.installation)
        .map_err(|error| Failure::usage(format!("context {}: {error}", context.name)))?;
    Identity::load_dir(&context.identity, trust_domain).map_err(|error| {
        Failure::usage(format!("context {}: {}", context.name, with_cause(&error)))
            .hint("bailiwick diagnose looks at each file")
    })
}

/// Dials control planes of the identity's region only.
pub(crate) fn connector(identity: &Identity) -> Result<Connector, Failure> {
    Connector::new(identity.clone(), ProcessRole::ControlPlane)
        .map_err(|error| Failure::failed(format!("the TLS library refuses its settings: {error}")))
}

/// An error and what led to it.
pub(crate) fn with_cause(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

/// A request that does not wait for ever.
pub(crate) fn request<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(TIMEOUT);
    request
}

/// Fresh for each command: a command that is given twice does its work twice.
pub(crate) fn idempotency_key() -> String {
    format!("cli-{}", RequestId::random())
}

/// The revision that a change led to.
pub(crate) fn revision(change: Option<Change>) -> u64 {
    change.unwrap_or_default().revision
}

/// All pages of a list, or as many as hold `limit` items.
pub(crate) async fn pages<T>(
    limit: usize,
    mut ask: impl AsyncFnMut(PageRequest) -> Result<(Vec<T>, Option<PageResponse>), Status>,
) -> Result<Vec<T>, Failure> {
    let mut all = Vec::new();
    let mut page_token = String::new();
    loop {
        let wanted = i32::try_from(limit.saturating_sub(all.len())).unwrap_or(PAGE_SIZE).min(PAGE_SIZE);
        let (items, page) = ask(PageRequest { page_size: wanted, page_token }).await?;
        all.extend(items);
        page_token = page.unwrap_or_default().next_page_token;
        if page_token.is_empty() || all.len() >= limit {
            all.truncate(limit);
            return Ok(all);
        }
    }
}

/// For lists that are wanted whole.
pub(crate) const EVERYTHING: usize = usize::MAX;
