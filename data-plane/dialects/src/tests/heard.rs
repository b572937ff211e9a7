//! What a caller of each dialect understands: written from the references, apart from the code that writes.

use serde_json::{Value, json};

use crate::Caller;

use super::world;

/// What was heard, in one form for all.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Heard {
    pub(super) text: String,
    pub(super) reasoning: String,
    pub(super) signature: Option<String>,
    /// (id, name, arguments)
    pub(super) calls: Vec<(String, String, Value)>,
    pub(super) finish: String,
    /// prompt, completion, cached, reasoning
    pub(super) usage: [u64; 4],
    pub(super) error: Option<String>,
    /// Whether the dialect's last event came.
    pub(super) ended: bool,
}

pub(super) fn whole(caller: Caller, body: &Value) -> Heard {
    match caller {
        Caller::Chat => whole_chat(body),
        Caller::Responses => whole_response(body),
        Caller::Messages => whole_message(body),
    }
}

pub(super) fn stream(caller: Caller, bytes: &[u8]) -> Heard {
    let text = std::str::from_utf8(bytes).expect("text");
    assert!(text.is_empty() || text.ends_with("\n\n"), "whole events: {text}");
    let event = |event: &str| {
        let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
        (field("event: "), field("data: ").expect("data"))
    };
    let events: Vec<_> = text.split("\n\n").filter(|event| !event.is_empty()).map(event).collect();
    match caller {
        Caller::Chat => stream_chat(&events),
        Caller::Responses => stream_response(&events),
        Caller::Messages => stream_message(&events),
    }
}

fn string(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_default()
}

fn arguments(value: &Value) -> Value {
    world::json(value.as_str().expect("arguments are text").as_bytes())
}

fn chat_usage(usage: &Value) -> [u64; 4] {
    assert_eq!(
        number(&usage["total_tokens"]),
        number(&usage["prompt_tokens"]) + number(&usage["completion_tokens"])
    );
    [
        number(&usage["prompt_tokens"]),
        number(&usage["completion_tokens"]),
        number(&usage["prompt_tokens_details"]["cached_tokens"]),
        number(&usage["completion_tokens_details"]["reasoning_tokens"]),
    ]
}

fn chat_finish(word: &str) -> String {
    match word {
        "stop" => "stop",
        "length" => "length",
        "tool_calls" => "tools",
        "content_filter" => "policy",
        other => panic!("{other}"),
    }
    .to_owned()
}

fn whole_chat(body: &Value) -> Heard {
    assert_eq!(body["object"], "chat.completion");
    assert_eq!(body["model"], "public");
    let choice = &body["choices"][0];
    let message = &choice["message"];
    assert_eq!(message["role"], "assistant");
    let signed = message["reasoning_details"].as_array().into_iter().flatten();
    let calls = message["tool_calls"].as_array().cloned().unwrap_or_default();
    let signature = signed.filter_map(|one| one["signature"].as_str()).next_back().map(str::to_owned);
    Heard {
        text: string(&message["content"]),
        reasoning: string(&message["reasoning_content"]),
        signature: signature.or_else(|| calls.first().and_then(google_signature)),
        calls: calls
            .iter()
            .map(|call| {
                assert_eq!(call["type"], "function");
                let function = &call["function"];
                (string(&call["id"]), string(&function["name"]), arguments(&function["arguments"]))
            })
            .collect(),
        finish: chat_finish(choice["finish_reason"].as_str().expect("a reason")),
        usage: chat_usage(&body["usage"]),
        error: None,
        ended: true,
    }
}

fn google_signature(call: &Value) -> Option<String> {
    call["extra_content"]["google"]["thought_signature"].as_str().map(|text| format!("gemini:{text}"))
}

fn stream_chat(events: &[(Option<String>, String)]) -> Heard {
    let mut heard = Heard::default();
    let mut texts: Vec<String> = Vec::new();
    let mut roles = 0;
    for (name, data) in events {
        assert_eq!(*name, None);
        assert!(!heard.ended, "nothing comes behind the end");
        if data == "[DONE]" {
            heard.ended = true;
            continue;
        }
        let chunk = world::json(data.as_bytes());
        if chunk["error"].is_object() {
            heard.error = Some(string(&chunk["error"]["code"]));
            continue;
        }
        assert_eq!(chunk["object"], "chat.completion.chunk");
        if chunk["usage"].is_object() {
            assert_eq!(chunk["choices"], json!([]));
            heard.usage = chat_usage(&chunk["usage"]);
            continue;
        }
        let choice = &chunk["choices"][0];
        let delta = &choice["delta"];
        roles += usize::from(delta["role"] == "assistant");
        heard.text += delta["content"].as_str().unwrap_or_default();
        heard.reasoning += delta["reasoning_content"].as_str().unwrap_or_default();
        for detail in delta["reasoning_details"].as_array().into_iter().flatten() {
            heard.signature = detail["signature"].as_str().map(str::to_owned);
        }
        for call in delta["tool_calls"].as_array().into_iter().flatten() {
            let index = usize::try_from(number(&call["index"])).expect("small");
            let function = &call["function"];
            if index == heard.calls.len() {
                heard.calls.push((string(&call["id"]), string(&function["name"]), Value::Null));
                texts.push(String::new());
                heard.signature = heard.signature.take().or_else(|| google_signature(call));
            }
            texts[index] += function["arguments"].as_str().unwrap_or_default();
        }
        if let Some(word) = choice["finish_reason"].as_str() {
            heard.finish = chat_finish(word);
        }
    }
    assert!(roles <= 1);
    for (call, text) in heard.calls.iter_mut().zip(&texts) {
        call.2 = serde_json::from_str(text).unwrap_or(Value::Null);
    }
    heard
}

fn whole_message(body: &Value) -> Heard {
    assert_eq!((&body["type"], &body["role"]), (&json!("message"), &json!("assistant")));
    assert_eq!(body["model"], "public");
    let mut heard = Heard { ended: true, ..Heard::default() };
    for block in body["content"].as_array().expect("blocks") {
        match block["type"].as_str().expect("a type") {
            "text" => heard.text += block["text"].as_str().expect("text"),
            "thinking" => {
                heard.reasoning += block["thinking"].as_str().expect("text");
                let signature = block["signature"].as_str().expect("a signature");
                heard.signature =
                    Some(signature.to_owned()).filter(|text| !text.is_empty()).or(heard.signature);
            }
            "tool_use" => {
                assert!(block["input"].is_object());
                heard.calls.push((string(&block["id"]), string(&block["name"]), block["input"].clone()));
            }
            other => panic!("{other}"),
        }
    }
    let usage = &body["usage"];
    let (read, written) =
        (number(&usage["cache_read_input_tokens"]), number(&usage["cache_creation_input_tokens"]));
    heard.usage = [
        number(&usage["input_tokens"]) + read + written,
        number(&usage["output_tokens"]),
        read,
        number(&usage["output_tokens_details"]["thinking_tokens"]),
    ];
    heard.finish = match body["stop_reason"].as_str() {
        Some("end_turn" | "stop_sequence") => "stop",
        Some("max_tokens" | "model_context_window_exceeded") => "length",
        Some("tool_use") => "tools",
        Some("refusal") => "policy",
        None => "",
        other => panic!("{other:?}"),
    }
    .to_owned();
    heard
}

/// As the official SDK accumulates it.
fn stream_message(events: &[(Option<String>, String)]) -> Heard {
    let mut message = Value::Null;
    let (mut error, mut ended, mut open) = (None, false, None);
    let mut texts: Vec<String> = Vec::new();
    for (name, data) in events {
        let event = world::json(data.as_bytes());
        assert_eq!(name.as_deref(), event["type"].as_str());
        assert!(!ended, "nothing comes behind the end");
        match event["type"].as_str().expect("a type") {
            "message_start" => {
                assert!(message.is_null());
                message = event["message"].clone();
            }
            "content_block_start" => {
                assert_eq!(open, None, "blocks follow each other");
                let blocks = message["content"].as_array_mut().expect("blocks");
                assert_eq!(number(&event["index"]), blocks.len() as u64);
                open = Some(blocks.len());
                blocks.push(event["content_block"].clone());
                texts.push(String::new());
            }
            "content_block_delta" => {
                let at = open.expect("an open block");
                assert_eq!(number(&event["index"]), at as u64);
                let (block, delta) = (&mut message["content"][at], &event["delta"]);
                let mut append = |member: &str| {
                    block[member] = json!(string(&block[member]) + delta[member].as_str().expect("text"));
                };
                match delta["type"].as_str().expect("a type") {
                    "text_delta" => append("text"),
                    "thinking_delta" => append("thinking"),
                    "signature_delta" => block["signature"] = delta["signature"].clone(),
                    "input_json_delta" => texts[at] += delta["partial_json"].as_str().expect("text"),
                    other => panic!("{other}"),
                }
            }
            "content_block_stop" => {
                let at = open.take().expect("an open block");
                if !texts[at].is_empty() {
                    message["content"][at]["input"] = world::json(texts[at].as_bytes());
                }
            }
            "message_delta" => {
                message["stop_reason"] = event["delta"]["stop_reason"].clone();
                message["usage"] = event["usage"].clone();
            }
            "message_stop" => ended = true,
            "error" => error = Some(string(&event["error"]["type"])),
            other => panic!("{other}"),
        }
    }
    let heard = if message.is_null() { Heard::default() } else { whole_message(&message) };
    Heard { error, ended, ..heard }
}

fn whole_response(body: &Value) -> Heard {
    assert_eq!(body["object"], "response");
    assert_eq!(body["model"], "public");
    assert_eq!(body["store"], false);
    let mut heard = Heard { ended: true, ..Heard::default() };
    for item in body["output"].as_array().expect("items") {
        assert!(item["id"].is_string());
        match item["type"].as_str().expect("a type") {
            "message" => {
                for part in item["content"].as_array().expect("parts") {
                    assert_eq!(part["type"], "output_text");
                    heard.text += part["text"].as_str().expect("text");
                }
            }
            "reasoning" => {
                for part in item["summary"].as_array().expect("parts") {
                    heard.reasoning += part["text"].as_str().expect("text");
                }
                let sealed = item["encrypted_content"].as_str();
                let signature =
                    sealed.map(|text| text.strip_prefix("signature:").expect("a signature").to_owned());
                heard.signature = signature.or(heard.signature);
            }
            "function_call" => heard.calls.push((
                string(&item["call_id"]),
                string(&item["name"]),
                arguments(&item["arguments"]),
            )),
            other => panic!("{other}"),
        }
    }
    let usage = &body["usage"];
    heard.usage = [
        number(&usage["input_tokens"]),
        number(&usage["output_tokens"]),
        number(&usage["input_tokens_details"]["cached_tokens"]),
        number(&usage["output_tokens_details"]["reasoning_tokens"]),
    ];
    heard.finish = match (body["status"].as_str(), body["incomplete_details"]["reason"].as_str()) {
        (Some("completed"), None) if heard.calls.is_empty() => "stop",
        (Some("completed"), None) => "tools",
        (Some("incomplete"), Some("max_output_tokens")) => "length",
        (Some("incomplete"), Some("content_filter")) => "policy",
        other => panic!("{other:?}"),
    }
    .to_owned();
    heard
}

fn stream_response(events: &[(Option<String>, String)]) -> Heard {
    let mut heard = Heard::default();
    let (mut said, mut reasoned, mut argued) = (String::new(), String::new(), Vec::<String>::new());
    let (mut added, mut done) = (Vec::new(), Vec::new());
    for (at, (name, data)) in events.iter().enumerate() {
        let event = world::json(data.as_bytes());
        assert_eq!(name.as_deref(), event["type"].as_str());
        assert_eq!(event["sequence_number"], at as u64);
        assert!(!heard.ended, "nothing comes behind the end");
        match event["type"].as_str().expect("a type") {
            "response.created" | "response.in_progress" => {
                assert_eq!(event["response"]["status"], "in_progress")
            }
            "response.output_item.added" => {
                assert_eq!(added.len(), done.len(), "items follow each other");
                assert_eq!(number(&event["output_index"]), added.len() as u64);
                added.push(event["item"]["id"].clone());
                argued.extend((event["item"]["type"] == "function_call").then(String::new));
            }
            "response.output_item.done" => done.push(event["item"].clone()),
            "response.output_text.delta" => said += event["delta"].as_str().expect("text"),
            "response.reasoning_summary_text.delta" => reasoned += event["delta"].as_str().expect("text"),
            "response.function_call_arguments.delta" => {
                *argued.last_mut().expect("a call") += event["delta"].as_str().expect("text");
            }
            "response.function_call_arguments.done" => {
                assert_eq!(event["arguments"], **argued.last().expect("a call"))
            }
            "response.completed" | "response.incomplete" => {
                heard = whole_response(&event["response"]);
                let output = event["response"]["output"].as_array().expect("items");
                let ids: Vec<_> = output.iter().map(|item| item["id"].clone()).collect();
                assert_eq!(ids, added);
                assert_eq!(output.len(), done.len());
                assert_eq!((&heard.text, &heard.reasoning), (&said, &reasoned), "pieces make the whole");
            }
            "error" => heard.error = Some(string(&event["code"])),
            "response.content_part.added"
            | "response.content_part.done"
            | "response.output_text.done"
            | "response.reasoning_summary_part.added"
            | "response.reasoning_summary_part.done"
            | "response.reasoning_summary_text.done" => {}
            other => panic!("{other}"),
        }
    }
    if !heard.ended {
        heard.text = said;
        heard.reasoning = reasoned;
    }
    heard
}
