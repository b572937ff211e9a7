//! An answer, for a caller of chat completions.

use crate::{
    chat::{Answer, Choice, Finish, GEMINI_SIGNATURE, Part, TokenLogprob, ToolCall, Usage},
    fault::Fault,
    json::{Json, Object, list},
    translate::Context,
};

/// Writes a whole answer.
pub(crate) fn write(answer: &Answer, context: &Context<'_>) -> Result<Vec<u8>, Fault> {
    let choices = answer.choices.iter().enumerate().map(|(at, choice)| written(at, choice));
    let body = Object::new()
        .with("id", format!("chatcmpl-{}", context.request_id))
        .with("object", "chat.completion")
        .with("created", context.created)
        .with("model", context.model)
        .with("choices", choices.map(Json::from).collect::<Vec<_>>())
        .with("usage", answer.usage.map_or(Json::Null, |usage| usage_member(&usage).into()));
    Ok(body.to_bytes())
}

fn written(at: usize, choice: &Choice) -> Object<'_> {
    Object::new()
        .with("index", at as u64)
        .with("message", message(&choice.parts))
        .with("logprobs", logprobs_member(&choice.logprobs))
        .with("finish_reason", finish_word(&choice.finish))
}

fn message<'a>(parts: &'a [Part<'static>]) -> Object<'a> {
    let (mut text, mut refusal, mut reasoning) = (String::new(), String::new(), String::new());
    let (mut calls, mut details) = (Vec::new(), Vec::new());
    for part in parts {
        match part {
            Part::Text(said) => text.push_str(said),
            Part::Refusal(said) => refusal.push_str(said),
            Part::Reasoning { text, signature } => {
                reasoning.push_str(text);
                details.push(reasoning_text(details.len(), text, signature.as_deref()).into());
            }
            Part::Redacted(data) => details.push(reasoning_encrypted(details.len(), data).into()),
            Part::ToolCall(call) => calls.push(tool_call(call).into()),
            Part::Media(_) | Part::ToolResult(_) | Part::CachePoint { .. } => {}
        }
    }
    let some = |said: String| if said.is_empty() { Json::Null } else { said.into() };
    Object::new()
        .with("role", "assistant")
        .with("content", some(text))
        .with("refusal", some(refusal))
        .maybe("reasoning_content", Some(reasoning).filter(|said| !said.is_empty()))
        .unless_empty("reasoning_details", details)
        .unless_empty("tool_calls", calls)
}

fn tool_call<'a>(call: &'a ToolCall<'static>) -> Object<'a> {
    let arguments = if call.arguments.trim().is_empty() { "{}" } else { &call.arguments };
    let function = Object::new().with("name", &*call.name).with("arguments", arguments);
    Object::new()
        .with("id", &*call.id)
        .with("type", "function")
        .with("function", function)
        .maybe("extra_content", call.signature.as_deref().map(extra_content))
}

/// Here Google's own name tells whose it is.
pub(super) fn extra_content(signature: &str) -> Object<'_> {
    let signature = signature.strip_prefix(GEMINI_SIGNATURE).unwrap_or(signature);
    Object::new().with("google", Object::new().with("thought_signature", signature))
}

/// `at` counts the details of a message: clients put a stream's lists together by it.
pub(super) fn reasoning_text<'a>(at: usize, text: &'a str, signature: Option<&'a str>) -> Object<'a> {
    Object::of("reasoning.text").with("index", at as u64).with("text", text).maybe("signature", signature)
}

pub(super) fn reasoning_encrypted(at: usize, data: &str) -> Object<'_> {
    Object::of("reasoning.encrypted").with("index", at as u64).with("data", data)
}

pub(crate) fn finish_word(finish: &Finish) -> &'static str {
    match finish {
        Finish::Stop | Finish::StopSequence(_) => "stop",
        Finish::Length | Finish::ContextWindow => "length",
        Finish::ToolCalls => "tool_calls",
        Finish::ContentFilter => "content_filter",
    }
}

pub(super) fn usage_member(usage: &Usage) -> Object<'static> {
    let prompt =
        Object::new().with("cached_tokens", usage.cache_read).with("cache_write_tokens", usage.cache_write);
    let completion = Object::new().with("reasoning_tokens", usage.reasoning);
    Object::new()
        .with("prompt_tokens", usage.prompt)
        .with("completion_tokens", usage.completion)
        .with("total_tokens", usage.total())
        .with("prompt_tokens_details", prompt)
        .with("completion_tokens_details", completion)
}

pub(super) fn logprobs_member(tokens: &[TokenLogprob]) -> Json<'_> {
    if tokens.is_empty() {
        return Json::Null;
    }
    let content = tokens.iter().map(|token| {
        let top = list(token.top.iter().map(|(token, logprob)| one(token, *logprob)));
        one(&token.token, token.logprob).with("top_logprobs", top)
    });
    Object::new().with("content", list(content)).with("refusal", Json::Null).into()
}

fn one(token: &str, logprob: f64) -> Object<'_> {
    Object::new()
        .with("token", token)
        .with("logprob", logprob)
        .with("bytes", list(token.bytes().map(u32::from)))
}
