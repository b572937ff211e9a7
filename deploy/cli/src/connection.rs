//! A connection to the admin API of a context's control plane, and what every request to it shares.

use std::time::Duration;

use bailiwick_domain::{
    spiffe::{ProcessRole, TrustDomain},
    usage::RequestId,
};
use bailiwick_proto::admin::v1::{
    Change, IssueTokenRequest, IssueTokenResponse, PageRequest, PageResponse,
    audit_service_client::AuditServiceClient, backup_service_client::BackupServiceClient,
    credential_service_client::CredentialServiceClient, destruction_service_client::DestructionServiceClient,
    key_material_service_client::KeyMaterialServiceClient, key_service_client::KeyServiceClient,
    model_service_client::ModelServiceClient, organization_service_client::OrganizationServiceClient,
    policy_service_client::PolicyServiceClient, price_service_client::PriceServiceClient,
    region_service_client::RegionServiceClient, service_account_service_client::ServiceAccountServiceClient,
    token_service_client::TokenServiceClient, trust_service_client::TrustServiceClient,
    usage_service_client::UsageServiceClient,
};
use bailiwick_runtime::{
    grpc,
    identity::{Connector, Dial, Identity, PinnedConnector, root_fingerprint},
};
use secrecy::{ExposeSecret as _, SecretString};
use tonic::{
    Request, Status,
    metadata::AsciiMetadataValue,
    service::{Interceptor, interceptor::InterceptedService},
    transport::Channel,
};

use crate::{
    contexts::Context,
    failure::Failure,
    input::{secret_in, unreadable},
};

/// How long one request may take.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The largest page that the server gives.
const PAGE_SIZE: i32 = 1000;

/// A region's control plane.
pub(crate) struct Connection {
    pub(crate) api: Api,
    /// What is presented, and the roots by which the control plane is verified; `None`: a service account's token is presented.
    pub(crate) identity: Option<Identity>,
}

/// A channel, and what each request over it carries.
pub(crate) type Api = InterceptedService<Channel, Bearer>;

/// A bearer token, where there is one.
#[derive(Clone)]
pub(crate) struct Bearer(Option<AsciiMetadataValue>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.0 {
            request.metadata_mut().insert("authorization", token.clone());
        }
        Ok(request)
    }
}

impl Connection {
    /// Reads the identity, and dials at the first request; or exchanges a service account's secret for a token, where the context names one.
    pub(crate) async fn open(context: &Context) -> Result<Self, Failure> {
        match &context.service_account {
            Some(file) => Self::open_as_account(context, &secret_in(file)?).await,
            None => Self::open_as_operator(context),
        }
    }

    fn open_as_operator(context: &Context) -> Result<Self, Failure> {
        let identity = identity(context)?;
        let connector = connector(&identity)?;
        let channel = channel(context, &context.admin, &connector)?;
        Ok(Self { api: InterceptedService::new(channel, Bearer(None)), identity: Some(identity) })
    }

    async fn open_as_account(context: &Context, secret: &SecretString) -> Result<Self, Failure> {
        let channel = visitor(context)?;
        let issued = exchange(&channel, secret, 0).await?;
        let mut token: AsciiMetadataValue = format!("Bearer {}", issued.token)
            .parse()
            .map_err(|_odd| Failure::failed("the control plane gave a token that fits no header"))?;
        // Debug output, of whichever layer, shows nothing of it.
        token.set_sensitive(true);
        Ok(Self { api: InterceptedService::new(channel, Bearer(Some(token))), identity: None })
    }

    pub(crate) fn service_accounts(&self) -> ServiceAccountServiceClient<Api> {
        ServiceAccountServiceClient::new(self.api.clone())
    }

    pub(crate) fn organizations(&self) -> OrganizationServiceClient<Api> {
        OrganizationServiceClient::new(self.api.clone())
    }

    pub(crate) fn keys(&self) -> KeyServiceClient<Api> {
        KeyServiceClient::new(self.api.clone())
    }

    pub(crate) fn policies(&self) -> PolicyServiceClient<Api> {
        PolicyServiceClient::new(self.api.clone())
    }

    pub(crate) fn prices(&self) -> PriceServiceClient<Api> {
        PriceServiceClient::new(self.api.clone())
    }

    pub(crate) fn credentials(&self) -> CredentialServiceClient<Api> {
        CredentialServiceClient::new(self.api.clone())
    }

    pub(crate) fn models(&self) -> ModelServiceClient<Api> {
        ModelServiceClient::new(self.api.clone())
    }

    pub(crate) fn region(&self) -> RegionServiceClient<Api> {
        RegionServiceClient::new(self.api.clone())
    }

    pub(crate) fn trust(&self) -> TrustServiceClient<Api> {
        TrustServiceClient::new(self.api.clone())
    }

    pub(crate) fn usage(&self) -> UsageServiceClient<Api> {
        UsageServiceClient::new(self.api.clone())
    }

    pub(crate) fn key_material(&self) -> KeyMaterialServiceClient<Api> {
        KeyMaterialServiceClient::new(self.api.clone())
    }

    pub(crate) fn backup(&self) -> BackupServiceClient<Api> {
        BackupServiceClient::new(self.api.clone())
    }

    pub(crate) fn destruction(&self) -> DestructionServiceClient<Api> {
        DestructionServiceClient::new(self.api.clone())
    }

    pub(crate) fn audit(&self) -> AuditServiceClient<Api> {
        AuditServiceClient::new(self.api.clone())
    }
}

/// A token for a service account's secret; `lifetime_seconds` 0: the longest.
pub(crate) async fn exchange(
    channel: &Channel,
    secret: &SecretString,
    lifetime_seconds: u32,
) -> Result<IssueTokenResponse, Failure> {
    let service_account_secret = secret.expose_secret().to_owned();
    let message = IssueTokenRequest { service_account_secret, lifetime_seconds };
    Ok(TokenServiceClient::new(channel.clone()).issue_token(request(message)).await?.into_inner())
}

/// To where callers with bearer tokens are served: without a certificate, trusting the region's root alone.
pub(crate) fn visitor(context: &Context) -> Result<Channel, Failure> {
    let address = context.tokens_addr.as_ref().ok_or_else(|| {
        Failure::usage(format!("context {} names no address for tokens", context.name))
            .hint("bailiwick context add … --tokens HOST:PORT; the control plane serves it where [tokens] is configured")
    })?;
    let file = context.identity.join("ca.pem");
    let pem = std::fs::read_to_string(&file).map_err(|error| unreadable(&file, &error))?;
    let domain = trust_domain(context)?;
    let root = root_fingerprint(&pem, &domain)
        .map_err(|error| Failure::usage(format!("context {}: {}", context.name, with_cause(&error))))?;
    let connector = PinnedConnector::new(root, domain)
        .map_err(|error| Failure::failed(format!("the TLS library refuses its settings: {error}")))?;
    channel(context, address, &connector)
}

fn channel(context: &Context, address: &str, dialer: &impl Dial) -> Result<Channel, Failure> {
    grpc::channel(address, dialer)
        .map_err(|error| Failure::usage(format!("context {}: {error}", context.name)))
}

fn trust_domain(context: &Context) -> Result<TrustDomain, Failure> {
    TrustDomain::new(context.region.clone(), &context.installation)
        .map_err(|error| Failure::usage(format!("context {}: {error}", context.name)))
}

/// The identity of a context, checked.
pub(crate) fn identity(context: &Context) -> Result<Identity, Failure> {
    Identity::load_dir(&context.identity, trust_domain(context)?).map_err(|error| {
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
