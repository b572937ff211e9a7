//! The shapes of answers, after the public API reference (<https://platform.openai.com/docs/api-reference>).

use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::behaviour::Behaviour;

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
    #[serde(default)]
    response_format: Value,
    #[serde(default)]
    text: Value,
    #[serde(default)]
    output_config: Value,
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
        text_of(self.last())
    }

    /// What the call ends with.
    fn last(&self) -> &Value {
        match self.messages.last().and_then(|message| message.get("content")) {
            Some(content) => content,
            None if !self.prompt.is_null() => &self.prompt,
            // A conversation of responses' own; anything else is the input itself.
            None => {
                self.input.as_array().and_then(|items| items.last()?.get("content")).unwrap_or(&self.input)
            }
        }
    }

    /// What was shown with the last message, in words: `1 image of 68 characters`, as it came.
    pub(crate) fn seen(&self) -> String {
        let parts = self.last().as_array().map(Vec::as_slice).unwrap_or_default();
        let places = ["/image_url/url", "/image_url", "/source/data"];
        let shown =
            parts.iter().filter_map(|part| places.iter().find_map(|place| part.pointer(place)?.as_str()));
        let shown: Vec<usize> =
            shown.map(|image| image.rsplit(',').next().unwrap_or_default().len()).collect();
        format!("{} image of {} characters", shown.len(), shown.iter().sum::<usize>())
    }

    /// The schema that the answer has to fit, in each dialect's place.
    pub(crate) fn schema(&self) -> Option<&Value> {
        let places = [
            self.response_format.pointer("/json_schema/schema"),
            self.text.pointer("/format/schema"),
            self.output_config.pointer("/format/schema"),
        ];
        places.into_iter().flatten().next()
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
pub(crate) fn words(request: &Request, behaviour: Behaviour) -> Vec<String> {
    let text = match (request.schema(), behaviour) {
        (Some(schema), _) => fitting(schema, &request.last_text()).to_string(),
        (_, Behaviour::Slow) => (0..SLOW_WORDS).map(|n| format!("word{n} ")).collect(),
        (_, Behaviour::Look) => request.seen(),
        _ if behaviour.echoes() => request.last_text(),
        _ => TEXT.to_owned(),
    };
    text.split_inclusive(' ').map(str::to_owned).collect()
}

/// Something that fits a schema: the text, wherever there is room for one.
fn fitting(schema: &Value, text: &str) -> Value {
    let of = |name: &str| schema.get(name);
    match of("type").and_then(Value::as_str) {
        _ if of("const").is_some() => of("const").cloned().unwrap_or_default(),
        _ if of("enum").is_some() => of("enum").and_then(|all| all.get(0)).cloned().unwrap_or_default(),
        Some("object") => {
            let fields = of("properties").and_then(Value::as_object).into_iter().flatten();
            fields.map(|(name, schema)| (name.clone(), fitting(schema, text))).collect()
        }
        Some("array") => of("items").map(|schema| fitting(schema, text)).into_iter().collect(),
        Some("integer" | "number") => json!(7),
        Some("boolean") => json!(true),
        Some("null") => Value::Null,
        _ => json!(text),
    }
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

/// The pieces of a tool call: its name, then its arguments, which are JSON only when they are joined.
pub(crate) fn tool_deltas(arguments: &str) -> [Value; 3] {
    let arguments = json!({"query": arguments}).to_string();
    let (first, second) = arguments.split_at(arguments.len().min(2));
    let named = json!({"role": "assistant", "content": null, "tool_calls": [
        {"index": 0, "id": "call_simulated", "type": "function", "function": {"name": "look_up", "arguments": ""}}]});
    let piece = |text: &str| json!({"tool_calls": [{"index": 0, "function": {"arguments": text}}]});
    [named, piece(first), piece(second)]
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
