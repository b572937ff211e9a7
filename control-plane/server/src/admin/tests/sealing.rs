//! R4: what the store's files hold, and what is left after a deletion.

use bailiwick_proto::{admin::v1 as wire, status::reason_of};
use tonic::Code;

use super::world::{World, credential, fresh, key, organization};

/// Every byte of the store: its file and what stands beside it.
fn stored(world: &World) -> Vec<u8> {
    let entries = std::fs::read_dir(world.folder.path()).expect("a folder");
    let files = entries.map(|entry| entry.expect("an entry").path());
    let of_the_store = files.filter(|path| path.display().to_string().contains("region.db"));
    of_the_store.flat_map(|path| std::fs::read(path).expect("readable")).collect()
}

fn holds(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

#[tokio::test]
async fn r4_no_name_address_or_secret_stands_in_the_stores_files() {
    let world = World::new().await;
    let new = wire::CreateOrganizationRequest {
        idempotency_key: "canary-idempotency".into(),
        contact_email: "canary-email@example.com".into(),
        ..organization("canary-organization")
    };
    let made = world.organizations().create_organization(new).await.expect("created").into_inner();
    let org = made.organization.expect("told").id;
    let new = wire::CreateKeyRequest { name: "canary-key".into(), ..key(&org) };
    let api_key = world.keys().create_key(new).await.expect("created").into_inner().api_key;
    let new = wire::CreateCredentialRequest {
        name: "canary-credential".into(),
        secret: "sk-canary-secret".into(),
        ..credential(&org)
    };
    let made = world.credentials().create_credential(new).await.expect("created").into_inner();
    let id = made.credential.expect("told").id;
    let replace = wire::ReplaceCredentialRequest { id, secret: "sk-canary-replaced".into() };
    world.credentials().replace_credential(replace).await.expect("replaced");
    let token = wire::CreateJoinTokenRequest {
        idempotency_key: fresh(),
        role: "worker".into(),
        name: "worker-1".into(),
        lifetime_seconds: 60,
    };
    let token = world.region().create_join_token(token).await.expect("created").into_inner().join_token;

    let bytes = stored(&world);
    assert!(holds(&bytes, &org), "the store was read");
    assert!(!holds(&bytes, "canary"), "a name, an address or a credential");
    assert!(!holds(&bytes, "operator/alice"), "an actor");
    for secret in [&api_key, &token] {
        let last = secret.rsplit('_').next().expect("its secret part");
        assert!(last.len() >= 38 && !holds(&bytes, last), "{} characters of a key", last.len());
    }
    assert!(!holds(&bytes, "PRIVATE KEY"), "the authority's key");
}

#[tokio::test]
async fn r4_a_deleted_organizations_names_can_be_read_by_nobody() {
    let world = World::new().await;
    let org = world.organization().await;
    let made = world.key(&org).await.key.expect("told");
    assert!(world.records(&org).await.iter().all(|record| !record.actor.is_empty()));
    let delete = wire::DeleteOrganizationRequest { id: org.clone() };
    world.organizations().delete_organization(delete.clone()).await.expect("deleted");

    let get = wire::GetOrganizationRequest { id: org.clone() };
    let left = world.organizations().get_organization(get).await.expect("known").into_inner();
    let left = left.organization.expect("told");
    assert_eq!((left.name.as_str(), left.status()), ("", wire::OrganizationStatus::Deleted));
    let list = wire::ListOrganizationsRequest::default();
    let listed = world.organizations().list_organizations(list).await.expect("listed").into_inner();
    assert!(listed.organizations.iter().all(|organization| organization.name.is_empty()));
    assert!(world.records(&org).await.iter().all(|record| record.actor.is_empty()));
    assert!(world.intact(&org).await);

    let again = world.organizations().delete_organization(delete).await.expect_err("gone");
    assert_eq!((again.code(), reason_of(&again).as_deref()), (Code::NotFound, Some("not_found")));
    for refused in [
        world.keys().create_key(key(&org)).await.map(drop),
        world.keys().revoke_key(wire::RevokeKeyRequest { id: made.id.clone() }).await.map(drop),
        world
            .keys()
            .list_keys(wire::ListKeysRequest { organization_id: org.clone(), page: None })
            .await
            .map(drop),
        world.credentials().create_credential(credential(&org)).await.map(drop),
    ] {
        assert_eq!(refused.expect_err("gone").code(), Code::NotFound);
    }
    let explain = wire::ExplainKeyRequest { id: made.id, model: String::new(), ..Default::default() };
    let explained = world.keys().explain_key(explain).await.expect("explained").into_inner();
    assert!(!explained.served, "{explained:?}");
}
