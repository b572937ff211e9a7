//! Anthropic's shapes, after its public API reference (<https://docs.claude.com/en/api/messages>).

use serde_json::{Value, json};

/// A whole answer; with `tools`, one that calls a tool whose arguments are the text.
pub(crate) fn message(model: &str, text: &str, tools: bool, prompt: u64, completion: u64) -> Value {
    let content = if tools { block(&json!({"query": text})) } else { json!({"type": "text", "text": text}) };
    json!({"id": "msg_simulated", "type": "message", "role": "assistant", "model": model, "content": [content],
           "stop_reason": stop_reason(tools), "stop_sequence": null, "usage": usage(prompt, completion)})
}

/// The events of a stream.
pub(crate) fn events(
    model: &str,
    words: &[String],
    tools: bool,
    prompt: u64,
    completion: u64,
) -> Vec<String> {
    let begun = json!({"id": "msg_simulated", "type": "message", "role": "assistant", "model": model, "content": [],
                       "stop_reason": null, "stop_sequence": null, "usage": usage(prompt, 1)});
    let opened = if tools { block(&json!({})) } else { json!({"type": "text", "text": ""}) };
    let deltas: Vec<Value> = if tools {
        // Arguments are JSON only when all of their pieces are joined.
        let arguments = json!({"query": words.concat()}).to_string();
        let (first, second) = arguments.split_at(arguments.len().min(2));
        [first, second].map(|part| json!({"type": "input_json_delta", "partial_json": part})).into()
    } else {
        words.iter().map(|word| json!({"type": "text_delta", "text": word})).collect()
    };
    let deltas =
        deltas.into_iter().map(|delta| json!({"type": "content_block_delta", "index": 0, "delta": delta}));
    let start = [
        json!({"type": "message_start", "message": begun}),
        json!({"type": "content_block_start", "index": 0, "content_block": opened}),
        json!({"type": "ping"}),
    ];
    let end = [
        json!({"type": "content_block_stop", "index": 0}),
        json!({"type": "message_delta", "delta": {"stop_reason": stop_reason(tools), "stop_sequence": null},
               "usage": {"output_tokens": completion}}),
        json!({"type": "message_stop"}),
    ];
    start.into_iter().chain(deltas).chain(end).map(|value| event(&value)).collect()
}

fn event(value: &Value) -> String {
    format!("event: {}\ndata: {value}\n\n", value["type"].as_str().unwrap_or_default())
}

fn block(input: &Value) -> Value {
    json!({"type": "tool_use", "id": "toolu_simulated", "name": "look_up", "input": input})
}

fn stop_reason(tools: bool) -> &'static str {
    if tools { "tool_use" } else { "end_turn" }
}

fn usage(prompt: u64, completion: u64) -> Value {
    json!({"input_tokens": prompt, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0,
           "output_tokens": completion})
}

/// An error.
pub(crate) fn error(status: u16, message: &str) -> Value {
    let kind = match status {
        401 => "authentication_error",
        403 => "permission_error",
        404 => "not_found_error",
        429 => "rate_limit_error",
        529 => "overloaded_error",
        500..=599 => "api_error",
        _ => "invalid_request_error",
    };
    json!({"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_simulated"})
}
