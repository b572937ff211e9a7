//! OpenAI's responses, after its public API reference (<https://platform.openai.com/docs/api-reference/responses>).

use serde_json::{Value, json};

/// A whole answer; with `tools`, one that calls a tool whose arguments are the text.
pub(crate) fn whole(model: &str, text: &str, tools: bool, prompt: u64, completion: u64) -> Value {
    let usage = json!({"input_tokens": prompt, "input_tokens_details": {"cached_tokens": 0},
                       "output_tokens": completion, "output_tokens_details": {"reasoning_tokens": 0},
                       "total_tokens": prompt + completion});
    response(model, "completed", &json!([item(text, tools, "completed")]), &usage)
}

/// The events of a stream.
pub(crate) fn events(
    model: &str,
    words: &[String],
    tools: bool,
    prompt: u64,
    completion: u64,
) -> Vec<String> {
    let text = words.concat();
    let begun = response(model, "in_progress", &json!([]), &Value::Null);
    let empty = if tools { call("", "in_progress") } else { message(&json!([]), "in_progress") };
    let start = [
        json!({"type": "response.created", "response": begun}),
        json!({"type": "response.in_progress", "response": begun}),
        json!({"type": "response.output_item.added", "output_index": 0, "item": empty}),
    ];
    let middle = if tools { call_events(&text) } else { text_events(words) };
    let end = [
        json!({"type": "response.output_item.done", "output_index": 0, "item": item(&text, tools, "completed")}),
        json!({"type": "response.completed", "response": whole(model, &text, tools, prompt, completion)}),
    ];
    let all = start.into_iter().chain(middle).chain(end);
    all.enumerate().map(|(number, value)| event(number, value)).collect()
}

fn text_events(words: &[String]) -> Vec<Value> {
    let place = json!({"item_id": "msg_simulated", "output_index": 0, "content_index": 0});
    let at = |value: Value| with(value, &place);
    let text = words.concat();
    let opened = json!({"type": "response.content_part.added", "part": part("")});
    let delta = |word: &String| json!({"type": "response.output_text.delta", "delta": word, "logprobs": []});
    let done = [
        json!({"type": "response.output_text.done", "text": text, "logprobs": []}),
        json!({"type": "response.content_part.done", "part": part(&text)}),
    ];
    std::iter::once(opened).chain(words.iter().map(delta)).chain(done).map(at).collect()
}

fn call_events(text: &str) -> Vec<Value> {
    let arguments = arguments(text);
    let (first, second) = arguments.split_at(arguments.len().min(2));
    let delta = |piece: &str| json!({"type": "response.function_call_arguments.delta", "item_id": "fc_simulated", "output_index": 0, "delta": piece});
    let done = json!({"type": "response.function_call_arguments.done", "item_id": "fc_simulated", "output_index": 0,
                      "name": "look_up", "arguments": arguments});
    vec![delta(first), delta(second), done]
}

fn event(number: usize, value: Value) -> String {
    let value = with(value, &json!({"sequence_number": number}));
    let name = value.get("type").and_then(Value::as_str).unwrap_or_default();
    format!("event: {name}\ndata: {value}\n\n")
}

/// An object with more fields.
fn with(mut value: Value, more: &Value) -> Value {
    if let (Value::Object(fields), Value::Object(more)) = (&mut value, more) {
        fields.extend(more.clone());
    }
    value
}

fn response(model: &str, status: &str, output: &Value, usage: &Value) -> Value {
    json!({"id": "resp_simulated", "object": "response", "created_at": 1_700_000_000, "status": status,
           "background": false, "error": null, "incomplete_details": null, "instructions": null, "max_output_tokens": null,
           "metadata": {}, "model": model, "output": output, "parallel_tool_calls": true, "previous_response_id": null,
           "reasoning": {"effort": null, "summary": null}, "store": false, "temperature": 1.0, "text": {"format": {"type": "text"}},
           "tool_choice": "auto", "tools": [], "top_p": 1.0, "truncation": "disabled", "usage": usage})
}

fn item(text: &str, tools: bool, status: &str) -> Value {
    if tools { call(&arguments(text), status) } else { message(&json!([part(text)]), status) }
}

fn message(content: &Value, status: &str) -> Value {
    json!({"id": "msg_simulated", "type": "message", "status": status, "role": "assistant", "content": content})
}

fn part(text: &str) -> Value {
    json!({"type": "output_text", "text": text, "annotations": [], "logprobs": []})
}

fn call(arguments: &str, status: &str) -> Value {
    json!({"id": "fc_simulated", "type": "function_call", "status": status, "call_id": "call_simulated", "name": "look_up",
           "arguments": arguments})
}

fn arguments(text: &str) -> String {
    json!({"query": text}).to_string()
}
