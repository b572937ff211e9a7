//! `DestructionService`.

use bailiwick_proto::admin::v1::{self as wire, destruction_service_server::DestructionService};
use tonic::{Request, Response, Status};

use super::{Admin, edge::micros};

#[tonic::async_trait]
impl DestructionService for Admin {
    async fn get_destruction(
        &self,
        request: Request<wire::GetDestructionRequest>,
    ) -> Result<Response<wire::GetDestructionResponse>, Status> {
        let (mut edge, request) = self.edge(request)?;
        let id = edge.id("organization_id", &request.organization_id);
        let id = edge.checked(id).await?;
        let found = self.control_plane.destruction(&edge.caller, id).await;
        self.answer(
            found.map(|found| wire::GetDestructionResponse {
                organization_id: found.organization.to_string(),
                deleted_at_micros: found.deleted_at.as_micros(),
                usage_closed_at_micros: micros(found.usage_closed_at),
                finished_at_micros: micros(found.finished_at),
                destroyed: found
                    .destroyed
                    .into_iter()
                    .map(|(table, rows)| wire::DestroyedRows { table, rows })
                    .collect(),
                keys_in_backups_until_micros: micros(found.keys_in_backups_until),
            }),
        )
    }
}
