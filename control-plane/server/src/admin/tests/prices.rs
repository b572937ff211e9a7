//! Prices that the operator has agreed with organizations: who may, what is recorded, what deployments are priced by.

use bailiwick_domain::spiffe::ProcessRole;
use bailiwick_proto::{
    admin::v1::{self as wire, price_service_client::PriceServiceClient},
    config::v1::Price,
    status::reason_of,
};
use tonic::{Code, transport::Channel};

use super::world::World;

fn prices(world: &World) -> PriceServiceClient<Channel> {
    PriceServiceClient::new(world.channel(ProcessRole::Operator))
}

fn set(organization: &str, input: Option<i64>) -> wire::SetContractPriceRequest {
    let price = input.map(|input| Price { input_nanos_usd_per_million: input, ..Price::default() });
    wire::SetContractPriceRequest {
        organization_id: organization.to_owned(),
        provider: "openai_compatible".to_owned(),
        upstream_model: "gpt-4o".to_owned(),
        price,
    }
}

async fn priced(world: &World, organization: &str) -> (String, Option<i64>) {
    let request = wire::ListDeploymentsRequest { organization_id: organization.to_owned(), page: None };
    let mut listed = world.models().list_deployments(request).await.expect("told").into_inner().deployments;
    let deployment = listed.remove(0);
    (deployment.price_source, deployment.price.map(|price| price.input_nanos_usd_per_million))
}

#[tokio::test]
async fn r11_a_contracts_price_is_set_and_removed_with_a_record_of_what_it_says() {
    let world = World::new().await;
    let org = world.organization().await;
    let secret = world.credential(&org).await;
    world.deployment(&org, &secret).await;
    let before = priced(&world, &org).await;
    let records = world.records(&org).await.len();

    let answer = prices(&world).set_contract_price(set(&org, Some(7))).await.expect("set").into_inner();
    assert_eq!((answer.deployments, priced(&world, &org).await), (1, ("contract".to_owned(), Some(7))));
    let said = world.records(&org).await;
    let last = said.last().expect("a record");
    assert_eq!((said.len(), last.action.as_str()), (records + 1, "price.set"));
    assert_eq!(last.subject, format!("{org} openai_compatible gpt-4o input=7 output=0"));
    assert_eq!(last.revision, answer.change.expect("told").revision);

    prices(&world).set_contract_price(set(&org, None)).await.expect("removed");
    assert_eq!(priced(&world, &org).await, before);
    let last = world.records(&org).await.pop().expect("a record");
    assert_eq!(last.action, "price.remove");
    let gone = prices(&world).set_contract_price(set(&org, None)).await.expect_err("there is none");
    assert_eq!(gone.code(), Code::NotFound);
    assert!(world.intact(&org).await);
}

#[tokio::test]
async fn an_organization_sees_its_prices_and_does_not_set_them() {
    let world = World::new().await;
    let org = world.organization().await;
    prices(&world).set_contract_price(set(&org, Some(7))).await.expect("set");
    let token = world.token_of(&org, "owner").await;
    let bearer = |mut request: tonic::Request<()>| {
        let value = format!("Bearer {token}").parse().expect("a header");
        request.metadata_mut().insert("authorization", value);
        Ok(request)
    };
    let mut owner = PriceServiceClient::with_interceptor(world.visitor(), bearer);
    let request = wire::ListContractPricesRequest { organization_id: org.clone(), page: None };
    let listed = owner.list_contract_prices(request).await.expect("told").into_inner().prices;
    assert_eq!(listed.len(), 1);
    let refused = owner.set_contract_price(set(&org, Some(0))).await.expect_err("refused");
    assert_eq!(reason_of(&refused).as_deref(), Some("permission_denied"));
}

#[tokio::test]
async fn a_price_out_of_bounds_is_refused_by_name() {
    let world = World::new().await;
    let org = world.organization().await;
    for (price, field) in [
        (Price { input_nanos_usd_per_million: -1, ..Price::default() }, "input"),
        (Price { image_nanos_usd: Some(i64::MAX), ..Price::default() }, "image"),
        (Price { audio_nanos_usd_per_minute: Some(-1), ..Price::default() }, "audio"),
    ] {
        let request = wire::SetContractPriceRequest { price: Some(price), ..set(&org, None) };
        let refused = prices(&world).set_contract_price(request).await.expect_err("refused");
        assert_eq!(refused.code(), Code::InvalidArgument);
        assert!(refused.message().contains(field) || format!("{refused:?}").contains(field), "{refused:?}");
    }
}
