//! Credentials of other kinds than keys that are shown: who signs, with what, and what a version of an API does to a path.

use std::fmt::Write as _;

use aws_lc_rs::{digest, hmac};
use bailiwick_proto::config::v1::{self as config, resource::Kind};

use super::{
    at,
    provider::{Provider, json},
    world::World,
};

const CHAT: &str = r#"{"model":"public","messages":[{"role":"user","content":"canary"}]}"#;
const CONVERSED: &str = r#"{"output":{"message":{"role":"assistant","content":[{"text":"hello"}]}},"stopReason":"end_turn","usage":{"inputTokens":7,"outputTokens":5,"totalTokens":12}}"#;
const ANSWERED: &str = r#"{"id":"c","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"hello"},"finish_reason":"stop"}],"usage":{"prompt_tokens":7,"completion_tokens":5,"total_tokens":12}}"#;
const KEY: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const AWS: &str = r#"{"access_key_id":"AKIDEXAMPLE","secret_access_key":"wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY","session_token":"a/token==","region":"eu-central-1"}"#;

/// A world whose one deployment is at a provider of this kind, with this secret.
fn world_of(kind: &str, endpoint: &str, secret: &str) -> World {
    let world = World::start(&[endpoint.to_owned()]);
    world.put([
        world.deployment_of(kind, world.deployments[0], endpoint),
        Kind::Credential(config::Credential {
            id: world.credential.to_string(),
            organization_id: world.organization.to_string(),
            secret: secret.to_owned(),
        }),
    ]);
    world
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn keyed(key: &[u8], text: &str) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes()).as_ref().to_vec()
}

fn digest(bytes: &[u8]) -> String {
    hexadecimal(digest::digest(&digest::SHA256, bytes).as_ref())
}

fn header<'a>(head: &'a str, name: &str) -> &'a str {
    let lines = head.lines().filter_map(|line| line.split_once(": "));
    let mut found =
        lines.filter(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim());
    let first = found.next().unwrap_or_else(|| panic!("no {name} in {head}"));
    assert_eq!(found.next(), None, "{name} twice");
    first
}

/// The signature that AWS expects of a request as it was heard, step by step after its documentation
/// (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>).
fn expected(head: &str, body: &str, signed: &str) -> String {
    let path = head.split(' ').nth(1).expect("a path");
    // Every service but S3 wants the path encoded once more.
    let path = path.replace('%', "%25");
    let headers: String = signed.split(';').map(|name| format!("{name}:{}\n", header(head, name))).collect();
    let canonical = format!("POST\n{path}\n\n{headers}\n{signed}\n{}", digest(body.as_bytes()));
    let moment = header(head, "x-amz-date");
    let (day, _) = moment.split_once('T').expect("a moment");
    let scope = format!("{day}/eu-central-1/bedrock/aws4_request");
    let to_sign = format!("AWS4-HMAC-SHA256\n{moment}\n{scope}\n{}", digest(canonical.as_bytes()));
    let key = ["eu-central-1", "bedrock", "aws4_request"]
        .iter()
        .fold(keyed(format!("AWS4{KEY}").as_bytes(), day), |key, part| keyed(&key, part));
    hexadecimal(&keyed(&key, &to_sign))
}

#[tokio::test]
async fn an_aws_key_signs_the_whole_request_and_is_not_shown() {
    let provider = Provider::start([json(200, CONVERSED)]).await;
    let endpoint = format!("http://{}", provider.address);
    let world = world_of("bedrock", &endpoint, AWS);
    let Kind::Deployment(deployment) = world.deployment_of("bedrock", world.deployments[0], &endpoint) else {
        panic!("a deployment")
    };
    for model in ["upstream", "eu.anthropic.claude-3-5-sonnet-20240620-v1:0"] {
        world.put([Kind::Deployment(config::Deployment {
            upstream_model: model.into(),
            ..deployment.clone()
        })]);
        let seen = world.call(CHAT).await;
        assert_eq!(
            (seen.status, seen.json()["choices"][0]["message"]["content"].as_str()),
            (200, Some("hello"))
        );
        let (head, body) = provider.heard().pop().expect("heard");
        let authorization = header(&head, "authorization");
        let (start, rest) = authorization.split_once(", SignedHeaders=").expect("signed headers");
        let (signed, signature) = rest.split_once(", Signature=").expect("a signature");
        let (day, _) = header(&head, "x-amz-date").split_once('T').expect("a moment");
        assert_eq!(
            start,
            format!("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/{day}/eu-central-1/bedrock/aws4_request")
        );
        assert_eq!(signed, "content-type;host;x-amz-date;x-amz-security-token");
        assert_eq!(header(&head, "x-amz-security-token"), "a/token==");
        assert_eq!(signature, expected(&head, &body, signed), "{model}");
        assert!(body.contains("canary") && !head.contains(KEY) && !body.contains(KEY));
    }
    // A Bedrock API key is a bearer's token, as before.
    let world = world_of("bedrock", &endpoint, "bedrock-api-key");
    assert_eq!(world.call(CHAT).await.status, 200);
    let (head, _) = provider.heard().pop().expect("heard");
    assert_eq!(header(&head, "authorization"), "Bearer bedrock-api-key");
}

#[tokio::test]
async fn a_key_that_signs_is_shown_to_nobody_who_wants_another() {
    let provider = Provider::start([json(200, ANSWERED)]).await;
    let no_region = AWS.replace(r#","region":"eu-central-1""#, "");
    for (kind, secret) in [
        ("openai_compatible", AWS),
        ("openai", AWS),
        ("anthropic", AWS),
        ("azure_openai", AWS),
        ("gemini", AWS),
        // Nobody says which region signs.
        ("bedrock", no_region.as_str()),
    ] {
        let world = world_of(kind, &at(&provider), secret);
        let seen = world.call(CHAT).await;
        assert_eq!((seen.status, seen.code().as_str()), (502, "provider_credential_unfit"), "{kind}");
        assert!(!seen.body.contains("AKID") && !seen.body.contains(KEY));
        // Nobody has heard of it, and nothing is owed.
        assert_eq!(world.metered(1).await[0].cost_nanos_usd, 0);
    }
    assert!(provider.heard().is_empty());
}

#[tokio::test]
async fn azure_is_called_by_the_deployments_version() {
    let provider = Provider::start([json(200, ANSWERED)]).await;
    let endpoint = format!("http://{}/openai", provider.address);
    let world = world_of("azure_openai", &endpoint, "azure-key");
    let Kind::Deployment(deployment) = world.deployment_of("azure_openai", world.deployments[0], &endpoint)
    else {
        panic!("a deployment")
    };
    for (version, path) in [
        ("", "/openai/deployments/upstream/chat/completions?api-version=2024-10-21"),
        (
            "2025-04-01-preview",
            "/openai/deployments/upstream/chat/completions?api-version=2025-04-01-preview",
        ),
        ("v1", "/openai/v1/chat/completions"),
    ] {
        world.put([Kind::Deployment(config::Deployment {
            api_version: version.into(),
            ..deployment.clone()
        })]);
        let seen = world.call(CHAT).await;
        assert_eq!(seen.status, 200, "{version}: {}", seen.body);
        let (head, _) = provider.heard().pop().expect("heard");
        assert!(head.starts_with(&format!("POST {path} HTTP/1.1\r\n")), "{version}: {head}");
        assert_eq!(header(&head, "api-key"), "azure-key");
    }
}
