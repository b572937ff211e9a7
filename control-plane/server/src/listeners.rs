//! The three listeners, and which service stands on which, behind which permission.

use std::{net::SocketAddr, sync::Arc};

use anyhow::Context as _;
use bailiwick_core::control_plane::ControlPlane;
use bailiwick_domain::{permission::Permission, spiffe::ProcessRole};
use bailiwick_proto::{
    FILE_DESCRIPTOR_SET,
    worker::v1::{
        configuration_service_server::ConfigurationServiceServer,
        discovery_service_server::DiscoveryServiceServer, enrollment_service_server::EnrollmentServiceServer,
        renewal_service_server::RenewalServiceServer, signup_service_server::SignupServiceServer,
        trust_service_server::TrustServiceServer, usage_service_server::UsageServiceServer,
    },
};
use bailiwick_runtime::{
    grpc::{Handshake, KEEPALIVE, authorize, incoming},
    identity::{Acceptor, EnrollmentAcceptor, Identity},
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::{
    service::{Routes, RoutesBuilder},
    transport::Server,
};

use crate::{
    admin::Admin,
    worker::{
        configuration::ConfigurationGrpc, discovery::DiscoveryGrpc, enrollment::EnrollmentGrpc,
        renewal::RenewalGrpc, trust::TrustGrpc, usage::UsageGrpc,
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
    pub(crate) discovery: DiscoveryGrpc,
    pub(crate) renewal: RenewalGrpc,
    pub(crate) trust: TrustGrpc,
}

impl ProcessServices {
    /// Every service behind the permission that it needs.
    pub(crate) async fn routes(self, control_plane: &Arc<ControlPlane>) -> Routes {
        let signup = Admin::new(Arc::clone(control_plane));
        use Permission as P;
        let configuration = authorize(P::ConfigurationSubscribe);
        Routes::default()
            .add_service(ConfigurationServiceServer::with_interceptor(self.configuration, configuration))
            .add_service(UsageServiceServer::with_interceptor(self.usage, authorize(P::UsageReport)))
            .add_service(DiscoveryServiceServer::with_interceptor(
                self.discovery,
                authorize(P::DiscoveryWatch),
            ))
            .add_service(SignupServiceServer::with_interceptor(signup, authorize(P::SignUp)))
            .add_service(RenewalServiceServer::with_interceptor(self.renewal, authorize(P::CertificateRenew)))
            .add_service(TrustServiceServer::with_interceptor(self.trust, authorize(P::TrustFollow)))
            .add_service(health().await)
    }
}

/// The one service for processes without a certificate.
pub(crate) fn enrollment_routes(enrollment: EnrollmentGrpc) -> Routes {
    Routes::default().add_service(EnrollmentServiceServer::new(enrollment))
}

/// The admin API, with reflection and health. Its use cases ask the table of permissions themselves: a service there has methods of several.
pub(crate) async fn admin_routes(control_plane: &Arc<ControlPlane>) -> anyhow::Result<Routes> {
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()
        .context("gRPC reflection")?;
    let mut routes = RoutesBuilder::default();
    Admin::new(Arc::clone(control_plane)).add_to(&mut routes);
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
    socket: TcpListener,
    acceptor: H,
}

/// The three of them.
pub(crate) struct Listeners {
    pub(crate) admin: Listener<Acceptor>,
    pub(crate) workers: Listener<Acceptor>,
    pub(crate) enrollment: Listener<EnrollmentAcceptor>,
}

impl Listeners {
    pub(crate) async fn bind(
        identity: &Identity,
        admin: SocketAddr,
        workers: SocketAddr,
        enrollment: SocketAddr,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            admin: Listener::bind("admin", admin, Acceptor::new(identity.clone(), &ADMIN_ROLES)?).await?,
            workers: Listener::bind("workers", workers, Acceptor::new(identity.clone(), &PROCESS_ROLES)?)
                .await?,
            enrollment: Listener::bind("enrollment", enrollment, EnrollmentAcceptor::new(identity.clone())?)
                .await?,
        })
    }
}

impl<H: Handshake<Info: Unpin>> Listener<H> {
    async fn bind(section: &str, address: SocketAddr, acceptor: H) -> anyhow::Result<Self> {
        let socket = TcpListener::bind(address).await;
        let socket = socket.with_context(|| format!("{section}.listen: {address} cannot be opened"))?;
        Ok(Self { socket, acceptor })
    }

    pub(crate) fn address(&self) -> std::io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Serves until `drain`; then takes no new connections and finishes what is under way. `held` is dropped at the end.
    pub(crate) async fn serve<T>(
        self,
        routes: Routes,
        drain: CancellationToken,
        held: T,
    ) -> Result<(), tonic::transport::Error> {
        let served = Server::builder()
            .http2_keepalive_interval(Some(KEEPALIVE))
            .http2_keepalive_timeout(Some(KEEPALIVE))
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .add_routes(routes)
            .serve_with_incoming_shutdown(incoming(self.socket, &self.acceptor), drain.cancelled_owned())
            .await;
        drop(held);
        served
    }
}
