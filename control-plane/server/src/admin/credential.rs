//! `CredentialService`. No answer holds a secret: the messages have no field for one.

use bailiwick_core::credential::{Credential, ProviderSecret};
use bailiwick_proto::admin::v1::{self as wire, credential_service_server::CredentialService};
use tonic::{Request, Response, Status};
use zeroize::Zeroizing;

use super::{
    Admin,
    edge::{Edge, change, micros, next_page},
};

#[tonic::async_trait]
impl CredentialService for Admin {
    async fn create_credential(
        &self,
        request: Request<wire::CreateCredentialRequest>,
    ) -> Result<Response<wire::CreateCredentialResponse>, Status> {
        let (mut edge, request) = self.edge(request)?;
        let fields = (
            edge.idempotency_key(&request.idempotency_key),
            edge.id("organization_id", &request.organization_id),
            edge.parse("name", &request.name),
            secret(&mut edge, request.secret),
        );
        let fields = match fields {
            (Some(key), Some(organization), Some(name), Some(secret)) => {
                Some((key, organization, name, secret))
            }
            _ => None,
        };
        let (idempotency_key, organization, name, secret) = edge.checked(fields).await?;
        let made = self
            .control_plane
            .credential_create(&edge.caller, idempotency_key, organization, name, secret)
            .await;
        self.answer(made.map(|(made, revision)| wire::CreateCredentialResponse {
            credential: Some(credential(made)),
            change: change(revision),
        }))
    }

    async fn list_credentials(
        &self,
        request: Request<wire::ListCredentialsRequest>,
    ) -> Result<Response<wire::ListCredentialsResponse>, Status> {
        let (mut edge, request) = self.edge(request)?;
        let fields = edge.id("organization_id", &request.organization_id).zip(edge.page(request.page));
        let (organization, page) = edge.checked(fields).await?;
        let found = self.control_plane.credential_list(&edge.caller, organization, &page).await;
        self.answer(found.map(|found| wire::ListCredentialsResponse {
            credentials: found.rows.into_iter().map(credential).collect(),
            page: next_page(found.next),
        }))
    }

    async fn replace_credential(
        &self,
        request: Request<wire::ReplaceCredentialRequest>,
    ) -> Result<Response<wire::ReplaceCredentialResponse>, Status> {
        let (mut edge, request) = self.edge(request)?;
        let fields = edge.id("id", &request.id).zip(secret(&mut edge, request.secret));
        let (id, secret) = edge.checked(fields).await?;
        let replaced = self.control_plane.credential_replace(&edge.caller, id, secret).await;
        self.answer(replaced.map(|(replaced, revision)| wire::ReplaceCredentialResponse {
            credential: Some(credential(replaced)),
            change: change(revision),
        }))
    }

    async fn delete_credential(
        &self,
        request: Request<wire::DeleteCredentialRequest>,
    ) -> Result<Response<wire::DeleteCredentialResponse>, Status> {
        let (mut edge, request) = self.edge(request)?;
        let id = edge.id("id", &request.id);
        let id = edge.checked(id).await?;
        let deleted = self.control_plane.credential_delete(&edge.caller, id).await;
        self.answer(deleted.map(|revision| wire::DeleteCredentialResponse { change: change(revision) }))
    }
}

/// Takes the text, so that it is gone from memory when it was read.
fn secret(edge: &mut Edge<'_>, text: String) -> Option<ProviderSecret> {
    let secret = ProviderSecret::new(&Zeroizing::new(text));
    secret.map_err(|error| edge.violation("secret", error.to_string())).ok()
}

fn credential(credential: Credential) -> wire::Credential {
    let Credential { row, name } = credential;
    wire::Credential {
        id: row.id.to_string(),
        organization_id: row.organization.to_string(),
        name,
        version: row.version,
        created_at_micros: row.created_at.as_micros(),
        replaced_at_micros: micros(row.replaced_at),
    }
}
