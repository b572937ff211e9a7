//! `TrustService`.

use bailiwick_core::{
    authority::AuthorityStatus,
    records::{AuthorityStage, RevokedCertificate},
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
        let status = self.control_plane.authority_status(&edge.caller).await;
        let roots_pem = self.control_plane.parts.authority.roots_pem();
        self.answer(info.and_then(|info| Ok((info, status?))).map(|(info, status)| {
            let TrustInfo { version, revoked, processes } = info;
            wire::GetTrustResponse {
                version: version.0,
                revocations: revoked.into_iter().map(revocation).collect(),
                processes: processes.into_iter().map(process).collect(),
                authority: Some(authority(status)),
                roots_pem,
            }
        }))
    }

    async fn rotate_authority(
        &self,
        request: Request<wire::RotateAuthorityRequest>,
    ) -> Result<Response<wire::RotateAuthorityResponse>, Status> {
        let (edge, request) = self.edge(request)?;
        let status = self.control_plane.authority_rotate(&edge.caller, request.force).await;
        self.answer(status.map(|status| wire::RotateAuthorityResponse { authority: Some(authority(status)) }))
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
        trusted_roots: process.trusted.iter().map(ToString::to_string).collect(),
        certificate_root: process.certificate_root.map(|root| root.to_string()).unwrap_or_default(),
    }
}

fn authority(status: AuthorityStatus) -> wire::Authority {
    let stage = match status.stage {
        AuthorityStage::Settled => wire::AuthorityStage::Settled,
        AuthorityStage::Distributing => wire::AuthorityStage::Distributing,
        AuthorityStage::Issuing => wire::AuthorityStage::Issuing,
    };
    let unaware = status.unaware.iter().map(|process| format!("{} {}", process.role, process.name));
    let remaining = status.remaining.into_iter().map(|held| wire::RemainingCertificate {
        role: held.role.to_string(),
        name: held.name,
        expires_at_micros: held.expires_at.as_micros(),
    });
    wire::Authority {
        stage: stage.into(),
        issuing_root: status.issuing.to_string(),
        standby_root: status.standby.map(|root| root.to_string()).unwrap_or_default(),
        unaware: unaware.collect(),
        remaining: remaining.collect(),
    }
}
