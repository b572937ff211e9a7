//! `TokenService`: a service account's secret becomes a bearer token. Stands on the listener for tokens alone.

use std::{
    net::{IpAddr, Ipv6Addr},
    time::Duration,
};

use bailiwick_core::token::LONGEST_LIFETIME;
use bailiwick_proto::admin::v1::{self as wire, token_service_server::TokenService};
use bailiwick_runtime::identity::Visitor;
use secrecy::ExposeSecret as _;
use tonic::{Request, Response, Status};

use super::Admin;

#[tonic::async_trait]
impl TokenService for Admin {
    async fn issue_token(
        &self,
        request: Request<wire::IssueTokenRequest>,
    ) -> Result<Response<wire::IssueTokenResponse>, Status> {
        // Whoever comes from nowhere shares one count.
        let from = request.extensions().get::<Visitor>().map(|visitor| visitor.remote.ip());
        let from = from.unwrap_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED));
        let request = request.into_inner();
        let seconds = Some(u64::from(request.lifetime_seconds)).filter(|seconds| *seconds > 0);
        let lifetime = seconds.map_or(LONGEST_LIFETIME, Duration::from_secs);
        let issued = self.control_plane.token_issue(from, &request.service_account_secret, lifetime).await;
        self.answer(issued.map(|issued| wire::IssueTokenResponse {
            token: issued.token.expose_secret().to_owned(),
            expires_at_micros: issued.expires_at.as_micros(),
            service_account_id: issued.account.id.to_string(),
            organization_id: issued.account.organization.to_string(),
            role: issued.account.role.to_string(),
        }))
    }
}
