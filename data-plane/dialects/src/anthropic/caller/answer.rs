//! An answer, for a caller of messages.

use serde_json::value::RawValue;

use crate::{
    chat::{Answer, Finish, Part, Usage},
    fault::Fault,
    json::{Json, Object},
    translate::Context,
};

/// Writes a whole answer.
pub(crate) fn write(answer: &Answer, context: &Context<'_>) -> Result<Vec<u8>, Fault> {
    let [choice] = answer.choices.as_slice() else { return Err(Fault::NotOfDialect) };
    let mut content = Vec::new();
    for part in &choice.parts {
        block(part, &mut content)?;
    }
    let refused = choice.parts.iter().any(|part| matches!(part, Part::Refusal(_)));
    let (reason, sequence) = stop_reason(&choice.finish, refused);
    let body = Object::new()
        .with("id", format!("msg_{}", context.request_id))
        .with("type", "message")
        .with("role", "assistant")
        .with("model", context.model)
        .with("content", content)
        .with("stop_reason", reason)
        .with("stop_sequence", sequence.map_or(Json::Null, Json::from))
        .with("usage", usage_member(&answer.usage.unwrap_or_default()));
    Ok(body.to_bytes())
}

fn block<'a>(part: &'a Part<'static>, content: &mut Vec<Json<'a>>) -> Result<(), Fault> {
    match part {
        Part::Text(text) | Part::Refusal(text) => {
            content.push(Object::of("text").with("text", &**text).into())
        }
        Part::Reasoning { text, signature } => content.push(thinking(text, signature.as_deref()).into()),
        Part::Redacted(data) => {
            content.push(Object::of("redacted_thinking").with("data", &**data).into());
        }
        Part::ToolCall(call) => {
            // A signature that its provider ties to the call stands before it, as thinking without words.
            content.extend(call.signature.as_deref().map(|signature| thinking("", Some(signature)).into()));
            let block = Object::of("tool_use").with("id", &*call.id).with("name", &*call.name);
            content.push(block.with("input", input(&call.arguments)?).into());
        }
        Part::Media(_) | Part::ToolResult(_) | Part::CachePoint { .. } => {}
    }
    Ok(())
}

fn thinking<'a>(text: &'a str, signature: Option<&'a str>) -> Object<'a> {
    Object::of("thinking").with("thinking", text).with("signature", signature.unwrap_or_default())
}

/// Models write arguments themselves; here they must be an object.
fn input(arguments: &str) -> Result<&RawValue, Fault> {
    let arguments = arguments.trim();
    let arguments = if arguments.is_empty() { "{}" } else { arguments };
    if !arguments.starts_with('{') {
        return Err(Fault::Malformed);
    }
    serde_json::from_str(arguments).map_err(|_| Fault::Malformed)
}

/// `refused`: the model itself refused, in words that stand where the answer would; here the reason tells them apart.
pub(super) fn stop_reason(finish: &Finish, refused: bool) -> (&'static str, Option<&str>) {
    match finish {
        Finish::Stop if refused => ("refusal", None),
        Finish::Stop => ("end_turn", None),
        Finish::StopSequence(sequence) => ("stop_sequence", Some(sequence)),
        Finish::Length => ("max_tokens", None),
        Finish::ContextWindow => ("model_context_window_exceeded", None),
        Finish::ToolCalls => ("tool_use", None),
        Finish::ContentFilter => ("refusal", None),
    }
}

pub(super) fn usage_member(usage: &Usage) -> Object<'static> {
    let fresh = usage.prompt.saturating_sub(usage.cache_read).saturating_sub(usage.cache_write);
    Object::new()
        .with("input_tokens", fresh)
        .with("cache_creation_input_tokens", usage.cache_write)
        .with("cache_read_input_tokens", usage.cache_read)
        .with("output_tokens", usage.completion)
        .with("output_tokens_details", Object::new().with("thinking_tokens", usage.reasoning))
}
