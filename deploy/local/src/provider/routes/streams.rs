//! Answers that take a while, or do not come whole.

use std::{io, time::Duration};

use axum::{
    body::{Body, Bytes},
    http::header,
    response::{IntoResponse, Response},
};
use futures_util::{Stream, StreamExt, stream};
use serde_json::{Value, json};

use super::{Kind, Provider, count};
use crate::{
    answers::{self, Request},
    anthropic, audio,
    behaviour::Behaviour,
    responses,
};

const SLOW_CHUNK: Duration = Duration::from_millis(50);
const HELD_CHUNK: Duration = Duration::from_secs(2);
const CUT_AFTER: Duration = Duration::from_millis(30);
const DONE: &[u8] = b"data: [DONE]\n\n";

/// Half of the bytes that Content-Length promises, then an end.
pub(super) fn truncated(bytes: &Bytes) -> Response {
    let half = bytes.slice(..bytes.len() / 2);
    let parts = stream::iter([Ok(half)]).chain(cut_off());
    let headers = [
        (header::CONTENT_TYPE, "application/json".to_owned()),
        (header::CONTENT_LENGTH, bytes.len().to_string()),
    ];
    (headers, Body::from_stream(parts)).into_response()
}

/// An end that comes when what went before has left: the server throws away what it has not sent yet.
fn cut_off() -> impl Stream<Item = io::Result<Bytes>> {
    stream::once(async {
        tokio::time::sleep(CUT_AFTER).await;
        Err(io::Error::other("simulated truncation"))
    })
}

pub(super) fn streamed(kind: Kind, provider: Provider, request: &Request, behaviour: Behaviour) -> Response {
    let words = answers::words(request, behaviour);
    let (prompt, completion) = (request.prompt_tokens(), count(&words));
    let mut events = events(kind, request, behaviour, &words, prompt, completion);
    let cut = behaviour == Behaviour::Truncated;
    if cut {
        events.truncate(events.len() / 2);
    }
    let delay = if behaviour == Behaviour::Slow { SLOW_CHUNK } else { provider.chunk_delay };
    let last = events.len().saturating_sub(1);
    let chunks = stream::iter(events.into_iter().enumerate()).then(move |(index, event)| {
        let provider = provider.clone();
        async move {
            if index > 0 && !delay.is_zero() {
                tokio::time::sleep(delay).await;
            }
            if index == last && !cut {
                provider.served(prompt, completion);
            }
            Ok::<_, io::Error>(Bytes::from(event))
        }
    });
    let end = if cut { cut_off().left_stream() } else { stream::empty().right_stream() };
    ([(header::CONTENT_TYPE, "text/event-stream")], Body::from_stream(chunks.chain(end))).into_response()
}

/// A stream that goes on until it is released.
pub(super) fn held(provider: Provider, request: &Request) -> Response {
    let (model, prompt) = (request.model.clone(), request.prompt_tokens());
    let start = Some((provider.released.subscribe(), 0));
    let pieces = stream::unfold(start, move |state| {
        let (provider, model) = (provider.clone(), model.clone());
        async move {
            let (mut released, words) = state?;
            let ends = words > 0
                && tokio::select! {
                    _ = released.changed() => true,
                    () = tokio::time::sleep(HELD_CHUNK) => false,
                };
            if !ends {
                let delta = json!({"role": "assistant", "content": "word "});
                return Some((data(&answers::chat_chunk(&model, &delta, None)), Some((released, words + 1))));
            }
            provider.served(prompt, words);
            let usage = answers::usage_chunk("chat.completion.chunk", &model, &answers::usage(prompt, words));
            let stop = answers::chat_chunk(&model, &json!({}), Some("stop"));
            Some(([data(&stop), data(&usage), Bytes::from_static(DONE)].concat().into(), None))
        }
    });
    let body = Body::from_stream(pieces.map(Ok::<_, io::Error>));
    ([(header::CONTENT_TYPE, "text/event-stream")], body).into_response()
}

fn data(value: &Value) -> Bytes {
    format!("data: {value}\n\n").into()
}

fn events(
    kind: Kind,
    request: &Request,
    behaviour: Behaviour,
    words: &[String],
    prompt: u64,
    completion: u64,
) -> Vec<String> {
    let model = &request.model;
    if kind == Kind::Message {
        return anthropic::events(model, words, behaviour == Behaviour::Tools, prompt, completion);
    }
    if kind == Kind::Response {
        return responses::events(model, words, behaviour == Behaviour::Tools, prompt, completion);
    }
    if matches!(kind, Kind::Transcription(_)) {
        return audio::events(words, prompt, completion);
    }
    let chunk = |text: &str, finish: Option<&str>| match kind {
        Kind::Completion => answers::completion_chunk(model, text, finish),
        _ if finish.is_some() => answers::chat_chunk(model, &json!({}), finish),
        _ => answers::chat_chunk(model, &json!({"role": "assistant", "content": text}), None),
    };
    let finish = if behaviour == Behaviour::Tools && kind == Kind::Chat { "tool_calls" } else { "stop" };
    let deltas: Vec<Value> = if finish == "tool_calls" {
        let pieces = answers::tool_deltas(&words.concat());
        pieces.iter().map(|delta| answers::chat_chunk(model, delta, None)).collect()
    } else {
        words.iter().map(|word| chunk(word, None)).collect()
    };
    let object = if kind == Kind::Chat { "chat.completion.chunk" } else { "text_completion" };
    let usage = request
        .wants_usage()
        .then(|| answers::usage_chunk(object, model, &answers::usage(prompt, completion)));
    let values = deltas.into_iter().chain([chunk("", Some(finish))]).chain(usage);
    values
        .map(|value| format!("data: {value}\n\n"))
        .chain([String::from_utf8_lossy(DONE).into_owned()])
        .collect()
}
