//! An organization of this run, with one of everything.

use std::net::IpAddr;

use bailiwick_proto::admin::v1::{
    CreateCredentialRequest, CreateDeploymentRequest, CreateKeyRequest, CreateModelRequest,
    CreateOrganizationRequest, DeleteOrganizationRequest, Deployment, GetResidencyRequest,
    ListDeploymentsRequest, ListOrganizationsRequest, PageRequest,
    credential_service_client::CredentialServiceClient, key_service_client::KeyServiceClient,
    model_service_client::ModelServiceClient, organization_service_client::OrganizationServiceClient,
    policy_service_client::PolicyServiceClient,
};
use bailiwick_proto::status::reason_of;
use http::Uri;
use secrecy::SecretString;
use tonic::{Status, transport::Channel};

use super::{once, request, say};

/// The name of what a run makes, for whoever finds it in a list.
pub(crate) fn name(run: &str) -> String {
    format!("verify isolation (temporary, {run})")
}

/// Organizations that are asked for a deployment to make one like it.
const ASKED: i32 = 10;

/// The organization.
pub(crate) struct Account {
    pub(crate) organization: String,
    pub(crate) key_id: String,
    /// Another key of the organization.
    pub(crate) other_key_id: String,
    /// A key that is good at home.
    pub(crate) key: SecretString,
    pub(crate) credential: String,
    /// Where some organization of the region has a deployment to copy the endpoint of.
    pub(crate) deployment: Option<String>,
    pub(crate) model: Option<String>,
    /// Address of that endpoint, where it is one: workers may dial it.
    pub(crate) provider: Option<IpAddr>,
}

impl Account {
    pub(crate) async fn open(admin: &Channel, region: &str, run: &str) -> Result<Self, String> {
        let like = endpoint(admin).await.map_err(|status| say(&status))?;
        let message = CreateOrganizationRequest {
            idempotency_key: once(),
            region: region.to_owned(),
            name: name(run),
            ..Default::default()
        };
        let made = OrganizationServiceClient::new(admin.clone()).create_organization(request(message)).await;
        let made = made.map_err(|status| say(&status))?.into_inner();
        let organization = made.organization.unwrap_or_default().id;
        match Self::fill(admin, &organization, like, &name(run)).await {
            Ok(account) => Ok(account),
            Err(status) => {
                let _gone = delete(admin, &organization).await;
                Err(say(&status))
            }
        }
    }

    async fn fill(
        admin: &Channel,
        organization: &str,
        like: Option<Deployment>,
        name: &str,
    ) -> Result<Self, Status> {
        let key = async || {
            let message = CreateKeyRequest {
                idempotency_key: once(),
                organization_id: organization.to_owned(),
                name: name.to_owned(),
                ..Default::default()
            };
            let made = KeyServiceClient::new(admin.clone()).create_key(request(message)).await;
            Ok::<_, Status>(made?.into_inner())
        };
        let (other, key) = (key().await?, key().await?);
        let message = CreateCredentialRequest {
            idempotency_key: once(),
            organization_id: organization.to_owned(),
            name: name.to_owned(),
            // No provider's: nothing shall be called with it.
            secret: once(),
        };
        let mut credentials = CredentialServiceClient::new(admin.clone());
        let credential = credentials.create_credential(request(message)).await?.into_inner();
        let credential = credential.credential.unwrap_or_default().id;
        let mut account = Self {
            organization: organization.to_owned(),
            key_id: key.key.unwrap_or_default().id,
            other_key_id: other.key.unwrap_or_default().id,
            key: SecretString::from(key.api_key),
            credential,
            deployment: None,
            model: None,
            provider: like.as_ref().and_then(|like| address(&like.endpoint)),
        };
        if let Some(like) = like {
            match account.deploy(admin, like).await {
                // Another organization lists hosts that the region alone does not admit.
                Err(status) if reason_of(&status).as_deref() == Some("egress_refused") => {}
                deployed => deployed?,
            }
        }
        Ok(account)
    }

    async fn deploy(&mut self, admin: &Channel, like: Deployment) -> Result<(), Status> {
        let mut models = ModelServiceClient::new(admin.clone());
        let message = CreateDeploymentRequest {
            idempotency_key: once(),
            organization_id: self.organization.clone(),
            provider: like.provider,
            endpoint: like.endpoint,
            upstream_model: like.upstream_model,
            credential_id: self.credential.clone(),
            ..Default::default()
        };
        let made = models.create_deployment(request(message)).await?.into_inner();
        let deployment = made.deployment.unwrap_or_default().id;
        let message = CreateModelRequest {
            idempotency_key: once(),
            organization_id: self.organization.clone(),
            name: "verify-isolation".to_owned(),
            deployment_ids: vec![deployment.clone()],
            ..Default::default()
        };
        let made = models.create_model(request(message)).await?.into_inner();
        self.deployment = Some(deployment);
        self.model = Some(made.model.unwrap_or_default().id);
        Ok(())
    }

    /// Whose law holds where the organization is.
    pub(crate) async fn law(&self, admin: &Channel) -> Result<String, String> {
        let message = GetResidencyRequest { organization_id: self.organization.clone() };
        let answer = PolicyServiceClient::new(admin.clone()).get_residency(request(message)).await;
        Ok(answer.map_err(|status| say(&status))?.into_inner().region_jurisdiction)
    }

    /// Deletes the organization, and with it all that it has.
    pub(crate) async fn remove(&self, admin: &Channel) -> Result<(), String> {
        let gone = delete(admin, &self.organization).await;
        gone.map_err(|status| format!("the organization {} is left: {}", self.organization, say(&status)))
    }
}

pub(super) async fn delete(admin: &Channel, organization: &str) -> Result<(), Status> {
    let message = DeleteOrganizationRequest { id: organization.to_owned() };
    OrganizationServiceClient::new(admin.clone()).delete_organization(request(message)).await.map(drop)
}

fn address(endpoint: &str) -> Option<IpAddr> {
    let endpoint: Uri = endpoint.parse().ok()?;
    endpoint.host()?.trim_matches(['[', ']']).parse().ok()
}

/// A deployment that the region's egress policy admits: some organization's.
async fn endpoint(admin: &Channel) -> Result<Option<Deployment>, Status> {
    let page = |page_size| Some(PageRequest { page_size, ..Default::default() });
    let message = ListOrganizationsRequest { page: page(ASKED) };
    let mut organizations = OrganizationServiceClient::new(admin.clone());
    let found = organizations.list_organizations(request(message)).await?.into_inner().organizations;
    let mut models = ModelServiceClient::new(admin.clone());
    for organization in found {
        let message = ListDeploymentsRequest { organization_id: organization.id, page: page(1) };
        // One that was deleted meanwhile has none.
        let Ok(listed) = models.list_deployments(request(message)).await else { continue };
        let admitted = listed.into_inner().deployments.into_iter();
        if let Some(deployment) = admitted.rev().find(|deployment| deployment.egress_refusal.is_empty()) {
            return Ok(Some(deployment));
        }
    }
    Ok(None)
}
