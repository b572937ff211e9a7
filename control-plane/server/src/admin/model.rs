//! `ModelService`: models and deployments.

use bailiwick_core::{
    deployment::NewDeployment,
    model::{GivenDeployments, MAX_DEPLOYMENTS, ModelChange, NewModel},
    pricing,
    records::{DeploymentRecord, ModelRecord},
};
use bailiwick_domain::{
    egress::Residency,
    names::ModelName,
    price::Price,
    provider::ApiVersion,
    routing::{Fallbacks, GivenRank},
};
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
            deployments(&mut edge, &request.deployment_ids, &request.ranks),
            edge.parse_optional("strategy", &request.strategy),
            fallbacks(&mut edge, &request),
        );
        let new = match fields {
            (
                Some(idempotency_key),
                Some(organization),
                Some(name),
                Some(deployments),
                Some(strategy),
                Some(fallbacks),
            ) => {
                let strategy = strategy.unwrap_or_default();
                Some(NewModel { idempotency_key, organization, name, deployments, strategy, fallbacks })
            }
            _ => None,
        };
        let new = edge.checked(new).await?;
        let made = self.control_plane.model_create(&edge.caller, new).await;
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
        let fields = edge.id("id", &request.id).zip(model_change(&mut edge, &request));
        let (id, change_of) = edge.checked(fields).await?;
        let updated = self.control_plane.model_update(&edge.caller, id, change_of).await;
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

/// Deployments, and what is said of their ranks.
fn deployments(edge: &mut Edge<'_>, ids: &[String], ranks: &[config::Rank]) -> Option<GivenDeployments> {
    if ranks.len() > MAX_DEPLOYMENTS {
        edge.violation("ranks", format!("has {} entries; at most {MAX_DEPLOYMENTS}", ranks.len()));
        return None;
    }
    let deployments =
        edge.all("deployment_ids", ids, MAX_DEPLOYMENTS, |edge, field, text| edge.id(field, text))?;
    let ranks = ranks.iter().map(|rank| GivenRank { order: rank.order, weight: rank.weight }).collect();
    Some(GivenDeployments { deployments, ranks })
}

fn fallbacks(edge: &mut Edge<'_>, request: &wire::CreateModelRequest) -> Option<Fallbacks> {
    let general = edge.parse_optional("fallback_model", &request.fallback_model);
    let context_window =
        edge.parse_optional("context_window_fallback_model", &request.context_window_fallback_model);
    let content_policy =
        edge.parse_optional("content_policy_fallback_model", &request.content_policy_fallback_model);
    Some(Fallbacks { general: general?, context_window: context_window?, content_policy: content_policy? })
}

fn model_change(edge: &mut Edge<'_>, request: &wire::UpdateModelRequest) -> Option<ModelChange> {
    let stay = request.deployment_ids.is_empty() && request.ranks.is_empty();
    let deployments =
        if stay { Some(None) } else { deployments(edge, &request.deployment_ids, &request.ranks).map(Some) };
    let strategy = edge.parse_optional("strategy", &request.strategy);
    let mut name = |field: &str, name: &Option<String>| match name {
        None => Some(None),
        Some(name) => edge.parse_optional(field, name).map(Some),
    };
    let fallback = name("fallback_model", &request.fallback_model);
    let context_window = name("context_window_fallback_model", &request.context_window_fallback_model);
    let content_policy = name("content_policy_fallback_model", &request.content_policy_fallback_model);
    Some(ModelChange {
        deployments: deployments?,
        strategy: strategy?,
        fallback: fallback?,
        context_window_fallback: context_window?,
        content_policy_fallback: content_policy?,
    })
}

fn model(row: &ModelRecord) -> wire::Model {
    let name = |name: &Option<ModelName>| name.as_ref().map(ToString::to_string).unwrap_or_default();
    wire::Model {
        id: row.id.to_string(),
        organization_id: row.organization.to_string(),
        name: row.name.to_string(),
        deployment_ids: row.deployments.iter().map(|one| one.deployment.to_string()).collect(),
        created_at_micros: row.created_at.as_micros(),
        ranks: row.deployments.iter().map(|one| convert::rank_to_wire(one.rank)).collect(),
        strategy: row.strategy.to_string(),
        fallback_model: name(&row.fallbacks.general),
        context_window_fallback_model: name(&row.fallbacks.context_window),
        content_policy_fallback_model: name(&row.fallbacks.content_policy),
    }
}
