//! `ModelService`: models and deployments.

use bailiwick_core::{
    deployment::NewDeployment,
    model::MAX_DEPLOYMENTS,
    pricing,
    records::{DeploymentRecord, ModelRecord},
};
use bailiwick_domain::{egress::Residency, price::Price, provider::ApiVersion};
use bailiwick_proto::{
    admin::v1::{self as wire, model_service_server::ModelService},
    config::v1 as config,
    convert,
};
use tonic::{Request, Response, Status};

use super::{
    Admin,
    edge::{Edge, change, next_page},
};

#[tonic::async_trait]
impl ModelService for Admin {
    async fn create_model(
        &self,
        request: Request<wire::CreateModelRequest>,
    ) -> Result<Response<wire::CreateModelResponse>, Status> {
        let (mut edge, request) = self.edge(request)?;
        let fields = (
            edge.idempotency_key(&request.idempotency_key),
            edge.id("organization_id", &request.organization_id),
            edge.parse("name", &request.name),
            edge.all("deployment_ids", &request.deployment_ids, MAX_DEPLOYMENTS, |edge, f, text| {
                edge.id(f, text)
            }),
        );
        let fields = match fields {
            (Some(key), Some(organization), Some(name), Some(deployments)) => {
                Some((key, organization, name, deployments))
            }
            _ => None,
        };
        let (idempotency_key, organization, name, deployments) = edge.checked(fields).await?;
        let made = self
            .control_plane
            .model_create(&edge.caller, idempotency_key, organization, name, deployments)
            .await;
        self.answer(made.map(|(made, revision)| wire::CreateModelResponse {
            model: Some(model(&made)),
            change: change(revision),
        }))
    }

    async fn list_models(
        &self,
        request: Request<wire::ListModelsRequest>,
    ) -> Result<Response<wire::ListModelsResponse>, Status> {
        let (mut edge, request) = self.edge(request)?;
        let fields = edge.id("organization_id", &request.organization_id).zip(edge.page(request.page));
        let (organization, page) = edge.checked(fields).await?;
        let found = self.control_plane.model_list(&edge.caller, organization, &page).await;
        self.answer(found.map(|found| wire::ListModelsResponse {
            models: found.rows.iter().map(model).collect(),
            page: next_page(found.next),
        }))
    }

    async fn update_model(
        &self,
        request: Request<wire::UpdateModelRequest>,
    ) -> Result<Response<wire::UpdateModelResponse>, Status> {
        let (mut edge, request) = self.edge(request)?;
        let deployments =
            edge.all("deployment_ids", &request.deployment_ids, MAX_DEPLOYMENTS, |edge, f, text| {
                edge.id(f, text)
            });
        let fields = edge.id("id", &request.id).zip(deployments);
        let (id, deployments) = edge.checked(fields).await?;
        let updated = self.control_plane.model_update(&edge.caller, id, deployments).await;
        self.answer(updated.map(|(updated, revision)| wire::UpdateModelResponse {
            model: Some(model(&updated)),
            change: change(revision),
        }))
    }

    async fn delete_model(
        &self,
        request: Request<wire::DeleteModelRequest>,
    ) -> Result<Response<wire::DeleteModelResponse>, Status> {
        let (mut edge, request) = self.edge(request)?;
        let id = edge.id("id", &request.id);
        let id = edge.checked(id).await?;
        let deleted = self.control_plane.model_delete(&edge.caller, id).await;
        self.answer(deleted.map(|revision| wire::DeleteModelResponse { change: change(revision) }))
    }

    async fn create_deployment(
        &self,
        request: Request<wire::CreateDeploymentRequest>,
    ) -> Result<Response<wire::CreateDeploymentResponse>, Status> {
        let (mut edge, request) = self.edge(request)?;
        let fields = (
            edge.idempotency_key(&request.idempotency_key),
            edge.id("organization_id", &request.organization_id),
            edge.parse("provider", &request.provider),
            edge.parse("endpoint", &request.endpoint),
            edge.parse("upstream_model", &request.upstream_model),
            edge.id("credential_id", &request.credential_id),
            price(&mut edge, request.price.as_ref()),
            api_version(&mut edge, &request),
        );
        let new = match fields {
            (
                Some(key),
                Some(organization),
                Some(provider),
                Some(endpoint),
                Some(model),
                Some(credential),
                Some(price),
                Some(api_version),
            ) => Some(NewDeployment {
                idempotency_key: key,
                organization,
                provider,
                endpoint,
                upstream_model: model,
                credential,
                price,
                api_version,
            }),
            _ => None,
        };
        let new = edge.checked(new).await?;
        let made = self.control_plane.deployment_create(&edge.caller, new).await;
        self.answer(made.map(|(made, revision)| wire::CreateDeploymentResponse {
            // It was judged a moment ago.
            deployment: Some(self.deployment(&made, None)),
            change: change(revision),
        }))
    }

    async fn list_deployments(
        &self,
        request: Request<wire::ListDeploymentsRequest>,
    ) -> Result<Response<wire::ListDeploymentsResponse>, Status> {
        let (mut edge, request) = self.edge(request)?;
        let fields = edge.id("organization_id", &request.organization_id).zip(edge.page(request.page));
        let (organization, page) = edge.checked(fields).await?;
        let found = self.control_plane.deployment_list(&edge.caller, organization, &page).await;
        self.answer(found.map(|(found, residency)| wire::ListDeploymentsResponse {
            deployments: found.rows.iter().map(|row| self.deployment(row, Some(&residency))).collect(),
            page: next_page(found.next),
        }))
    }

    async fn delete_deployment(
        &self,
        request: Request<wire::DeleteDeploymentRequest>,
    ) -> Result<Response<wire::DeleteDeploymentResponse>, Status> {
        let (mut edge, request) = self.edge(request)?;
        let id = edge.id("id", &request.id);
        let id = edge.checked(id).await?;
        let deleted = self.control_plane.deployment_delete(&edge.caller, id).await;
        self.answer(deleted.map(|revision| wire::DeleteDeploymentResponse { change: change(revision) }))
    }
}

impl Admin {
    fn deployment(&self, row: &DeploymentRecord, residency: Option<&Residency>) -> wire::Deployment {
        let judged = residency.map(|residency| {
            self.control_plane.judge_endpoint(residency, &row.endpoint, &row.upstream_model)
        });
        let price = pricing::price_of(&self.control_plane.parts.settings, row);
        wire::Deployment {
            id: row.id.to_string(),
            organization_id: row.organization.to_string(),
            provider: row.provider.to_string(),
            endpoint: row.endpoint.to_string(),
            upstream_model: row.upstream_model.to_string(),
            credential_id: row.credential.to_string(),
            price: price.map(|(price, _)| convert::price_to_wire(&price)),
            price_source: price.map(|(_, source)| source.as_str().to_owned()).unwrap_or_default(),
            created_at_micros: row.created_at.as_micros(),
            api_version: row.api_version.as_ref().map(ToString::to_string).unwrap_or_default(),
            egress_refusal: judged.and_then(Result::err).map(|why| why.to_string()).unwrap_or_default(),
        }
    }
}

/// `Some(None)`: no price of its own.
pub(super) fn price(edge: &mut Edge<'_>, price: Option<&config::Price>) -> Option<Option<Price>> {
    let Some(price) = price else { return Some(None) };
    convert::price_from_wire(price).map_err(|error| edge.violation("price", error.to_string())).ok().map(Some)
}

/// `Some(None)`: the default of whoever has one. Of a provider that is none, the provider is told.
fn api_version(edge: &mut Edge<'_>, request: &wire::CreateDeploymentRequest) -> Option<Option<ApiVersion>> {
    let provider = request.provider.parse().ok()?;
    let version = convert::api_version_from_wire(provider, &request.api_version);
    version.map_err(|error| edge.violation("api_version", error.to_string())).ok()
}

fn model(row: &ModelRecord) -> wire::Model {
    wire::Model {
        id: row.id.to_string(),
        organization_id: row.organization.to_string(),
        name: row.name.to_string(),
        deployment_ids: row.deployments.iter().map(ToString::to_string).collect(),
        created_at_micros: row.created_at.as_micros(),
    }
}
