//! What a provider had sent when its caller left, or when it fell silent, is counted: in every dialect, also where usage stands at the end alone.

use std::time::Duration;

use bailiwick_proto::worker::v1::{CallEnd, UsageSource};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{
    at,
    provider::{Provider, Script, Then, events},
    world::World,
};
use crate::metering::settled::Metered;

/// One token each, as tokenizers cut them.
const WORDS: [&str; 4] = [" regions", " share", " nothing", " alike"];
const COUNT: usize = 200;
const CHAT: &str = r#"{"model":"public","stream":true,"messages":[{"role":"user","content":"canary"}]}"#;
const COMPLETION: &str = r#"{"model":"public","stream":true,"prompt":"canary"}"#;
const RESPONSE: &str = r#"{"model":"public","stream":true,"input":"canary"}"#;
const MESSAGE: &str =
    r#"{"model":"public","max_tokens":999,"stream":true,"messages":[{"role":"user","content":"canary"}]}"#;
const END_OF_WORDS: &str = "FIN";

fn data(value: &Value) -> String {
    match value["type"].as_str() {
        Some(kind) => format!("event: {kind}\ndata: {value}\n\n"),
        None => format!("data: {value}\n\n"),
    }
}

fn chat(word: &str) -> Value {
    json!({"id":"c","object":"chat.completion.chunk","created":1,"model":"m",
           "choices":[{"index":0,"delta":{"content":word},"finish_reason":null}],"usage":null})
}

fn completion(word: &str) -> Value {
    json!({"id":"c","object":"text_completion","created":1,"model":"m","choices":[{"index":0,"text":word,"finish_reason":null}]})
}

fn response(word: &str) -> Value {
    json!({"type":"response.output_text.delta","item_id":"i","output_index":0,"content_index":0,"delta":word})
}

fn message(word: &str) -> Value {
    json!({"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":word}})
}

fn gemini(word: &str) -> Value {
    json!({"candidates":[{"content":{"role":"model","parts":[{"text":word}]},"index":0}]})
}

/// Anthropic tells what was asked first.
fn message_start() -> Vec<Value> {
    vec![
        json!({"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[],
               "stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":77,"output_tokens":1}}}),
        json!({"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}),
    ]
}

fn world_of(kind: &str, provider: &Provider, idle: Duration) -> World {
    let world = World::with_idle(&[at(provider)], idle);
    world.put([world.deployment_of(kind, world.deployments[0], &at(provider))]);
    world
}

/// How a call is metered whose caller leaves when these have come.
async fn left(kind: &str, path: &str, body: &str, said: &[Value]) -> Metered {
    let pieces: Vec<String> = said.iter().map(data).collect();
    let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
    let provider = Provider::start([events(&pieces, Then::Wait)]).await;
    let world = world_of(kind, &provider, Duration::from_secs(20));
    let mut callers = JoinSet::new();
    let mut answer = world.begin(&mut callers, world.post(path, body)).await.into_body();
    let mut seen = Vec::new();
    while !String::from_utf8_lossy(&seen).contains(END_OF_WORDS) {
        seen.extend_from_slice(&answer.frame().await.unwrap().unwrap().into_data().unwrap());
    }
    drop((answer, callers));
    let event = world.metered(1).await.remove(0);
    assert_eq!((event.end(), event.status), (CallEnd::CallerLeft, 200));
    event
}

fn words(make: fn(&str) -> Value) -> impl Iterator<Item = Value> {
    WORDS.into_iter().cycle().take(COUNT).chain([END_OF_WORDS]).map(make)
}

/// Until its tokenizer is loaded, a worker goes by bytes.
fn is_near(tokens: u64) -> bool {
    (COUNT as u64 * 7 / 10..=COUNT as u64 * 2).contains(&tokens)
}

#[tokio::test]
async fn what_came_before_the_caller_left_is_counted_in_every_dialect() {
    let passing = [
        ("openai_compatible", "/v1/chat/completions", CHAT, chat as fn(&str) -> Value),
        ("openai_compatible", "/v1/completions", COMPLETION, completion),
        ("openai", "/v1/responses", RESPONSE, response),
        ("openai_compatible", "/v1/messages", MESSAGE, chat),
        ("openai_compatible", "/v1/responses", RESPONSE, chat),
        ("gemini", "/v1/chat/completions", CHAT, gemini),
        ("gemini", "/v1/messages", MESSAGE, gemini),
    ];
    for (kind, path, body, make) in passing {
        let event = left(kind, path, body, &words(make).collect::<Vec<_>>()).await;
        assert_eq!(event.source(), UsageSource::Estimated, "{kind} {path}");
        assert!(is_near(event.completion_tokens), "{kind} {path}: {event:?}");
        assert!((1..20).contains(&event.prompt_tokens), "{kind} {path}: {event:?}");
        assert_eq!(event.cost_nanos_usd, (event.prompt_tokens + event.completion_tokens).cast_signed());
    }
    for (path, body) in
        [("/v1/messages", MESSAGE), ("/v1/chat/completions", CHAT), ("/v1/responses", RESPONSE)]
    {
        let said: Vec<Value> = message_start().into_iter().chain(words(message)).collect();
        let event = left("anthropic", path, body, &said).await;
        assert_eq!((event.source(), event.prompt_tokens), (UsageSource::Estimated, 77), "{path}");
        assert!(is_near(event.completion_tokens), "{path}: {event:?}");
    }
}

#[tokio::test]
async fn usage_that_is_told_with_each_piece_goes_as_far_as_it_goes() {
    let with_usage = |number: usize, word: &str| {
        let mut piece = chat(word);
        piece["usage"] =
            json!({"prompt_tokens": 9, "completion_tokens": number + 1, "total_tokens": number + 10});
        piece
    };
    let told = |last: &str| -> Vec<Value> {
        let said = WORDS.into_iter().cycle().take(COUNT - 1).chain([last]);
        said.enumerate().map(|(number, word)| with_usage(number, word)).collect()
    };
    let event = left("openai_compatible", "/v1/chat/completions", CHAT, &told(END_OF_WORDS)).await;
    assert_eq!((event.prompt_tokens, event.completion_tokens), (9, COUNT as u64));
    assert_eq!(event.source(), UsageSource::Partial, "more was to come");
    // What came behind the last of it is estimated.
    let said: Vec<Value> = told(" alike").into_iter().chain(words(chat)).collect();
    let event = left("openai_compatible", "/v1/chat/completions", CHAT, &said).await;
    assert_eq!((event.prompt_tokens, event.source()), (9, UsageSource::Estimated));
    assert!(is_near(event.completion_tokens - COUNT as u64), "{event:?}");
}

/// The beginning of a whole answer, and then nothing.
fn begun(answer: &str) -> Script {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 9999\r\n\r\n";
    (vec![format!("{head}{answer}").into_bytes()], Then::Wait)
}

#[tokio::test]
async fn what_came_of_a_whole_answer_before_its_provider_fell_silent_is_counted() {
    let text: String = WORDS.into_iter().cycle().take(COUNT).collect();
    let chat =
        format!(r#"{{"id":"c","choices":[{{"index":0,"message":{{"role":"assistant","content":"{text}"#);
    let completion = format!(r#"{{"id":"c","choices":[{{"index":0,"text":"{text}"#);
    let response = format!(
        r#"{{"id":"r","output":[{{"type":"message","content":[{{"type":"output_text","text":"{text}"#
    );
    let message = format!(r#"{{"id":"m","type":"message","content":[{{"type":"text","text":"{text}"#);
    let plain = |body: &str| body.replace(r#""stream":true,"#, "");
    for (kind, path, body, answer) in [
        ("openai_compatible", "/v1/chat/completions", CHAT, &chat),
        ("openai_compatible", "/v1/completions", COMPLETION, &completion),
        ("openai", "/v1/responses", RESPONSE, &response),
        ("anthropic", "/v1/messages", MESSAGE, &message),
        ("anthropic", "/v1/chat/completions", CHAT, &message),
        ("openai_compatible", "/v1/messages", MESSAGE, &chat),
    ] {
        let provider = Provider::start([begun(answer)]).await;
        let world = world_of(kind, &provider, Duration::from_millis(200));
        let seen = world.send(world.post(path, &plain(body))).await;
        assert_eq!(seen.status, 504, "{kind} {path}: {}", seen.body);
        let event = world.metered(1).await.remove(0);
        assert_eq!((event.end(), event.source()), (CallEnd::TimedOut, UsageSource::Estimated));
        assert!(is_near(event.completion_tokens), "{kind} {path}: {event:?}");
        assert!(event.prompt_tokens > 0, "{kind} {path}");
    }
    // What it told is believed; an error costs nothing, however little came of it.
    let told = r#"{"usage":{"prompt_tokens":7,"completion_tokens":5},"choices":["#;
    let provider = Provider::start([begun(told)]).await;
    let world = world_of("openai_compatible", &provider, Duration::from_millis(200));
    world.call(&plain(CHAT)).await;
    assert_eq!(world.metered(1).await[0].completion_tokens, 5);
    let (pieces, then) = begun(&chat);
    let error = String::from_utf8(pieces.concat()).unwrap().replace("200 OK", "404 X");
    let provider = Provider::start([(vec![error.into_bytes()], then)]).await;
    let world = world_of("openai_compatible", &provider, Duration::from_millis(200));
    world.call(&plain(CHAT)).await;
    assert_eq!((world.metered(1).await[0].prompt_tokens, world.metered_now()[0].completion_tokens), (0, 0));
}
