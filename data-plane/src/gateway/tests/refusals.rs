//! Calls that end before a provider hears of them.

use std::time::Duration;

use bailiwick_domain::key::ApiKey;
use bailiwick_proto::config::v1::{self as config, resource::Kind};
use http::{Method, Request};
use http_body_util::Full;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::{
    ANSWER, PLAIN, at,
    provider::{Provider, json},
    world::{MAX_BODY, World},
};

async fn nobody_is_called() -> (Provider, World) {
    let provider = Provider::start([json(200, ANSWER)]).await;
    let world = World::start(&[at(&provider)]);
    (provider, world)
}

/// Sends a head that promises a body, and nothing of the body; what comes back.
async fn head_alone(world: &World, authorization: &str) -> String {
    let mut stream = TcpStream::connect(world.address()).await.unwrap();
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: w\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n{authorization}\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut seen = Vec::new();
    while !String::from_utf8_lossy(&seen).contains("\"request_id\"") {
        assert_ne!(stream.read_buf(&mut seen).await.unwrap(), 0);
    }
    String::from_utf8(seen).unwrap()
}

#[tokio::test]
async fn r6_a_foreign_key_is_sent_home_with_its_body_unread() {
    let (provider, world) = nobody_is_called().await;
    let foreign = ApiKey::generate("use1".parse().unwrap());
    for key in [foreign.expose(), "bw_use1_whatever"] {
        let seen = head_alone(&world, &format!("authorization: Bearer {key}\r\n")).await;
        assert!(seen.starts_with("HTTP/1.1 421"), "{seen}");
        assert!(
            seen.contains("x-bailiwick-home-endpoint: https://use1.example/")
                && seen.contains("wrong_region")
        );
        assert!(seen.contains("us-east-1") && !seen.contains(key));
    }
    assert!(provider.heard().is_empty() && world.metered_now().is_empty());
}

#[tokio::test]
async fn every_wrong_key_gets_the_same_answer_with_its_body_unread() {
    let (provider, world) = nobody_is_called().await;
    let unknown = ApiKey::generate(world.jurisdiction.code());
    let damaged = world.key.expose().split_at(30).0.to_owned() + &"A".repeat(33);
    let mut texts = Vec::new();
    for key in [unknown.expose(), &damaged, "bw_euc1_short", "bw_zzz9_x", "sk-something"] {
        let seen = head_alone(&world, &format!("authorization: Bearer {key}\r\n")).await;
        assert!(
            seen.starts_with("HTTP/1.1 401") && seen.contains("invalid_api_key") && !seen.contains(key),
            "{seen}"
        );
        let (_, body) = seen.split_once("\r\n\r\n").unwrap();
        texts.push(body.split("request_id").next().unwrap().to_owned());
    }
    texts.dedup();
    assert_eq!(texts.len(), 1);
    assert!(head_alone(&world, "").await.contains("missing_api_key"));
    assert!(head_alone(&world, "authorization: Basic eA==\r\n").await.starts_with("HTTP/1.1 401"));
    let twice = format!("authorization: Bearer {0}\r\nauthorization: Bearer {0}\r\n", world.key.expose());
    assert!(head_alone(&world, &twice).await.starts_with("HTTP/1.1 401"));
    assert!(provider.heard().is_empty());
}

#[tokio::test]
async fn suspended_expired_and_restricted_callers_are_refused() {
    let (provider, world) = nobody_is_called().await;
    let id = world.organization.to_string();
    world.put([world.api_key(&world.key, &["another"])]);
    assert_eq!(world.call(PLAIN).await.code(), "model_not_allowed");
    let Kind::ApiKey(key) = world.api_key(&world.key, &[]) else { panic!("a key") };
    world.put([Kind::ApiKey(config::ApiKey { expires_at_micros: 1, ..key })]);
    assert_eq!(world.call(PLAIN).await.code(), "invalid_api_key");
    world.put([
        world.api_key(&world.key, &[]),
        Kind::Organization(config::Organization { id, suspended: true, ..Default::default() }),
    ]);
    let seen = world.call(PLAIN).await;
    assert_eq!((seen.status, seen.code().as_str()), (403, "organization_suspended"));
    assert!(provider.heard().is_empty() && world.metered_now().is_empty());
}

#[tokio::test]
async fn r12_past_the_lease_only_those_are_served_who_asked_for_it() {
    let (provider, world) = nobody_is_called().await;
    world.snapshots.lend(Duration::ZERO);
    let seen = world.call(PLAIN).await;
    assert_eq!((seen.status, seen.code().as_str()), (503, "configuration_stale"));
    let id = world.organization.to_string();
    let on_stale = config::OnStale::Serve.into();
    world.put([Kind::Organization(config::Organization { id, on_stale, ..Default::default() })]);
    world.snapshots.lend(Duration::ZERO);
    assert_eq!(world.call(PLAIN).await.status, 200);
    assert_eq!(provider.heard().len(), 1);
}

#[tokio::test]
async fn r8_bad_requests_are_told_what_is_wrong_and_not_what_they_said() {
    let (provider, world) = nobody_is_called().await;
    let large = format!(r#"{{"model":"public","canary":"{}"}}"#, "x".repeat(MAX_BODY));
    for (body, status, code) in [
        ("canary", 400, "invalid_json"),
        (r#"{"model":"public","x":"canary"#, 400, "invalid_json"),
        (r#"{"model":"canary"}"#, 404, "model_not_found"),
        (r#"{"x":"canary"}"#, 400, "invalid_request"),
        (r#"{"model":"public","stream":"canary"}"#, 400, "invalid_request"),
        (
            r#"{"model":"public","stream":true,"stream_options":{"include_usage":"canary"}}"#,
            400,
            "invalid_request",
        ),
        (r#"{"model":"public","stream":true,"stream_options":["canary"]}"#, 400, "invalid_request"),
        (
            r#"{"model":"public","stream":true,"stream_options":{"include_usage":true,"include_usage":false}}"#,
            400,
            "invalid_request",
        ),
        (&large, 413, "request_too_large"),
    ] {
        let seen = world.call(body).await;
        assert_eq!((seen.status, seen.code().as_str()), (status, code), "{body}");
    }
    let mut request = world.post("/v1/embeddings", PLAIN);
    request.headers_mut().insert("content-type", "text/canary".parse().unwrap());
    assert_eq!(world.send(request).await.code(), "unsupported_media_type");
    assert!(provider.heard().is_empty() && world.metered_now().is_empty());
}

#[tokio::test]
async fn other_paths_and_methods_are_refused() {
    let (_provider, world) = nobody_is_called().await;
    for path in ["/", "/v1", "/v1/files", "/v1/models/", "/v1/chat/completions/"] {
        let seen = world.send(world.post(path, PLAIN)).await;
        assert_eq!((seen.status, seen.code().as_str()), (404, "not_found"), "{path}");
    }
    let get = Request::get("/v1/embeddings").header("host", "w").body(Full::default()).unwrap();
    let seen = world.send(get).await;
    assert_eq!((seen.status, seen.code().as_str()), (405, "method_not_allowed"));
    assert_eq!(seen.headers["allow"], "POST");
}

#[tokio::test]
async fn models_are_those_that_the_key_may_use() {
    let (_provider, world) = nobody_is_called().await;
    let get = |path| {
        let mut request = world.post(path, "");
        *request.method_mut() = Method::GET;
        world.send(request)
    };
    let listed = get("/v1/models").await.json();
    assert_eq!((&listed["object"], &listed["data"][0]["id"]), (&"list".into(), &"public".into()));
    let one = get("/v1/models/public").await.json();
    assert_eq!((&one["id"], &one["created"]), (&"public".into(), &1_700_000_000.into()));
    assert_eq!(get("/v1/models/canary").await.code(), "model_not_found");
    world.put([world.api_key(&world.key, &["another"])]);
    assert_eq!(get("/v1/models").await.json()["data"], serde_json::json!([]));
    assert_eq!(get("/v1/models/public").await.code(), "model_not_found");
}
