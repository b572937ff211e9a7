use bailiwick_domain::{key::ApiKey, region::Regions, time::Timestamp};
use bailiwick_quota::limit::{MAX_AMOUNT, MemberNumber};
use proptest::prelude::*;

use super::*;

const NOW: Timestamp = Timestamp::from_micros(1_790_000_000_000_000);

fn home(name: &str) -> Jurisdiction {
    Jurisdiction::of(Regions::builtin().by_name_str(name).expect("a built-in region"))
}

fn over<T: Copy + std::fmt::Debug + 'static>(one: T) -> impl Strategy<Value = Over<T>> {
    prop_oneof![Just(Over::All), Just(Over::One(one)), Just(Over::Each)]
}

fn read(limits: &[config::Limit]) -> Result<Vec<Limit>, ConvertError> {
    let eu = home("eu-central-1");
    limits_from_wire(Guard::ConfigurationIdentifiers, &eu, eu.mint(NOW, 1), limits)
}

fn good() -> config::Limit {
    config::Limit { number: 1, measure: 1, amount: 10, keys: None, models: None, deployments: None }
}

proptest! {
    #[test]
    fn a_limit_survives_the_wire(
        number in 1_u32..,
        measure in proptest::sample::select(Measure::ALL.to_vec()),
        amount in 0..=MAX_AMOUNT,
        key in over(ApiKey::generate(home("eu-central-1").code()).key_id()),
        model in over(home("eu-central-1").mint(NOW, 2).into_inner()),
        deployment in over(home("eu-central-1").mint(NOW, 3).into_inner()),
    ) {
        let organization = home("eu-central-1").mint(NOW, 1).into_inner();
        let id = LimitId { organization, number };
        let scope = Scope { key, member: Over::All, model, deployment };
        let limit = Limit::new(id, measure, scope, amount).expect("in bounds");
        let sent = limit_to_wire(&limit).expect("has a form");
        prop_assert_eq!(read(&[sent]), Ok(vec![limit]));
    }
}

#[test]
fn what_is_malformed_or_not_understood_takes_all_limits_with_it() {
    let which = |each| Some(config::LimitedKeys { which: Some(limited_keys::Which::Each(each)) });
    let cases = [
        ("number 0", config::Limit { number: 0, ..good() }),
        ("twice", good()),
        ("no measure", config::Limit { number: 2, measure: 0, ..good() }),
        ("a measure of later", config::Limit { number: 2, measure: 99, ..good() }),
        ("too much", config::Limit { number: 2, amount: MAX_AMOUNT + 1, ..good() }),
        (
            "which keys",
            config::Limit { number: 2, keys: Some(config::LimitedKeys { which: None }), ..good() },
        ),
        ("not each key", config::Limit { number: 2, keys: which(false), ..good() }),
        (
            "which deployments",
            config::Limit {
                number: 2,
                deployments: Some(config::LimitedDeployments { which: None }),
                ..good()
            },
        ),
        (
            "which models",
            config::Limit { number: 2, models: Some(config::LimitedModels { which: None }), ..good() },
        ),
    ];
    for (name, bad) in cases {
        assert!(matches!(read(&[good(), bad]), Err(ConvertError::Field { .. })), "{name}");
    }
    let many = |count: u32| (1..=count).map(|number| config::Limit { number, ..good() }).collect::<Vec<_>>();
    assert_eq!(read(&many(100)).map(|limits| limits.len()), Ok(100));
    assert!(read(&many(101)).is_err());
}

#[test]
fn r5_a_limit_of_a_foreign_key_model_or_deployment_is_refused() {
    let us = home("us-west-1");
    let key_id = ApiKey::generate(us.code()).key_id().to_string();
    let model_id: Local<ModelId> = us.mint(NOW, 2);
    let model_id = model_id.to_string();
    let keys = Some(config::LimitedKeys { which: Some(limited_keys::Which::KeyId(key_id)) });
    let models = Some(config::LimitedModels { which: Some(limited_models::Which::ModelId(model_id)) });
    let deployment_id: Local<DeploymentId> = us.mint(NOW, 3);
    let which = limited_deployments::Which::DeploymentId(deployment_id.to_string());
    let deployments = Some(config::LimitedDeployments { which: Some(which) });
    for bad in [
        config::Limit { keys, ..good() },
        config::Limit { models, ..good() },
        config::Limit { deployments, ..good() },
    ] {
        assert!(matches!(read(&[bad]), Err(ConvertError::Foreign(_))));
    }
}

#[test]
fn a_limit_of_members_has_no_form_on_the_wire() {
    let id = LimitId { organization: home("eu-central-1").mint(NOW, 1).into_inner(), number: 1 };
    for member in [Over::Each, Over::One(MemberNumber(7))] {
        let scope = Scope { member, ..Scope::ORGANIZATION };
        let limit = Limit::new(id, Measure::RequestsPerMinute, scope, 1).expect("in bounds");
        assert_eq!(limit_to_wire(&limit), None);
    }
}
