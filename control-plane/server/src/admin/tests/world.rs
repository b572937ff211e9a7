//! A region, its listeners with every role let through the handshake, so that what stands behind is asked, and typed callers.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bailiwick_coordination::InProcess;
use bailiwick_core::{control_plane::ControlPlane, fleet::Fleet, ports::coordination::Coordination};
use bailiwick_domain::{
    spiffe::{ProcessRole, SpiffeId},
    time::{Clock, ManualClock, SystemClock},
    usage::RequestId,
};
use bailiwick_proto::{
    admin::v1::{
        self as wire, audit_service_client::AuditServiceClient,
        credential_service_client::CredentialServiceClient, key_service_client::KeyServiceClient,
        model_service_client::ModelServiceClient, organization_service_client::OrganizationServiceClient,
        region_service_client::RegionServiceClient,
        service_account_service_client::ServiceAccountServiceClient,
        token_service_client::TokenServiceClient,
    },
    worker::v1::{signup_service_client::SignupServiceClient, signup_service_server::SignupServiceServer},
};
use bailiwick_runtime::{
    configuration::load,
    grpc::{self, Handshake},
    identity::{Acceptor, Connector, Identity, PinnedConnector, TokenAcceptor},
};
use tokio::{net::TcpListener, task::JoinSet};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{
    Status,
    service::Routes,
    transport::{Channel, Endpoint, Server},
};

use crate::{
    admin, commands,
    guard::Guard,
    listeners, own_identity,
    region::Region,
    rpcs::{
        self,
        Listener::{Admin, Enrollment, Tokens, Workers},
    },
    settings::{ENVIRONMENT, Settings},
};

/// A serving admin API. Dropping it ends it.
pub(super) struct World {
    pub(super) control_plane: Arc<ControlPlane>,
    pub(super) clock: Arc<ManualClock>,
    pub(super) folder: tempfile::TempDir,
    admin: SocketAddr,
    processes: SocketAddr,
    tokens: SocketAddr,
    unverified: [(rpcs::Listener, SocketAddr); 4],
    _servers: JoinSet<()>,
}

impl World {
    pub(super) async fn new() -> Self {
        Self::with("").await
    }

    /// With more lines of configuration.
    pub(super) async fn with(more: &str) -> Self {
        Self::of("eu-central-1", more).await
    }

    /// Another region.
    pub(super) async fn of(region: &str, more: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let settings = settings(region, folder.path(), more);
        commands::init(&settings, true).await.expect("initialized");
        let mut region = Region::open(&settings).await.expect("opened");
        let clock = Arc::new(ManualClock::at(SystemClock.now()));
        region.ground.clock = Arc::<ManualClock>::clone(&clock);
        let revision = region.ground.store.revision().await.expect("read");
        let coordination: Arc<dyn Coordination> = Arc::new(InProcess::new(revision));
        let control_plane =
            Arc::new(region.control_plane(&settings, coordination, Arc::new(Fleet::default())));

        let own = identity(&control_plane, ProcessRole::ControlPlane, "control-plane");
        let acceptor = Acceptor::new(own.clone(), &ProcessRole::ALL).expect("TLS 1.3");
        let visitors = TokenAcceptor::new(own).expect("TLS 1.3");
        let mut servers = JoinSet::new();
        let admin = serve(&mut servers, &control_plane, Admin, &acceptor).await;
        let processes = serve(&mut servers, &control_plane, Workers, &acceptor).await;
        let tokens = serve(&mut servers, &control_plane, Tokens, &visitors).await;
        let mut unverified = [(Admin, admin); 4];
        for (place, listener) in unverified.iter_mut().zip(rpcs::Listener::ALL) {
            *place = (listener, serve_in_the_clear(&mut servers, &control_plane, listener).await);
        }
        Self { control_plane, clock, folder, admin, processes, tokens, unverified, _servers: servers }
    }

    /// A connection of a process of this role to the admin API.
    pub(super) fn channel(&self, role: ProcessRole) -> Channel {
        self.channel_to(self.admin, role)
    }

    /// The same to the API for processes.
    pub(super) fn process_channel(&self, role: ProcessRole) -> Channel {
        self.channel_to(self.processes, role)
    }

    fn channel_to(&self, address: SocketAddr, role: ProcessRole) -> Channel {
        let identity = identity(&self.control_plane, role, "alice");
        let connector = Connector::new(identity, ProcessRole::ControlPlane).expect("TLS 1.3");
        grpc::channel(&address.to_string(), &connector).expect("an address")
    }

    /// A connection without a certificate to the listener for tokens: it knows the region's root, and no more.
    pub(super) fn visitor(&self) -> Channel {
        let parts = &self.control_plane.parts;
        let root = parts.authority.fingerprint();
        let connector = PinnedConnector::new(root, parts.trust_domain.clone()).expect("TLS 1.3");
        grpc::channel(&self.tokens.to_string(), &connector).expect("an address")
    }

    /// A connection that nobody verified.
    pub(super) fn nobody(&self, listener: rpcs::Listener) -> Channel {
        let (_, address) =
            self.unverified.iter().find(|(known, _)| *known == listener).expect("every listener");
        Endpoint::try_from(format!("http://{address}")).expect("an address").connect_lazy()
    }

    /// A new service account of an organization: its id and its secret.
    pub(super) async fn account(&self, organization: &str, role: &str) -> (String, String) {
        let mut accounts = ServiceAccountServiceClient::new(self.operator());
        let made = accounts.create_service_account(service_account(organization, role)).await;
        let made = made.expect("created").into_inner();
        (made.service_account.expect("told").id, made.service_account_secret)
    }

    /// A secret's token.
    pub(super) async fn token(&self, secret: &str) -> String {
        self.try_token(secret).await.expect("issued").token
    }

    pub(super) async fn try_token(&self, secret: &str) -> Result<wire::IssueTokenResponse, Status> {
        let request =
            wire::IssueTokenRequest { service_account_secret: secret.to_owned(), lifetime_seconds: 0 };
        Ok(TokenServiceClient::new(self.visitor()).issue_token(request).await?.into_inner())
    }

    /// A token of a new account in this role.
    pub(super) async fn token_of(&self, organization: &str, role: &str) -> String {
        let (_, secret) = self.account(organization, role).await;
        self.token(&secret).await
    }

    pub(super) fn operator(&self) -> Channel {
        self.channel(ProcessRole::Operator)
    }

    pub(super) fn organizations(&self) -> OrganizationServiceClient<Channel> {
        OrganizationServiceClient::new(self.operator())
    }

    pub(super) fn keys(&self) -> KeyServiceClient<Channel> {
        KeyServiceClient::new(self.operator())
    }

    pub(super) fn credentials(&self) -> CredentialServiceClient<Channel> {
        CredentialServiceClient::new(self.operator())
    }

    pub(super) fn models(&self) -> ModelServiceClient<Channel> {
        ModelServiceClient::new(self.operator())
    }

    pub(super) fn audit(&self) -> AuditServiceClient<Channel> {
        AuditServiceClient::new(self.operator())
    }

    pub(super) fn region(&self) -> RegionServiceClient<Channel> {
        RegionServiceClient::new(self.operator())
    }

    pub(super) fn signup(&self) -> SignupServiceClient<Channel> {
        SignupServiceClient::new(self.process_channel(ProcessRole::Router))
    }

    /// A new organization's id.
    pub(super) async fn organization(&self) -> String {
        let made = self.organizations().create_organization(organization("Acme")).await.expect("created");
        made.into_inner().organization.expect("told").id
    }

    pub(super) async fn organization_in(&self, region: &str) -> String {
        let new = wire::CreateOrganizationRequest { region: region.into(), ..organization("Acme") };
        let made = self.organizations().create_organization(new).await.expect("created");
        made.into_inner().organization.expect("told").id
    }

    /// One of everything in an organization.
    pub(super) async fn inhabited(&self, organization: &str) -> Inhabited {
        let credential = self.credential(organization).await;
        let deployment = self.deployment(organization, &credential).await;
        let made = self.models().create_model(model(organization, "gpt-4o", &deployment)).await;
        let (service_account, _) = self.account(organization, "viewer").await;
        Inhabited {
            organization: organization.to_owned(),
            key: self.key(organization).await.key.expect("told").id,
            credential,
            deployment,
            model: made.expect("created").into_inner().model.expect("told").id,
            service_account,
        }
    }

    pub(super) async fn credential(&self, organization: &str) -> String {
        let made = self.credentials().create_credential(credential(organization)).await.expect("created");
        made.into_inner().credential.expect("told").id
    }

    pub(super) async fn deployment(&self, organization: &str, credential: &str) -> String {
        let new = deployment(organization, credential);
        let made = self.models().create_deployment(new).await.expect("created");
        made.into_inner().deployment.expect("told").id
    }

    pub(super) async fn key(&self, organization: &str) -> wire::CreateKeyResponse {
        self.keys().create_key(key(organization)).await.expect("created").into_inner()
    }

    /// All records of a chain; of the region's own where `organization` is empty.
    pub(super) async fn records(&self, organization: &str) -> Vec<wire::AuditRecord> {
        let (mut records, mut page_token) = (Vec::new(), String::new());
        loop {
            let page = Some(wire::PageRequest { page_size: 7, page_token });
            let request = wire::ListAuditRecordsRequest { organization_id: organization.to_owned(), page };
            let found = self.audit().list_audit_records(request).await.expect("listed").into_inner();
            records.extend(found.records);
            page_token = found.page.unwrap_or_default().next_page_token;
            if page_token.is_empty() {
                return records;
            }
        }
    }

    /// Whether a chain is intact.
    pub(super) async fn intact(&self, organization: &str) -> bool {
        let request = wire::VerifyAuditChainRequest { organization_id: organization.to_owned() };
        self.audit().verify_audit_chain(request).await.expect("verified").into_inner().intact
    }

    pub(super) fn minutes_pass(&self, minutes: u64) {
        self.clock.advance(Duration::from_secs(60 * minutes));
    }
}

/// What an organization has.
pub(super) struct Inhabited {
    organization: String,
    key: String,
    credential: String,
    deployment: String,
    model: String,
    service_account: String,
}

impl Inhabited {
    /// The identifier that a field of a method's request names.
    pub(super) fn id(&self, method: &str, field: &str) -> Option<String> {
        let known = match field {
            "organization_id" => &self.organization,
            "credential_id" => &self.credential,
            "deployment_ids" => &self.deployment,
            "key_id" => &self.key,
            "model_id" => &self.model,
            "id" if method.ends_with("ServiceAccount") || method.ends_with("ServiceAccountSecret") => {
                &self.service_account
            }
            "id" if method.ends_with("Organization") => &self.organization,
            "id" if method.ends_with("Key") => &self.key,
            "id" if method.ends_with("Credential") => &self.credential,
            "id" if method.ends_with("Deployment") => &self.deployment,
            "id" if method.ends_with("Model") => &self.model,
            _ => return None,
        };
        Some(known.clone())
    }
}

pub(super) fn organization(name: &str) -> wire::CreateOrganizationRequest {
    wire::CreateOrganizationRequest {
        idempotency_key: fresh(),
        region: "eu-central-1".into(),
        name: name.into(),
        contact_email: String::new(),
        on_stale: 0,
    }
}

pub(super) fn key(organization: &str) -> wire::CreateKeyRequest {
    wire::CreateKeyRequest {
        idempotency_key: fresh(),
        organization_id: organization.into(),
        name: "app".into(),
        allowed_models: Vec::new(),
        allowed_ranges: Vec::new(),
        expires_at_micros: 0,
    }
}

pub(super) fn credential(organization: &str) -> wire::CreateCredentialRequest {
    wire::CreateCredentialRequest {
        idempotency_key: fresh(),
        organization_id: organization.into(),
        name: "provider".into(),
        secret: "sk-provider".into(),
    }
}

pub(super) fn service_account(organization: &str, role: &str) -> wire::CreateServiceAccountRequest {
    wire::CreateServiceAccountRequest {
        idempotency_key: fresh(),
        organization_id: organization.into(),
        name: "program".into(),
        role: role.into(),
    }
}

pub(super) fn deployment(organization: &str, credential: &str) -> wire::CreateDeploymentRequest {
    wire::CreateDeploymentRequest {
        idempotency_key: fresh(),
        organization_id: organization.into(),
        provider: "openai_compatible".into(),
        endpoint: "http://127.0.0.1:8190/v1".into(),
        upstream_model: "gpt-4o".into(),
        credential_id: credential.into(),
        api_version: String::new(),
        price: None,
    }
}

pub(super) fn model(organization: &str, name: &str, deployment: &str) -> wire::CreateModelRequest {
    wire::CreateModelRequest {
        idempotency_key: fresh(),
        organization_id: organization.into(),
        name: name.into(),
        deployment_ids: vec![deployment.into()],
        ..Default::default()
    }
}

/// An idempotency key that nobody had before.
pub(super) fn fresh() -> String {
    RequestId::random().to_string()
}

fn identity(control_plane: &ControlPlane, role: ProcessRole, name: &str) -> Identity {
    let parts = &control_plane.parts;
    let spiffe = SpiffeId::new(parts.trust_domain.clone(), role, name).expect("a good name");
    // Handshakes go by the machine's clock, not by the one that a test moves.
    let (now, lifetime) = (SystemClock.now(), Duration::from_secs(3600));
    let issued = own_identity::issue(parts.authority.as_ref(), &spiffe, now, lifetime);
    Identity::in_memory(parts.trust_domain.clone(), &issued.expect("issued")).expect("good")
}

async fn bind() -> (TcpListener, SocketAddr) {
    let socket = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = socket.local_addr().expect("bound");
    (socket, address)
}

async fn serve<H: Handshake<Info: Unpin>>(
    servers: &mut JoinSet<()>,
    control_plane: &Arc<ControlPlane>,
    listener: rpcs::Listener,
    acceptor: &H,
) -> SocketAddr {
    let (socket, address) = bind().await;
    let (routes, incoming) = (routes(control_plane, listener).await, grpc::incoming(socket, acceptor));
    let guard = Guard::new(listener, Arc::clone(control_plane));
    servers.spawn(async move {
        let server = Server::builder().layer(guard).add_routes(routes);
        server.serve_with_incoming(incoming).await.expect("served");
    });
    address
}

async fn serve_in_the_clear(
    servers: &mut JoinSet<()>,
    control_plane: &Arc<ControlPlane>,
    listener: rpcs::Listener,
) -> SocketAddr {
    let (socket, address) = bind().await;
    let routes = routes(control_plane, listener).await;
    let guard = Guard::new(listener, Arc::clone(control_plane));
    servers.spawn(async move {
        let server = Server::builder().layer(guard).add_routes(routes);
        server.serve_with_incoming(TcpListenerStream::new(socket)).await.expect("served");
    });
    address
}

/// Of the services for processes only the one that this module is about: the others have tests of their own.
async fn routes(control_plane: &Arc<ControlPlane>, listener: rpcs::Listener) -> Routes {
    match listener {
        Admin => listeners::admin_routes(control_plane).await.expect("wired"),
        Tokens => listeners::token_routes(control_plane).await.expect("wired"),
        Workers | Enrollment => {
            let signup = SignupServiceServer::new(admin::Admin::new(Arc::clone(control_plane)));
            Routes::default().add_service(signup)
        }
    }
}

fn settings(region: &str, folder: &std::path::Path, more: &str) -> Settings {
    let path = folder.display();
    let home = if region.starts_with("eu-") { "eu" } else { "us" };
    let text = format!(
        r#"
        region = {{ name = "{region}", installation = "test" }}
        store = {{ url = "sqlite://{path}/region.db" }}
        master_key = {{ file = "{path}/master.key" }}
        admin = {{ listen = "127.0.0.1:0" }}
        workers = {{ listen = "127.0.0.1:0" }}
        enrollment = {{ listen = "127.0.0.1:0" }}
        identity = {{ dir = "{path}/identity" }}
        egress = {{ hosts = [{{ pattern = "127.0.0.1", jurisdiction = "{home}", private_ranges = ["127.0.0.0/8"] }}], catalogue = ["openai"] }}
        ops = {{ listen = "127.0.0.1:0" }}
        {more}
        "#
    );
    let file = folder.join("config.toml");
    std::fs::write(&file, text).expect("written");
    load(Some(&file), ENVIRONMENT).expect("good")
}
