//! `PolicyService`.

mod limit;

use bailiwick_proto::{
    admin::v1::{self as wire, policy_service_server::PolicyService},
    convert,
};
use tonic::{Request, Response, Status};

use super::{Admin, edge::change};

#[tonic::async_trait]
impl PolicyService for Admin {
    async fn get_residency(
        &self,
        request: Request<wire::GetResidencyRequest>,
    ) -> Result<Response<wire::GetResidencyResponse>, Status> {
        let (mut edge, request) = self.edge(request)?;
        let organization = edge.id("organization_id", &request.organization_id);
        let organization = edge.checked(organization).await?;
        let found = self.control_plane.residency_fetch(&edge.caller, organization).await;
        let home = &self.control_plane.parts.jurisdiction.region().jurisdiction;
        self.answer(found.map(|residency| wire::GetResidencyResponse {
            residency: Some(convert::residency_to_wire(&residency)),
            region_jurisdiction: home.to_string(),
        }))
    }

    async fn set_residency(
        &self,
        request: Request<wire::SetResidencyRequest>,
    ) -> Result<Response<wire::SetResidencyResponse>, Status> {
        let (mut edge, request) = self.edge(request)?;
        let organization = edge.id("organization_id", &request.organization_id);
        // An absent one is the strictest.
        let residency = convert::residency_from_wire(request.residency.as_ref())
            .map_err(|error| edge.violation("residency", error.to_string()))
            .ok();
        let (organization, residency) = edge.checked(organization.zip(residency)).await?;
        let changed = self.control_plane.residency_set(&edge.caller, organization, &residency).await;
        self.answer(changed.map(|revision| wire::SetResidencyResponse {
            residency: Some(convert::residency_to_wire(&residency)),
            change: change(revision),
        }))
    }

    async fn get_allowed_ranges(
        &self,
        request: Request<wire::GetAllowedRangesRequest>,
    ) -> Result<Response<wire::GetAllowedRangesResponse>, Status> {
        let (mut edge, request) = self.edge(request)?;
        let organization = edge.id("organization_id", &request.organization_id);
        let organization = edge.checked(organization).await?;
        let found = self.control_plane.allowed_ranges_fetch(&edge.caller, organization).await;
        self.answer(found.map(|ranges| wire::GetAllowedRangesResponse {
            allowed_ranges: convert::allowed_ranges_to_wire(&ranges),
        }))
    }

    async fn set_allowed_ranges(
        &self,
        request: Request<wire::SetAllowedRangesRequest>,
    ) -> Result<Response<wire::SetAllowedRangesResponse>, Status> {
        let (mut edge, request) = self.edge(request)?;
        let organization = edge.id("organization_id", &request.organization_id);
        let ranges = edge.allowed_ranges("allowed_ranges", &request.allowed_ranges);
        let (organization, ranges) = edge.checked(organization.zip(ranges)).await?;
        let changed = self.control_plane.allowed_ranges_set(&edge.caller, organization, &ranges).await;
        self.answer(changed.map(|revision| wire::SetAllowedRangesResponse {
            allowed_ranges: convert::allowed_ranges_to_wire(&ranges),
            change: change(revision),
        }))
    }

    async fn create_limit(
        &self,
        request: Request<wire::CreateLimitRequest>,
    ) -> Result<Response<wire::CreateLimitResponse>, Status> {
        let (mut edge, request) = self.edge(request)?;
        let new = limit::new(&mut edge, &request);
        let new = edge.checked(new).await?;
        let made = self.control_plane.limit_create(&edge.caller, new).await;
        self.answer(made.map(|(made, revision)| wire::CreateLimitResponse {
            limit: Some(limit::limit(&made)),
            change: change(revision),
        }))
    }

    async fn update_limit(
        &self,
        request: Request<wire::UpdateLimitRequest>,
    ) -> Result<Response<wire::UpdateLimitResponse>, Status> {
        let (mut edge, request) = self.edge(request)?;
        let organization = edge.id("organization_id", &request.organization_id);
        let organization = edge.checked(organization).await?;
        let (number, amount) = (request.number, request.amount);
        let changed = self.control_plane.limit_update(&edge.caller, organization, number, amount).await;
        self.answer(changed.map(|(changed, revision)| wire::UpdateLimitResponse {
            limit: Some(limit::limit(&changed)),
            change: change(revision),
        }))
    }

    async fn delete_limit(
        &self,
        request: Request<wire::DeleteLimitRequest>,
    ) -> Result<Response<wire::DeleteLimitResponse>, Status> {
        let (mut edge, request) = self.edge(request)?;
        let organization = edge.id("organization_id", &request.organization_id);
        let organization = edge.checked(organization).await?;
        let deleted = self.control_plane.limit_delete(&edge.caller, organization, request.number).await;
        self.answer(deleted.map(|revision| wire::DeleteLimitResponse { change: change(revision) }))
    }

    async fn list_limits(
        &self,
        request: Request<wire::ListLimitsRequest>,
    ) -> Result<Response<wire::ListLimitsResponse>, Status> {
        let (mut edge, request) = self.edge(request)?;
        let organization = edge.id("organization_id", &request.organization_id);
        let organization = edge.checked(organization).await?;
        let found = self.control_plane.limit_list(&edge.caller, organization).await;
        self.answer(
            found.map(|found| wire::ListLimitsResponse { limits: found.iter().map(limit::limit).collect() }),
        )
    }

    async fn get_limit_usage(
        &self,
        request: Request<wire::GetLimitUsageRequest>,
    ) -> Result<Response<wire::GetLimitUsageResponse>, Status> {
        let (mut edge, request) = self.edge(request)?;
        let organization = edge.id("organization_id", &request.organization_id);
        let organization = edge.checked(organization).await?;
        let found = self.control_plane.limit_usage(&edge.caller, organization).await;
        self.answer(found.map(limit::usage))
    }
}
