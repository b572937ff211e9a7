//! `KeyService`.

use std::time::Duration;

use bailiwick_core::{
    explain::Step,
    key::{Created, Key, MAX_ALLOWED_MODELS, MAX_OVERLAP, NewKey},
};
use bailiwick_proto::{
    admin::v1::{self as wire, key_service_server::KeyService},
    convert,
};
use tonic::{Request, Response, Status};

use super::{
    Admin,
    edge::{change, micros, next_page},
};

#[tonic::async_trait]
impl KeyService for Admin {
    async fn create_key(
        &self,
        request: Request<wire::CreateKeyRequest>,
    ) -> Result<Response<wire::CreateKeyResponse>, Status> {
        let (mut edge, request) = self.edge(request)?;
        let fields = (
            edge.idempotency_key(&request.idempotency_key),
            edge.id("organization_id", &request.organization_id),
            edge.parse("name", &request.name),
            edge.all("allowed_models", &request.allowed_models, MAX_ALLOWED_MODELS, |edge, f, text| {
                edge.parse(f, text)
            }),
            edge.allowed_ranges("allowed_ranges", &request.allowed_ranges),
            edge.time("expires_at_micros", request.expires_at_micros),
        );
        let new = match fields {
            (
                Some(idempotency_key),
                Some(organization),
                Some(name),
                Some(allowed_models),
                Some(allowed_ranges),
                Some(expires_at),
            ) => Some(NewKey {
                idempotency_key,
                organization,
                name,
                allowed_models,
                allowed_ranges,
                expires_at,
            }),
            _ => None,
        };
        let new = edge.checked(new).await?;
        let made = self.control_plane.key_create(&edge.caller, new).await;
        self.answer(made.map(|created| wire::CreateKeyResponse {
            api_key: secret(&created),
            change: change(created.revision),
            key: Some(key(created.key)),
        }))
    }

    async fn list_keys(
        &self,
        request: Request<wire::ListKeysRequest>,
    ) -> Result<Response<wire::ListKeysResponse>, Status> {
        let (mut edge, request) = self.edge(request)?;
        let fields = edge.id("organization_id", &request.organization_id).zip(edge.page(request.page));
        let (organization, page) = edge.checked(fields).await?;
        let found = self.control_plane.key_list(&edge.caller, organization, &page).await;
        self.answer(found.map(|found| wire::ListKeysResponse {
            keys: found.rows.into_iter().map(key).collect(),
            page: next_page(found.next),
        }))
    }

    async fn rotate_key(
        &self,
        request: Request<wire::RotateKeyRequest>,
    ) -> Result<Response<wire::RotateKeyResponse>, Status> {
        let (mut edge, request) = self.edge(request)?;
        let overlap = Duration::from_secs(request.overlap_seconds.into());
        if overlap > MAX_OVERLAP {
            edge.violation("overlap_seconds", "is over 2592000 (30 days)".to_owned());
        }
        let (id, idempotency_key) =
            (edge.id("id", &request.id), edge.idempotency_key(&request.idempotency_key));
        let (id, idempotency_key) = edge.checked(id.zip(idempotency_key)).await?;
        let rotated = self.control_plane.key_rotate(&edge.caller, id, overlap, idempotency_key).await;
        self.answer(rotated.map(|rotated| wire::RotateKeyResponse {
            api_key: secret(&rotated.created),
            change: change(rotated.created.revision),
            key: Some(key(rotated.created.key)),
            old_key: Some(key(rotated.old)),
        }))
    }

    async fn update_key(
        &self,
        request: Request<wire::UpdateKeyRequest>,
    ) -> Result<Response<wire::UpdateKeyResponse>, Status> {
        let (mut edge, request) = self.edge(request)?;
        let ranges = match &request.allowed_ranges {
            Some(listed) => edge.allowed_ranges("allowed_ranges.ranges", &listed.ranges),
            None => {
                edge.violation("allowed_ranges", "is absent: there is nothing to change".to_owned());
                None
            }
        };
        let id = edge.id("id", &request.id);
        let (id, ranges) = edge.checked(id.zip(ranges)).await?;
        let updated = self.control_plane.key_set_allowed_ranges(&edge.caller, id, &ranges).await;
        self.answer(updated.map(|(updated, revision)| wire::UpdateKeyResponse {
            key: Some(key(updated)),
            change: change(revision),
        }))
    }

    async fn revoke_key(
        &self,
        request: Request<wire::RevokeKeyRequest>,
    ) -> Result<Response<wire::RevokeKeyResponse>, Status> {
        let (mut edge, request) = self.edge(request)?;
        let id = edge.id("id", &request.id);
        let id = edge.checked(id).await?;
        let revoked = self.control_plane.key_revoke(&edge.caller, id).await;
        self.answer(revoked.map(|(revoked, revision)| wire::RevokeKeyResponse {
            key: Some(key(revoked)),
            change: change(revision),
        }))
    }

    async fn explain_key(
        &self,
        request: Request<wire::ExplainKeyRequest>,
    ) -> Result<Response<wire::ExplainKeyResponse>, Status> {
        let (mut edge, request) = self.edge(request)?;
        let (id, model) = (edge.id("id", &request.id), edge.parse_optional("model", &request.model));
        let from = edge.parse_optional("client_address", &request.client_address);
        let (id, (model, from)) = edge.checked(id.zip(model.zip(from))).await?;
        let steps = self.control_plane.explain_key(&edge.caller, id, model.as_ref(), from).await;
        self.answer(steps.map(|steps| wire::ExplainKeyResponse {
            served: steps.iter().all(|step| step.code.is_none()),
            steps: steps.into_iter().map(step).collect(),
        }))
    }
}

/// The one place where a key's secret goes onto the wire.
fn secret(created: &Created) -> String {
    created.secret.as_ref().map(|secret| secret.expose().to_owned()).unwrap_or_default()
}

fn step(step: Step) -> wire::ExplainStep {
    wire::ExplainStep {
        step: step.name.to_owned(),
        passed: step.code.is_none(),
        finding: step.finding,
        code: step.code.unwrap_or_default().to_owned(),
    }
}

fn key(key: Key) -> wire::Key {
    let Key { row, name, expired } = key;
    let status = match (row.revoked_at, expired) {
        (Some(_), _) => wire::KeyStatus::Revoked,
        (None, true) => wire::KeyStatus::Expired,
        (None, false) => wire::KeyStatus::Active,
    };
    wire::Key {
        id: row.id.to_string(),
        organization_id: row.organization.to_string(),
        name,
        status: status.into(),
        allowed_models: row.allowed_models.iter().map(ToString::to_string).collect(),
        allowed_ranges: convert::allowed_ranges_to_wire(&row.allowed_ranges),
        created_at_micros: row.created_at.as_micros(),
        expires_at_micros: micros(row.expires_at),
        revoked_at_micros: micros(row.revoked_at),
        display_prefix: row.id.to_string().replacen("key_", "bw_", 1) + "_…",
    }
}
