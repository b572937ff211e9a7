//! Limits as administrators set them.

use bailiwick_domain::spiffe::ProcessRole;
use bailiwick_proto::{
    admin::v1::{self as wire, policy_service_client::PolicyServiceClient},
    config::v1::{
        LimitedDeployments, LimitedKeys, LimitedModels, limited_deployments, limited_keys, limited_models,
    },
    status::{reason_of, violations_of},
};
use tonic::{Code, Status, transport::Channel};

use super::world::{World, fresh, model};

fn policies(world: &World) -> PolicyServiceClient<Channel> {
    PolicyServiceClient::new(world.channel(ProcessRole::Operator))
}

fn new(organization: &str, measure: &str, amount: u64) -> wire::CreateLimitRequest {
    wire::CreateLimitRequest {
        idempotency_key: fresh(),
        organization_id: organization.to_owned(),
        measure: measure.to_owned(),
        amount,
        keys: None,
        models: None,
        deployments: None,
    }
}

fn key(id: &str) -> Option<LimitedKeys> {
    Some(LimitedKeys { which: Some(limited_keys::Which::KeyId(id.to_owned())) })
}

fn at(deployment: &str) -> Option<LimitedDeployments> {
    let which = limited_deployments::Which::DeploymentId(deployment.to_owned());
    Some(LimitedDeployments { which: Some(which) })
}

async fn create(world: &World, new: wire::CreateLimitRequest) -> Result<wire::Limit, Status> {
    let answer = policies(world).create_limit(new).await?.into_inner();
    assert!(answer.change.is_some_and(|change| change.revision > 0));
    Ok(answer.limit.expect("told"))
}

async fn list(world: &World, organization: &str) -> Vec<wire::Limit> {
    let request = wire::ListLimitsRequest { organization_id: organization.to_owned() };
    policies(world).list_limits(request).await.expect("listed").into_inner().limits
}

#[tokio::test]
async fn a_limit_is_made_changed_and_deleted_and_each_is_on_the_record() {
    let world = World::new().await;
    let org = world.organization().await;
    let id = world.key(&org).await.key.expect("told").id;
    let each = Some(LimitedModels { which: Some(limited_models::Which::Each(true)) });
    let asked = wire::CreateLimitRequest { keys: key(&id), models: each, ..new(&org, "nano_usd_per_day", 5) };
    let made = create(&world, asked.clone()).await.expect("made");
    assert_eq!((made.number, made.amount, made.measure.as_str()), (1, 5, "nano_usd_per_day"));
    assert_eq!((&made.keys, &made.models), (&asked.keys, &asked.models));
    let again = create(&world, asked).await.expect("found");
    assert_eq!(again, made, "a repeated call makes nothing");

    let update = wire::UpdateLimitRequest { organization_id: org.clone(), number: 1, amount: 9 };
    let changed = policies(&world).update_limit(update).await.expect("changed").into_inner();
    assert_eq!(changed.limit.clone().map(|limit| (limit.number, limit.amount)), Some((1, 9)));
    assert_eq!(list(&world, &org).await, changed.limit.into_iter().collect::<Vec<_>>());
    let delete = wire::DeleteLimitRequest { organization_id: org.clone(), number: 1 };
    policies(&world).delete_limit(delete.clone()).await.expect("deleted");
    let gone = policies(&world).delete_limit(delete).await.expect_err("gone");
    assert_eq!(gone.code(), Code::NotFound);
    assert_eq!(list(&world, &org).await, []);

    let records = world.records(&org).await;
    let said: Vec<_> = records
        .iter()
        .filter(|record| record.action.starts_with("limit."))
        .map(|record| (record.action.as_str(), record.subject.clone()))
        .collect();
    let limit = format!("{org}/limits/1");
    let expected = [
        ("limit.create", format!("{limit} nano_usd_per_day=5 keys={id} models=each deployments=all")),
        ("limit.update", format!("{limit} amount=9")),
        ("limit.delete", limit),
    ];
    assert_eq!(said, expected);
    assert!(records.iter().all(|record| record.revision > 0 || !record.action.starts_with("limit.")));
    assert!(world.intact(&org).await);
}

#[tokio::test]
async fn a_limit_that_makes_no_sense_is_refused_by_its_field() {
    let world = World::new().await;
    let (org, other) = (world.organization().await, world.organization().await);
    let foreign = world.key(&other).await.key.expect("told").id;
    let revoked = world.key(&org).await.key.expect("told").id;
    world.keys().revoke_key(wire::RevokeKeyRequest { id: revoked.clone() }).await.expect("revoked");
    let unsaid = Some(LimitedKeys { which: None });
    let credential = world.credential(&other).await;
    let elsewhere = at(&world.deployment(&other, &credential).await);
    let unsaid_place = Some(LimitedDeployments { which: None });
    let good = || new(&org, "requests_per_minute", 1);
    let cases = [
        ("measure", wire::CreateLimitRequest { measure: "requests".into(), ..good() }),
        ("amount", wire::CreateLimitRequest { amount: u64::MAX, ..good() }),
        ("keys", wire::CreateLimitRequest { keys: unsaid, ..good() }),
        ("keys.key_id", wire::CreateLimitRequest { keys: key(&foreign), ..good() }),
        ("keys.key_id", wire::CreateLimitRequest { keys: key(&revoked), ..good() }),
        ("deployments", wire::CreateLimitRequest { deployments: unsaid_place, ..good() }),
        ("deployments.deployment_id", wire::CreateLimitRequest { deployments: elsewhere, ..good() }),
    ];
    for (field, request) in cases {
        let refused = create(&world, request).await.expect_err(field);
        let fields: Vec<_> = violations_of(&refused).into_iter().map(|violation| violation.field).collect();
        assert_eq!((refused.code(), fields), (Code::InvalidArgument, vec![field.to_owned()]), "{refused}");
    }
    create(&world, good()).await.expect("made");
    let twice = create(&world, good()).await.expect_err("the same");
    assert_eq!((twice.code(), reason_of(&twice).as_deref()), (Code::AlreadyExists, Some("limit_exists")));
    assert_eq!(list(&world, &org).await.len(), 1);
}

#[tokio::test]
async fn a_hundred_limits_are_enough() {
    let world = World::new().await;
    let org = world.organization().await;
    for _ in 0..100 {
        let id = world.key(&org).await.key.expect("told").id;
        let limited = wire::CreateLimitRequest { keys: key(&id), ..new(&org, "parallel_requests", 1) };
        create(&world, limited).await.expect("made");
    }
    let refused = create(&world, new(&org, "parallel_requests", 1)).await.expect_err("one too many");
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert_eq!(reason_of(&refused).as_deref(), Some("too_many_limits"));
}

#[tokio::test]
async fn a_rotated_key_is_limited_as_the_one_before() {
    let world = World::new().await;
    let org = world.organization().await;
    let old = world.key(&org).await.key.expect("told").id;
    let limited = wire::CreateLimitRequest { keys: key(&old), ..new(&org, "nano_usd_total", 7) };
    create(&world, limited).await.expect("made");
    let rotate = wire::RotateKeyRequest { id: old.clone(), overlap_seconds: 60, idempotency_key: fresh() };
    let rotated = world.keys().rotate_key(rotate).await.expect("rotated").into_inner();
    let new = rotated.key.expect("told").id;
    let limits = list(&world, &org).await;
    let told: Vec<_> = limits.iter().map(|limit| (limit.keys.clone(), limit.amount)).collect();
    assert_eq!(told, [(key(&old), 7), (key(&new), 7)]);
}

#[tokio::test]
async fn a_deployments_limit_stands_beside_that_of_all_and_is_read_back() {
    let world = World::new().await;
    let org = world.organization().await;
    let credential = world.credential(&org).await;
    let deployment = world.deployment(&org, &credential).await;
    create(&world, new(&org, "parallel_requests", 9)).await.expect("made");
    let limited =
        wire::CreateLimitRequest { deployments: at(&deployment), ..new(&org, "parallel_requests", 7) };
    let made = create(&world, limited.clone()).await.expect("another one");
    assert_eq!(made.deployments, at(&deployment));
    assert_eq!(list(&world, &org).await.pop(), Some(made));
    let twice = wire::CreateLimitRequest { idempotency_key: fresh(), ..limited };
    let twice = create(&world, twice).await.expect_err("the same");
    assert_eq!(reason_of(&twice).as_deref(), Some("limit_exists"));
}

#[tokio::test]
async fn an_explanation_names_the_limits_that_are_about_the_call_and_no_others() {
    let world = World::new().await;
    let org = world.organization().await;
    let credential = world.credential(&org).await;
    let deployment = world.deployment(&org, &credential).await;
    let unused = world.deployment(&org, &credential).await;
    for name in ["gpt", "other"] {
        world.models().create_model(model(&org, name, &deployment)).await.expect("made");
    }
    let (id, stranger) =
        (world.key(&org).await.key.expect("told").id, world.key(&org).await.key.expect("told").id);
    let explain = async |model: &str| {
        let asked = wire::ExplainKeyRequest { id: id.clone(), model: model.to_owned(), ..Default::default() };
        let answer = world.keys().explain_key(asked).await.expect("explained").into_inner();
        answer.steps.into_iter().find(|step| step.step == "limits").map(|step| (step.passed, step.finding))
    };
    assert_eq!(explain("gpt").await, None);
    let each = Some(LimitedKeys { which: Some(limited_keys::Which::Each(true)) });
    for limit in [
        wire::CreateLimitRequest { keys: each, ..new(&org, "requests_per_minute", 600) },
        wire::CreateLimitRequest { keys: key(&stranger), ..new(&org, "requests_per_minute", 1) },
        wire::CreateLimitRequest { deployments: at(&deployment), ..new(&org, "parallel_requests", 7) },
        wire::CreateLimitRequest { deployments: at(&unused), ..new(&org, "parallel_requests", 8) },
    ] {
        create(&world, limit).await.expect("made");
    }
    let (passed, finding) = explain("gpt").await.expect("there are some");
    assert!(passed, "{finding}");
    assert!(finding.contains("limit 1 allows 600 requests_per_minute for each key"), "{finding}");
    let place = format!("limit 3 allows 7 parallel_requests for the organization at deployment {deployment}");
    assert!(finding.contains(&place), "{finding}");
    assert!(!finding.contains("limit 2 ") && !finding.contains("limit 4 "), "{finding}");
    // What admits nothing refuses.
    create(&world, new(&org, "nano_usd_total", 0)).await.expect("made");
    let stands = explain("gpt").await.expect("there are some");
    assert!(stands.0 || stands.1.starts_with("limit 5 is used up"), "{stands:?}");
}

#[tokio::test]
async fn a_limit_outlives_the_model_that_it_is_for_and_goes_when_it_is_deleted() {
    let world = World::new().await;
    let org = world.organization().await;
    let credential = world.credential(&org).await;
    let deployment = world.deployment(&org, &credential).await;
    let made = world.models().create_model(model(&org, "gpt", &deployment)).await.expect("made").into_inner();
    let id = made.model.expect("told").id;
    let which = Some(limited_models::Which::ModelId(id.clone()));
    let limited = wire::CreateLimitRequest {
        models: Some(LimitedModels { which }),
        ..new(&org, "tokens_per_minute", 7)
    };
    let made = create(&world, limited).await.expect("made");
    world.models().delete_model(wire::DeleteModelRequest { id }).await.expect("deleted");
    assert_eq!(list(&world, &org).await, [made]);
    let delete = wire::DeleteLimitRequest { organization_id: org.clone(), number: 1 };
    policies(&world).delete_limit(delete).await.expect("deleted");
    assert_eq!(list(&world, &org).await, []);
}
