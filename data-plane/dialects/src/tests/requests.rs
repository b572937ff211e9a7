//! What providers are sent, and what callers are refused.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::{
    Call, Caller, Dialect, Fault, Refusal, translate_count, translate_count_answer, translate_request,
};

use super::world::{self, target};

/// One provider of each folder is enough: the others of it are sent the same.
const PROVIDERS: [Dialect; 4] =
    [Dialect::OpenAiCompatible, Dialect::Anthropic, Dialect::Gemini, Dialect::Bedrock];

#[test]
fn providers_are_sent_what_callers_ask_for() {
    for case in ["plain", "tools", "image", "structured", "reasoning"] {
        let mut text = String::new();
        for (caller, dialect) in world::pairs().filter(|(_, dialect)| PROVIDERS.contains(dialect)) {
            let _ = writeln!(text, "{} -> {}", world::word(caller), dialect.name());
            match translate_request(caller, &world::asked(caller, case, false), &target(dialect)) {
                Ok((outgoing, _)) => {
                    let _ = writeln!(text, "POST {}", outgoing.path_and_query);
                    let _ = writeln!(text, "{}\n", String::from_utf8_lossy(&outgoing.body));
                }
                Err(refused) => {
                    let _ = writeln!(text, "refused: {refused}\n");
                }
            }
        }
        insta::assert_snapshot!(format!("sent_{case}"), text);
    }
}

fn chat_with(member: &str, value: Value) -> Vec<u8> {
    let mut body = json!({"model": "m", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 10});
    body[member] = value;
    body.to_string().into_bytes()
}

fn messages_with(member: &str, value: Value) -> Vec<u8> {
    let mut body = json!({"model": "m", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 10});
    body[member] = value;
    body.to_string().into_bytes()
}

fn responses_with(member: &str, value: Value) -> Vec<u8> {
    let mut body = json!({"model": "m", "input": "Hi"});
    body[member] = value;
    body.to_string().into_bytes()
}

#[test]
fn what_a_provider_cannot_do_is_refused_by_name() {
    let tool = json!([{"type": "function", "function": {"name": "f"}}]);
    let chat = [
        ("n", json!(2)),
        ("logprobs", json!(true)),
        ("seed", json!(7)),
        ("frequency_penalty", json!(0.5)),
        ("presence_penalty", json!(0.5)),
        ("temperature", json!(1.5)),
        ("logit_bias", json!({"50256": -100})),
        ("functions", json!([{"name": "f"}])),
        ("audio", json!({"voice": "alloy", "format": "wav"})),
        ("modalities", json!(["text", "audio"])),
        ("prediction", json!({"type": "content", "content": "x"})),
        ("web_search_options", json!({})),
        ("verbosity", json!("high")),
        ("store", json!(true)),
        ("service_tier", json!("flex")),
        ("response_format", json!({"type": "json_object"})),
        ("brand_new_field", json!(1)),
        ("messages", json!([{"role": "user", "name": "ann", "content": "Hi"}])),
        ("messages", json!([{"role": "user", "content": [{"type": "text", "text": "x", "new": 1}]}])),
        ("messages", json!([{"role": "user", "content": [{"type": "file", "file": {"file_id": "f"}}]}])),
        ("tool_choice", json!({"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": []}})),
        ("tools", json!([{"type": "custom", "custom": {"name": "f"}}])),
        ("tools", tool),
    ];
    let mut text = String::new();
    for dialect in [Dialect::Anthropic, Dialect::Gemini, Dialect::Bedrock] {
        for (member, value) in &chat {
            let body = chat_with(member, value.clone());
            let outcome = translate_request(Caller::Chat, &body, &target(dialect));
            let outcome = outcome.map_or_else(|refused| refused.to_string(), |_| "translated".to_owned());
            let _ = writeln!(text, "{member}: {outcome}");
        }
    }
    for (member, value) in [
        ("top_k", json!(5)),
        ("stop_sequences", json!(["a", "b", "c", "d", "e"])),
        ("tools", json!([{"type": "web_search_20250305", "name": "web_search"}])),
        ("inference_geo", json!("us")),
        ("container", json!("c")),
        ("messages", json!([{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "I"}])),
    ] {
        let outcome =
            translate_request(Caller::Messages, &messages_with(member, value), &target(Dialect::OpenAi));
        let _ = writeln!(
            text,
            "messages {member}: {}",
            outcome.map_or_else(|refused| refused.to_string(), |_| "translated".to_owned())
        );
    }
    for (member, value) in [
        ("previous_response_id", json!("resp_1")),
        ("store", json!(true)),
        ("background", json!(true)),
        ("truncation", json!("auto")),
        ("include", json!(["file_search_call.results"])),
        ("tools", json!([{"type": "web_search"}])),
        ("input", json!([{"type": "item_reference", "id": "x"}])),
    ] {
        let outcome =
            translate_request(Caller::Responses, &responses_with(member, value), &target(Dialect::Anthropic));
        let _ = writeln!(
            text,
            "responses {member}: {}",
            outcome.map_or_else(|refused| refused.to_string(), |_| "translated".to_owned())
        );
    }
    insta::assert_snapshot!("refusals", text);
}

#[test]
fn what_has_no_effect_is_taken() {
    for (member, value) in [
        ("user", json!("u")),
        ("metadata", json!({"a": "b"})),
        ("store", json!(false)),
        ("service_tier", json!("auto")),
        ("n", json!(1)),
        ("frequency_penalty", json!(0)),
        ("presence_penalty", json!(0.0)),
        ("logit_bias", json!({})),
        ("logprobs", json!(false)),
        ("verbosity", json!("medium")),
        ("modalities", json!(["text"])),
        ("prompt_cache_key", json!("k")),
        ("brand_new_field", Value::Null),
    ] {
        for dialect in [Dialect::Anthropic, Dialect::Gemini, Dialect::Bedrock] {
            let outcome =
                translate_request(Caller::Chat, &chat_with(member, value.clone()), &target(dialect));
            assert!(outcome.is_ok(), "{member}: {outcome:?}");
        }
    }
}

#[test]
fn a_wrong_request_is_told_what_is_wrong_and_never_what_stands_there() {
    for (body, field) in [
        (&b"nonsense"[..], "body"),
        (b"[]", "body"),
        (b"{}", "messages"),
        (br#"{"messages":[]}"#, "messages"),
        (br#"{"messages":"secret prompt"}"#, "messages"),
        (br#"{"messages":[{"role":"secret prompt","content":"x"}]}"#, "messages[0].role"),
        (br#"{"messages":[{"role":"user","content":7}]}"#, "messages[0].content"),
        (br#"{"messages":[{"role":"user","content":[{"type":"secret prompt"}]}]}"#, "messages[0].content[0]"),
        (br#"{"messages":[{"role":"user","content":"x"}],"temperature":"secret prompt"}"#, "temperature"),
        (br#"{"messages":[{"role":"user","content":"x"}],"max_tokens":-1}"#, "max_tokens"),
        (br#"{"messages":[{"role":"user","content":"x"}],"model":1,"model":2}"#, "body"),
        (br#"{"messages":[{"role":"user","content":"x"}],"my secret prompt":1}"#, "a field"),
    ] {
        let refused = translate_request(Caller::Chat, body, &target(Dialect::Anthropic)).expect_err("wrong");
        assert_eq!(refused.refusal.field(), field);
        let (status, answer) = refused.answer(Call::ChatCompletions, "req_1");
        assert_eq!(status, 400);
        assert!(!String::from_utf8_lossy(&answer).contains("secret"), "{refused}");
    }
}

#[test]
fn nesting_has_a_bound() {
    let body = format!(
        r#"{{"messages":[{{"role":"user","content":"x"}}],"tools":[{{"type":"function","function":{{"name":"f","parameters":{}{}}}}}]}}"#,
        r#"{"a":"#.repeat(200_000) + "1",
        "}".repeat(200_000)
    );
    let refused =
        translate_request(Caller::Chat, body.as_bytes(), &target(Dialect::Anthropic)).expect_err("deep");
    assert!(matches!(refused.refusal, Refusal::Invalid { .. }));
}

#[test]
fn a_tools_failure_is_told_in_each_dialects_way() {
    let result =
        json!({"type": "tool_result", "tool_use_id": "call_1", "content": "no such city", "is_error": true});
    let call = json!({"type": "tool_use", "id": "call_1", "name": "f", "input": {}});
    let messages = json!([
        {"role": "user", "content": "Hi"}, {"role": "assistant", "content": [call]}, {"role": "user", "content": [result]},
    ]);
    let body = messages_with("messages", messages);
    let sent = |dialect| {
        let (outgoing, _) = translate_request(Caller::Messages, &body, &target(dialect)).expect("translated");
        world::json(&outgoing.body)
    };
    assert_eq!(sent(Dialect::OpenAi)["messages"][2]["content"], "Error: no such city");
    let response = &sent(Dialect::Gemini)["contents"][2]["parts"][0]["functionResponse"];
    assert_eq!((&response["name"], &response["response"]), (&json!("f"), &json!({"error": "no such city"})));
    assert_eq!(sent(Dialect::Bedrock)["messages"][2]["content"][0]["toolResult"]["status"], "error");
}

#[test]
fn signatures_come_back_to_the_provider_that_made_them() {
    let assistant = json!({"role": "assistant", "content": null, "tool_calls": [{
        "id": "bwcall_req_1_0", "type": "function", "function": {"name": "f", "arguments": "{}"},
        "extra_content": {"google": {"thought_signature": "c2ln"}},
    }]});
    let user = json!({"role": "user", "content": "Hi"});
    let tool = json!({"role": "tool", "tool_call_id": "bwcall_req_1_0", "content": "x"});
    let body = chat_with("messages", json!([user, assistant, tool]));
    let (outgoing, _) = translate_request(Caller::Chat, &body, &target(Dialect::Gemini)).expect("translated");
    let sent = world::json(&outgoing.body);
    let part = &sent["contents"][1]["parts"][0];
    assert_eq!(part["thoughtSignature"], "c2ln");
    assert_eq!(part["functionCall"].get("id"), None, "Gemini does not know names that it did not give");

    let assistant = json!({"role": "assistant", "content": "So.", "reasoning_content": "Hm.",
        "reasoning_details": [{"type": "reasoning.text", "text": "Hm.", "signature": "c2ln"}, {"type": "reasoning.encrypted", "data": "ZGF0YQ=="}]});
    let body = chat_with("messages", json!([user, assistant, user]));
    let (outgoing, _) =
        translate_request(Caller::Chat, &body, &target(Dialect::Anthropic)).expect("translated");
    assert_eq!(
        world::json(&outgoing.body)["messages"][1]["content"],
        json!([
            {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"},
            {"type": "redacted_thinking", "data": "ZGF0YQ=="},
            {"type": "text", "text": "So."},
        ])
    );
}

#[test]
fn probabilities_are_told_where_the_provider_has_them() {
    let body = json!({"model": "m", "messages": [{"role": "user", "content": "Hi"}], "logprobs": true, "top_logprobs": 2});
    let (outgoing, reply) =
        translate_request(Caller::Chat, body.to_string().as_bytes(), &target(Dialect::Gemini))
            .expect("translated");
    let sent = world::json(&outgoing.body);
    assert_eq!(
        (&sent["generationConfig"]["responseLogprobs"], &sent["generationConfig"]["logprobs"]),
        (&json!(true), &json!(2))
    );
    let one = |token: &str, logprob: f64| json!({"token": token, "logProbability": logprob});
    let answer = json!({"candidates": [{
        "content": {"role": "model", "parts": [{"text": "Hé"}]}, "finishReason": "STOP",
        "logprobsResult": {
            "chosenCandidates": [one("Hé", -0.5)],
            "topCandidates": [{"candidates": [one("Hé", -0.5), one("Ho", -1.5)]}],
        },
    }]});
    let translated =
        reply.translate_answer(answer.to_string().as_bytes(), &world::CONTEXT).expect("an answer");
    let one =
        |token: &str, logprob: f64| json!({"token": token, "logprob": logprob, "bytes": token.as_bytes()});
    let mut told = one("Hé", -0.5);
    told["top_logprobs"] = json!([one("Hé", -0.5), one("Ho", -1.5)]);
    let body = world::json(&translated.body);
    assert_eq!(body["choices"][0]["logprobs"], json!({"content": [told], "refusal": null}));
}

#[test]
fn the_systems_messages_stand_where_the_provider_takes_them() {
    let said = |role: &str, text: &str| json!({"role": role, "content": text});
    let list = json!([
        said("system", "A"),
        said("developer", "B"),
        said("user", "C"),
        said("system", "D"),
        said("user", "E")
    ]);
    let body = chat_with("messages", list);
    let (outgoing, _) =
        translate_request(Caller::Chat, &body, &target(Dialect::Anthropic)).expect("translated");
    let sent = world::json(&outgoing.body);
    assert_eq!(sent["system"], json!([{"type": "text", "text": "A"}, {"type": "text", "text": "B"}]));
    assert_eq!(sent["messages"][1], json!({"role": "system", "content": [{"type": "text", "text": "D"}]}));
    for dialect in [Dialect::Gemini, Dialect::Vertex, Dialect::Bedrock] {
        let refused = translate_request(Caller::Chat, &body, &target(dialect)).expect_err("refused");
        assert_eq!((refused.code(), refused.refusal.field()), ("unsupported_by_provider", "messages"));
    }
}

#[test]
fn answers_that_no_model_should_give_are_faults() {
    for (dialect, body) in [
        (Dialect::Gemini, r#"{"candidates":[{"finishReason":"MALFORMED_FUNCTION_CALL"}]}"#),
        (Dialect::Bedrock, r#"{"output":{"message":{"content":[]}},"stopReason":"malformed_tool_use"}"#),
    ] {
        let (_, reply) = world::sent(Caller::Chat, "plain", dialect, false).expect("translated");
        let fault = reply.translate_answer(body.as_bytes(), &world::CONTEXT).expect_err("a fault");
        assert_eq!(fault, Fault::Malformed);
    }
    let call =
        json!({"id": "a", "type": "function", "function": {"name": "f", "arguments": "{\"city\": Par"}});
    let answer = json!({"choices": [{"message": {"tool_calls": [call]}, "finish_reason": "tool_calls"}]});
    let (_, reply) = world::sent(Caller::Messages, "plain", Dialect::OpenAi, false).expect("translated");
    let fault = reply.translate_answer(answer.to_string().as_bytes(), &world::CONTEXT).expect_err("a fault");
    assert_eq!(fault, Fault::Malformed, "here arguments are an object");
}

/// As clients do: the answer's message is sent back whole.
#[test]
fn what_was_reasoned_in_a_stream_can_be_sent_back() {
    let (_, reply) = world::sent(Caller::Chat, "plain", Dialect::Anthropic, true).expect("translated");
    let (_, out) = world::run(&reply, &world::events(Dialect::Anthropic, "stream"), None);
    let text = String::from_utf8(out).expect("text");
    let mut message = json!({"role": "assistant", "content": "", "reasoning_details": []});
    for line in
        text.lines().filter_map(|line| line.strip_prefix("data: ")).filter(|line| line.starts_with('{'))
    {
        let delta = world::json(line.as_bytes())["choices"][0]["delta"].clone();
        let said = message["content"].as_str().unwrap_or_default().to_owned();
        message["content"] = json!(said + delta["content"].as_str().unwrap_or_default());
        let details = message["reasoning_details"].as_array_mut().expect("a list");
        for detail in delta["reasoning_details"].as_array().into_iter().flatten() {
            assert_eq!(detail["index"], details.len(), "clients put lists together by it");
            details.push(detail.clone());
        }
    }
    let user = json!({"role": "user", "content": "Hi"});
    let body = chat_with("messages", json!([user, message, user]));
    let (outgoing, _) =
        translate_request(Caller::Chat, &body, &target(Dialect::Anthropic)).expect("translated");
    assert_eq!(
        world::json(&outgoing.body)["messages"][1]["content"],
        json!([
            {"type": "thinking", "thinking": "Easy.", "signature": "c2lnbmVk"},
            {"type": "text", "text": "The capital is Paris."},
        ])
    );
}

#[test]
fn no_provider_is_sent_anothers_signature() {
    let thought = |signature: &str| json!({"type": "thinking", "thinking": "Hm.", "signature": signature});
    let said = json!({"type": "text", "text": "So."});
    let body = |signature: &str| {
        let assistant = json!({"role": "assistant", "content": [thought(signature), said]});
        let user = json!({"role": "user", "content": "Hi"});
        messages_with("messages", json!([user, assistant, user]))
    };
    let sent = |signature: &str, dialect| {
        let (outgoing, _) =
            translate_request(Caller::Messages, &body(signature), &target(dialect)).expect("translated");
        String::from_utf8(outgoing.body).expect("text")
    };
    assert!(sent("gemini:c2ln", Dialect::Gemini).contains(r#""thoughtSignature":"c2ln""#));
    assert!(!sent("c2ln", Dialect::Gemini).contains("c2ln"));
    assert!(sent("c2ln", Dialect::Bedrock).contains(r#""signature":"c2ln""#));
    assert!(!sent("gemini:c2ln", Dialect::Bedrock).contains("c2ln"));
}

#[test]
fn prompts_are_counted_in_each_providers_way() {
    let body = json!({
        "model": "m", "system": "Be brief.", "messages": [{"role": "user", "content": "Hi"}],
        "tools": [{"name": "f", "input_schema": {"type": "object"}}],
    });
    let body = body.to_string().into_bytes();
    let sent = |dialect| {
        let outgoing = translate_count(&body, &target(dialect)).expect("translated");
        (outgoing.path_and_query, world::json(&outgoing.body))
    };
    let (path, gemini) = sent(Dialect::Gemini);
    assert_eq!(path, "/models/model-1:countTokens");
    let inner = &gemini["generateContentRequest"];
    assert_eq!(
        (&inner["model"], &inner["contents"][0]["parts"][0]["text"]),
        (&json!("models/model-1"), &json!("Hi"))
    );
    let (path, vertex) = sent(Dialect::Vertex);
    assert_eq!(path, "/publishers/google/models/model-1:countTokens");
    assert_eq!(vertex["systemInstruction"]["parts"][0]["text"], "Be brief.");
    let (path, bedrock) = sent(Dialect::Bedrock);
    assert_eq!(path, "/model/anthropic.model-1%3A0/count-tokens");
    let converse = &bedrock["input"]["converse"];
    assert_eq!(
        (&converse["system"][0]["text"], converse.get("inferenceConfig")),
        (&json!("Be brief."), None)
    );
    for answer in [r#"{"totalTokens":7,"promptTokensDetails":[]}"#, r#"{"inputTokens":7}"#] {
        let translated = translate_count_answer(answer.as_bytes()).expect("counted");
        assert_eq!(world::json(&translated), json!({"input_tokens": 7}));
    }
    assert!(translate_count_answer(b"{}").is_err());
    let refused = translate_count(&body, &target(Dialect::OpenAi)).expect_err("refused");
    assert_eq!(refused.code(), "unsupported_by_provider");
}

#[test]
fn a_message_of_nothing_is_refused_or_left_out_and_never_sent() {
    for (caller, body) in [
        (Caller::Chat, json!({"messages": [{"role": "user", "content": []}]})),
        (
            Caller::Chat,
            json!({"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": ""}]}),
        ),
        (Caller::Messages, json!({"max_tokens": 5, "messages": [{"role": "user", "content": []}]})),
        (Caller::Responses, json!({"input": [{"role": "user", "content": []}]})),
    ] {
        let refused = translate_request(caller, body.to_string().as_bytes(), &target(Dialect::Gemini));
        assert!(matches!(refused.expect_err("empty").refusal, Refusal::Invalid { .. }), "{body}");
    }
    // Thinking that proves nothing to the provider is all that there is of it.
    let thought =
        json!({"role": "assistant", "content": [{"type": "thinking", "thinking": "Hm.", "signature": ""}]});
    let user = json!({"role": "user", "content": "Hi"});
    let body = messages_with("messages", json!([user, thought, user]));
    let sent = |dialect| {
        let (outgoing, _) = translate_request(Caller::Messages, &body, &target(dialect)).expect("translated");
        world::json(&outgoing.body)["messages"].clone()
    };
    assert_eq!(
        sent(Dialect::Bedrock),
        json!([{"role": "user", "content": [{"text": "Hi"}, {"text": "Hi"}]}]),
        "roles take turns"
    );
    assert_eq!(sent(Dialect::OpenAi).as_array().map(Vec::len), Some(1));
}
