//! Credentials that are exchanged for tokens: who is asked, how often, and what becomes of calls when there is none.

use std::sync::Arc;

use aws_lc_rs::{
    encoding::{AsDer as _, Pkcs8V1Der},
    rsa::{KeyPair, KeySize},
};
use bailiwick_domain::id::{CredentialId, DeploymentId};
use bailiwick_proto::config::v1::{self as config, resource::Kind};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use tokio::task::JoinSet;

use super::{
    ANSWER, PLAIN, at,
    provider::{Provider, Script, Then, json},
    world::{World, rule},
};
use crate::polling::eventually;

const REFUSED: &str = r#"{"error":{"message":"canary","code":"401"}}"#;

fn token(name: &str, seconds: u64) -> Script {
    let body = format!(r#"{{"token_type":"Bearer","expires_in":{seconds},"access_token":"{name}"}}"#);
    json(200, &body)
}

fn entra(issuer: &Provider) -> String {
    let authority = format!("http://{}", issuer.address);
    serde_json::json!({"tenant_id": "acme.test", "client_id": "c1", "client_secret": "s+e&c=r", "authority": authority})
        .to_string()
}

/// Whom tokens may be had from.
fn issuers(world: &World, hosts: &[&str]) -> Kind {
    let Kind::RegionSettings(settings) = world.settings(&["127.0.0.1"], &["127.0.0.0/8"]) else { panic!() };
    let issuer_rules = hosts.iter().map(|host| rule(host, "eu", &["127.0.0.0/8"])).collect();
    Kind::RegionSettings(config::RegionSettings { issuer_rules, ..settings })
}

/// `public` at deployments of these kinds, in this order, the first of which is called with this secret and the others with one that is shown.
fn world_of(endpoints: &[(&str, &Provider)], secret: &str) -> World {
    let urls: Vec<String> = endpoints.iter().map(|(_, provider)| at(provider)).collect();
    let world = World::start(&urls);
    let shown = world.id();
    world.put([
        issuers(&world, &["127.0.0.1"]),
        world.credential(secret),
        Kind::Credential(config::Credential {
            id: shown.to_string(),
            organization_id: world.organization.to_string(),
            secret: "sk-shown".into(),
        }),
    ]);
    let first = world.credential;
    let all = endpoints.iter().zip(&urls).zip(&world.deployments).enumerate();
    let all: Vec<Kind> = all
        .map(|(place, (((kind, _), url), id))| {
            deployment(&world, kind, *id, url, if place == 0 { first } else { shown })
        })
        .collect();
    world.put(all);
    world
}

fn deployment(world: &World, kind: &str, id: DeploymentId, url: &str, credential: CredentialId) -> Kind {
    let Kind::Deployment(deployment) = world.deployment_of(kind, id, url) else { panic!("a deployment") };
    Kind::Deployment(config::Deployment { credential_id: credential.to_string(), ..deployment })
}

fn shown(provider: &Provider) -> Vec<String> {
    let heads = provider.heard().into_iter().map(|(head, _)| head);
    heads
        .map(|head| {
            assert!(!head.contains("s+e&c=r") && !head.contains("api-key"), "{head}");
            let line = head.lines().find_map(|line| line.strip_prefix("authorization: ")).unwrap_or_default();
            line.to_owned()
        })
        .collect()
}

#[tokio::test]
async fn r7_a_client_of_entra_is_exchanged_once_and_azure_is_shown_the_token() {
    let (provider, issuer) =
        (Provider::start([json(200, ANSWER)]).await, Provider::start([token("t1", 3599)]).await);
    let world = world_of(&[("azure_openai", &provider)], &entra(&issuer));
    for _ in 0..5 {
        let seen = world.call(PLAIN).await;
        assert_eq!(seen.status, 200, "{}", seen.body);
        assert_eq!(seen.headers["x-bailiwick-attempts"], "1");
    }
    assert_eq!(shown(&provider), ["Bearer t1"; 5]);
    let [(head, body)] = &issuer.heard()[..] else { panic!("once: {:?}", issuer.heard()) };
    assert!(head.starts_with("POST /acme.test/oauth2/v2.0/token HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("content-type: application/x-www-form-urlencoded"), "{head}");
    assert_eq!(
        body,
        "grant_type=client_credentials&client_id=c1&client_secret=s%2Be%26c%3Dr&scope=https%3A%2F%2Fcognitiveservices.azure.com%2F.default"
    );
}

#[tokio::test]
async fn r7_a_service_accounts_key_signs_and_vertex_is_shown_the_token() {
    let (provider, issuer) =
        (Provider::start([json(200, r#"{"candidates":[{"content":{"role":"model","parts":[{"text":"hello"}]},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":7,"candidatesTokenCount":5,"totalTokenCount":12}}"#)]).await, Provider::start([token("ya29.x", 3599)]).await);
    let key = KeyPair::generate(KeySize::Rsa2048).expect("a key");
    let der: Pkcs8V1Der<'_> = key.as_der().expect("PKCS #8");
    let pem = format!(
        "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
        STANDARD.encode(der.as_ref())
    );
    let uri = format!("http://{}/token", issuer.address);
    let file = serde_json::json!({"type": "service_account", "client_email": "svc@p.test", "private_key_id": "k1", "private_key": pem, "token_uri": uri});
    let world = world_of(&[("vertex", &provider)], &file.to_string());
    let chat = r#"{"model":"public","messages":[{"role":"user","content":"canary"}]}"#;
    let seen = world.call(chat).await;
    assert_eq!(seen.status, 200, "{}", seen.body);
    assert_eq!(shown(&provider), ["Bearer ya29.x"]);
    let (head, body) = issuer.heard().remove(0);
    assert!(head.starts_with("POST /token HTTP/1.1\r\n"), "{head}");
    let assertion =
        body.strip_prefix("grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=");
    let claims = assertion.and_then(|text| text.split('.').nth(1)).expect("a token of three parts");
    let claims: serde_json::Value =
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).expect("base64url")).expect("JSON");
    assert_eq!((&claims["iss"], &claims["aud"]), (&"svc@p.test".into(), &uri.into()));
}

#[tokio::test]
async fn r7_nobody_asks_for_tokens_where_the_policy_names_no_issuer() {
    let (provider, issuer) =
        (Provider::start([json(200, ANSWER)]).await, Provider::start([token("t1", 3599)]).await);
    let world = world_of(&[("azure_openai", &provider)], &entra(&issuer));
    // That calls may go to the host does not let tokens be had there.
    for named in [&[] as &[&str], &["login.test"]] {
        world.put([issuers(&world, named), world.credential(&entra(&issuer))]);
        let seen = world.call(PLAIN).await;
        assert_eq!((seen.status, seen.code().as_str()), (502, "egress_refused"));
    }
    // Nor does the name, where its address is not allowed.
    let Kind::RegionSettings(settings) = issuers(&world, &[]) else { panic!() };
    let public = vec![rule("127.0.0.1", "eu", &[])];
    world.put([Kind::RegionSettings(config::RegionSettings { issuer_rules: public, ..settings })]);
    world.put([world.credential(&entra(&issuer))]);
    assert_eq!(world.call(PLAIN).await.code(), "egress_refused");
    assert_eq!((issuer.dialled(), provider.dialled()), (0, 0));
}

#[tokio::test]
async fn without_a_token_the_next_deployment_is_tried_and_nothing_of_the_issuers_text_is_told() {
    let elsewhere = Provider::start([token("t1", 3599)]).await;
    let location = format!("location: http://{}/token\r\ncontent-length: 0\r\n\r\n", elsewhere.address);
    let redirect = (vec![format!("HTTP/1.1 307 X\r\n{location}").into_bytes()], Then::Keep);
    let cases: [(Script, &str); 9] = [
        (
            json(401, r#"{"error":"invalid_client","error_description":"canary s+e&c=r"}"#),
            "provider_credential_refused",
        ),
        (json(400, "canary"), "provider_credential_refused"),
        (json(500, "canary"), "provider_token_unavailable"),
        (json(429, "canary"), "provider_token_unavailable"),
        (json(200, "canary"), "provider_token_unavailable"),
        (json(200, &" ".repeat(70_000)), "provider_token_unavailable"),
        (redirect, "provider_token_unavailable"),
        (
            (vec![b"HTTP/1.1 200 OK\r\ncontent-length: 999\r\n\r\n{".to_vec()], Then::Close),
            "provider_token_unavailable",
        ),
        ((Vec::new(), Then::Wait), "provider_token_unavailable"),
    ];
    for (script, code) in cases {
        let what = format!("{script:?}");
        let (first, second) =
            (Provider::start([json(200, ANSWER)]).await, Provider::start([json(200, ANSWER)]).await);
        let issuer = Provider::start([script]).await;
        let world = world_of(&[("azure_openai", &first)], &entra(&issuer));
        // What failed a moment ago is not asked for again.
        for _ in 0..20 {
            let seen = world.call(PLAIN).await;
            assert_eq!((seen.status, seen.code().as_str()), (502, code), "{what}");
            assert!(!seen.body.contains("s+e&c=r") && !seen.headers.contains_key("x-bailiwick-attempts"));
        }
        assert!(issuer.heard().len() <= 2, "{what}: {}", issuer.heard().len());
        assert_eq!(world.metered(20).await.iter().map(|event| event.cost_nanos_usd).sum::<i64>(), 0);

        let world = world_of(&[("azure_openai", &first), ("openai_compatible", &second)], &entra(&issuer));
        for _ in 0..5 {
            let seen = world.call(PLAIN).await;
            assert_eq!(seen.status, 200, "{what}: {}", seen.body);
            assert_eq!(seen.headers["x-bailiwick-deployment"], world.deployments[1].to_string());
        }
        assert!(first.heard().is_empty());
    }
    assert_eq!(elsewhere.dialled(), 0, "nobody follows");
}

#[tokio::test]
async fn a_token_that_the_provider_does_not_take_any_more_is_exchanged_anew_and_the_call_goes_on() {
    let provider = Provider::start([json(200, ANSWER), json(401, REFUSED), json(200, ANSWER)]).await;
    let issuer = Provider::start([token("t1", 3599), token("t2", 3599)]).await;
    let world = world_of(&[("azure_openai", &provider)], &entra(&issuer));
    for attempts in ["1", "2", "1"] {
        let seen = world.call(PLAIN).await;
        assert_eq!(seen.status, 200, "{}", seen.body);
        assert_eq!(seen.headers["x-bailiwick-attempts"], attempts);
    }
    assert_eq!(shown(&provider), ["Bearer t1", "Bearer t1", "Bearer t2", "Bearer t2"]);
}

#[tokio::test]
async fn a_provider_that_takes_no_token_at_all_makes_nobody_have_one_for_each_call() {
    let (provider, issuer) =
        (Provider::start([json(401, REFUSED)]).await, Provider::start([token("t", 3599)]).await);
    let world = world_of(&[("azure_openai", &provider)], &entra(&issuer));
    for place in 0..20 {
        let seen = world.call(PLAIN).await;
        assert_eq!((seen.status, seen.code().as_str()), (502, "provider_credential_refused"));
        assert_eq!(seen.headers["x-bailiwick-attempts"], if place == 0 { "2" } else { "1" });
    }
    assert_eq!(issuer.heard().len(), 2);
}

#[tokio::test]
async fn calls_that_come_together_wait_for_one_exchange() {
    let (provider, issuer) =
        (Provider::start([json(200, ANSWER)]).await, Provider::start([token("t1", 3599)]).await);
    let world = Arc::new(world_of(&[("azure_openai", &provider)], &entra(&issuer)));
    let mut calls = JoinSet::new();
    for _ in 0..50 {
        let world = Arc::clone(&world);
        calls.spawn(async move { world.call(PLAIN).await.status });
    }
    assert_eq!(calls.join_all().await, [200; 50]);
    assert_eq!(issuer.heard().len(), 1);
}

#[tokio::test]
async fn a_token_in_use_is_renewed_before_it_ends_and_one_that_nobody_uses_is_left_to_end() {
    let provider = Provider::start([json(200, ANSWER)]).await;
    let (used, unused) = (Provider::start([token("t", 2)]).await, Provider::start([token("t", 2)]).await);
    let left = world_of(&[("azure_openai", &provider)], &entra(&unused));
    assert_eq!(left.call(PLAIN).await.status, 200);
    let world = world_of(&[("azure_openai", &provider)], &entra(&used));
    assert_eq!(world.call(PLAIN).await.status, 200);
    // No call asks for the next one.
    eventually(|| used.heard().len() == 2).await;
    for tokens in 3..=4 {
        let seen = world.call(PLAIN).await;
        assert_eq!(seen.status, 200, "{}", seen.body);
        eventually(|| used.heard().len() >= tokens).await;
    }
    // It was renewed once at most: for the call that had come.
    assert!(unused.heard().len() <= 2, "{}", unused.heard().len());
}

#[tokio::test]
async fn a_credential_that_is_replaced_is_shown_no_longer() {
    let provider = Provider::start([json(200, ANSWER)]).await;
    let (before, after) =
        (Provider::start([token("before", 3599)]).await, Provider::start([token("after", 3599)]).await);
    let world = world_of(&[("azure_openai", &provider)], &entra(&before));
    assert_eq!(world.call(PLAIN).await.status, 200);
    world.put([world.credential(&entra(&after))]);
    assert_eq!(world.call(PLAIN).await.status, 200);
    let refusing = Provider::start([json(401, r#"{"error":"invalid_client"}"#)]).await;
    world.put([world.credential(&entra(&refusing))]);
    assert_eq!(world.call(PLAIN).await.code(), "provider_credential_refused");
    assert_eq!(shown(&provider), ["Bearer before", "Bearer after"]);
}

#[tokio::test]
async fn a_credential_of_another_kind_than_the_provider_takes_leaves_the_call_to_the_next_deployment() {
    let (first, second) =
        (Provider::start([json(200, ANSWER)]).await, Provider::start([json(200, ANSWER)]).await);
    let issuer = Provider::start([token("t1", 3599)]).await;
    let aws = r#"{"access_key_id":"AKID","secret_access_key":"s"}"#;
    let entra = entra(&issuer);
    for (kind, secret) in [
        ("openai", aws),
        ("openai", &entra),
        ("anthropic", &entra),
        ("bedrock", &entra),
        ("vertex", &entra),
        ("bedrock", aws),
    ] {
        let alone = world_of(&[(kind, &first)], secret);
        let chat = r#"{"model":"public","messages":[{"role":"user","content":"canary"}]}"#;
        assert_eq!(alone.call(chat).await.code(), "provider_credential_unfit", "{kind}");
        let world = world_of(&[(kind, &first), ("openai_compatible", &second)], secret);
        let seen = world.call(chat).await;
        assert_eq!(
            (seen.status, seen.headers["x-bailiwick-attempts"].as_bytes()),
            (200, &b"1"[..]),
            "{kind}"
        );
    }
    assert_eq!((first.dialled(), issuer.dialled()), (0, 0));
}

#[tokio::test]
async fn an_answer_of_whoever_issues_tokens_comes_too_late_for_a_credential_that_is_gone() {
    let (provider, slow) = (
        Provider::start([json(200, ANSWER)]).await,
        Provider::start([(Vec::new(), Then::Wait), token("t2", 3599)]).await,
    );
    let world = world_of(&[("azure_openai", &provider)], &entra(&slow));
    let call = world.call(PLAIN);
    let replaced = async {
        eventually(|| slow.heard().len() == 1).await;
        world.put([world.credential(&entra(&slow))]);
        world.call(PLAIN).await
    };
    let (late, seen) = tokio::join!(call, replaced);
    assert_eq!((late.status, late.code().as_str()), (502, "provider_token_unavailable"));
    assert_eq!(seen.status, 200, "{}", seen.body);
    assert_eq!(shown(&provider), ["Bearer t2"]);
}
