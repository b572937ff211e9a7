//! `SignupService` of the worker API: routers ask it for people who have no account yet.

use bailiwick_proto::worker::v1::{SignUpRequest, SignUpResponse, signup_service_server::SignupService};
use tonic::{Request, Response, Status};

use super::Admin;

#[tonic::async_trait]
impl SignupService for Admin {
    async fn sign_up(&self, request: Request<SignUpRequest>) -> Result<Response<SignUpResponse>, Status> {
        let (mut edge, request) = self.edge(request)?;
        let fields = (
            edge.parse("region", &request.region),
            edge.parse("organization_name", &request.organization_name),
            edge.parse("email", &request.email),
            edge.idempotency_key(&request.idempotency_key),
        );
        let fields = match fields {
            (Some(region), Some(name), Some(email), Some(key)) => Some((region, name, email, key)),
            _ => None,
        };
        let (region, name, email, idempotency_key) = edge.checked(fields).await?;
        let made = self.control_plane.sign_up(&edge.caller, region, name, email, idempotency_key).await;
        self.answer(made.map(|(organization, created)| SignUpResponse {
            organization_id: organization.to_string(),
            key_id: created.key.row.id.to_string(),
            api_key: created.secret.as_ref().map(|secret| secret.expose().to_owned()).unwrap_or_default(),
        }))
    }
}
