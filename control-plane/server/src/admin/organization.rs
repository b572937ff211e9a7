//! `OrganizationService`.

use bailiwick_core::organization::{NewOrganization, Organization};
use bailiwick_domain::organization::OrganizationStatus;
use bailiwick_proto::{
    admin::v1::{self as wire, organization_service_server::OrganizationService},
    config::v1 as config,
    convert,
};
use tonic::{Request, Response, Status};

use super::{
    Admin,
    edge::{change, next_page},
};

#[tonic::async_trait]
impl OrganizationService for Admin {
    async fn create_organization(
        &self,
        request: Request<wire::CreateOrganizationRequest>,
    ) -> Result<Response<wire::CreateOrganizationResponse>, Status> {
        let (mut edge, request) = self.edge(request)?;
        if config::OnStale::try_from(request.on_stale).is_err() {
            edge.violation("on_stale", "is one of ON_STALE_REFUSE, ON_STALE_SERVE, or absent".to_owned());
        }
        let on_stale = convert::on_stale_from_wire(request.on_stale());
        let fields = (
            edge.idempotency_key(&request.idempotency_key),
            edge.parse("region", &request.region),
            edge.parse("name", &request.name),
            edge.parse_optional("contact_email", &request.contact_email),
        );
        let new = match fields {
            (Some(idempotency_key), Some(region), Some(name), Some(contact_email)) => {
                Some(NewOrganization { idempotency_key, region, name, contact_email, on_stale })
            }
            _ => None,
        };
        let new = edge.checked(new).await?;
        let made = self.control_plane.organization_create(&edge.caller, new).await;
        self.answer(made.map(|(organization, revision)| wire::CreateOrganizationResponse {
            organization: Some(self.organization(organization)),
            change: change(revision),
        }))
    }

    async fn get_organization(
        &self,
        request: Request<wire::GetOrganizationRequest>,
    ) -> Result<Response<wire::GetOrganizationResponse>, Status> {
        let (mut edge, request) = self.edge(request)?;
        let id = edge.id("id", &request.id);
        let id = edge.checked(id).await?;
        let found = self.control_plane.organization_fetch(&edge.caller, id).await;
        self.answer(found.map(|organization| wire::GetOrganizationResponse {
            organization: Some(self.organization(organization)),
        }))
    }

    async fn list_organizations(
        &self,
        request: Request<wire::ListOrganizationsRequest>,
    ) -> Result<Response<wire::ListOrganizationsResponse>, Status> {
        let (mut edge, request) = self.edge(request)?;
        let page = edge.page(request.page);
        let page = edge.checked(page).await?;
        let found = self.control_plane.organization_list(&edge.caller, &page).await;
        self.answer(found.map(|found| wire::ListOrganizationsResponse {
            organizations:
                found.rows.into_iter().map(|organization| self.organization(organization)).collect(),
            page: next_page(found.next),
        }))
    }

    async fn suspend_organization(
        &self,
        request: Request<wire::SuspendOrganizationRequest>,
    ) -> Result<Response<wire::SuspendOrganizationResponse>, Status> {
        let (mut edge, request) = self.edge(request)?;
        let id = edge.id("id", &request.id);
        let id = edge.checked(id).await?;
        let changed = self.control_plane.organization_suspend(&edge.caller, id, request.suspended).await;
        self.answer(changed.map(|(organization, revision)| wire::SuspendOrganizationResponse {
            organization: Some(self.organization(organization)),
            change: change(revision),
        }))
    }

    async fn delete_organization(
        &self,
        request: Request<wire::DeleteOrganizationRequest>,
    ) -> Result<Response<wire::DeleteOrganizationResponse>, Status> {
        let (mut edge, request) = self.edge(request)?;
        let id = edge.id("id", &request.id);
        let id = edge.checked(id).await?;
        let deleted = self.control_plane.organization_delete(&edge.caller, id).await;
        self.answer(deleted.map(|revision| wire::DeleteOrganizationResponse { change: change(revision) }))
    }
}

impl Admin {
    fn organization(&self, organization: Organization) -> wire::Organization {
        let status = match organization.status {
            OrganizationStatus::Active => wire::OrganizationStatus::Active,
            OrganizationStatus::Suspended => wire::OrganizationStatus::Suspended,
            OrganizationStatus::Deleted => wire::OrganizationStatus::Deleted,
        };
        wire::Organization {
            id: organization.id.to_string(),
            region: self.control_plane.parts.jurisdiction.region().name.to_string(),
            name: organization.name,
            contact_email: organization.contact_email,
            status: status.into(),
            on_stale: convert::on_stale_to_wire(organization.on_stale).into(),
            created_at_micros: organization.created_at.as_micros(),
        }
    }
}
