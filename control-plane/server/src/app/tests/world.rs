//! A region on a temporary folder, its listeners on free ports, and whoever calls it.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bailiwick_core::{
    caller::Caller,
    control_plane::{ControlPlane, Parts},
    key::{Created, NewKey},
    organization::NewOrganization,
};
use bailiwick_domain::{
    address::AllowedRanges,
    id::OrganizationId,
    jurisdiction::Local,
    key::JoinToken,
    organization::OnStale,
    spiffe::{ProcessRole, SpiffeId, TrustDomain},
    usage::RequestId,
};
use bailiwick_proto::worker::v1::{
    EnrollRequest, EnrollResponse, enrollment_service_client::EnrollmentServiceClient,
};
use bailiwick_runtime::{
    configuration::load,
    grpc,
    identity::{Connector, Identity, Material, PinnedConnector, PrivateKeyPem, new_key_and_csr},
    lifecycle::Tasks,
};
use tokio::io::AsyncReadExt as _;
use tonic::{Status, transport::Channel};

use super::super::*;
use crate::{commands, settings::ENVIRONMENT};

pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// A serving control plane. Dropping it ends its tasks.
pub(super) struct World {
    pub(super) control_plane: Arc<ControlPlane>,
    pub(super) trust_domain: TrustDomain,
    pub(super) admin: SocketAddr,
    pub(super) workers: SocketAddr,
    pub(super) enrollment: SocketAddr,
    pub(super) drain: CancellationToken,
    _tasks: Tasks,
    _signal: drain::Signal,
    folder: Arc<tempfile::TempDir>,
}

impl World {
    /// A new region.
    pub(super) async fn new(region: &str) -> Self {
        let folder = Arc::new(tempfile::tempdir().expect("a folder"));
        let settings = settings(region, folder.path());
        commands::init(&settings, true).await.expect("initialized");
        Self::start(settings, folder).await
    }

    /// The same region in another process, as it were.
    pub(super) async fn restart(self, region: &str) -> Self {
        let folder = Arc::clone(&self.folder);
        drop(self);
        let settings = settings(region, folder.path());
        Self::start(settings, folder).await
    }

    async fn start(settings: Settings, folder: Arc<tempfile::TempDir>) -> Self {
        let region = Region::open(&settings).await.expect("opened");
        let trust_domain = settings.region.trust_domain.clone();
        let serving = Serving::start(settings, region).await.expect("started");
        let control_plane = Arc::clone(&serving.control_plane);
        let drain = serving.drain.clone();
        let admin = serving.listeners.admin.address().expect("bound");
        let workers = serving.listeners.workers.address().expect("bound");
        let enrollment = serving.listeners.enrollment.address().expect("bound");
        let (tasks, signal) = serving.spawn().await.expect("serves");
        Self {
            control_plane,
            trust_domain,
            admin,
            workers,
            enrollment,
            drain,
            _tasks: tasks,
            _signal: signal,
            folder,
        }
    }

    /// What its operator's commands read.
    pub(super) fn settings(&self) -> Settings {
        settings(self.trust_domain.region().as_str(), self.folder.path())
    }

    /// What another replica of this region would be made of.
    pub(super) fn parts(&self) -> Parts {
        let parts = &self.control_plane.parts;
        Parts {
            store: Arc::clone(&parts.store),
            vault: Arc::clone(&parts.vault),
            coordination: Arc::clone(&parts.coordination),
            authority: Arc::clone(&parts.authority),
            tokens: Arc::clone(&parts.tokens),
            clock: Arc::clone(&parts.clock),
            fleet: Arc::clone(&parts.fleet),
            trust: Arc::clone(&parts.trust),
            jurisdiction: parts.jurisdiction.clone(),
            regions: parts.regions.clone(),
            trust_domain: parts.trust_domain.clone(),
            pepper: parts.pepper.clone(),
            settings: parts.settings.clone(),
        }
    }

    pub(super) fn operator(&self) -> Caller {
        Caller::new(self.spiffe(ProcessRole::Operator, "alice"))
    }

    pub(super) fn spiffe(&self, role: ProcessRole, name: &str) -> SpiffeId {
        SpiffeId::new(self.trust_domain.clone(), role, name).expect("a good name")
    }

    pub(super) async fn token(&self, role: ProcessRole, name: &str, lifetime: Duration) -> JoinToken {
        let once = RequestId::random().to_string().parse().expect("a good key");
        let made = self.control_plane.join_token_create(&self.operator(), once, role, name, lifetime).await;
        made.expect("made").0.expect("new")
    }

    /// Calls the enrollment listener as a newcomer does: trusting only the token's fingerprint.
    pub(super) async fn enroll(&self, token: &JoinToken) -> Result<(EnrollResponse, PrivateKeyPem), Status> {
        let (key, csr) = new_key_and_csr().expect("made");
        let enrolled = self.enroll_with(token, &csr.0).await?;
        Ok((enrolled, key))
    }

    /// As [`Self::enroll`], trusting the fingerprint that the token carries.
    pub(super) async fn enroll_under(
        &self,
        token: &JoinToken,
    ) -> Result<(EnrollResponse, PrivateKeyPem), Status> {
        let (key, csr) = new_key_and_csr().expect("made");
        let pinned =
            PinnedConnector::new(token.ca_fingerprint(), self.trust_domain.clone()).expect("TLS 1.3");
        let channel = grpc::channel(&self.enrollment.to_string(), &pinned).expect("an address");
        let request = EnrollRequest { join_token: token.expose().to_owned(), csr_pem: csr.0 };
        Ok((EnrollmentServiceClient::new(channel).enroll(request).await?.into_inner(), key))
    }

    pub(super) async fn enroll_with(
        &self,
        token: &JoinToken,
        csr_pem: &str,
    ) -> Result<EnrollResponse, Status> {
        let fingerprint = self.control_plane.parts.authority.fingerprint();
        let pinned = PinnedConnector::new(fingerprint, self.trust_domain.clone()).expect("TLS 1.3");
        let channel = grpc::channel(&self.enrollment.to_string(), &pinned).expect("an address");
        let request = EnrollRequest { join_token: token.expose().to_owned(), csr_pem: csr_pem.to_owned() };
        Ok(EnrollmentServiceClient::new(channel).enroll(request).await?.into_inner())
    }

    /// A worker or router that has joined.
    pub(super) async fn join(&self, role: ProcessRole, name: &str) -> Identity {
        let token = self.token(role, name, Duration::from_secs(60)).await;
        let (enrolled, key) = self.enroll(&token).await.expect("enrolled");
        self.identity(enrolled, key)
    }

    pub(super) fn identity(&self, enrolled: EnrollResponse, key: PrivateKeyPem) -> Identity {
        let EnrollResponse { certificate_pem, root_pem } = enrolled;
        let material = Material { root_pem, certificate_pem, key_pem: key.0 };
        Identity::in_memory(self.trust_domain.clone(), &material).expect("good")
    }

    /// A certificate of any role, past enrollment.
    pub(super) fn certify(&self, role: ProcessRole, name: &str) -> Identity {
        let parts = &self.control_plane.parts;
        let lifetime = Duration::from_secs(3600);
        let issued = crate::own_identity::issue(
            parts.authority.as_ref(),
            &self.spiffe(role, name),
            parts.clock.now(),
            lifetime,
        );
        Identity::in_memory(self.trust_domain.clone(), &issued.expect("issued")).expect("good")
    }

    /// Whether a listener does not even let this identity in.
    pub(super) async fn refuses_in_the_handshake(&self, address: SocketAddr, identity: &Identity) -> bool {
        let connector = Connector::new(identity.clone(), ProcessRole::ControlPlane).expect("TLS 1.3");
        let Ok(mut stream) = connector.connect(address).await else { return true };
        // A server of HTTP/2 speaks first; with TLS 1.3 a refusal comes in that place.
        stream.read_u8().await.is_err()
    }

    /// To the API for processes.
    pub(super) fn channel(&self, identity: &Identity) -> Channel {
        channel(self.workers, identity)
    }

    pub(super) async fn organization(&self) -> Local<OrganizationId> {
        let new = NewOrganization {
            idempotency_key: RequestId::random().to_string().parse().expect("a good key"),
            region: self.control_plane.parts.jurisdiction.region().name.clone(),
            name: "Acme".parse().expect("a name"),
            contact_email: None,
            on_stale: OnStale::Refuse,
        };
        self.control_plane.organization_create(&self.operator(), new).await.expect("created").0.id
    }

    pub(super) async fn key(&self, organization: Local<OrganizationId>) -> Created {
        let new = NewKey {
            idempotency_key: RequestId::random().to_string().parse().expect("a good key"),
            organization,
            name: "app".parse().expect("a name"),
            allowed_models: Vec::new(),
            allowed_ranges: AllowedRanges::default(),
            expires_at: None,
        };
        self.control_plane.key_create(&self.operator(), new).await.expect("created")
    }
}

pub(super) fn channel(address: SocketAddr, identity: &Identity) -> Channel {
    let connector = Connector::new(identity.clone(), ProcessRole::ControlPlane).expect("TLS 1.3");
    grpc::channel(&address.to_string(), &connector).expect("an address")
}

/// Polls until the condition holds.
pub(super) async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, wait).await.is_ok(), "never: {what}");
}

fn settings(region: &str, folder: &std::path::Path) -> Settings {
    let folder = folder.display();
    let text = format!(
        r#"
        region = {{ name = "{region}", installation = "test" }}
        store = {{ url = "sqlite://{folder}/region.db" }}
        master_key = {{ file = "{folder}/master.key" }}
        admin = {{ listen = "127.0.0.1:0" }}
        workers = {{ listen = "127.0.0.1:0" }}
        enrollment = {{ listen = "127.0.0.1:0" }}
        identity = {{ dir = "{folder}/identity" }}
        configuration = {{ bookmark_seconds = 1, snapshots = 1 }}
        signup = {{ mode = "open" }}
        ops = {{ listen = "127.0.0.1:0" }}
        "#
    );
    let file = format!("{folder}/config.toml");
    std::fs::write(&file, text).expect("written");
    load(Some(file.as_ref()), ENVIRONMENT).expect("good")
}
