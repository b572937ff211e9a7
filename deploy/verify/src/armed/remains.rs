//! What attacks that got in have made. Everything that a run makes carries its name, so all of it can be found.

use bailiwick_proto::admin::v1::{
    ListOrganizationsRequest, ListWorkersRequest, OrganizationStatus, PageRequest, PageResponse,
    RevokeWorkerRequest, organization_service_client::OrganizationServiceClient,
    region_service_client::RegionServiceClient, trust_service_client::TrustServiceClient,
};
use tonic::{Status, transport::Channel};

use super::{
    account::{delete, name},
    request, say,
};

const PAGE: i32 = 1000;

/// Removes every organization, worker and router of a run.
pub(super) async fn remove(admin: &Channel, run: &str) -> Result<(), String> {
    let failed = |status: Status| format!("what got in may be left: {}", say(&status));
    organizations(admin, run).await.map_err(failed)?;
    processes(admin, run).await.map_err(failed)
}

async fn organizations(admin: &Channel, run: &str) -> Result<(), Status> {
    let mut client = OrganizationServiceClient::new(admin.clone());
    let mut page = first();
    loop {
        let listed =
            client.list_organizations(request(ListOrganizationsRequest { page })).await?.into_inner();
        for found in listed.organizations {
            if found.name == name(run) && found.status() != OrganizationStatus::Deleted {
                delete(admin, &found.id).await?;
            }
        }
        page = next(listed.page);
        if page.is_none() {
            return Ok(());
        }
    }
}

async fn processes(admin: &Channel, run: &str) -> Result<(), Status> {
    let mut client = RegionServiceClient::new(admin.clone());
    let mut trust = TrustServiceClient::new(admin.clone());
    let mut page = first();
    loop {
        let listed = client.list_workers(request(ListWorkersRequest { page })).await?.into_inner();
        for found in listed.workers.iter().filter(|found| found.name.starts_with(run)) {
            trust.revoke_worker(request(RevokeWorkerRequest { id: found.id.clone() })).await?;
        }
        page = next(listed.page);
        if page.is_none() {
            return Ok(());
        }
    }
}

fn first() -> Option<PageRequest> {
    Some(PageRequest { page_size: PAGE, ..PageRequest::default() })
}

fn next(page: Option<PageResponse>) -> Option<PageRequest> {
    let page_token = page.unwrap_or_default().next_page_token;
    (!page_token.is_empty()).then_some(PageRequest { page_size: PAGE, page_token })
}
