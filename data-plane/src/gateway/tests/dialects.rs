//! Callers and providers of different dialects: what each hears, what is metered, and what is refused.

use std::time::Duration;

use bailiwick_domain::packed::Packed as _;
use bailiwick_proto::worker::v1::{CallEnd, CallType, UsageSource};
use http::{HeaderValue, header};
use http_body_util::BodyExt as _;
use serde_json::json;
use tokio::task::JoinSet;

use super::{
    ANSWER, at,
    provider::{Provider, Then, events, json as answering},
    world::World,
};
use crate::polling::eventually;

const CHAT: &str = r#"{"model":"public","messages":[{"role":"user","content":"canary"}]}"#;
const CHAT_STREAM: &str =
    r#"{"model":"public","stream":true,"messages":[{"role":"user","content":"canary"}]}"#;
const MESSAGES: &str = r#"{"model":"public","max_tokens":9,"messages":[{"role":"user","content":"canary"}]}"#;
const MESSAGES_STREAM: &str =
    r#"{"model":"public","max_tokens":9,"stream":true,"messages":[{"role":"user","content":"canary"}]}"#;

const MESSAGE: &str = r#"{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[{"type":"text","text":"hello"}],"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":3,"cache_read_input_tokens":4,"output_tokens":5}}"#;
const START: &str = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"m\",\"content\":[],\"stop_reason\":null,\"stop_sequence\":null,\"usage\":{\"input_tokens\":7,\"output_tokens\":1}}}\n\n";
const BLOCK: &str = "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n";
const DELTA: &str = "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"hello\"}}\n\n";
const CLOSE: &str = "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n";
const END: &str = "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\",\"stop_sequence\":null},\"usage\":{\"output_tokens\":5}}\n\n";
const STOP: &str = "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";
const CHUNK: &str = "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"hello\"},\"finish_reason\":null}]}\n\n";
const CHAT_ANSWER: &str = r#"{"id":"c","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"hello"},"finish_reason":"stop"}],"usage":{"prompt_tokens":7,"completion_tokens":5,"total_tokens":12}}"#;

/// A world whose one deployment is at a provider of this kind.
fn world_of(kind: &str, endpoint: &str, idle: Duration) -> World {
    let world = World::with_idle(&[endpoint.to_owned()], idle);
    world.put([world.deployment_of(kind, world.deployments[0], endpoint)]);
    world
}

fn of(kind: &str, endpoint: &str) -> World {
    world_of(kind, endpoint, Duration::from_secs(20))
}

#[tokio::test]
async fn a_chat_is_answered_by_anthropic_and_metered_with_what_was_cached() {
    let provider = Provider::start([answering(200, MESSAGE)]).await;
    let world = of("anthropic", &at(&provider));
    let seen = world.call(CHAT).await;
    assert_eq!(seen.status, 200, "{}", seen.body);
    let body = seen.json();
    assert_eq!(body["choices"][0]["message"]["content"], "hello");
    assert_eq!((&body["model"], &body["usage"]["prompt_tokens"]), (&json!("public"), &json!(7)));
    assert!(!seen.headers.contains_key("x-kept"), "a provider's head stays with its dialect");

    let (head, body) = provider.heard().remove(0);
    let head = head.to_ascii_lowercase();
    assert!(head.starts_with("post /v1/messages http/1.1") && head.contains("anthropic-version: 2023-06-01"));
    assert!(head.contains("x-api-key: sk-provider-secret") && !head.contains("authorization"), "{head}");
    assert!(body.contains(r#""model":"upstream""#) && body.contains("canary"), "{body}");

    let event = world.metered(1).await.remove(0);
    assert_eq!((event.prompt_tokens, event.completion_tokens, event.cached_prompt_tokens), (7, 5, 4));
    assert_eq!((event.call_type(), event.source()), (CallType::ChatCompletion, UsageSource::ProviderFinal));
}

#[tokio::test]
async fn what_a_caller_takes_is_told_once_and_in_its_own_words() {
    let provider = Provider::start([answering(200, MESSAGE), answering(200, MESSAGE)]).await;
    let world = of("anthropic", &at(&provider));
    for (given, told) in
        [(None, "application/json"), (Some("application/json, x/y"), "application/json, x/y")]
    {
        let mut request = world.post("/v1/messages", MESSAGES);
        request.headers_mut().extend(given.map(|given| (header::ACCEPT, HeaderValue::from_static(given))));
        assert_eq!(world.send(request).await.status, 200);
        let (head, _) = provider.heard().pop().unwrap();
        let accepts: Vec<&str> = head.lines().filter(|line| line.starts_with("accept:")).collect();
        assert_eq!(accepts, [format!("accept: {told}")]);
    }
}

#[tokio::test]
async fn messages_are_answered_by_who_speaks_openai() {
    let provider = Provider::start([answering(200, CHAT_ANSWER)]).await;
    let world = World::start(&[at(&provider)]);
    let seen = world.send(world.post("/v1/messages", MESSAGES)).await;
    assert_eq!(seen.status, 200, "{}", seen.body);
    let body = seen.json();
    assert_eq!((&body["type"], &body["content"][0]["text"]), (&json!("message"), &json!("hello")));
    assert_eq!(seen.headers["request-id"], seen.headers["x-request-id"]);
    let (head, body) = provider.heard().remove(0);
    assert!(head.starts_with("POST /v1/chat/completions ") && body.contains(r#""model":"upstream""#));
    let event = world.metered(1).await.remove(0);
    assert_eq!((event.prompt_tokens, event.completion_tokens), (7, 5));
    assert_eq!(event.call_type(), CallType::Message);
}

#[tokio::test]
async fn equal_dialects_pass_untouched_but_for_the_models_name() {
    let stream = [START, BLOCK, DELTA, CLOSE, END, STOP].concat();
    let provider = Provider::start([answering(200, MESSAGE), events(&[&stream], Then::Keep)]).await;
    let world = of("anthropic", &at(&provider));
    let mut request = world.post("/v1/messages", MESSAGES);
    request.headers_mut().insert("anthropic-beta", "a-beta".parse().unwrap());
    assert_eq!(world.send(request).await.body, MESSAGE);
    assert_eq!(world.send(world.post("/v1/messages", MESSAGES_STREAM)).await.body, stream);
    let heard = provider.heard();
    assert_eq!(heard[0].1, MESSAGES.replace("public", "upstream"));
    assert_eq!(heard[1].1, MESSAGES_STREAM.replace("public", "upstream"));
    assert!(heard[0].0.contains("anthropic-beta: a-beta"));
    for event in world.metered(2).await {
        assert_eq!((event.prompt_tokens, event.completion_tokens), (7, 5));
        assert_eq!((event.end(), event.source()), (CallEnd::Completed, UsageSource::ProviderFinal));
    }
}

#[tokio::test]
async fn a_stream_is_translated_however_its_bytes_are_cut() {
    let text = [START, BLOCK, DELTA, CLOSE, END, STOP].concat();
    let mut told = Vec::new();
    for cut in [1, 7, 64, text.len()] {
        let pieces: Vec<String> =
            text.as_bytes().chunks(cut).map(|piece| String::from_utf8(piece.to_vec()).unwrap()).collect();
        let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
        let provider = Provider::start([events(&pieces, Then::Keep)]).await;
        let world = of("anthropic", &at(&provider));
        let seen = world.call(CHAT_STREAM).await;
        assert_eq!(seen.headers["content-type"], "text/event-stream");
        assert!(seen.whole && seen.body.ends_with("data: [DONE]\n\n"), "{}", seen.body);
        assert!(seen.body.contains(r#""content":"hello""#) && !seen.body.contains("usage\":{"));
        told.push(seen.body.lines().filter(|line| !line.is_empty()).count());
        let event = world.metered(1).await.remove(0);
        assert_eq!((event.prompt_tokens, event.completion_tokens), (7, 5));
        assert_eq!((event.end(), event.source()), (CallEnd::Completed, UsageSource::ProviderFinal));
    }
    told.dedup();
    assert_eq!(told.len(), 1);
}

#[tokio::test]
async fn a_translated_stream_that_is_cut_tells_its_caller_and_is_metered_with_what_had_passed() {
    for (kind, path, request, pieces) in [
        ("anthropic", "/v1/chat/completions", CHAT_STREAM, &[START, BLOCK, DELTA][..]),
        ("openai", "/v1/messages", MESSAGES_STREAM, &[CHUNK][..]),
        // Equal dialects: the error is put behind what has passed, in the caller's own shape.
        ("anthropic", "/v1/messages", MESSAGES_STREAM, &[START, BLOCK, DELTA][..]),
    ] {
        for (then, idle, end) in [
            (Then::Close, Duration::from_secs(20), CallEnd::ProviderFailed),
            (Then::Wait, Duration::from_millis(100), CallEnd::TimedOut),
        ] {
            let provider = Provider::start([events(pieces, then)]).await;
            let world = world_of(kind, &at(&provider), idle);
            let seen = world.send(world.post(path, request)).await;
            assert!(!seen.whole && seen.body.contains("hello"), "{}", seen.body);
            let last = seen.body.trim_end().rsplit("\n\n").next().unwrap().to_owned();
            assert_eq!(last.contains("event: error"), path == "/v1/messages", "{last}");
            let data = last.split_once("data: ").unwrap().1;
            let error: serde_json::Value = serde_json::from_str(data).unwrap();
            assert!(error["error"]["message"].is_string() && error["error"]["type"].is_string(), "{error}");
            let event = world.metered(1).await.remove(0);
            assert_eq!((event.end(), event.source()), (end, UsageSource::Estimated), "{kind} {path}");
            assert!(event.completion_tokens >= 1);
            // What the provider told is taken; what it did not is estimated.
            assert!(if kind == "anthropic" { event.prompt_tokens == 7 } else { event.prompt_tokens > 0 });
        }
    }
}

#[tokio::test]
async fn a_caller_who_leaves_a_translated_stream_is_metered_with_what_had_passed() {
    let provider = Provider::start([events(&[START, BLOCK, DELTA], Then::Wait)]).await;
    let world = of("anthropic", &at(&provider));
    let mut callers = JoinSet::new();
    let mut body =
        world.begin(&mut callers, world.post("/v1/chat/completions", CHAT_STREAM)).await.into_body();
    let mut seen = Vec::new();
    while !String::from_utf8_lossy(&seen).contains("hello") {
        seen.extend_from_slice(&body.frame().await.unwrap().unwrap().into_data().unwrap());
    }
    drop((body, callers));
    let event = world.metered(1).await.remove(0);
    assert_eq!((event.end(), event.source()), (CallEnd::CallerLeft, UsageSource::Estimated));
    assert_eq!(event.prompt_tokens, 7);
    eventually(|| provider.left() == 1).await;
}

#[tokio::test]
async fn r8_a_providers_errors_are_told_in_the_callers_words_without_what_concerns_its_customer() {
    let error = r#"{"type":"error","error":{"type":"overloaded_error","message":"canary of account 17"}}"#;
    for (status, told, code) in [(529, 503, "provider_overloaded"), (500, 503, "provider_overloaded")] {
        let provider = Provider::start([answering(status, error)]).await;
        let world = of("anthropic", &at(&provider));
        let seen = world.call(CHAT).await;
        assert_eq!((seen.status, seen.json()["error"]["code"].as_str()), (told, Some(code)), "{}", seen.body);
        assert!(!seen.body.contains("canary"), "{}", seen.body);
        assert_eq!(world.metered(1).await[0].status, u32::from(told));
    }
    let error = r#"{"error":{"message":"canary","type":"rate_limit_error","code":"rate_limit_exceeded"}}"#;
    let provider = Provider::start([answering(429, error)]).await;
    let world = of("openai", &at(&provider));
    let seen = world.send(world.post("/v1/messages", MESSAGES)).await;
    let body = seen.json();
    assert_eq!((seen.status, &body["type"]), (429, &json!("error")));
    assert_eq!(body["error"]["type"], "rate_limit_error");
    assert_eq!(body["request_id"], seen.headers["request-id"].to_str().unwrap());
    assert!(!seen.body.contains("canary"), "{}", seen.body);
}

#[tokio::test]
async fn what_is_not_of_the_dialect_is_a_502_of_the_callers_shape() {
    for answer in [ANSWER, "<html>canary", "[]", "{}"] {
        let provider = Provider::start([answering(200, answer)]).await;
        let world = of("anthropic", &at(&provider));
        let seen = world.call(CHAT).await;
        assert_eq!((seen.status, seen.code().as_str()), (502, "provider_invalid_response"), "{answer}");
        // A stream was asked for, and this is none.
        assert_eq!(world.call(CHAT_STREAM).await.code(), "provider_invalid_response");
        for event in world.metered(2).await {
            assert_eq!((event.end(), event.status), (CallEnd::ProviderFailed, 502));
        }
    }
}

#[tokio::test]
async fn what_the_provider_cannot_do_is_a_400_that_names_provider_and_field_and_costs_nothing() {
    let provider = Provider::start([answering(200, MESSAGE)]).await;
    let world = of("anthropic", &at(&provider));
    let logprobs = r#"{"model":"public","logprobs":true,"messages":[{"role":"user","content":"canary"}]}"#;
    let unknown =
        r#"{"model":"public","canary_field":"canary","messages":[{"role":"user","content":"canary"}]}"#;
    for (path, body, field) in [
        ("/v1/chat/completions", logprobs, "logprobs"),
        ("/v1/embeddings", r#"{"model":"public","input":"canary"}"#, "embeddings"),
        ("/v1/images/generations", r#"{"model":"public","prompt":"canary"}"#, "images.generations"),
        ("/v1/audio/speech", r#"{"model":"public","input":"canary","voice":"x"}"#, "audio.speech"),
        ("/v1/moderations", r#"{"model":"public","input":"canary"}"#, "moderations"),
    ] {
        let seen = world.send(world.post(path, body)).await;
        assert_eq!((seen.status, seen.code().as_str()), (400, "unsupported_by_provider"), "{}", seen.body);
        assert!(seen.json()["error"]["message"].as_str().unwrap().starts_with("Anthropic does not take"));
        assert_eq!(seen.json()["error"]["param"], field);
    }
    // The name of a field is the caller's own, and is told; no value is.
    assert_eq!(world.call(unknown).await.status, 400);
    for event in world.metered(6).await {
        assert_eq!((event.status, event.attempts, event.cost_nanos_usd), (400, 0, 0));
    }
    assert!(provider.heard().is_empty());
}

#[tokio::test]
async fn tokens_are_not_counted_where_nobody_counts_them() {
    for kind in ["openai", "openai_compatible", "azure_openai"] {
        let provider = Provider::start([answering(200, MESSAGE)]).await;
        let world = of(kind, &at(&provider));
        let seen = world.send(world.post("/v1/messages/count_tokens", MESSAGES)).await;
        assert_eq!((seen.status, &seen.json()["error"]["code"]), (400, &json!("unsupported_by_provider")));
        assert!(provider.heard().is_empty(), "{kind} has no such path");
    }
}

#[tokio::test]
async fn what_one_deployment_cannot_do_another_may() {
    let (cannot, can) =
        (Provider::start([answering(200, MESSAGE)]).await, Provider::start([answering(200, ANSWER)]).await);
    let world = World::start(&[at(&cannot), at(&can)]);
    world.put([world.deployment_of("anthropic", world.deployments[0], &at(&cannot))]);
    let logprobs = r#"{"model":"public","logprobs":true,"messages":[{"role":"user","content":"canary"}]}"#;
    assert_eq!(world.call(logprobs).await.body, ANSWER);
    let event = world.metered(1).await.remove(0);
    assert_eq!(
        (&event.subject.deployment_id[..], event.attempts),
        (&world.deployments[1].to_packed()[..], 1)
    );
    assert!(cannot.heard().is_empty());
}

#[tokio::test]
async fn each_provider_is_called_at_its_own_path_with_its_own_credential() {
    let gemini = r#"{"candidates":[{"content":{"role":"model","parts":[{"text":"hello"}]},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":7,"candidatesTokenCount":5,"totalTokenCount":12}}"#;
    let bedrock = r#"{"output":{"message":{"role":"assistant","content":[{"text":"hello"}]}},"stopReason":"end_turn","usage":{"inputTokens":7,"outputTokens":5,"totalTokens":12}}"#;
    for (kind, base, path, credential, answer) in [
        (
            "azure_openai",
            "/openai",
            "/openai/deployments/upstream/chat/completions?api-version=2024-10-21",
            "api-key: sk-provider-secret",
            CHAT_ANSWER,
        ),
        (
            "gemini",
            "/v1beta",
            "/v1beta/models/upstream:generatecontent",
            "x-goog-api-key: sk-provider-secret",
            gemini,
        ),
        (
            "vertex",
            "/v1/projects/p/locations/l",
            "/v1/projects/p/locations/l/publishers/google/models/upstream:generatecontent",
            "authorization: bearer sk-provider-secret",
            gemini,
        ),
        ("bedrock", "", "/model/upstream/converse", "authorization: bearer sk-provider-secret", bedrock),
    ] {
        let provider = Provider::start([answering(200, answer)]).await;
        let world = of(kind, &format!("http://{}{base}", provider.address));
        let seen = world.call(CHAT).await;
        assert_eq!(seen.status, 200, "{kind}: {}", seen.body);
        assert_eq!(seen.json()["choices"][0]["message"]["content"], "hello", "{kind}");
        let head = provider.heard().remove(0).0.to_ascii_lowercase();
        assert!(head.starts_with(&format!("post {path} http/1.1")), "{kind}: {head}");
        assert!(head.contains(credential), "{kind}: {head}");
        assert_eq!(head.matches("sk-provider-secret").count(), 1, "{kind}: {head}");
        let event = world.metered(1).await.remove(0);
        assert_eq!((event.prompt_tokens, event.completion_tokens), (7, 5), "{kind}");
    }
}

#[tokio::test]
async fn responses_pass_where_they_are_spoken_and_are_translated_elsewhere() {
    let asked = r#"{"model":"public","input":"canary"}"#;
    let answer = r#"{"id":"resp_1","object":"response","output":[],"usage":{"input_tokens":7,"output_tokens":5,"total_tokens":12}}"#;
    let provider = Provider::start([answering(200, answer)]).await;
    let world = of("openai", &at(&provider));
    assert_eq!(world.send(world.post("/v1/responses", asked)).await.body, answer);
    assert!(provider.heard()[0].0.starts_with("POST /v1/responses "));
    assert_eq!(world.metered(1).await[0].completion_tokens, 5);

    let stream = [START, BLOCK, DELTA, CLOSE, END, STOP].concat();
    let provider = Provider::start([answering(200, MESSAGE), events(&[&stream], Then::Keep)]).await;
    let world = of("anthropic", &at(&provider));
    let body = world.send(world.post("/v1/responses", asked)).await.json();
    assert_eq!(
        (&body["object"], &body["output"][0]["content"][0]["text"]),
        (&json!("response"), &json!("hello"))
    );
    let asked = r#"{"model":"public","stream":true,"input":"canary"}"#;
    let seen = world.send(world.post("/v1/responses", asked)).await;
    assert!(seen.whole && seen.body.contains("event: response.completed"), "{}", seen.body);
    for event in world.metered(2).await {
        assert_eq!((event.prompt_tokens, event.completion_tokens), (7, 5));
        assert_eq!(event.call_type(), CallType::Response);
    }
}

#[tokio::test]
async fn tokens_are_counted_where_the_provider_counts_them_and_cost_nothing() {
    let provider = Provider::start([answering(200, r#"{"input_tokens":7}"#)]).await;
    let world = of("anthropic", &at(&provider));
    let count = r#"{"model":"public","messages":[{"role":"user","content":"canary"}]}"#;
    let seen = world.send(world.post("/v1/messages/count_tokens", count)).await;
    assert_eq!(seen.json(), json!({"input_tokens": 7}));
    assert!(provider.heard()[0].0.starts_with("POST /v1/messages/count_tokens "));

    let provider = Provider::start([answering(200, r#"{"totalTokens":9}"#)]).await;
    let counting = of("gemini", &format!("http://{}/v1beta", provider.address));
    let seen = counting.send(counting.post("/v1/messages/count_tokens", count)).await;
    assert_eq!(seen.json(), json!({"input_tokens": 9}));
    for world in [world, counting] {
        let event = world.metered(1).await.remove(0);
        assert_eq!(
            (event.call_type(), event.prompt_tokens, event.cost_nanos_usd),
            (CallType::TokenCount, 0, 0)
        );
    }
}

#[tokio::test]
async fn sound_passes_as_it_comes() {
    let sound = (
        vec![b"HTTP/1.1 200 OK\r\ncontent-type: audio/mpeg\r\ncontent-length: 4\r\n\r\nID3x".to_vec()],
        Then::Keep,
    );
    let provider = Provider::start([sound]).await;
    let world = of("openai", &at(&provider));
    let asked = r#"{"model":"public","input":"canary","voice":"x"}"#;
    let seen = world.send(world.post("/v1/audio/speech", asked)).await;
    assert_eq!((seen.status, seen.body.as_str()), (200, "ID3x"));
    assert_eq!(world.metered(1).await[0].call_type(), CallType::Speech);
}

#[tokio::test]
async fn a_key_is_taken_from_x_api_key_and_from_one_place_alone() {
    let provider = Provider::start([answering(200, MESSAGE)]).await;
    let world = of("anthropic", &at(&provider));
    let presented = |bearer: bool| {
        let mut request = world.post("/v1/messages", MESSAGES);
        request.headers_mut().insert("x-api-key", world.key.expose().parse().unwrap());
        if !bearer {
            request.headers_mut().remove("authorization");
        }
        request
    };
    assert_eq!(world.send(presented(false)).await.status, 200);
    assert!(!provider.heard()[0].0.contains(world.key.expose()), "the caller's key stays here");
    let seen = world.send(presented(true)).await;
    let body = seen.json();
    assert_eq!((seen.status, &body["type"]), (401, &json!("error")));
    assert_eq!(
        (&body["error"]["type"], &body["error"]["code"]),
        (&json!("authentication_error"), &json!("invalid_api_key"))
    );
    assert_eq!(body["request_id"], seen.headers["request-id"].to_str().unwrap());
    let mut request = presented(false);
    request.headers_mut().insert("x-api-key", "bw_use1_whatever".parse().unwrap());
    let seen = world.send(request).await;
    assert_eq!((seen.status, seen.json()["type"].clone()), (421, json!("error")));
    assert_eq!(seen.headers["x-bailiwick-home-endpoint"], "https://use1.example/");
}

#[tokio::test]
async fn a_stream_that_fails_by_the_providers_own_word_is_told_and_metered_as_failed() {
    let failed = "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"canary\"}}\n\n";
    let garbage = "data: canary\n\n";
    for (last, code) in [(failed, "provider_overloaded"), (garbage, "provider_invalid_response")] {
        // It would go on for ever: nothing is waited for.
        let provider = Provider::start([events(&[START, BLOCK, DELTA, last], Then::Wait)]).await;
        let world = of("anthropic", &at(&provider));
        let seen = world.call(CHAT_STREAM).await;
        assert!(!seen.whole && seen.body.contains("hello") && !seen.body.contains("canary"), "{}", seen.body);
        let told = seen.body.trim_end().rsplit("data: ").next().unwrap();
        let told: serde_json::Value = serde_json::from_str(told).unwrap();
        assert_eq!(told["error"]["code"], code);
        let event = world.metered(1).await.remove(0);
        assert_eq!((event.end(), event.source()), (CallEnd::ProviderFailed, UsageSource::Estimated));
        eventually(|| provider.left() == 1).await;
    }
}

/// Twice what a worker of these tests may hold.
const LARGE: usize = 2 << 20;

#[tokio::test]
async fn an_answer_is_translated_only_where_there_is_room_for_it() {
    let provider = Provider::start([answering(200, &MESSAGE.replace("hello", &"x".repeat(LARGE)))]).await;
    let world = of("anthropic", &at(&provider));
    let seen = world.call(CHAT).await;
    assert_eq!((seen.status, seen.code().as_str()), (503, "worker_overloaded"));
    assert_eq!(world.metered(1).await[0].end(), CallEnd::ProviderFailed);
}

#[tokio::test]
async fn a_long_stream_is_held_for_those_alone_whose_dialect_repeats_it() {
    let delta = DELTA.replace("hello", &"x".repeat(LARGE / 32));
    let deltas = vec![delta.as_str(); 32];
    let pieces = [&[START, BLOCK], &deltas[..], &[CLOSE, END, STOP]].concat();
    let provider = Provider::start([events(&pieces, Then::Keep)]).await;
    let world = of("anthropic", &at(&provider));
    let seen = world.call(CHAT_STREAM).await;
    assert!(seen.whole && seen.body.len() > LARGE);
    let asked = r#"{"model":"public","stream":true,"input":"canary"}"#;
    let seen = world.send(world.post("/v1/responses", asked)).await;
    assert!(!seen.whole && seen.body.len() < LARGE);
    let last = seen.body.trim_end().rsplit("\n\n").next().unwrap();
    assert!(last.contains("provider_overloaded"), "{last}");
}
