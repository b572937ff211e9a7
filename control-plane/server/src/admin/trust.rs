//! `TrustService`.

use bailiwick_core::{
    records::RevokedCertificate,
    trust::{TrustInfo, TrustingProcess},
};
use bailiwick_domain::spiffe::ProcessRole;
use bailiwick_proto::admin::v1::{self as wire, trust_service_server::TrustService};
use tonic::{Request, Response, Status};

use super::Admin;

#[tonic::async_trait]
impl TrustService for Admin {
    async fn get_trust(
        &self,
        request: Request<wire::GetTrustRequest>,
    ) -> Result<Response<wire::GetTrustResponse>, Status> {
        let (edge, _) = self.edge(request)?;
        let info = self.control_plane.trust_info(&edge.caller).await;
        self.answer(info.map(|TrustInfo { version, revoked, processes }| wire::GetTrustResponse {
            version: version.0,
            revocations: revoked.into_iter().map(revocation).collect(),
            processes: processes.into_iter().map(process).collect(),
        }))
    }

    async fn revoke_worker(
        &self,
        request: Request<wire::RevokeWorkerRequest>,
    ) -> Result<Response<wire::RevokeWorkerResponse>, Status> {
        let (mut edge, request) = self.edge(request)?;
        let id = edge.id("id", &request.id);
        let id = edge.checked(id).await?;
        let revoked = self.control_plane.worker_revoke(&edge.caller, id).await;
        self.answer(revoked.map(|version| wire::RevokeWorkerResponse { version: version.0 }))
    }

    async fn revoke_certificate(
        &self,
        request: Request<wire::RevokeCertificateRequest>,
    ) -> Result<Response<wire::RevokeCertificateResponse>, Status> {
        let (mut edge, request) = self.edge(request)?;
        let role = edge.parse::<ProcessRole>("role", &request.role);
        let role = edge.checked(role).await?;
        let revoked = self.control_plane.certificate_revoke(&edge.caller, role, &request.name).await;
        self.answer(revoked.map(|version| wire::RevokeCertificateResponse { version: version.0 }))
    }
}

fn revocation(row: RevokedCertificate) -> wire::Revocation {
    wire::Revocation {
        role: row.role.to_string(),
        name: row.name,
        issued_until_micros: row.issued_until.as_micros(),
        expires_at_micros: row.expires_at.as_micros(),
    }
}

fn process(process: TrustingProcess) -> wire::TrustingProcess {
    wire::TrustingProcess {
        worker_id: process.id.to_string(),
        name: process.name,
        role: process.role.to_string(),
        version: process.version.0,
    }
}
