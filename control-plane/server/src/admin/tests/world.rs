//! A region, its admin API with every role let through the handshake, and typed callers.

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
    },
    worker::v1::{signup_service_client::SignupServiceClient, signup_service_server::SignupServiceServer},
};
use bailiwick_runtime::{
    configuration::load,
    grpc,
    identity::{Acceptor, Connector, Identity},
};
use tokio::{net::TcpListener, task::JoinSet};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{
    service::Routes,
    transport::{Channel, Endpoint, Server},
};

use crate::{
    admin::Admin,
    commands, listeners, own_identity,
    region::Region,
    settings::{ENVIRONMENT, Settings},
};

/// A serving admin API. Dropping it ends it.
pub(super) struct World {
    pub(super) control_plane: Arc<ControlPlane>,
    pub(super) clock: Arc<ManualClock>,
    pub(super) folder: tempfile::TempDir,
    verified: SocketAddr,
    unverified: SocketAddr,
    _servers: JoinSet<()>,
}

impl World {
    pub(super) async fn new() -> Self {
        Self::with("").await
    }

    /// With more lines of configuration.
    pub(super) async fn with(more: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let settings = settings(folder.path(), more);
        commands::init(&settings, true).await.expect("initialized");
        let mut region = Region::open(&settings).await.expect("opened");
        let clock = Arc::new(ManualClock::at(SystemClock.now()));
        region.ground.clock = Arc::<ManualClock>::clone(&clock);
        let revision = region.ground.store.revision().await.expect("read");
        let coordination: Arc<dyn Coordination> = Arc::new(InProcess::new(revision));
        let control_plane =
            Arc::new(region.control_plane(&settings, coordination, Arc::new(Fleet::default())));

        let own = identity(&control_plane, ProcessRole::ControlPlane, "control-plane");
        let acceptor = Acceptor::new(own, &ProcessRole::ALL).expect("TLS 1.3");
        let mut servers = JoinSet::new();
        let (socket, verified) = bind().await;
        let routes = all_routes(&control_plane).await;
        servers.spawn(async move {
            let incoming = grpc::incoming(socket, &acceptor);
            Server::builder().add_routes(routes).serve_with_incoming(incoming).await.expect("served");
        });
        let (socket, unverified) = bind().await;
        let routes = all_routes(&control_plane).await;
        servers.spawn(async move {
            let incoming = TcpListenerStream::new(socket);
            Server::builder().add_routes(routes).serve_with_incoming(incoming).await.expect("served");
        });
        Self { control_plane, clock, folder, verified, unverified, _servers: servers }
    }

    /// A connection of a process of this role.
    pub(super) fn channel(&self, role: ProcessRole) -> Channel {
        let identity = identity(&self.control_plane, role, "alice");
        let connector = Connector::new(identity, ProcessRole::ControlPlane).expect("TLS 1.3");
        grpc::channel(&self.verified.to_string(), &connector).expect("an address")
    }

    /// A connection that nobody verified.
    pub(super) fn nobody(&self) -> Channel {
        Endpoint::try_from(format!("http://{}", self.unverified)).expect("an address").connect_lazy()
    }

    fn operator(&self) -> Channel {
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
        SignupServiceClient::new(self.channel(ProcessRole::Router))
    }

    /// A new organization's id.
    pub(super) async fn organization(&self) -> String {
        let made = self.organizations().create_organization(organization("Acme")).await.expect("created");
        made.into_inner().organization.expect("told").id
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

pub(super) fn deployment(organization: &str, credential: &str) -> wire::CreateDeploymentRequest {
    wire::CreateDeploymentRequest {
        idempotency_key: fresh(),
        organization_id: organization.into(),
        provider: "openai_compatible".into(),
        endpoint: "http://127.0.0.1:8190/v1".into(),
        upstream_model: "gpt-4o".into(),
        credential_id: credential.into(),
        price: None,
    }
}

pub(super) fn model(organization: &str, name: &str, deployment: &str) -> wire::CreateModelRequest {
    wire::CreateModelRequest {
        idempotency_key: fresh(),
        organization_id: organization.into(),
        name: name.into(),
        deployment_ids: vec![deployment.into()],
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

async fn all_routes(control_plane: &Arc<ControlPlane>) -> Routes {
    let signup = SignupServiceServer::new(Admin::new(Arc::clone(control_plane)));
    listeners::admin_routes(control_plane).await.expect("wired").add_service(signup)
}

fn settings(folder: &std::path::Path, more: &str) -> Settings {
    let path = folder.display();
    let text = format!(
        r#"
        region = {{ name = "eu-central-1", installation = "test" }}
        store = {{ url = "sqlite://{path}/region.db" }}
        master_key = {{ file = "{path}/master.key" }}
        admin = {{ listen = "127.0.0.1:0" }}
        workers = {{ listen = "127.0.0.1:0" }}
        enrollment = {{ listen = "127.0.0.1:0" }}
        identity = {{ dir = "{path}/identity" }}
        egress = {{ hosts = ["127.0.0.1", "api.openai.com"], private_ranges = ["127.0.0.0/8"] }}
        ops = {{ listen = "127.0.0.1:0" }}
        {more}
        "#
    );
    let file = folder.join("config.toml");
    std::fs::write(&file, text).expect("written");
    load(Some(&file), ENVIRONMENT).expect("good")
}
