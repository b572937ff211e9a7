//! Bad input gets a clear answer, all of it at once.

use bailiwick_proto::{
    admin::v1 as wire,
    status::{reason_of, violations_of},
};
use tonic::{Code, Status};

use super::world::{World, deployment, fresh};

fn fields(refused: &Status) -> Vec<String> {
    assert_eq!(
        (refused.code(), reason_of(refused).as_deref()),
        (Code::InvalidArgument, Some("invalid_argument"))
    );
    let mut fields: Vec<_> = violations_of(refused).into_iter().map(|violation| violation.field).collect();
    fields.sort();
    fields
}

#[tokio::test]
async fn every_violation_is_told_at_once() {
    let world = World::new().await;
    let new = wire::CreateOrganizationRequest {
        idempotency_key: String::new(),
        region: "Mars!".into(),
        name: String::new(),
        contact_email: "nobody".into(),
        on_stale: 99,
    };
    let refused = world.organizations().create_organization(new).await.expect_err("bad");
    assert_eq!(fields(&refused), ["contact_email", "idempotency_key", "name", "on_stale", "region"]);

    let new = wire::CreateKeyRequest {
        idempotency_key: "with a space".into(),
        organization_id: "org_x".into(),
        name: "\n".into(),
        allowed_models: vec!["good".into(), "b a d".into(), String::new()],
        allowed_ranges: vec!["203.0.113.0/24".into(), "10.1.2.3/8".into()],
        expires_at_micros: -1,
    };
    let refused = world.keys().create_key(new).await.expect_err("bad");
    let expected = [
        "allowed_models[1]",
        "allowed_models[2]",
        "allowed_ranges[1]",
        "expires_at_micros",
        "idempotency_key",
        "name",
        "organization_id",
    ];
    assert_eq!(fields(&refused), expected);

    let new = wire::CreateJoinTokenRequest {
        idempotency_key: fresh(),
        role: "operator".into(),
        name: "Not Good".into(),
        lifetime_seconds: u32::MAX,
    };
    let refused = world.region().create_join_token(new).await.expect_err("bad");
    assert_eq!(fields(&refused), ["lifetime_seconds", "name", "role"]);

    let new = wire::CreateDeploymentRequest {
        provider: "acme".into(),
        endpoint: "ftp://example.com".into(),
        upstream_model: String::new(),
        ..deployment("org_x", "cred_x")
    };
    let refused = world.models().create_deployment(new).await.expect_err("bad");
    let expected = ["credential_id", "endpoint", "organization_id", "provider", "upstream_model"];
    assert_eq!(fields(&refused), expected);
}

#[tokio::test]
async fn a_region_that_does_not_exist_is_told_apart_from_one_that_is_elsewhere() {
    let world = World::new().await;
    for (region, reason) in [("us-east-1", "wrong_region"), ("mars-1", "invalid_argument")] {
        let new =
            wire::CreateOrganizationRequest { region: region.into(), ..super::world::organization("Acme") };
        let refused = world.organizations().create_organization(new).await.expect_err(region);
        assert_eq!(reason_of(&refused).as_deref(), Some(reason), "{region}");
    }
}

#[tokio::test]
async fn a_key_where_its_id_belongs_is_not_repeated() {
    let world = World::new().await;
    let org = world.organization().await;
    let api_key = world.key(&org).await.api_key;
    let explain = wire::ExplainKeyRequest { id: api_key.clone(), model: String::new(), ..Default::default() };
    let refused = world.keys().explain_key(explain).await.expect_err("a key is no id");
    assert_eq!(fields(&refused), ["id"]);
    assert!(!format!("{refused:?}").contains(&api_key));
}

#[tokio::test]
async fn a_secret_that_fits_no_header_is_refused_and_not_repeated() {
    let world = World::new().await;
    let org = world.organization().await;
    for secret in [String::new(), "sk-canary\r\nx: y".to_owned(), "s".repeat(4097)] {
        let new = wire::CreateCredentialRequest { secret, ..super::world::credential(&org) };
        let refused = world.credentials().create_credential(new).await.expect_err("bad");
        assert_eq!(fields(&refused), ["secret"]);
        assert!(!format!("{refused:?}").contains("canary"));
    }
}

#[tokio::test]
async fn lists_page_and_refuse_what_is_no_page() {
    let world = World::new().await;
    let org = world.organization().await;
    for _ in 0..5 {
        world.key(&org).await;
    }
    let list = |page_size, page_token: &str| wire::ListKeysRequest {
        organization_id: org.clone(),
        page: Some(wire::PageRequest { page_size, page_token: page_token.into() }),
    };
    let (mut ids, mut token) = (Vec::new(), String::new());
    loop {
        let page = world.keys().list_keys(list(2, &token)).await.expect("listed").into_inner();
        assert!(page.keys.len() <= 2);
        ids.extend(page.keys.into_iter().map(|key| key.id));
        token = page.page.unwrap_or_default().next_page_token;
        if token.is_empty() {
            break;
        }
    }
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 5);
    for (size, token) in [(-1, ""), (1001, ""), (2, "not ours")] {
        let refused = world.keys().list_keys(list(size, token)).await.expect_err("no page");
        assert!(fields(&refused).iter().all(|field| field.starts_with("page.")), "{refused}");
    }
}
