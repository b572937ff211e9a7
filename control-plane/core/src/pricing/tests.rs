use bailiwick_domain::{
    jurisdiction::Jurisdiction,
    price::{PerMillion, Price},
    provider::Provider,
    region::Regions,
    time::Timestamp,
};

use super::*;

fn deployment(model: &str, price: Option<Price>) -> DeploymentRecord {
    let regions = Regions::builtin();
    let here = Jurisdiction::of(regions.by_name_str("eu-central-1").expect("a region"));
    let now = Timestamp::from_micros(1);
    DeploymentRecord {
        id: here.mint_random(now),
        organization: here.mint_random(now),
        provider: Provider::OpenAi,
        endpoint: "https://api.openai.com/v1".parse().expect("a URL"),
        upstream_model: model.parse().expect("a name"),
        credential: here.mint_random(now),
        api_version: None,
        price,
        contract_price: None,
        created_at: now,
    }
}

fn per_million(nanos: i64) -> PerMillion {
    PerMillion::from_nanos(nanos).expect("not negative")
}

fn price(input: i64) -> Price {
    Price::of_tokens(per_million(input), per_million(1))
}

#[test]
fn the_deployments_own_price_goes_before_the_contracts_that_before_the_operators_and_that_before_the_catalogues()
 {
    let mut settings = Settings::default();
    let source =
        |settings: &Settings, own| price_of(settings, &deployment("gpt-4o", own)).map(|(_, from)| from);
    assert_eq!(source(&settings, None), Some(PriceSource::Catalogue));
    settings.prices.insert((Provider::OpenAi, "gpt-4o".to_owned()), price(2));
    assert_eq!(source(&settings, None), Some(PriceSource::Operator));
    assert_eq!(source(&settings, Some(price(3))), Some(PriceSource::Deployment));
    let agreed = |own| DeploymentRecord { contract_price: Some(price(4)), ..deployment("gpt-4o", own) };
    assert_eq!(price_of(&settings, &agreed(None)), Some((price(4), PriceSource::Contract)));
    assert_eq!(price_of(&settings, &agreed(Some(price(3)))), Some((price(3), PriceSource::Deployment)));
    let found = price_of(&settings, &deployment("gpt-4o", Some(price(3)))).map(|(price, _)| price.input);
    assert_eq!(found, Some(per_million(3)));
}

#[test]
fn what_nobody_has_a_price_for_is_unpriced_and_not_free() {
    assert_eq!(price_of(&Settings::default(), &deployment("in-house-7b", None)), None);
}
