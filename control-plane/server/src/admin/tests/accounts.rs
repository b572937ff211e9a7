//! Keys, deployments and models in use.

use std::time::Duration;

use bailiwick_domain::time::Clock as _;
use bailiwick_proto::{
    admin::v1 as wire,
    status::{reason_of, violations_of},
};
use tonic::Code;

use super::world::{World, deployment, fresh, key, model};

const HOUR: i64 = 3_600_000_000;

fn rotate(id: &str, overlap_seconds: u32) -> wire::RotateKeyRequest {
    wire::RotateKeyRequest { id: id.into(), overlap_seconds, idempotency_key: fresh() }
}

async fn explain(world: &World, id: &str, model: &str) -> wire::ExplainKeyResponse {
    let explain = wire::ExplainKeyRequest { id: id.into(), model: model.into(), ..Default::default() };
    world.keys().explain_key(explain).await.expect("explained").into_inner()
}

/// The code of the step that failed.
async fn code(world: &World, id: &str, model: &str) -> String {
    let explained = explain(world, id, model).await;
    let code = explained.steps.iter().find(|step| !step.passed).map(|step| step.code.clone());
    assert_eq!(explained.served, code.is_none());
    code.unwrap_or_default()
}

#[tokio::test]
async fn a_rotated_key_ends_with_its_overlap_and_never_later_than_it_would_have() {
    let world = World::new().await;
    let org = world.organization().await;
    let now = world.clock.now().as_micros();
    let new = wire::CreateKeyRequest { expires_at_micros: now + HOUR, ..key(&org) };
    let short = world.keys().create_key(new).await.expect("created").into_inner().key.expect("told");
    let rotated = world.keys().rotate_key(rotate(&short.id, 24 * 3600)).await.expect("rotated").into_inner();
    assert_eq!(rotated.old_key.expect("told").expires_at_micros, now + HOUR);
    assert_eq!(rotated.key.expect("told").expires_at_micros, now + HOUR);

    let long = world.key(&org).await.key.expect("told");
    let rotated = world.keys().rotate_key(rotate(&long.id, 3600)).await.expect("rotated").into_inner();
    let old = rotated.old_key.expect("told");
    assert_eq!((old.status(), old.expires_at_micros), (wire::KeyStatus::Active, now + HOUR));
    world.clock.advance(Duration::from_secs(3600));
    assert_eq!(code(&world, &long.id, "").await, "invalid_api_key");
    assert_eq!(code(&world, &rotated.key.expect("told").id, "").await, "");
}

#[tokio::test]
async fn a_key_that_has_ended_is_not_rotated() {
    let world = World::new().await;
    let org = world.organization().await;
    let id = world.key(&org).await.key.expect("told").id;
    let revoked = world.keys().revoke_key(wire::RevokeKeyRequest { id: id.clone() }).await.expect("revoked");
    let first = revoked.into_inner().key.expect("told");
    assert_eq!(first.status(), wire::KeyStatus::Revoked);
    let refused = world.keys().rotate_key(rotate(&id, 0)).await.expect_err("revoked");
    assert_eq!(
        (refused.code(), reason_of(&refused).as_deref()),
        (Code::FailedPrecondition, Some("key_not_active"))
    );
    world.minutes_pass(1);
    let again = world.keys().revoke_key(wire::RevokeKeyRequest { id }).await.expect("revoked");
    assert_eq!(again.into_inner().key.expect("told").revoked_at_micros, first.revoked_at_micros);
}

#[tokio::test]
async fn r7_a_deployment_outside_the_egress_policy_is_refused() {
    let world = World::new().await;
    let org = world.organization().await;
    let secret = world.credential(&org).await;
    for endpoint in
        ["https://example.com/v1", "https://10.0.0.1/v1", "http://169.254.169.254/latest", "http://[::1]/v1"]
    {
        let new = wire::CreateDeploymentRequest { endpoint: endpoint.into(), ..deployment(&org, &secret) };
        let refused = world.models().create_deployment(new).await.expect_err(endpoint);
        assert_eq!(reason_of(&refused).as_deref(), Some("egress_refused"), "{endpoint}: {refused}");
    }
    let endpoint = "https://eu.api.openai.com/v1".to_owned();
    let new =
        wire::CreateDeploymentRequest { endpoint, provider: "openai".into(), ..deployment(&org, &secret) };
    let made = world.models().create_deployment(new).await.expect("admitted").into_inner();
    let made = made.deployment.expect("told");
    assert_eq!(made.price_source, "catalogue");
    assert!(made.price.is_some());
}

#[tokio::test]
async fn what_is_another_organizations_is_as_good_as_none() {
    let world = World::new().await;
    let (one, other) = (world.organization().await, world.organization().await);
    let secret = world.credential(&one).await;
    let target = world.deployment(&one, &secret).await;
    let refused =
        world.models().create_deployment(deployment(&other, &secret)).await.expect_err("not its own");
    assert_eq!(reason_of(&refused).as_deref(), Some("invalid_argument"));
    let refused = world.models().create_model(model(&other, "gpt", &target)).await.expect_err("not its own");
    assert_eq!(reason_of(&refused).as_deref(), Some("invalid_argument"));
}

#[tokio::test]
async fn why_a_key_would_be_served_or_refused_is_told_step_by_step() {
    let world = World::new().await;
    let org = world.organization().await;
    let secret = world.credential(&org).await;
    let target = world.deployment(&org, &secret).await;
    world.models().create_model(model(&org, "gpt", &target)).await.expect("created");
    let any = world.key(&org).await.key.expect("told").id;
    let new = wire::CreateKeyRequest { allowed_models: vec!["other".into()], ..key(&org) };
    let other = world.keys().create_key(new).await.expect("created").into_inner().key.expect("told").id;

    let explained = explain(&world, &any, "gpt").await;
    let steps: Vec<_> = explained.steps.iter().map(|step| (step.step.as_str(), step.passed)).collect();
    assert_eq!(steps, [("authenticate", true), ("permit", true), ("place", true)]);
    assert_eq!(code(&world, &any, "none").await, "model_not_found");
    assert_eq!(code(&world, &other, "none").await, "model_not_found");
    assert_eq!(code(&world, &other, "gpt").await, "model_not_allowed");
    let suspend = |suspended| wire::SuspendOrganizationRequest { id: org.clone(), suspended };
    world.organizations().suspend_organization(suspend(true)).await.expect("suspended");
    assert_eq!(code(&world, &any, "gpt").await, "organization_suspended");
    world.organizations().suspend_organization(suspend(false)).await.expect("resumed");
    world.keys().revoke_key(wire::RevokeKeyRequest { id: any.clone() }).await.expect("revoked");
    assert_eq!(code(&world, &any, "gpt").await, "invalid_api_key");
    let never = bailiwick_domain::key::ApiKey::generate("euc1".parse().expect("a region")).key_id();
    assert_eq!(code(&world, &never.to_string(), "gpt").await, "invalid_api_key");
}

#[tokio::test]
async fn azure_alone_has_a_version_and_a_credential_has_one_of_the_known_forms() {
    let world = World::new().await;
    let org = world.organization().await;
    let secret = world.credential(&org).await;
    let of = |provider: &str, version: &str| wire::CreateDeploymentRequest {
        provider: provider.to_owned(),
        api_version: version.to_owned(),
        ..deployment(&org, &secret)
    };
    let made =
        world.models().create_deployment(of("azure_openai", "2025-04-01-preview")).await.expect("made");
    assert_eq!(made.into_inner().deployment.expect("told").api_version, "2025-04-01-preview");
    for (provider, version) in
        [("openai", "2024-10-21"), ("azure_openai", "latest"), ("azure_openai", "v1&x=y")]
    {
        let refused = world.models().create_deployment(of(provider, version)).await.expect_err(version);
        let fields: Vec<String> =
            violations_of(&refused).into_iter().map(|violation| violation.field).collect();
        assert_eq!(fields, ["api_version"], "{provider} {version}");
    }

    let new = |secret: &str| wire::CreateCredentialRequest {
        idempotency_key: fresh(),
        organization_id: org.clone(),
        name: "aws".to_owned(),
        secret: secret.to_owned(),
    };
    let good = "{\n  \"access_key_id\": \"AKIDEXAMPLE\",\n  \"secret_access_key\": \"abc/+=\"\n}";
    world.credentials().create_credential(new(good)).await.expect("an AWS key");
    for bad in ["two words", "{\"access_key_id\": \"AKIDEXAMPLE\"}", "{\"api_key\": \"canary\"}"] {
        let refused = world.credentials().create_credential(new(bad)).await.expect_err(bad);
        let violation = violations_of(&refused).remove(0);
        assert!(violation.field == "secret" && !violation.description.contains("canary"), "{violation:?}");
    }
}
