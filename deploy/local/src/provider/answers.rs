//! The shapes of answers, after the public API reference (<https://platform.openai.com/docs/api-reference>).

use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

/// What every simulated answer says.
const TEXT: &str = "This answer comes from the simulated provider, not from a language model.";
/// How many words a slow stream has.
const SLOW_WORDS: usize = 600;

/// The part of a request that matters here.
#[derive(Debug, Deserialize)]
pub(crate) struct Request {
    #[serde(default)]
    pub(crate) model: String,
    #[serde(default)]
    pub(crate) stream: bool,
    stream_options: Option<StreamOptions>,
    #[serde(default)]
    messages: Vec<Value>,
    #[serde(default)]
    prompt: Value,
    #[serde(default)]
    input: Value,
}

#[derive(Debug, Deserialize)]
struct StreamOptions {
    #[serde(default)]
    include_usage: bool,
}

impl Request {
    pub(crate) fn wants_usage(&self) -> bool {
        self.stream_options.as_ref().is_some_and(|options| options.include_usage)
    }

    /// The text of the last message, prompt or input.
    pub(crate) fn last_text(&self) -> String {
        match self.messages.last().and_then(|message| message.get("content")) {
            Some(content) => text_of(content),
            None if !self.prompt.is_null() => text_of(&self.prompt),
            None => text_of(&self.input),
        }
    }

    /// Words of everything that was sent, and at least 1.
    pub(crate) fn prompt_tokens(&self) -> u64 {
        let messages = self.messages.iter().filter_map(|message| message.get("content")).map(text_of);
        let words: usize = messages
            .chain([text_of(&self.prompt), text_of(&self.input)])
            .map(|t| t.split_whitespace().count())
            .sum();
        u64::try_from(words).unwrap_or(u64::MAX).max(1)
    }

    /// How many inputs an embedding call has.
    pub(crate) fn inputs(&self) -> usize {
        self.input.as_array().map_or(1, Vec::len)
    }
}

fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(parts) => {
            parts.iter().map(|part| text_of(part.get("text").unwrap_or(part))).collect::<Vec<_>>().join(" ")
        }
        _ => String::new(),
    }
}

/// The words of an answer.
pub(crate) fn words(request: &Request, echo: bool, slow: bool) -> Vec<String> {
    if slow {
        return (0..SLOW_WORDS).map(|n| format!("word{n} ")).collect();
    }
    let text = if echo { request.last_text() } else { TEXT.to_owned() };
    text.split_inclusive(' ').map(str::to_owned).collect()
}

/// Token counts.
pub(crate) fn usage(prompt: u64, completion: u64) -> Value {
    json!({"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion,
           "prompt_tokens_details": {"cached_tokens": 0}, "completion_tokens_details": {"reasoning_tokens": 0}})
}

/// A whole answer to a chat completion.
pub(crate) fn chat(model: &str, text: &str, usage: &Value) -> Value {
    json!({"id": "chatcmpl-simulated", "object": "chat.completion", "created": 1_700_000_000, "model": model,
           "choices": [{"index": 0, "message": {"role": "assistant", "content": text, "refusal": null},
                        "logprobs": null, "finish_reason": "stop"}],
           "usage": usage, "system_fingerprint": "fp_simulated"})
}

/// A whole answer that calls a tool.
pub(crate) fn tool_calls(model: &str, arguments: &str, usage: &Value) -> Value {
    let call = json!({"id": "call_simulated", "type": "function",
                      "function": {"name": "look_up", "arguments": json!({"query": arguments}).to_string()}});
    json!({"id": "chatcmpl-simulated", "object": "chat.completion", "created": 1_700_000_000, "model": model,
           "choices": [{"index": 0, "message": {"role": "assistant", "content": null, "tool_calls": [call]},
                        "logprobs": null, "finish_reason": "tool_calls"}],
           "usage": usage, "system_fingerprint": "fp_simulated"})
}

/// A piece of a tool call's arguments.
pub(crate) fn tool_delta(arguments: &str) -> Value {
    json!({"tool_calls": [{"index": 0, "id": "call_simulated", "type": "function",
                           "function": {"name": "look_up", "arguments": arguments}}]})
}

/// A whole answer to a completion.
pub(crate) fn completion(model: &str, text: &str, usage: &Value) -> Value {
    json!({"id": "cmpl-simulated", "object": "text_completion", "created": 1_700_000_000, "model": model,
           "choices": [{"index": 0, "text": text, "logprobs": null, "finish_reason": "stop"}], "usage": usage})
}

/// An answer to an embeddings call: eight numbers for each input.
pub(crate) fn embeddings(model: &str, inputs: usize, tokens: u64) -> Value {
    let vector = [0.125, -0.25, 0.375, -0.5, 0.625, -0.75, 0.875, -1.0];
    let data: Vec<Value> = (0..inputs)
        .map(|index| json!({"object": "embedding", "index": index, "embedding": vector}))
        .collect();
    json!({"object": "list", "data": data, "model": model, "usage": {"prompt_tokens": tokens, "total_tokens": tokens}})
}

/// One chunk of a chat stream.
pub(crate) fn chat_chunk(model: &str, delta: &Value, finish: Option<&str>) -> Value {
    json!({"id": "chatcmpl-simulated", "object": "chat.completion.chunk", "created": 1_700_000_000, "model": model,
           "choices": [{"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish}], "usage": null})
}

/// One chunk of a completion stream.
pub(crate) fn completion_chunk(model: &str, text: &str, finish: Option<&str>) -> Value {
    json!({"id": "cmpl-simulated", "object": "text_completion", "created": 1_700_000_000, "model": model,
           "choices": [{"index": 0, "text": text, "logprobs": null, "finish_reason": finish}], "usage": null})
}

/// The chunk that carries nothing but usage.
pub(crate) fn usage_chunk(object: &str, model: &str, usage: &Value) -> Value {
    json!({"id": "chatcmpl-simulated", "object": object, "created": 1_700_000_000, "model": model, "choices": [], "usage": usage})
}

/// An error.
pub(crate) fn error(message: &str, kind: &str, code: &str) -> Value {
    json!({"error": {"message": message, "type": kind, "param": null, "code": code}})
}

/// The type of an error of this status.
pub(crate) fn error_type(status: StatusCode) -> &'static str {
    match status.as_u16() {
        429 => "rate_limit_error",
        500..=599 => "server_error",
        _ => "invalid_request_error",
    }
}
