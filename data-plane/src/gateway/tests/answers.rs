//! Answers that are no streams: right ones, wrong ones, broken ones, large ones.

use std::time::Duration;

use bailiwick_domain::packed::Packed as _;
use bailiwick_proto::worker::v1::{CallEnd, UsageSource};
use tokio::{net::TcpListener, task::JoinSet};

use super::{
    ANSWER, PLAIN, at,
    provider::{Provider, Then, json, with_header},
    world::World,
};
use crate::polling::eventually;

#[tokio::test]
async fn a_call_goes_to_the_provider_and_back_untouched_and_is_metered() {
    let provider = Provider::start([json(200, ANSWER)]).await;
    let world = World::start(&[at(&provider)]);
    let mut request = world.post("/v1/chat/completions", PLAIN);
    for (name, value) in [
        ("cookie", "a=b"),
        ("x-forwarded-for", "10.0.0.1"),
        ("openai-organization", "org"),
        ("openai-beta", "x=1"),
    ] {
        request.headers_mut().insert(name, value.parse().unwrap());
    }
    let seen = world.send(request).await;
    assert_eq!((seen.status, seen.body.as_str(), seen.whole), (200, ANSWER, true));
    for (name, value) in
        [("x-bailiwick-region", "eu-central-1"), ("x-bailiwick-model", "public"), ("x-kept", "yes")]
    {
        assert_eq!(seen.headers[name], value);
    }
    assert_eq!(seen.headers["x-request-id"], seen.headers["x-bailiwick-request-id"]);
    assert!(!seen.headers.contains_key("set-cookie") && !seen.headers.contains_key("openai-organization"));

    let (head, body) = provider.heard().remove(0);
    assert_eq!(body, PLAIN.replace("public", "upstream"));
    let head = head.to_ascii_lowercase();
    assert!(
        head.starts_with("post /v1/chat/completions http/1.1") && head.contains("bearer sk-provider-secret")
    );
    assert!(head.contains("openai-beta: x=1") && head.contains("accept-encoding: identity"));
    assert!(
        !["cookie", "forwarded", "bw_", "openai-organization"].iter().any(|word| head.contains(word)),
        "{head}"
    );

    let event = world.metered(1).await.remove(0);
    assert_eq!((event.status, event.prompt_tokens, event.completion_tokens, event.attempts), (200, 7, 5, 1));
    assert_eq!(
        (event.end(), event.source(), event.cost_nanos_usd),
        (CallEnd::Completed, UsageSource::ProviderFinal, 12)
    );
}

#[tokio::test]
async fn what_a_provider_says_to_its_own_customer_or_of_one_hop_stays_here() {
    const NAMES: [&str; 14] = [
        "x-of-it",
        "keep-alive",
        "proxy-authenticate",
        "te",
        "trailer",
        "upgrade",
        "location",
        "set-cookie",
        "strict-transport-security",
        "alt-svc",
        "openai-organization",
        "openai-project",
        "anthropic-organization-id",
        "x-bailiwick-cost",
    ];
    let said: String = NAMES.iter().map(|name| format!("{name}: theirs\r\n")).collect();
    let head =
        format!("HTTP/1.1 200 X\r\ncontent-type: application/json\r\ncontent-length: {}\r\n", ANSWER.len());
    let answer = format!("{head}{said}connection: X-Of-It, content-type\r\n\r\n{ANSWER}").into_bytes();
    let provider = Provider::start([(vec![answer], Then::Keep)]).await;
    let world = World::start(&[at(&provider)]);
    let seen = world.call(PLAIN).await;
    assert_eq!((seen.status, seen.body.as_str()), (200, ANSWER));
    for (name, value) in &seen.headers {
        assert!(value != "theirs" && name != "connection", "{name}");
    }
    assert_eq!(seen.headers["content-type"], "application/json", "what a body is, nobody has removed");
}

#[tokio::test]
async fn an_answer_whose_usage_nobody_can_read_is_none() {
    for (encoding, status) in [("gzip", 502), ("identity", 200)] {
        let answer = with_header(json(200, ANSWER), &format!("Content-Encoding: {encoding}"));
        let provider = Provider::start([answer]).await;
        let world = World::start(&[at(&provider)]);
        assert_eq!(world.call(PLAIN).await.status, status, "{encoding}");
    }
}

#[tokio::test]
async fn a_connection_serves_call_after_call() {
    let provider = Provider::start([json(200, ANSWER)]).await;
    let world = World::start(&[at(&provider)]);
    for _ in 0..5 {
        assert_eq!(world.call(PLAIN).await.status, 200);
    }
    assert_eq!(provider.dialled(), 1);
}

#[tokio::test]
async fn a_connection_that_the_provider_closed_costs_no_call() {
    let (pieces, _) = json(200, ANSWER);
    let provider = Provider::start([(pieces, Then::Close)]).await;
    let world = World::start(&[at(&provider)]);
    for _ in 0..5 {
        assert_eq!(world.call(PLAIN).await.status, 200);
    }
}

#[tokio::test]
async fn a_connection_that_the_provider_closes_while_it_rests_is_let_go_of_without_another_call() {
    let (pieces, _) = json(200, ANSWER);
    let provider = Provider::start([(pieces, Then::Leave)]).await;
    let world = World::start(&[at(&provider)]);
    assert_eq!(world.call(PLAIN).await.status, 200);
    eventually(|| provider.left() == 1).await;
}

#[tokio::test]
async fn a_large_answer_with_a_length_is_metered_with_its_usage() {
    let large = format!(r#"{{"data":["{}"],"usage":{{"prompt_tokens":3}}}}"#, "x".repeat(400_000));
    let provider = Provider::start([json(200, &large)]).await;
    let world = World::start(&[at(&provider)]);
    for _ in 0..2 {
        let seen = world.send(world.post("/v1/embeddings", r#"{"model":"public","input":"canary"}"#)).await;
        assert!(seen.body == large && seen.whole);
        assert_eq!(seen.headers["content-length"], large.len().to_string());
        assert!(seen.headers["x-kept"] == "yes" && !seen.headers.contains_key("set-cookie"));
    }
    for event in world.metered(2).await {
        assert_eq!(
            (event.end(), event.source(), event.prompt_tokens),
            (CallEnd::Completed, UsageSource::ProviderFinal, 3)
        );
    }
    assert_eq!(provider.dialled(), 1, "and the connection is kept");
}

#[tokio::test]
async fn what_is_no_answer_becomes_a_502() {
    let broken = |text: &str, then| (vec![text.as_bytes().to_vec()], then);
    let half =
        format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 900\r\n\r\n{ANSWER}");
    let unbounded = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n{}",
        ANSWER.split_once("usage").unwrap().0
    );
    let cases = [
        json(200, "<html>canary</html>"),
        json(200, "\"canary\""),
        broken(&half, Then::Close),
        broken(&unbounded, Then::Close),
        broken("canary\r\n\r\n", Then::Close),
        broken("", Then::Close),
        broken(
            "HTTP/1.1 307 X\r\nlocation: http://127.0.0.1:1/canary\r\ncontent-length: 0\r\n\r\n",
            Then::Keep,
        ),
    ];
    for case in cases {
        let provider = Provider::start([case.clone()]).await;
        let world = World::start(&[at(&provider)]);
        let seen = world.call(PLAIN).await;
        assert_eq!((seen.status, seen.code().as_str()), (502, "provider_invalid_response"), "{case:?}");
        assert_eq!(provider.heard().len(), 1, "a call that may have been answered is not repeated: {case:?}");
        let event = world.metered(1).await.remove(0);
        assert_eq!((event.status, event.end(), event.cost_nanos_usd), (502, CallEnd::ProviderFailed, 0));
    }
}

#[tokio::test]
async fn a_providers_own_error_passes_untouched() {
    let body = r#"{"error":{"message":"slow down","code":"rate_limit_exceeded"}}"#;
    let provider = Provider::start([json(429, body)]).await;
    let world = World::start(&[at(&provider)]);
    let seen = world.call(PLAIN).await;
    assert_eq!((seen.status, seen.body.as_str()), (429, body));
    let event = world.metered(1).await.remove(0);
    assert_eq!((event.status, event.end(), event.cost_nanos_usd), (429, CallEnd::Completed, 0));
}

#[tokio::test]
async fn r8_a_refused_credential_is_told_without_the_providers_text() {
    for status in [401, 403] {
        let provider = Provider::start([json(status, r#"{"error":{"message":"canary sk-prov***"}}"#)]).await;
        let world = World::start(&[at(&provider)]);
        let seen = world.call(PLAIN).await;
        assert_eq!((seen.status, seen.code().as_str()), (502, "provider_credential_refused"));
        assert!(!seen.body.contains("sk-"));
    }
}

#[tokio::test]
async fn a_silent_provider_is_a_504() {
    let provider = Provider::start([(vec![], Then::Wait)]).await;
    let world = World::with_idle(&[at(&provider)], Duration::from_millis(50));
    let seen = world.call(PLAIN).await;
    assert_eq!((seen.status, seen.code().as_str()), (504, "provider_timeout"));
    assert_eq!(world.metered(1).await[0].end(), CallEnd::TimedOut);
    eventually(|| provider.left() == 1).await;
}

#[tokio::test]
async fn the_next_deployment_is_tried_when_one_cannot_be_reached_and_is_the_one_that_is_metered() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let provider = Provider::start([json(200, ANSWER)]).await;
    let world = World::start(&[format!("http://{closed}/v1"), at(&provider)]);
    assert_eq!(world.call(PLAIN).await.status, 200);
    let event = world.metered(1).await.remove(0);
    assert_eq!((event.attempts, event.cost_nanos_usd), (2, 12));
    assert_eq!(event.subject.deployment_id, world.deployments[1].to_packed());
}

#[tokio::test]
async fn when_none_can_be_reached_the_caller_hears_it() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let world = World::start(&[format!("http://{closed}/v1")]);
    let seen = world.call(PLAIN).await;
    assert_eq!((seen.status, seen.code().as_str()), (502, "provider_unreachable"));
    assert_eq!(world.metered(1).await[0].end(), CallEnd::ProviderFailed);
}

#[tokio::test]
async fn a_deployment_that_moves_takes_no_old_connection_along() {
    let (old, new) = (Provider::start([json(200, ANSWER)]).await, Provider::start([json(200, ANSWER)]).await);
    let world = World::start(&[at(&old)]);
    assert_eq!(world.call(PLAIN).await.status, 200);
    world.put([world.deployment(world.deployments[0], &at(&new))]);
    assert_eq!(world.call(PLAIN).await.status, 200);
    assert_eq!((old.heard().len(), new.heard().len()), (1, 1));
}

#[tokio::test]
async fn r7_a_policy_that_closes_closes_connections_that_are_open_too() {
    let provider = Provider::start([json(200, ANSWER)]).await;
    let world = World::start(&[at(&provider)]);
    assert_eq!(world.call(PLAIN).await.status, 200);
    world.put([world.settings(&["127.0.0.1"], &[])]);
    assert_eq!(world.call(PLAIN).await.code(), "egress_refused");
    world.put([world.settings(&["api.openai.com"], &["127.0.0.0/8"])]);
    assert_eq!(world.call(PLAIN).await.code(), "no_deployment_available");
    assert_eq!(provider.heard().len(), 1);
}

#[tokio::test]
async fn a_caller_who_leaves_before_the_answer_cancels_the_call_and_is_metered() {
    let provider = Provider::start([(vec![], Then::Wait)]).await;
    let world = World::start(&[at(&provider)]);
    let mut callers = JoinSet::new();
    tokio::select! {
        _answer = world.begin(&mut callers, world.post("/v1/chat/completions", PLAIN)) => panic!("nobody answers"),
        () = eventually(|| provider.heard().len() == 1) => {}
    }
    drop(callers);
    eventually(|| provider.left() == 1).await;
    let event = world.metered(1).await.remove(0);
    assert_eq!((event.status, event.end()), (499, CallEnd::CallerLeft));
}
