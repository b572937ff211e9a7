//! `ServiceAccountService`.

use bailiwick_core::service_account::{ServiceAccount, WithSecret};
use bailiwick_proto::admin::v1::{self as wire, service_account_service_server::ServiceAccountService};
use tonic::{Request, Response, Status};

use super::{
    Admin,
    edge::{micros, next_page},
};

#[tonic::async_trait]
impl ServiceAccountService for Admin {
    async fn create_service_account(
        &self,
        request: Request<wire::CreateServiceAccountRequest>,
    ) -> Result<Response<wire::CreateServiceAccountResponse>, Status> {
        let (mut edge, request) = self.edge(request)?;
        let fields = (
            edge.idempotency_key(&request.idempotency_key),
            edge.id("organization_id", &request.organization_id),
            edge.parse("name", &request.name),
            edge.parse("role", &request.role),
        );
        let new = match fields {
            (Some(key), Some(organization), Some(name), Some(role)) => Some((key, organization, name, role)),
            _ => None,
        };
        let (key, organization, name, role) = edge.checked(new).await?;
        let made =
            self.control_plane.service_account_create(&edge.caller, &key, organization, &name, role).await;
        self.answer(made.map(|made| wire::CreateServiceAccountResponse {
            service_account_secret: secret(&made),
            service_account: Some(account(made.account)),
        }))
    }

    async fn list_service_accounts(
        &self,
        request: Request<wire::ListServiceAccountsRequest>,
    ) -> Result<Response<wire::ListServiceAccountsResponse>, Status> {
        let (mut edge, request) = self.edge(request)?;
        let fields = edge.id("organization_id", &request.organization_id).zip(edge.page(request.page));
        let (organization, page) = edge.checked(fields).await?;
        let found = self.control_plane.service_account_list(&edge.caller, organization, &page).await;
        self.answer(found.map(|found| wire::ListServiceAccountsResponse {
            service_accounts: found.rows.into_iter().map(account).collect(),
            page: next_page(found.next),
        }))
    }

    async fn rotate_service_account_secret(
        &self,
        request: Request<wire::RotateServiceAccountSecretRequest>,
    ) -> Result<Response<wire::RotateServiceAccountSecretResponse>, Status> {
        let (mut edge, request) = self.edge(request)?;
        let fields = edge.id("id", &request.id).zip(edge.idempotency_key(&request.idempotency_key));
        let (id, key) = edge.checked(fields).await?;
        let rotated = self.control_plane.service_account_rotate_secret(&edge.caller, &key, id).await;
        self.answer(rotated.map(|rotated| wire::RotateServiceAccountSecretResponse {
            service_account_secret: secret(&rotated),
            service_account: Some(account(rotated.account)),
        }))
    }

    async fn revoke_service_account(
        &self,
        request: Request<wire::RevokeServiceAccountRequest>,
    ) -> Result<Response<wire::RevokeServiceAccountResponse>, Status> {
        let (mut edge, request) = self.edge(request)?;
        let id = edge.id("id", &request.id);
        let id = edge.checked(id).await?;
        let revoked = self.control_plane.service_account_revoke(&edge.caller, id).await;
        self.answer(
            revoked.map(|revoked| wire::RevokeServiceAccountResponse {
                service_account: Some(account(revoked)),
            }),
        )
    }
}

/// The one place where an account's secret goes onto the wire.
fn secret(made: &WithSecret) -> String {
    made.secret.as_ref().map(|secret| secret.expose().to_owned()).unwrap_or_default()
}

fn account(account: ServiceAccount) -> wire::ServiceAccount {
    let ServiceAccount { row, name } = account;
    wire::ServiceAccount {
        id: row.id.to_string(),
        organization_id: row.organization.to_string(),
        name,
        role: row.role.to_string(),
        created_at_micros: row.created_at.as_micros(),
        rotated_at_micros: micros(row.rotated_at),
        revoked_at_micros: micros(row.revoked_at),
    }
}
