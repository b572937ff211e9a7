//! A call that is sent again makes nothing twice.

use bailiwick_proto::{admin::v1 as wire, worker::v1::SignUpRequest};
use futures_util::future::join_all;

use super::world::{World, credential, deployment, fresh, key, model, organization};

#[tokio::test]
async fn a_repeated_call_gives_what_the_first_one_made() {
    let world = World::new().await;
    let new = organization("Acme");
    let first = world.organizations().create_organization(new.clone()).await.expect("created").into_inner();
    let again = world.organizations().create_organization(new).await.expect("found").into_inner();
    assert_eq!(first.organization, again.organization);
    let org = first.organization.expect("told").id;

    let new = credential(&org);
    let first = world.credentials().create_credential(new.clone()).await.expect("created").into_inner();
    let again = world.credentials().create_credential(new).await.expect("found").into_inner();
    assert_eq!(first.credential, again.credential);
    let new = deployment(&org, &first.credential.expect("told").id);
    let first = world.models().create_deployment(new.clone()).await.expect("created").into_inner();
    let again = world.models().create_deployment(new).await.expect("found").into_inner();
    assert_eq!(first.deployment, again.deployment);
    let new = model(&org, "gpt", &first.deployment.expect("told").id);
    let first = world.models().create_model(new.clone()).await.expect("created").into_inner();
    let again = world.models().create_model(new).await.expect("found").into_inner();
    assert_eq!(first.model, again.model);
    let created = world.records(&org).await.len();
    assert_eq!(created, 4, "a repeated call is no change");
}

#[tokio::test]
async fn a_secret_is_shown_once() {
    let world = World::with("signup = { mode = \"open\" }").await;
    let org = world.organization().await;
    let new = key(&org);
    let first = world.keys().create_key(new.clone()).await.expect("created").into_inner();
    let again = world.keys().create_key(new).await.expect("found").into_inner();
    assert!(first.api_key.starts_with("bw_euc1_"));
    assert_eq!((first.key, again.api_key.as_str()), (again.key, ""));

    let rotate = wire::RotateKeyRequest {
        id: world.key(&org).await.key.expect("told").id,
        overlap_seconds: 0,
        idempotency_key: fresh(),
    };
    let first = world.keys().rotate_key(rotate.clone()).await.expect("rotated").into_inner();
    let again = world.keys().rotate_key(rotate).await.expect("found").into_inner();
    assert_eq!((first.key, again.api_key.as_str()), (again.key, ""));

    let token = wire::CreateJoinTokenRequest {
        idempotency_key: fresh(),
        role: "router".into(),
        name: "router-1".into(),
        lifetime_seconds: 60,
    };
    let first = world.region().create_join_token(token.clone()).await.expect("created").into_inner();
    let again = world.region().create_join_token(token).await.expect("found").into_inner();
    assert!(first.join_token.starts_with("bwjoin_euc1_"));
    assert_eq!((first.expires_at_micros, again.join_token.as_str()), (again.expires_at_micros, ""));

    let up = SignUpRequest {
        region: "eu-central-1".into(),
        organization_name: "Acme".into(),
        email: "someone@example.com".into(),
        idempotency_key: fresh(),
    };
    let first = world.signup().sign_up(up.clone()).await.expect("signed up").into_inner();
    let again = world.signup().sign_up(up.clone()).await.expect("found").into_inner();
    assert_eq!((&first.organization_id, &first.key_id), (&again.organization_id, &again.key_id));
    assert_eq!(again.api_key, "");
    let another = SignUpRequest { email: "another@example.com".into(), ..up };
    let another = world.signup().sign_up(another).await.expect("signed up").into_inner();
    assert_ne!(
        first.organization_id, another.organization_id,
        "two people who choose the same key are not one"
    );
}

#[tokio::test]
async fn of_calls_at_the_same_time_one_makes_and_the_others_find() {
    let world = World::new().await;
    let org = world.organization().await;
    let (new, made_with) = (key(&org), credential(&org));
    let keys = join_all((0..8).map(|_| {
        let (mut client, new) = (world.keys(), new.clone());
        async move { client.create_key(new).await.expect("created or found").into_inner() }
    }));
    let credentials = join_all((0..8).map(|_| {
        let (mut client, new) = (world.credentials(), made_with.clone());
        async move { client.create_credential(new).await.expect("created or found").into_inner() }
    }));
    let (keys, credentials) = tokio::join!(keys, credentials);
    assert_eq!(keys.iter().filter(|made| !made.api_key.is_empty()).count(), 1);
    assert!(keys.windows(2).all(|two| two.first().map(|made| &made.key) == two.last().map(|made| &made.key)));
    assert!(
        credentials.windows(2).all(|two| {
            two.first().map(|made| &made.credential) == two.last().map(|made| &made.credential)
        })
    );
    assert_eq!(world.records(&org).await.len(), 3, "organization, key, credential");
}

#[tokio::test]
async fn one_idempotency_key_for_two_rotations_rotates_both() {
    let world = World::new().await;
    let org = world.organization().await;
    let idempotency_key = fresh();
    for _ in 0..2 {
        let id = world.key(&org).await.key.expect("told").id;
        let rotate =
            wire::RotateKeyRequest { id, overlap_seconds: 0, idempotency_key: idempotency_key.clone() };
        let rotated = world.keys().rotate_key(rotate).await.expect("rotated").into_inner();
        assert!(!rotated.api_key.is_empty());
        assert_eq!(rotated.old_key.expect("told").status(), wire::KeyStatus::Revoked);
    }
}

#[tokio::test]
async fn two_organizations_may_choose_the_same_idempotency_key() {
    let world = World::new().await;
    let (one, other) = (world.organization().await, world.organization().await);
    let new = key(&one);
    let first = world.keys().create_key(new.clone()).await.expect("created").into_inner();
    let new = wire::CreateKeyRequest { organization_id: other.clone(), ..new };
    let second = world.keys().create_key(new).await.expect("created").into_inner();
    assert_ne!(first.api_key, second.api_key);
    assert_eq!(second.key.expect("told").organization_id, other);
}
