//! `KeyMaterialService`.

use bailiwick_core::{
    ports::vault::KeyScope,
    records::{RotationRecord, RotationSubject},
    rotation::KeyMaterial,
};
use bailiwick_proto::admin::v1::{self as wire, key_material_service_server::KeyMaterialService};
use tonic::{Request, Response, Status};

use super::{
    Admin,
    edge::{micros, next_page},
};

#[tonic::async_trait]
impl KeyMaterialService for Admin {
    async fn get_key_material(
        &self,
        request: Request<wire::GetKeyMaterialRequest>,
    ) -> Result<Response<wire::GetKeyMaterialResponse>, Status> {
        let (edge, _) = self.edge(request)?;
        self.answer(self.control_plane.key_material(&edge.caller).await.map(key_material))
    }

    async fn rotate_master_key(
        &self,
        request: Request<wire::RotateMasterKeyRequest>,
    ) -> Result<Response<wire::RotateMasterKeyResponse>, Status> {
        let (mut edge, request) = self.edge(request)?;
        let idempotency_key = edge.idempotency_key(&request.idempotency_key);
        let idempotency_key = edge.checked(idempotency_key).await?;
        let begun = self.control_plane.master_key_rotate(&edge.caller, &idempotency_key).await;
        self.answer(begun.map(|row| wire::RotateMasterKeyResponse { rotation: Some(rotation(row)) }))
    }

    async fn rotate_data_keys(
        &self,
        request: Request<wire::RotateDataKeysRequest>,
    ) -> Result<Response<wire::RotateDataKeysResponse>, Status> {
        let (mut edge, request) = self.edge(request)?;
        let idempotency_key = edge.idempotency_key(&request.idempotency_key);
        let organization = match request.organization_id.as_str() {
            "" => Some(None),
            id => edge.id("organization_id", id).map(Some),
        };
        let (idempotency_key, organization) = edge.checked(idempotency_key.zip(organization)).await?;
        let begun = self.control_plane.data_keys_rotate(&edge.caller, &idempotency_key, organization).await;
        self.answer(begun.map(|row| wire::RotateDataKeysResponse { rotation: Some(rotation(row)) }))
    }

    async fn get_rotation(
        &self,
        request: Request<wire::GetRotationRequest>,
    ) -> Result<Response<wire::GetRotationResponse>, Status> {
        let (mut edge, request) = self.edge(request)?;
        let id = edge.id("id", &request.id);
        let id = edge.checked(id).await?;
        let found = self.control_plane.rotation_get(&edge.caller, id).await;
        self.answer(found.map(|row| wire::GetRotationResponse { rotation: Some(rotation(row)) }))
    }

    async fn list_rotations(
        &self,
        request: Request<wire::ListRotationsRequest>,
    ) -> Result<Response<wire::ListRotationsResponse>, Status> {
        let (mut edge, request) = self.edge(request)?;
        let page = edge.page(request.page);
        let page = edge.checked(page).await?;
        let found = self.control_plane.rotation_list(&edge.caller, &page).await;
        self.answer(found.map(|found| wire::ListRotationsResponse {
            rotations: found.rows.into_iter().map(rotation).collect(),
            page: next_page(found.next),
        }))
    }
}

fn key_material(material: KeyMaterial) -> wire::GetKeyMaterialResponse {
    let one = |(master_key, data_keys, known)| wire::MasterKeyUse { master_key, data_keys, known };
    wire::GetKeyMaterialResponse {
        master_key: material.master_key,
        uses: material.census.into_iter().map(one).collect(),
    }
}

fn rotation(row: RotationRecord) -> wire::Rotation {
    let (kind, organization_id) = match row.subject {
        RotationSubject::MasterKey => ("master_key", String::new()),
        RotationSubject::DataKeys(KeyScope::Organization(id)) => ("data_keys", id.to_string()),
        // A backup's key is its own, and never rotated.
        RotationSubject::DataKeys(KeyScope::Region | KeyScope::Backup) => ("data_keys", String::new()),
    };
    wire::Rotation {
        id: row.id.to_string(),
        kind: kind.to_owned(),
        organization_id,
        target: row.target,
        total: row.total,
        done: row.done,
        started_at_micros: row.started_at.as_micros(),
        finished_at_micros: micros(row.finished_at),
    }
}
