//! `RegionService`.

use std::time::Duration;

use bailiwick_core::{
    fleet::LiveState,
    records::Revision,
    region::{RegionInfo, WorkerStatus},
};
use bailiwick_domain::spiffe::ProcessRole;
use bailiwick_proto::admin::v1::{self as wire, region_service_server::RegionService};
use tonic::{Request, Response, Status};

use super::{
    Admin,
    edge::{micros, next_page},
};

const DEFAULT_TOKEN_LIFETIME_SECONDS: u32 = 3600;

#[tonic::async_trait]
impl RegionService for Admin {
    async fn get_region(
        &self,
        request: Request<wire::GetRegionRequest>,
    ) -> Result<Response<wire::GetRegionResponse>, Status> {
        let (edge, _) = self.edge(request)?;
        let info = self.control_plane.region_info(&edge.caller).await;
        self.answer(info.map(|info| self.region(info)))
    }

    async fn list_workers(
        &self,
        request: Request<wire::ListWorkersRequest>,
    ) -> Result<Response<wire::ListWorkersResponse>, Status> {
        let (mut edge, request) = self.edge(request)?;
        let page = edge.page(request.page);
        let page = edge.checked(page).await?;
        let found = self.control_plane.worker_list(&edge.caller, &page).await;
        self.answer(found.map(|(found, revision)| wire::ListWorkersResponse {
            workers: found.rows.into_iter().map(|status| worker(status, revision)).collect(),
            page: next_page(found.next),
        }))
    }

    async fn create_join_token(
        &self,
        request: Request<wire::CreateJoinTokenRequest>,
    ) -> Result<Response<wire::CreateJoinTokenResponse>, Status> {
        let (mut edge, request) = self.edge(request)?;
        let seconds = Some(request.lifetime_seconds).filter(|seconds| *seconds > 0);
        let lifetime = Duration::from_secs(seconds.unwrap_or(DEFAULT_TOKEN_LIFETIME_SECONDS).into());
        let idempotency_key = edge.idempotency_key(&request.idempotency_key);
        let role = edge.parse::<ProcessRole>("role", &request.role);
        // A role that did not parse was told of already; name and lifetime have the same rules under each.
        let checked_as = role.unwrap_or(ProcessRole::Worker);
        edge.violations(self.control_plane.join_token_violations(checked_as, &request.name, lifetime));
        let (idempotency_key, role) = edge.checked(idempotency_key.zip(role)).await?;
        let made = self
            .control_plane
            .join_token_create(&edge.caller, idempotency_key, role, &request.name, lifetime)
            .await;
        self.answer(made.map(|(token, expires_at)| wire::CreateJoinTokenResponse {
            join_token: token.map(|token| token.expose().to_owned()).unwrap_or_default(),
            expires_at_micros: expires_at.as_micros(),
        }))
    }
}

impl Admin {
    fn region(&self, info: RegionInfo) -> wire::GetRegionResponse {
        let parts = &self.control_plane.parts;
        wire::GetRegionResponse {
            name: info.identity.region.to_string(),
            code: parts.jurisdiction.code().to_string(),
            installation: info.identity.installation,
            epoch: info.identity.epoch,
            revision: info.revision.0,
            build: parts.settings.build.clone(),
            ca_fingerprint: info.ca_fingerprint.to_string(),
            store: info.store.to_owned(),
            coordination: info.coordination.to_owned(),
            organizations: info.organizations,
            ca_expires_at_micros: info.ca_expires_at.as_micros(),
            now_micros: info.now.as_micros(),
        }
    }
}

fn worker(status: WorkerStatus, region: Revision) -> wire::Worker {
    let WorkerStatus { row, live, lease_expires_at } = status;
    let state = live.as_ref().map_or(wire::WorkerState::Absent, |live| match live.state {
        LiveState::Syncing => wire::WorkerState::Syncing,
        LiveState::Ready => wire::WorkerState::Ready,
        LiveState::Draining => wire::WorkerState::Draining,
    });
    let seen = live.as_ref().map(|live| live.last_seen_at).or(row.last_seen_at);
    // Routers hold no configuration: nothing lags there.
    let applied = live.as_ref().filter(|_| row.role == ProcessRole::Worker).map(|live| live.applied.0);
    let live = live.as_ref();
    wire::Worker {
        id: row.id.to_string(),
        name: row.name,
        role: row.role.to_string(),
        state: state.into(),
        applied_revision: applied.unwrap_or_default(),
        lag: applied.map_or(0, |applied| region.0.saturating_sub(applied)),
        lease_expires_at_micros: micros(lease_expires_at),
        certificate_expires_at_micros: row.certificate_expires_at.as_micros(),
        build: live.map(|live| live.build.clone()).unwrap_or_default(),
        last_refusal: live.and_then(|live| live.last_refusal.clone()).unwrap_or_default(),
        advertise_address: live.map(|live| live.address.clone()).unwrap_or_default(),
        last_seen_at_micros: micros(seen),
        enrolled_at_micros: row.enrolled_at.as_micros(),
        boot_id: live.map(|live| live.boot_id.clone()).unwrap_or_default(),
        certificate_fingerprint: live.map(|live| hexadecimal(&live.certificate)).unwrap_or_default(),
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
