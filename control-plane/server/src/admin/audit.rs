//! `AuditService`.

use bailiwick_core::{audit_query::OpenedRecord, records::Chain};
use bailiwick_proto::admin::v1::{self as wire, audit_service_server::AuditService};
use tonic::{Request, Response, Status};

use super::{
    Admin,
    edge::{Edge, next_page},
};

#[tonic::async_trait]
impl AuditService for Admin {
    async fn list_audit_records(
        &self,
        request: Request<wire::ListAuditRecordsRequest>,
    ) -> Result<Response<wire::ListAuditRecordsResponse>, Status> {
        let (mut edge, request) = self.edge(request)?;
        let fields = chain(&mut edge, &request.organization_id).zip(edge.page(request.page));
        let (chain, page) = edge.checked(fields).await?;
        let found = self.control_plane.audit_list(&edge.caller, chain, &page).await;
        self.answer(found.map(|found| wire::ListAuditRecordsResponse {
            records: found.rows.into_iter().map(record).collect(),
            page: next_page(found.next),
        }))
    }

    async fn verify_audit_chain(
        &self,
        request: Request<wire::VerifyAuditChainRequest>,
    ) -> Result<Response<wire::VerifyAuditChainResponse>, Status> {
        let (mut edge, request) = self.edge(request)?;
        let chain = chain(&mut edge, &request.organization_id);
        let chain = edge.checked(chain).await?;
        let verified = self.control_plane.audit_verify(&edge.caller, chain).await;
        self.answer(verified.map(|verified| wire::VerifyAuditChainResponse {
            intact: verified.first_bad.is_none(),
            records: verified.records,
            head: verified.head.to_vec(),
            first_bad_sequence: verified.first_bad.unwrap_or_default(),
        }))
    }
}

fn chain(edge: &mut Edge<'_>, organization: &str) -> Option<Chain> {
    if organization.is_empty() {
        return Some(Chain::Region);
    }
    edge.id("organization_id", organization).map(Chain::Organization)
}

fn record(opened: OpenedRecord) -> wire::AuditRecord {
    let OpenedRecord { record, actor } = opened;
    wire::AuditRecord {
        sequence: record.sequence,
        at_micros: record.at.as_micros(),
        actor,
        action: record.action,
        subject: record.subject,
        revision: record.revision.map_or(0, |revision| revision.0),
        hash: record.hash.to_vec(),
    }
}
