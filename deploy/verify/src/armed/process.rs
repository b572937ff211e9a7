//! A worker or router that joins for the length of this run. It serves nobody: only its certificate is used.

use bailiwick_domain::spiffe::ProcessRole;
use bailiwick_proto::{
    admin::v1::{
        CreateJoinTokenRequest, ListWorkersRequest, RevokeWorkerRequest,
        region_service_client::RegionServiceClient, trust_service_client::TrustServiceClient,
    },
    worker::v1::{EnrollRequest, enrollment_service_client::EnrollmentServiceClient},
};
use bailiwick_runtime::{
    grpc,
    identity::{Connector, Identity, Material, PinnedConnector, new_key_and_csr},
};
use secrecy::{ExposeSecret, SecretString};
use tonic::transport::Channel;

use super::{Armed, once, request, say};
use crate::badge::Badge;

/// A token that was not used ends so soon.
const TOKEN_SECONDS: u32 = 600;

/// A member of its region.
pub(crate) struct Process {
    /// Its identifier in the region's list.
    pub(crate) id: String,
    pub(crate) identity: Identity,
    pub(crate) badge: Badge,
    /// Its certificate and key, for a program that shall be it.
    pub(crate) material: Material,
    /// The token that it joined with: used up.
    pub(crate) used_token: SecretString,
}

impl Process {
    /// Joins over the region's enrollment listener. The inner error says why that cannot be tried.
    pub(crate) async fn join(
        armed: &Armed,
        role: ProcessRole,
        name: &str,
    ) -> Result<Result<Self, String>, String> {
        let Some(enrollment) = &armed.access.enrollment else {
            return Ok(Err("the context names no enrollment address".to_owned()));
        };
        let token = join_token(&armed.admin, role, name).await?;
        let material = enroll(armed, enrollment, &token).await?;
        let identity =
            Identity::in_memory(armed.domain.clone(), &material).map_err(|error| error.to_string())?;
        let badge = Badge::of(&material)?;
        let id = find(&armed.admin, role, name).await?;
        Ok(Ok(Self { id, identity, badge, material, used_token: token }))
    }

    /// A channel to a control plane of its own region.
    pub(crate) fn channel(&self, address: &str) -> Result<Channel, String> {
        let connector = Connector::new(self.identity.clone(), ProcessRole::ControlPlane);
        let connector = connector.map_err(|error| error.to_string())?;
        grpc::channel(address, &connector).map_err(|error| error.to_string())
    }

    pub(crate) async fn remove(&self, admin: &Channel) -> Result<(), String> {
        let message = RevokeWorkerRequest { id: self.id.clone() };
        let gone = TrustServiceClient::new(admin.clone()).revoke_worker(request(message)).await;
        gone.map(drop).map_err(|status| format!("{} is left: {}", self.identity.spiffe_id(), say(&status)))
    }
}

/// A new token of the region.
pub(super) async fn join_token(
    admin: &Channel,
    role: ProcessRole,
    name: &str,
) -> Result<SecretString, String> {
    let message = CreateJoinTokenRequest {
        idempotency_key: once(),
        role: role.as_str().to_owned(),
        name: name.to_owned(),
        lifetime_seconds: TOKEN_SECONDS,
    };
    let made = RegionServiceClient::new(admin.clone()).create_join_token(request(message)).await;
    Ok(SecretString::from(made.map_err(|status| say(&status))?.into_inner().join_token))
}

async fn enroll(armed: &Armed, enrollment: &str, token: &SecretString) -> Result<Material, String> {
    let (key, csr) = new_key_and_csr().map_err(|error| error.to_string())?;
    let mut client = EnrollmentServiceClient::new(pinned(armed, enrollment)?);
    let message = EnrollRequest { join_token: token.expose_secret().to_owned(), csr_pem: csr.0 };
    let answer = client.enroll(request(message)).await.map_err(|status| say(&status))?.into_inner();
    Ok(Material { root_pem: answer.root_pem, certificate_pem: answer.certificate_pem, key_pem: key.0 })
}

/// A channel to a region's enrollment listener, which is known by its root.
pub(crate) fn pinned(armed: &Armed, enrollment: &str) -> Result<Channel, String> {
    let connector = PinnedConnector::new(armed.operator.root_fingerprint(), armed.domain.clone());
    let connector = connector.map_err(|error| error.to_string())?;
    grpc::channel(enrollment, &connector).map_err(|error| error.to_string())
}

async fn find(admin: &Channel, role: ProcessRole, name: &str) -> Result<String, String> {
    let mut region = RegionServiceClient::new(admin.clone());
    let mut message = ListWorkersRequest::default();
    loop {
        let page = region.list_workers(request(message)).await.map_err(|status| say(&status))?.into_inner();
        let mut workers = page.workers.into_iter();
        if let Some(found) = workers.find(|worker| worker.name == name && worker.role == role.as_str()) {
            return Ok(found.id);
        }
        let page_token = page.page.unwrap_or_default().next_page_token;
        if page_token.is_empty() {
            return Err(format!("{role} {name} joined and is not listed"));
        }
        let page = bailiwick_proto::admin::v1::PageRequest { page_token, ..Default::default() };
        message = ListWorkersRequest { page: Some(page) };
    }
}
