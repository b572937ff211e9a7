//! Models with several deployments, and models behind models: what is tried when one fails, and what is not.

use std::time::{Duration, Instant};

use bailiwick_domain::{
    id::{DeploymentId, Organization},
    packed::Packed as _,
};
use bailiwick_proto::{
    config::v1::{self as config, Rank, resource::Kind},
    worker::v1::CallEnd,
};
use http_body_util::BodyExt as _;
use tokio::{net::TcpListener, task::JoinSet};

use super::{
    ANSWER, PLAIN, STREAM, at,
    provider::{Provider, Then, events, json, with_header},
    world::{Seen, World},
};
use crate::polling::eventually;

const OUTAGE: &str = r#"{"error":{"message":"canary","type":"server_error"}}"#;
const MESSAGE: &str = r#"{"model":"public","max_tokens":9,"messages":[{"role":"user","content":"canary"}]}"#;
const MESSAGE_ANSWER: &str = r#"{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[{"type":"text","text":"hello"}],"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":3,"output_tokens":5}}"#;

async fn closed() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("http://{}/v1", listener.local_addr().unwrap())
}

/// All deployments side by side, chosen by this strategy.
fn side_by_side(world: &World, strategy: &str) {
    let ranks = vec![Rank { order: Some(0), weight: Some(1) }; world.deployments.len()];
    world.put([world.model(world.model, "public", &world.deployments, |model| {
        model.strategy = strategy.into();
        model.ranks = ranks;
    })]);
}

/// The model `public` at the first deployment and `other` at the second, which stands behind it as is said.
fn behind(world: &World, how: impl FnOnce(&mut config::Model)) {
    let [first, second] = world.deployments[..] else { panic!("two") };
    world.put([
        world.model(world.model, "public", &[first], how),
        world.model(world.id(), "other", &[second], |_| {}),
    ]);
}

fn served_by(seen: &Seen, deployment: DeploymentId) -> bool {
    seen.headers["x-bailiwick-deployment"] == deployment.to_string()
}

fn header<'a>(seen: &'a Seen, name: &str) -> &'a str {
    seen.headers.get(name).map_or("", |value| value.to_str().unwrap())
}

#[tokio::test]
async fn an_answer_tells_the_way_that_the_call_took_and_what_it_cost() {
    let forged = "x-bailiwick-cost: 0\r\nx-bailiwick-model: theirs\r\nx-request-id: theirs";
    let forged = with_header(json(200, ANSWER), forged);
    let untold = with_header(json(200, r#"{"choices":[]}"#), "x-bailiwick-cost: 0");
    let stream = events(&["data: {}\n\n", "data: [DONE]\n\n"], Then::Keep);
    let provider = Provider::start([forged, untold, stream, json(200, "no answer")]).await;
    let world = World::start(&[at(&provider)]);
    let seen = world.call(PLAIN).await;
    assert!(served_by(&seen, world.deployments[0]));
    let told =
        ["x-bailiwick-model", "x-bailiwick-attempts", "x-bailiwick-cost"].map(|name| header(&seen, name));
    assert_eq!(told, ["public", "1", "0.000000012"]);
    for once in ["x-bailiwick-model", "x-bailiwick-cost", "x-request-id", "x-bailiwick-request-id"] {
        assert_eq!(seen.headers.get_all(once).iter().count(), 1, "{once}");
    }
    assert_eq!(header(&seen, "x-request-id"), header(&seen, "x-bailiwick-request-id"));
    let timing = header(&seen, "server-timing").strip_prefix("bailiwick;dur=").expect("our own time");
    assert!(timing.parse::<f64>().expect("milliseconds") >= 0.0);
    for unknown in [world.call(PLAIN).await, world.call(STREAM).await] {
        assert_eq!(
            (header(&unknown, "x-bailiwick-attempts"), header(&unknown, "x-bailiwick-cost")),
            ("1", "")
        );
    }
    // Of what has not reached the caller, only how often providers were called.
    let failed = world.call(PLAIN).await;
    assert_eq!((failed.status, header(&failed, "x-bailiwick-attempts")), (502, "1"));
    assert_eq!((header(&failed, "x-bailiwick-model"), header(&failed, "x-bailiwick-deployment")), ("", ""));
    let refused = world.call(r#"{"model":"absent"}"#).await;
    // How long a refusal took would tell how far it came.
    assert_eq!((header(&refused, "server-timing"), header(&refused, "x-bailiwick-attempts")), ("", ""));
    let mut request = world.post("/v1/chat/completions", PLAIN);
    request.headers_mut().insert("authorization", http::HeaderValue::from_static("Bearer bw_euc1_x"));
    let stranger = world.send(request).await;
    assert_eq!((stranger.status, header(&stranger, "server-timing")), (401, ""));
}

#[tokio::test]
async fn an_outage_of_one_deployment_costs_no_call_and_it_is_soon_left_alone() {
    let (down, failing) = (closed().await, Provider::start([json(503, OUTAGE)]).await);
    for endpoint in [down, at(&failing)] {
        let good = Provider::start([json(200, ANSWER)]).await;
        let world = World::start(&[endpoint, at(&good)]);
        side_by_side(&world, "weighted");
        let begun = Instant::now();
        let mut tries = 0;
        for _ in 0..200 {
            let seen = world.call(PLAIN).await;
            assert_eq!(seen.status, 200, "{}", seen.body);
            assert!(served_by(&seen, world.deployments[1]));
            tries += header(&seen, "x-bailiwick-attempts").parse::<usize>().unwrap();
        }
        // One call a second at most finds out whether it is well again.
        let probes = usize::try_from(begun.elapsed().as_secs()).unwrap() + 1;
        assert!((205..=205 + probes).contains(&tries), "{tries} tries");
        assert_eq!(good.heard().len(), 200);
        assert!(world.metered(200).await.iter().all(|event| event.end() == CallEnd::Completed));
    }
}

#[tokio::test]
async fn retries_cannot_multiply_an_outage() {
    const CALLS: usize = 1000;
    let (one, other) =
        (Provider::start([json(500, OUTAGE)]).await, Provider::start([json(500, OUTAGE)]).await);
    let world = World::start(&[at(&one), at(&other)]);
    side_by_side(&world, "weighted");
    let begun = Instant::now();
    for _ in 0..CALLS {
        let seen = world.call(PLAIN).await;
        assert_eq!((seen.status, seen.body.as_str()), (500, OUTAGE));
    }
    let (tried, seconds) =
        (one.heard().len() + other.heard().len(), usize::try_from(begun.elapsed().as_secs()).unwrap() + 1);
    assert!(tried >= CALLS, "nobody is refused without a try");
    assert!(tried <= CALLS * 12 / 10 + 2 * (100 + 10 * seconds), "{tried} tries in {seconds} s");
}

#[tokio::test]
async fn a_deployment_that_fails_every_second_call_is_left_alone_too() {
    let scripts: Vec<_> = (0..200).flat_map(|_| [json(500, OUTAGE), json(200, ANSWER)]).collect();
    let (first, second) = (Provider::start(scripts).await, Provider::start([json(200, ANSWER)]).await);
    let world = World::start(&[at(&first), at(&second)]);
    let begun = Instant::now();
    for _ in 0..200 {
        assert_eq!(world.call(PLAIN).await.status, 200);
    }
    // Found well by a call once a second at most, it is asked twenty times more until it is not.
    let rounds = usize::try_from(begun.elapsed().as_secs()).unwrap() + 1;
    assert!((19..=21 * rounds).contains(&first.heard().len()), "{}", first.heard().len());
}

#[tokio::test]
async fn a_deployment_that_is_well_again_is_found_by_one_call() {
    let mut scripts = vec![json(500, OUTAGE); 5];
    scripts.push(json(200, ANSWER));
    let (first, second) = (Provider::start(scripts).await, Provider::start([json(200, ANSWER)]).await);
    let world = World::start(&[at(&first), at(&second)]);
    for _ in 0..20 {
        assert_eq!(world.call(PLAIN).await.status, 200);
    }
    assert_eq!((first.heard().len(), second.heard().len()), (5, 20));
    let found = async {
        while !served_by(&world.call(PLAIN).await, world.deployments[0]) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), found).await.expect("it is found");
    assert_eq!(first.heard().len(), 6);
}

#[tokio::test]
async fn a_providers_own_failure_passes_whole_when_nothing_else_is_left() {
    let (failing, down) = (Provider::start([json(502, OUTAGE)]).await, closed().await);
    let world = World::start(&[at(&failing), down]);
    let seen = world.call(PLAIN).await;
    assert_eq!((seen.status, seen.body.as_str(), header(&seen, "x-kept")), (502, OUTAGE, "yes"));
    assert!(served_by(&seen, world.deployments[0]), "the one whose answer it is");
    let event = world.metered(1).await.remove(0);
    assert_eq!((event.status, event.end(), event.cost_nanos_usd), (502, CallEnd::Completed, 0));
    assert_eq!(event.subject.deployment_id, world.deployments[0].to_packed());
    assert_eq!(header(&seen, "x-bailiwick-attempts"), event.attempts.to_string());
}

#[tokio::test]
async fn a_lone_deployment_is_tried_once_more_when_it_fails() {
    let provider = Provider::start([json(500, OUTAGE), json(200, ANSWER)]).await;
    let world = World::start(&[at(&provider)]);
    let seen = world.call(PLAIN).await;
    assert_eq!((seen.status, header(&seen, "x-bailiwick-attempts")), (200, "2"));
    assert_eq!((provider.heard().len(), world.metered(1).await[0].attempts), (2, 2));
}

#[tokio::test]
async fn a_limit_is_waited_for_when_it_says_how_long_and_that_is_short() {
    let limited = |header: &str| with_header(json(429, OUTAGE), header);
    for (script, heard) in [
        (limited("retry-after-ms: 1"), 2),
        (json(429, OUTAGE), 1),
        (limited("retry-after: 3600"), 1),
        // A date that is over, and one that is far.
        (limited("retry-after: Wed, 21 Oct 2015 07:28:00 GMT"), 2),
        (limited("retry-after: Fri, 31 Dec 9999 23:59:59 GMT"), 1),
    ] {
        let provider = Provider::start([script, json(200, ANSWER)]).await;
        let world = World::start(&[at(&provider)]);
        let seen = world.call(PLAIN).await;
        assert_eq!(seen.status, if heard == 2 { 200 } else { 429 });
        assert_eq!(provider.heard().len(), heard);
    }
}

#[tokio::test]
async fn a_limited_deployment_is_left_alone_for_as_long_as_it_says() {
    let limited =
        Provider::start([with_header(json(429, OUTAGE), "retry-after: 600"), json(200, ANSWER)]).await;
    let good = Provider::start([json(200, ANSWER)]).await;
    let world = World::start(&[at(&limited), at(&good)]);
    for _ in 0..20 {
        assert_eq!(world.call(PLAIN).await.status, 200);
    }
    assert_eq!((limited.heard().len(), good.heard().len()), (1, 20));
}

#[tokio::test]
async fn a_refused_credential_moves_on_and_another_one_is_tried_at_once() {
    let refusing = Provider::start([json(401, OUTAGE), json(200, ANSWER)]).await;
    let good = Provider::start([json(200, ANSWER)]).await;
    let world = World::start(&[at(&refusing), at(&good)]);
    for _ in 0..20 {
        assert_eq!(world.call(PLAIN).await.status, 200);
    }
    assert_eq!((refusing.heard().len(), good.heard().len()), (1, 20));
    world.put([world.credential("sk-another")]);
    assert!(served_by(&world.call(PLAIN).await, world.deployments[0]));
}

#[tokio::test]
async fn what_may_have_been_answered_is_not_tried_again() {
    let half = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 900\r\n\r\n{";
    let begun = events(&["data: {\"choices\":[]}\n\n"], Then::Close);
    let cases = [
        (PLAIN, (vec![], Then::Close)),
        (PLAIN, (vec![half.into()], Then::Close)),
        (PLAIN, (vec![], Then::Wait)),
        (STREAM, begun),
    ];
    for (body, script) in cases {
        let (first, second) =
            (Provider::start([script.clone()]).await, Provider::start([json(200, ANSWER)]).await);
        let world = World::with_idle(&[at(&first), at(&second)], Duration::from_millis(200));
        world.put([world.model(world.model, "public", &world.deployments, |model| {
            model.fallback_model = "other".into()
        })]);
        world.put([world.model(world.id(), "other", &[world.deployments[1]], |_| {})]);
        let seen = world.call(body).await;
        assert!(seen.status >= 500 || !seen.whole, "{script:?}");
        assert_eq!((first.heard().len(), second.heard().len()), (1, 0), "{script:?}");
    }
}

#[tokio::test]
async fn what_costs_nothing_is_tried_again_though_it_may_have_been_answered() {
    let first = Provider::start([(vec![], Then::Close)]).await;
    let second = Provider::start([json(200, r#"{"results":[]}"#)]).await;
    let world = World::start(&[at(&first), at(&second)]);
    let seen = world.send(world.post("/v1/moderations", r#"{"model":"public","input":"canary"}"#)).await;
    assert_eq!((seen.status, header(&seen, "x-bailiwick-attempts")), (200, "2"));
}

#[tokio::test]
async fn the_idle_deployment_is_preferred() {
    let waiting = || Provider::start([events(&["data: {}\n\n"], Then::Wait), json(200, ANSWER)]);
    let providers = [waiting().await, waiting().await];
    let world = World::start(&[at(&providers[0]), at(&providers[1])]);
    side_by_side(&world, "least_in_flight");
    let mut callers = JoinSet::new();
    let mut held = world.begin(&mut callers, world.post("/v1/chat/completions", STREAM)).await.into_body();
    held.frame().await.unwrap().unwrap();
    let busy = usize::from(providers[0].heard().is_empty());
    // The other one holds a stream too, once; from then on they are equal, and share.
    let mut second = world.begin(&mut callers, world.post("/v1/chat/completions", STREAM)).await.into_body();
    second.frame().await.unwrap().unwrap();
    assert_eq!(providers.each_ref().map(|provider| provider.heard().len()), [1, 1]);
    drop(held);
    eventually(|| providers[busy].left() == 1).await;
    for _ in 0..10 {
        assert!(served_by(&world.call(PLAIN).await, world.deployments[busy]));
    }
}

#[tokio::test]
async fn a_model_falls_back_when_all_of_its_deployments_fail_and_goes_there_at_once_while_they_cool_down() {
    let (failing, good) =
        (Provider::start([json(500, OUTAGE)]).await, Provider::start([json(200, ANSWER)]).await);
    let world = World::start(&[at(&failing), at(&good)]);
    behind(&world, |model| model.fallback_model = "other".into());
    // The administrator has said what stands in for it: the key need not name it.
    world.put([world.api_key(&world.key, &["public"])]);
    for _ in 0..100 {
        let seen = world.call(PLAIN).await;
        assert_eq!((seen.status, header(&seen, "x-bailiwick-model")), (200, "other"));
        assert!(served_by(&seen, world.deployments[1]));
    }
    assert!(failing.heard().len() < 20, "{}", failing.heard().len());
    assert_eq!(world.call(r#"{"model":"other"}"#).await.code(), "model_not_allowed");
    for event in world.metered(100).await {
        assert_eq!(event.subject.model_id, world.model.to_packed(), "what was asked for");
        assert_eq!(event.subject.deployment_id, world.deployments[1].to_packed(), "what served");
    }
}

#[tokio::test]
async fn a_model_that_may_be_called_nowhere_falls_back() {
    let good = Provider::start([json(200, ANSWER)]).await;
    let world = World::start(&["http://127.0.0.2:9/v1".into(), at(&good)]);
    behind(&world, |model| model.fallback_model = "other".into());
    let seen = world.call(PLAIN).await;
    assert_eq!(
        (seen.status, header(&seen, "x-bailiwick-model"), header(&seen, "x-bailiwick-attempts")),
        (200, "other", "1")
    );
}

#[tokio::test]
async fn models_that_lead_in_a_circle_end() {
    let (one, other) =
        (Provider::start([json(500, OUTAGE)]).await, Provider::start([json(503, OUTAGE)]).await);
    let world = World::start(&[at(&one), at(&other)]);
    let [first, second] = world.deployments[..] else { panic!("two") };
    world.put([
        world.model(world.model, "public", &[first], |model| model.fallback_model = "other".into()),
        world.model(world.id(), "other", &[second], |model| model.fallback_model = "public".into()),
    ]);
    for _ in 0..20 {
        let seen = world.call(PLAIN).await;
        assert!([500, 503].contains(&seen.status) && seen.body == OUTAGE);
        assert!(header(&seen, "x-bailiwick-attempts").parse::<u16>().unwrap() <= 4);
    }
}

#[tokio::test]
async fn no_model_is_entered_twice() {
    // A credential that is refused is not tried again: each model costs one attempt.
    let (one, other) =
        (Provider::start([json(401, OUTAGE)]).await, Provider::start([json(401, OUTAGE)]).await);
    let world = World::start(&[at(&one), at(&other)]);
    let [first, second] = world.deployments[..] else { panic!("two") };
    world.put([
        world.model(world.model, "public", &[first], |model| model.fallback_model = "other".into()),
        world.model(world.id(), "other", &[second], |model| model.fallback_model = "public".into()),
    ]);
    let seen = world.call(PLAIN).await;
    assert_eq!((seen.status, world.metered(1).await[0].attempts), (502, 2));
    assert_eq!((one.heard().len(), other.heard().len()), (1, 1));
}

#[tokio::test]
async fn r2_what_belongs_to_another_organization_is_not_called_whatever_a_model_lists() {
    let provider = Provider::start([json(200, ANSWER)]).await;
    let world = World::start(&[at(&provider)]);
    let stranger = world.id::<Organization>().to_string();
    let Kind::Deployment(mine) = world.deployment(world.deployments[0], &at(&provider)) else {
        panic!("one")
    };
    let foreign = config::Deployment { organization_id: stranger.clone(), ..mine.clone() };
    world.put([Kind::Deployment(foreign)]);
    let seen = world.call(PLAIN).await;
    assert_eq!((seen.status, provider.heard().len()), (503, 0), "{}", seen.body);

    let Kind::Credential(credential) = world.credential("stolen") else { panic!("one") };
    let credential = config::Credential { organization_id: stranger, ..credential };
    world.put([Kind::Deployment(mine), Kind::Credential(credential)]);
    let seen = world.call(PLAIN).await;
    assert_eq!((seen.status, provider.heard().len()), (503, 0), "{}", seen.body);
}

/// Path, kind of provider, a refusal, and what asks for it.
const REFUSALS: [(&str, &str, &str, bool); 4] = [
    (
        "/v1/chat/completions",
        "openai",
        r#"{"error":{"message":"canary","type":"invalid_request_error","param":"messages","code":"context_length_exceeded"}}"#,
        true,
    ),
    (
        "/v1/chat/completions",
        "openai",
        r#"{"error":{"message":"canary","type":"invalid_request_error","param":null,"code":"content_policy_violation"}}"#,
        false,
    ),
    (
        "/v1/messages",
        "anthropic",
        r#"{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 9 tokens > 8 maximum"}}"#,
        true,
    ),
    (
        "/v1/messages",
        "anthropic",
        r#"{"type":"error","error":{"type":"invalid_request_error","message":"Output blocked by content filtering policy"}}"#,
        false,
    ),
];

#[tokio::test]
async fn a_refusal_goes_to_the_fallback_for_it_and_to_no_other_in_both_dialects() {
    for (path, kind, refusal, too_long) in REFUSALS {
        let body = if kind == "anthropic" { MESSAGE } else { PLAIN };
        let answer = if kind == "anthropic" { MESSAGE_ANSWER } else { ANSWER };
        for (window, policy) in [(true, false), (false, true), (false, false)] {
            let (refusing, good) =
                (Provider::start([json(400, refusal)]).await, Provider::start([json(200, answer)]).await);
            let world = World::start(&[at(&refusing), at(&good)]);
            let endpoints = [&refusing, &good];
            for (id, provider) in world.deployments.iter().zip(endpoints) {
                world.put([world.deployment_of(kind, *id, &at(provider))]);
            }
            behind(&world, |model| {
                model.fallback_model = "absent".into();
                model.context_window_fallback_model = if window { "other".into() } else { String::new() };
                model.content_policy_fallback_model = if policy { "other".into() } else { String::new() };
            });
            let seen = world.send(world.post(path, body)).await;
            if (too_long && window) || (!too_long && policy) {
                assert_eq!((seen.status, header(&seen, "x-bailiwick-model")), (200, "other"), "{refusal}");
                assert_eq!(header(&seen, "x-bailiwick-attempts"), "2");
                let event = world.metered(1).await.remove(0);
                assert_eq!((&event.subject.model_id[..], event.attempts), (&world.model.to_packed()[..], 2));
                assert_eq!(event.subject.deployment_id, world.deployments[1].to_packed());
            } else {
                assert_eq!((seen.status, seen.body.as_str(), good.heard().len()), (400, refusal, 0));
                assert_eq!((header(&seen, "x-bailiwick-model"), seen.whole), ("public", true));
            }
        }
    }
}

#[tokio::test]
async fn a_refusal_that_is_translated_falls_back_too() {
    let (_, _, refusal, _) = REFUSALS[2];
    let (refusing, good) =
        (Provider::start([json(400, refusal)]).await, Provider::start([json(200, ANSWER)]).await);
    let world = World::start(&[at(&refusing), at(&good)]);
    world.put([world.deployment_of("anthropic", world.deployments[0], &at(&refusing))]);
    behind(&world, |model| model.context_window_fallback_model = "other".into());
    let chat = r#"{"model":"public","messages":[{"role":"user","content":"canary"}]}"#;
    let seen = world.call(chat).await;
    assert_eq!((seen.status, seen.body.as_str(), header(&seen, "x-bailiwick-model")), (200, ANSWER, "other"));
}

#[tokio::test]
async fn a_large_or_broken_refusal_is_no_reason_to_go_elsewhere() {
    let large =
        format!(r#"{{"error":{{"code":"context_length_exceeded","message":"{}"}}}}"#, "x".repeat(100_000));
    let half = "HTTP/1.1 400 X\r\ncontent-type: application/json\r\ncontent-length: 900\r\n\r\n{\"error\":";
    for (script, status) in [(json(400, &large), 400), ((vec![half.into()], Then::Close), 502)] {
        let (refusing, good) = (Provider::start([script]).await, Provider::start([json(200, ANSWER)]).await);
        let world = World::start(&[at(&refusing), at(&good)]);
        behind(&world, |model| model.context_window_fallback_model = "other".into());
        let seen = world.call(PLAIN).await;
        assert_eq!((seen.status, good.heard().len()), (status, 0));
        assert!(status == 502 || seen.body == large);
    }
}

#[tokio::test]
async fn an_answer_that_a_filter_cut_short_is_an_answer() {
    let cut = ANSWER.replace(r#""message""#, r#""finish_reason":"content_filter","message""#);
    let (first, second) =
        (Provider::start([json(200, &cut)]).await, Provider::start([json(200, ANSWER)]).await);
    let world = World::start(&[at(&first), at(&second)]);
    behind(&world, |model| model.content_policy_fallback_model = "other".into());
    assert_eq!((world.call(PLAIN).await.body, second.heard().len()), (cut, 0));
}
