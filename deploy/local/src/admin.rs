//! A client of one region's admin API, with the operator's certificate.

use anyhow::Context;
use bailiwick_domain::spiffe::{ProcessRole, TrustDomain};
use bailiwick_proto::admin::v1::{
    CreateCredentialRequest, CreateDeploymentRequest, CreateJoinTokenRequest, CreateModelRequest,
    QueryUsageRequest, SetResidencyRequest, UsageRow, credential_service_client::CredentialServiceClient,
    model_service_client::ModelServiceClient, policy_service_client::PolicyServiceClient,
    region_service_client::RegionServiceClient, usage_service_client::UsageServiceClient,
};
use bailiwick_proto::config::v1::{Residency, ResidencyMode};
use bailiwick_runtime::{
    grpc,
    identity::{Connector, Identity},
};
use tonic::transport::Channel;

use crate::{
    configuration::operator_dir,
    layout::{INSTALLATION, RegionLayout},
    upstream::{MODEL, Upstream},
};

/// Calls the admin API of a region.
#[derive(Clone)]
pub(crate) struct Admin {
    channel: Channel,
}

impl Admin {
    pub(crate) fn connect(region: &RegionLayout) -> anyhow::Result<Self> {
        let trust_domain = TrustDomain::new(region.name.parse()?, INSTALLATION)?;
        let identity =
            Identity::load_dir(&operator_dir(region), trust_domain).context("the operator's certificate")?;
        let connector = Connector::new(identity, ProcessRole::ControlPlane)?;
        Ok(Self { channel: grpc::channel(&region.admin.to_string(), &connector)? })
    }

    /// A one-time token for a process of this region.
    pub(crate) async fn join_token(&self, role: &str, name: &str) -> anyhow::Result<String> {
        let request = CreateJoinTokenRequest {
            idempotency_key: fresh_key(),
            role: role.to_owned(),
            name: name.to_owned(),
            lifetime_seconds: 600,
        };
        let answer = RegionServiceClient::new(self.channel.clone()).create_join_token(request).await;
        Ok(answer.context("creating a join token")?.into_inner().join_token)
    }

    /// Lets an organization call this host, wherever it answers.
    pub(crate) async fn list_host(&self, organization: &str, host: String) -> anyhow::Result<()> {
        let residency = Residency { mode: ResidencyMode::Listed.into(), hosts: vec![host] };
        let request =
            SetResidencyRequest { organization_id: organization.to_owned(), residency: Some(residency) };
        let answer = PolicyServiceClient::new(self.channel.clone()).set_residency(request).await;
        answer.context("listing the provider's host").map(drop)
    }

    /// A model that calls the upstream.
    pub(crate) async fn model(&self, organization: &str, upstream: &Upstream) -> anyhow::Result<()> {
        let credential = CreateCredentialRequest {
            idempotency_key: fresh_key(),
            organization_id: organization.to_owned(),
            name: "local upstream".to_owned(),
            secret: upstream.key.clone(),
        };
        let credential =
            CredentialServiceClient::new(self.channel.clone()).create_credential(credential).await;
        let credential =
            credential.context("creating a credential")?.into_inner().credential.unwrap_or_default();
        let mut models = ModelServiceClient::new(self.channel.clone());
        let deployment = CreateDeploymentRequest {
            idempotency_key: fresh_key(),
            organization_id: organization.to_owned(),
            provider: upstream.provider().to_owned(),
            endpoint: upstream.endpoint.to_string(),
            upstream_model: upstream.model.clone(),
            credential_id: credential.id,
            api_version: String::new(),
            price: None,
        };
        let deployment = models.create_deployment(deployment).await.context("creating a deployment")?;
        let model = CreateModelRequest {
            idempotency_key: fresh_key(),
            organization_id: organization.to_owned(),
            name: MODEL.to_owned(),
            deployment_ids: vec![deployment.into_inner().deployment.unwrap_or_default().id],
            ..Default::default()
        };
        models.create_model(model).await.context("creating a model")?;
        Ok(())
    }

    /// All that the organization has used.
    pub(crate) async fn usage(&self, organization: &str) -> anyhow::Result<UsageRow> {
        let request = QueryUsageRequest { organization_id: organization.to_owned(), ..Default::default() };
        let answer = UsageServiceClient::new(self.channel.clone()).query_usage(request).await;
        Ok(answer.context("asking for usage")?.into_inner().rows.into_iter().next().unwrap_or_default())
    }
}

fn fresh_key() -> String {
    format!("local-{:032x}", rand::random::<u128>())
}
