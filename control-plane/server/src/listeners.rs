//! The listeners, and which service stands on which. Who may call what is the guard's affair, which stands before each: see [`crate::rpcs`].

use std::{net::SocketAddr, sync::Arc};

use anyhow::Context as _;
use bailiwick_core::control_plane::ControlPlane;
use bailiwick_domain::spiffe::ProcessRole;
use bailiwick_proto::{
    FILE_DESCRIPTOR_SET,
    worker::v1::{
        configuration_service_server::ConfigurationServiceServer,
        discovery_service_server::DiscoveryServiceServer, enrollment_service_server::EnrollmentServiceServer,
        quota_service_server::QuotaServiceServer, renewal_service_server::RenewalServiceServer,
        signup_service_server::SignupServiceServer, trust_service_server::TrustServiceServer,
        usage_service_server::UsageServiceServer,
    },
};
use bailiwick_runtime::{
    grpc::{Handshake, KEEPALIVE, incoming},
    identity::{Acceptor, EnrollmentAcceptor, Identity, TokenAcceptor},
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::{
    service::{Routes, RoutesBuilder},
    transport::Server,
};

use crate::{
    admin::Admin,
    guard::Guard,
    rpcs,
    worker::{
        configuration::ConfigurationGrpc,
        discovery::DiscoveryGrpc,
        enrollment::EnrollmentGrpc,
        quota::{self, QuotaGrpc},
        renewal::RenewalGrpc,
        trust::TrustGrpc,
        usage::{self, UsageGrpc},
    },
};

/// Keeps a stream of large messages moving on a link with some latency.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 4 << 20;

/// Who may shake hands on the admin API; what each may do there is the permission table's affair.
const ADMIN_ROLES: [ProcessRole; 2] = [ProcessRole::Operator, ProcessRole::Service];
/// Who may shake hands on the API for processes.
const PROCESS_ROLES: [ProcessRole; 2] = [ProcessRole::Worker, ProcessRole::Router];

/// The services for workers and routers.
pub(crate) struct ProcessServices {
    pub(crate) configuration: ConfigurationGrpc,
    pub(crate) usage: UsageGrpc,
    pub(crate) quota: QuotaGrpc,
    pub(crate) discovery: DiscoveryGrpc,
    pub(crate) renewal: RenewalGrpc,
    pub(crate) trust: TrustGrpc,
}

impl ProcessServices {
    /// Every service for processes.
    pub(crate) async fn routes(self, control_plane: &Arc<ControlPlane>) -> Routes {
        let signup = Admin::new(Arc::clone(control_plane));
        let quota = QuotaServiceServer::new(self.quota)
            .max_decoding_message_size(quota::MAX_MESSAGE_BYTES)
            .max_encoding_message_size(quota::MAX_MESSAGE_BYTES);
        let usage = UsageServiceServer::new(self.usage).max_decoding_message_size(usage::MAX_REPORT_BYTES);
        Routes::default()
            .add_service(ConfigurationServiceServer::new(self.configuration))
            .add_service(usage)
            .add_service(quota)
            .add_service(DiscoveryServiceServer::new(self.discovery))
            .add_service(SignupServiceServer::new(signup))
            .add_service(RenewalServiceServer::new(self.renewal))
            .add_service(TrustServiceServer::new(self.trust))
            .add_service(health().await)
    }
}

/// The one service for processes without a certificate.
pub(crate) fn enrollment_routes(enrollment: EnrollmentGrpc) -> Routes {
    Routes::default().add_service(EnrollmentServiceServer::new(enrollment))
}

/// The admin API, with reflection and health.
pub(crate) async fn admin_routes(control_plane: &Arc<ControlPlane>) -> anyhow::Result<Routes> {
    admin_api(Admin::new(Arc::clone(control_plane)), RoutesBuilder::default()).await
}

/// The same, and what gives out tokens for it.
pub(crate) async fn token_routes(control_plane: &Arc<ControlPlane>) -> anyhow::Result<Routes> {
    let (admin, mut routes) = (Admin::new(Arc::clone(control_plane)), RoutesBuilder::default());
    admin.clone().add_tokens_to(&mut routes);
    admin_api(admin, routes).await
}

async fn admin_api(admin: Admin, mut routes: RoutesBuilder) -> anyhow::Result<Routes> {
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()
        .context("gRPC reflection")?;
    admin.add_to(&mut routes);
    Ok(routes.routes().add_service(reflection).add_service(health().await))
}

async fn health()
-> tonic_health::pb::health_server::HealthServer<impl tonic_health::pb::health_server::Health> {
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter.set_service_status("", tonic_health::ServingStatus::Serving).await;
    health
}

/// A listener that is open already, so that a taken port is known before anything is served.
pub(crate) struct Listener<H> {
    kind: rpcs::Listener,
    socket: TcpListener,
    acceptor: H,
}

/// All of them.
pub(crate) struct Listeners {
    pub(crate) admin: Listener<Acceptor>,
    pub(crate) workers: Listener<Acceptor>,
    pub(crate) enrollment: Listener<EnrollmentAcceptor>,
    /// Where the operator wants one.
    pub(crate) tokens: Option<Listener<TokenAcceptor>>,
}

impl Listeners {
    pub(crate) async fn bind(
        identity: &Identity,
        admin: SocketAddr,
        workers: SocketAddr,
        enrollment: SocketAddr,
        tokens: Option<SocketAddr>,
    ) -> anyhow::Result<Self> {
        use rpcs::Listener as Kind;
        let admins = Acceptor::new(identity.clone(), &ADMIN_ROLES)?;
        let processes = Acceptor::new(identity.clone(), &PROCESS_ROLES)?;
        let newcomers = EnrollmentAcceptor::new(identity.clone())?;
        let visitors = TokenAcceptor::new(identity.clone())?;
        Ok(Self {
            admin: Listener::bind(Kind::Admin, "admin", admin, admins).await?,
            workers: Listener::bind(Kind::Workers, "workers", workers, processes).await?,
            enrollment: Listener::bind(Kind::Enrollment, "enrollment", enrollment, newcomers).await?,
            tokens: match tokens {
                Some(address) => Some(Listener::bind(Kind::Tokens, "tokens", address, visitors).await?),
                None => None,
            },
        })
    }
}

impl<H: Handshake<Info: Unpin>> Listener<H> {
    async fn bind(
        kind: rpcs::Listener,
        section: &str,
        address: SocketAddr,
        acceptor: H,
    ) -> anyhow::Result<Self> {
        let socket = TcpListener::bind(address).await;
        let socket = socket.with_context(|| format!("{section}.listen: {address} cannot be opened"))?;
        Ok(Self { kind, socket, acceptor })
    }

    pub(crate) fn address(&self) -> std::io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Serves until `drain`, every method behind this listener's guard; then takes no new connections and finishes what is under way. `held` is
    /// dropped at the end.
    pub(crate) async fn serve<T>(
        self,
        control_plane: Arc<ControlPlane>,
        routes: Routes,
        drain: CancellationToken,
        held: T,
    ) -> Result<(), tonic::transport::Error> {
        let served = Server::builder()
            .http2_keepalive_interval(Some(KEEPALIVE))
            .http2_keepalive_timeout(Some(KEEPALIVE))
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .layer(Guard::new(self.kind, control_plane))
            .add_routes(routes)
            .serve_with_incoming_shutdown(incoming(self.socket, &self.acceptor), drain.cancelled_owned())
            .await;
        drop(held);
        served
    }
}
