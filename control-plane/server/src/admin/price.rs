//! `PriceService`.

use bailiwick_core::records::ContractPriceRecord;
use bailiwick_proto::{
    admin::v1::{self as wire, price_service_server::PriceService},
    convert,
};
use tonic::{Request, Response, Status};

use super::{
    Admin,
    edge::{change, next_page},
    model::price,
};

#[tonic::async_trait]
impl PriceService for Admin {
    async fn list_contract_prices(
        &self,
        request: Request<wire::ListContractPricesRequest>,
    ) -> Result<Response<wire::ListContractPricesResponse>, Status> {
        let (mut edge, request) = self.edge(request)?;
        let fields = edge.id("organization_id", &request.organization_id).zip(edge.page(request.page));
        let (organization, page) = edge.checked(fields).await?;
        let found = self.control_plane.contract_price_list(&edge.caller, organization, &page).await;
        self.answer(found.map(|found| wire::ListContractPricesResponse {
            prices: found.rows.iter().map(contract_price).collect(),
            page: next_page(found.next),
        }))
    }

    async fn set_contract_price(
        &self,
        request: Request<wire::SetContractPriceRequest>,
    ) -> Result<Response<wire::SetContractPriceResponse>, Status> {
        let (mut edge, request) = self.edge(request)?;
        let fields = (
            edge.id("organization_id", &request.organization_id),
            edge.parse("provider", &request.provider),
            edge.parse("upstream_model", &request.upstream_model),
            price(&mut edge, request.price.as_ref()),
        );
        let fields = match fields {
            (Some(organization), Some(provider), Some(model), Some(price)) => {
                Some((organization, (provider, model), price))
            }
            _ => None,
        };
        let (organization, of, price) = edge.checked(fields).await?;
        let set = self.control_plane.contract_price_set(&edge.caller, organization, of, price).await;
        self.answer(set.map(|repriced| wire::SetContractPriceResponse {
            deployments: u32::try_from(repriced.deployments).unwrap_or(u32::MAX),
            change: change(repriced.revision),
        }))
    }
}

fn contract_price(row: &ContractPriceRecord) -> wire::ContractPrice {
    wire::ContractPrice {
        organization_id: row.organization.to_string(),
        provider: row.provider.to_string(),
        upstream_model: row.upstream_model.to_string(),
        price: Some(convert::price_to_wire(&row.price)),
        set_at_micros: row.set_at.as_micros(),
    }
}
