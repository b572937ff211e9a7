//! An operator's client of one region's admin API.

use std::path::Path;

use bailiwick_domain::spiffe::{ProcessRole, TrustDomain};
use bailiwick_proto::admin::v1::{
    self as wire, audit_service_client::AuditServiceClient,
    credential_service_client::CredentialServiceClient,
    key_material_service_client::KeyMaterialServiceClient, key_service_client::KeyServiceClient,
    model_service_client::ModelServiceClient, organization_service_client::OrganizationServiceClient,
    policy_service_client::PolicyServiceClient, price_service_client::PriceServiceClient,
    region_service_client::RegionServiceClient, usage_service_client::UsageServiceClient,
};
use bailiwick_runtime::{
    grpc,
    identity::{Connector, Identity},
};
use tonic::transport::Channel;

use crate::installation::Region;

/// Calls as the region's operator.
#[derive(Clone)]
pub struct Admin {
    channel: Channel,
}

macro_rules! clients {
    ($($name:ident: $client:ident),+) => {$(
        /// The service's client.
        pub fn $name(&self) -> $client<Channel> {
            $client::new(self.channel.clone())
        }
    )+};
}

/// The operator's identity of a region.
pub fn operator(name: &str, region: &Region) -> Identity {
    let domain = TrustDomain::new(name.parse().expect("name"), &region.installation).expect("domain");
    let folder = region.operator_cert.parent().unwrap_or(Path::new("."));
    Identity::load_dir(folder, domain).expect("the operator's certificate")
}

/// Any `Err` says it: a key for one thing that is created.
pub fn fresh() -> String {
    format!("test-{:032x}", rand::random::<u128>())
}

impl Admin {
    /// A client with the region's own operator certificate.
    pub fn of(name: &str, region: &Region) -> Self {
        Self::with(operator(name, region), &region.admin_addr)
    }

    /// A client with any identity.
    pub fn with(identity: Identity, address: &str) -> Self {
        let connector = Connector::new(identity, ProcessRole::ControlPlane).expect("connector");
        Self { channel: grpc::channel(address, &connector).expect("address") }
    }

    /// The connection, for calls that no client is made for.
    pub fn channel(&self) -> Channel {
        self.channel.clone()
    }

    clients! {
        organizations: OrganizationServiceClient,
        keys: KeyServiceClient,
        key_material: KeyMaterialServiceClient,
        credentials: CredentialServiceClient,
        models: ModelServiceClient,
        policies: PolicyServiceClient,
        prices: PriceServiceClient,
        usage: UsageServiceClient,
        audit: AuditServiceClient,
        region: RegionServiceClient
    }

    /// Everything that an organization has used.
    pub async fn total(&self, organization: &str) -> wire::UsageRow {
        let request =
            wire::QueryUsageRequest { organization_id: organization.to_owned(), ..Default::default() };
        let answer = self.usage().query_usage(request).await.expect("usage").into_inner();
        answer.rows.into_iter().next().unwrap_or_default()
    }

    /// All usage events of an organization.
    pub async fn events(&self, organization: &str) -> Vec<wire::UsageEvent> {
        let mut events = Vec::new();
        let mut token = String::new();
        loop {
            let page = Some(wire::PageRequest { page_size: 1000, page_token: token });
            let request = wire::ListUsageEventsRequest { organization_id: organization.to_owned(), page };
            let answer = self.usage().list_usage_events(request).await.expect("events").into_inner();
            events.extend(answer.events);
            token = answer.page.unwrap_or_default().next_page_token;
            if token.is_empty() {
                return events;
            }
        }
    }

    /// A new organization.
    pub async fn new_organization(&self, region: &str) -> String {
        let request = wire::CreateOrganizationRequest {
            idempotency_key: fresh(),
            region: region.to_owned(),
            name: "Acme".to_owned(),
            ..Default::default()
        };
        let made =
            self.organizations().create_organization(request).await.expect("organization").into_inner();
        made.organization.expect("organization").id
    }

    /// A new key of an organization: its id and the key.
    pub async fn new_key(&self, organization: &str) -> (String, String) {
        let request = wire::CreateKeyRequest {
            idempotency_key: fresh(),
            organization_id: organization.to_owned(),
            name: "test".to_owned(),
            ..Default::default()
        };
        let made = self.keys().create_key(request).await.expect("key").into_inner();
        (made.key.expect("key").id, made.api_key)
    }

    /// A new credential.
    pub async fn new_credential(&self, organization: &str, secret: &str) -> String {
        let request = wire::CreateCredentialRequest {
            idempotency_key: fresh(),
            organization_id: organization.to_owned(),
            name: "test".to_owned(),
            secret: secret.to_owned(),
        };
        let made = self.credentials().create_credential(request).await.expect("credential").into_inner();
        made.credential.expect("credential").id
    }

    /// A model of this public name that calls `upstream_model` at `endpoint`, which speaks as OpenAI does. Gives the revision that holds it.
    pub async fn new_model(
        &self,
        organization: &str,
        name: &str,
        endpoint: &str,
        upstream_model: &str,
        credential: &str,
    ) -> u64 {
        let provider = "openai_compatible";
        self.new_model_of(provider, organization, name, endpoint, upstream_model, credential).await
    }

    /// The same, at a provider of this kind.
    pub async fn new_model_of(
        &self,
        provider: &str,
        organization: &str,
        name: &str,
        endpoint: &str,
        upstream_model: &str,
        credential: &str,
    ) -> u64 {
        let request = wire::CreateDeploymentRequest {
            idempotency_key: fresh(),
            organization_id: organization.to_owned(),
            provider: provider.to_owned(),
            endpoint: endpoint.to_owned(),
            upstream_model: upstream_model.to_owned(),
            credential_id: credential.to_owned(),
            api_version: String::new(),
            price: None,
        };
        let deployment = self.models().create_deployment(request).await.expect("deployment").into_inner();
        let request = wire::CreateModelRequest {
            idempotency_key: fresh(),
            organization_id: organization.to_owned(),
            name: name.to_owned(),
            deployment_ids: vec![deployment.deployment.expect("deployment").id],
            ..Default::default()
        };
        let made = self.models().create_model(request).await.expect("model").into_inner();
        made.change.expect("change").revision
    }

    /// Waits until every worker has applied a revision.
    pub async fn applied(&self, revision: u64) {
        crate::eventually("every worker has applied the revision", || async {
            let workers = self.workers().await;
            let all = workers
                .iter()
                .filter(|worker| worker.role == "worker")
                .all(|worker| worker.applied_revision >= revision);
            all.then_some(())
        })
        .await;
    }

    /// Workers and routers.
    pub async fn workers(&self) -> Vec<wire::Worker> {
        let request = wire::ListWorkersRequest::default();
        self.region().list_workers(request).await.expect("workers").into_inner().workers
    }
}
