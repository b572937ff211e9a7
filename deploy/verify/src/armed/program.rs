//! A program of this run's organization: a service account, and a token that is good at home. It ends with the organization.

use bailiwick_proto::admin::v1::{
    CreateServiceAccountRequest, GetOrganizationRequest, IssueTokenRequest, ListOrganizationsRequest,
    RevokeServiceAccountRequest, organization_service_client::OrganizationServiceClient,
    service_account_service_client::ServiceAccountServiceClient, token_service_client::TokenServiceClient,
};
use bailiwick_proto::status::retry_after_of;
use secrecy::{ExposeSecret as _, SecretString};
use tonic::{Code, Status, transport::Channel};

use super::{Armed, account, once, pinned, request, say};

/// The longest that there is.
const LIFETIME_SECONDS: u32 = 900;
/// Until the next minute begins.
const LONGEST_WAIT: std::time::Duration = std::time::Duration::from_secs(60);

/// The account.
pub(crate) struct Program {
    pub(crate) secret: SecretString,
    pub(crate) token: SecretString,
}

impl Program {
    /// Creates the account as the region's operator, and exchanges its secret. The inner error says why that cannot be tried.
    pub(crate) async fn create(armed: &Armed) -> Result<Result<Self, String>, String> {
        if armed.access.tokens.is_none() {
            return Ok(Err("the context names no address for tokens".to_owned()));
        }
        let (_, secret) = account(armed).await?;
        let token = token(armed, &secret, LIFETIME_SECONDS).await.map_err(|status| say(&status))?;
        Ok(Ok(Self { secret, token: token.0 }))
    }
}

/// A new account of the run's organization, its owner: its identifier and its secret.
pub(crate) async fn account(armed: &Armed) -> Result<(String, SecretString), String> {
    let message = CreateServiceAccountRequest {
        idempotency_key: once(),
        organization_id: armed.account.organization.clone(),
        name: account::name(&armed.run),
        role: "owner".to_owned(),
    };
    let mut accounts = ServiceAccountServiceClient::new(armed.admin.clone());
    let made = accounts.create_service_account(request(message)).await;
    let made = made.map_err(|status| say(&status))?.into_inner();
    Ok((made.service_account.unwrap_or_default().id, SecretString::from(made.service_account_secret)))
}

/// Revokes an account, as the region's operator.
pub(crate) async fn revoke(armed: &Armed, id: &str) -> Result<(), String> {
    let message = RevokeServiceAccountRequest { id: id.to_owned() };
    let mut accounts = ServiceAccountServiceClient::new(armed.admin.clone());
    accounts.revoke_service_account(request(message)).await.map(drop).map_err(|status| say(&status))
}

/// A token for a secret, at the region's own listener, and when it ends.
pub(crate) async fn token(
    at: &Armed,
    secret: &SecretString,
    lifetime_seconds: u32,
) -> Result<(SecretString, i64), Status> {
    let mut client = TokenServiceClient::new(visitor(at)?);
    let message =
        IssueTokenRequest { service_account_secret: secret.expose_secret().to_owned(), lifetime_seconds };
    let answer = match client.issue_token(request(message.clone())).await {
        // So many from one address within a minute, as after several runs: the bound says when to come again, and is no answer to what is tried.
        Err(status) if status.code() == Code::ResourceExhausted => {
            tokio::time::sleep(retry_after_of(&status).unwrap_or_default().min(LONGEST_WAIT)).await;
            client.issue_token(request(message)).await
        }
        answer => answer,
    };
    let issued = answer?.into_inner();
    Ok((SecretString::from(issued.token), issued.expires_at_micros))
}

/// Presents a token: asks for an organization of the region with it.
pub(crate) async fn present(at: &Armed, token: &str, organization: &str) -> Result<(), Status> {
    let mut asking = request(GetOrganizationRequest { id: organization.to_owned() });
    let value = format!("Bearer {token}").parse();
    let value = value.map_err(|_| Status::invalid_argument("a token that fits no header"))?;
    asking.metadata_mut().insert("authorization", value);
    OrganizationServiceClient::new(visitor(at)?).get_organization(asking).await.map(drop)
}

/// An organization of the region that is not this run's.
pub(crate) async fn another_organization(at: &Armed) -> Result<Option<String>, String> {
    let listed = OrganizationServiceClient::new(at.admin.clone())
        .list_organizations(request(ListOrganizationsRequest::default()))
        .await
        .map_err(|status| say(&status))?;
    let mut all = listed.into_inner().organizations.into_iter();
    Ok(all.find(|found| found.id != at.account.organization).map(|found| found.id))
}

fn visitor(at: &Armed) -> Result<Channel, Status> {
    let address = at.access.tokens.as_deref().unwrap_or_default();
    pinned(at, address).map_err(Status::failed_precondition)
}
