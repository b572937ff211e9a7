//! From where calls are taken.

use bailiwick_proto::config::v1::{self as config, resource::Kind};
use bailiwick_runtime::serving::CLIENT_ADDRESS;

use super::{
    ANSWER, PLAIN, at,
    provider::{Provider, json},
    world::{Seen, World},
};

/// Of an organization that takes calls from `organization`, a key that takes them from `key`.
fn narrow(world: &World, organization: &[&str], key: &[&str]) {
    let ranges = |ranges: &[&str]| ranges.iter().map(ToString::to_string).collect();
    let Kind::ApiKey(row) = world.api_key(&world.key, &[]) else { panic!("a key") };
    world.put([
        Kind::Organization(config::Organization {
            id: world.organization.to_string(),
            allowed_ranges: ranges(organization),
            ..Default::default()
        }),
        Kind::ApiKey(config::ApiKey { allowed_ranges: ranges(key), ..row }),
    ]);
}

async fn call(world: &World, path: &str) -> Seen {
    let mut request = world.post(path, PLAIN);
    // Nobody but a router says so.
    request.headers_mut().insert(CLIENT_ADDRESS, "203.0.113.7".parse().unwrap());
    world.send(request).await
}

#[tokio::test]
async fn calls_are_taken_from_where_organization_and_key_both_allow() {
    let provider = Provider::start(vec![json(200, ANSWER); 4]).await;
    let world = World::start(&[at(&provider)]);
    for (organization, key) in [
        (&[][..], &[][..]),
        (&["203.0.113.0/24", "127.0.0.0/8"], &[]),
        (&[], &["127.0.0.1"]),
        (&["::ffff:127.0.0.0/104"], &["127.0.0.1", "2001:db8::/32"]),
    ] {
        narrow(&world, organization, key);
        assert_eq!(call(&world, "/v1/chat/completions").await.status, 200, "{organization:?} {key:?}");
    }
    assert_eq!(provider.heard().len(), 4);
    for (organization, key) in [
        (&["203.0.113.0/24"][..], &[][..]),
        (&[], &["203.0.113.0/24"]),
        (&["127.0.0.1"], &["203.0.113.7"]),
        (&["203.0.113.7"], &["127.0.0.1"]),
        (&["::/0"], &[]),
    ] {
        narrow(&world, organization, key);
        let seen = call(&world, "/v1/chat/completions").await;
        assert_eq!(
            (seen.status, seen.code().as_str()),
            (403, "address_not_allowed"),
            "{organization:?} {key:?}"
        );
        // The caller learns its own address, and none that would do.
        assert!(seen.body.contains("127.0.0.1") && !seen.body.contains("203.0.113"), "{}", seen.body);
    }
    let seen = call(&world, "/v1/messages").await;
    assert_eq!((seen.status, seen.json()["error"]["code"].as_str()), (403, Some("address_not_allowed")));
    assert_eq!(seen.json()["error"]["type"], "permission_error");
    assert_eq!(provider.heard().len(), 4);
    assert_eq!(world.metered(4).await.len(), 4);
}

#[tokio::test]
async fn who_has_no_key_learns_nothing_of_addresses() {
    let provider = Provider::start([]).await;
    let world = World::start(&[at(&provider)]);
    narrow(&world, &["203.0.113.0/24"], &[]);
    let wrong = bailiwick_domain::key::ApiKey::generate(world.jurisdiction.code());
    let mut request = world.post("/v1/chat/completions", PLAIN);
    let value = format!("Bearer {}", wrong.expose()).parse().unwrap();
    request.headers_mut().insert("authorization", value);
    assert_eq!(world.send(request).await.code(), "invalid_api_key");
}
