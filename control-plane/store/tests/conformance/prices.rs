//! What the operator has agreed with organizations.

use bailiwick_core::{
    ports::store::{Store, StoreError},
    records::ContractPriceRecord,
};
use bailiwick_domain::price::{PerMillion, Price};

use crate::{
    fixture::Fixture,
    samples::{Tenant, contract_price, deployment, mutate, page},
};

pub(crate) async fn a_contracts_price_comes_with_the_deployments_of_its_model_and_no_others(
    fixture: &Fixture,
) {
    let (ours, theirs) = (Tenant::stored(fixture).await, Tenant::stored(fixture).await);
    let id = ours.organization.id;
    let mut other = deployment(fixture, id, ours.credential.id);
    other.upstream_model = "another".parse().expect("good");
    mutate(fixture, &[], async |t| t.deployment_insert(&other).await).await.expect("stored");
    let mut row = contract_price(id);
    for input in [1, 5] {
        row.price.input = PerMillion::from_nanos(input).expect("in bounds");
        mutate(fixture, &[], async |t| t.contract_price_set(&row).await).await.expect("set");
        let priced = async |id| {
            fixture.store.deployment_fetch(id).await.expect("reads").expect("there").contract_price
        };
        assert_eq!(priced(ours.deployment.id).await, Some(row.price), "set, and set anew");
        assert_eq!(priced(other.id).await, None, "another model");
        assert_eq!(priced(theirs.deployment.id).await, None, "another organization's");
    }
    let (provider, model) = (row.provider, row.upstream_model.clone());
    let mut affected = Vec::new();
    mutate(fixture, &[], async |t| {
        affected = t.deployments_of_model(id, provider, &model).await?;
        t.contract_price_remove(id, provider, &model).await
    })
    .await
    .expect("removed");
    assert_eq!(affected, vec![ours.deployment.id]);
    let read = fixture.store.deployment_fetch(ours.deployment.id).await.expect("reads");
    assert_eq!(read, Some(ours.deployment.clone()));
    let again = mutate(fixture, &[], async |t| t.contract_price_remove(id, provider, &model).await).await;
    assert!(matches!(again, Err(StoreError::NotFound)), "{again:?}");
}

pub(crate) async fn contract_prices_are_listed_by_model_as_they_went_in(fixture: &Fixture) {
    let (ours, theirs) = (Tenant::stored(fixture).await, Tenant::stored(fixture).await);
    let nanos = |nanos| PerMillion::from_nanos(nanos).expect("in bounds");
    let mut rows: Vec<ContractPriceRecord> = ["b/model", "a:model", "c"]
        .into_iter()
        .map(|model| ContractPriceRecord {
            upstream_model: model.parse().expect("good"),
            ..contract_price(ours.organization.id)
        })
        .collect();
    rows[0].price = Price {
        cached_input: Some(nanos(3)),
        cache_write: Some(nanos(4)),
        image: Some(nanos(5)),
        audio_minute: Some(nanos(6)),
        ..Price::of_tokens(nanos(1), nanos(2))
    };
    mutate(fixture, &[], async |t| {
        for row in &rows {
            t.contract_price_set(row).await?;
        }
        t.contract_price_set(&contract_price(theirs.organization.id)).await
    })
    .await
    .expect("set");
    rows.sort_by(|one, other| one.upstream_model.as_str().cmp(other.upstream_model.as_str()));
    let (mut seen, mut next) = (Vec::new(), page(1, None));
    loop {
        let answer = fixture.store.contract_price_list(ours.organization.id, &next).await.expect("lists");
        seen.extend(answer.rows);
        match answer.next {
            Some(token) => next = page(1, Some(token)),
            None => break,
        }
    }
    assert_eq!(seen, rows);
    let refused =
        fixture.store.contract_price_list(ours.organization.id, &page(1, Some("x".to_owned()))).await;
    assert!(matches!(refused, Err(StoreError::PageToken)));
}
