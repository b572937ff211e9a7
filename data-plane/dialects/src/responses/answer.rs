//! An answer, for a caller of responses.

use serde_json::value::RawValue;

use crate::{
    chat::{Answer, Finish, Part, Usage},
    fault::Fault,
    json::{Json, Object},
    translate::Context,
};

use super::{REDACTED, SIGNATURE};

/// What an output is made of.
pub(crate) enum Item {
    /// Texts, and whether each is a refusal.
    Message(Vec<(bool, String)>),
    /// Its text, and what `encrypted_content` carries.
    Reasoning { text: String, sealed: Option<String> },
    /// A call.
    Call { id: String, name: String, arguments: String },
}

impl Item {
    pub(crate) fn signature(signature: &str) -> Self {
        Self::Reasoning { text: String::new(), sealed: Some(format!("{SIGNATURE}{signature}")) }
    }

    pub(crate) fn redacted(data: &str) -> Self {
        Self::Reasoning { text: String::new(), sealed: Some(format!("{REDACTED}{data}")) }
    }

    /// The name of the item at a place of the output.
    pub(crate) fn id(&self, request_id: &str, at: usize) -> String {
        let kind = match self {
            Self::Message(_) => "msg",
            Self::Reasoning { .. } => "rs",
            Self::Call { .. } => "fc",
        };
        format!("{kind}_{request_id}_{at}")
    }

    pub(crate) fn written(&self, request_id: &str, at: usize, status: &'static str) -> Object<'_> {
        let id = self.id(request_id, at);
        match self {
            Self::Message(texts) => {
                Object::of("message").with("id", id).with("status", status).with("role", "assistant").with(
                    "content",
                    texts.iter().map(|(refusal, text)| part(*refusal, text).into()).collect::<Vec<_>>(),
                )
            }
            Self::Reasoning { text, sealed } => {
                let summary = if text.is_empty() { Vec::new() } else { vec![summary_part(text).into()] };
                Object::of("reasoning")
                    .with("id", id)
                    .with("summary", summary)
                    .maybe("encrypted_content", sealed.as_deref())
            }
            Self::Call { id: call_id, name, arguments } => Object::of("function_call")
                .with("id", id)
                .with("status", status)
                .with("arguments", &**arguments)
                .with("call_id", &**call_id)
                .with("name", &**name),
        }
    }
}

pub(super) fn part(refusal: bool, text: &str) -> Object<'_> {
    if refusal {
        return Object::of("refusal").with("refusal", text);
    }
    Object::of("output_text").with("text", text).with("annotations", Vec::new()).with("logprobs", Vec::new())
}

pub(super) fn summary_part(text: &str) -> Object<'_> {
    Object::of("summary_text").with("text", text)
}

/// Writes a whole answer.
pub(crate) fn write(
    answer: &Answer,
    context: &Context<'_>,
    echo: &[(&'static str, Box<RawValue>)],
) -> Result<Vec<u8>, Fault> {
    let [choice] = answer.choices.as_slice() else { return Err(Fault::NotOfDialect) };
    let items = items(&choice.parts);
    let finish = Some(&choice.finish);
    let status = status(finish);
    let output =
        items.iter().enumerate().map(|(at, item)| item.written(context.request_id, at, status).into());
    let output = output.collect();
    Ok(response(context, echo, finish, output, answer.usage.as_ref()).to_bytes())
}

fn items(parts: &[Part<'static>]) -> Vec<Item> {
    let mut items = Vec::new();
    for part in parts {
        match part {
            Part::Text(text) => said(&mut items, false, text),
            Part::Refusal(text) => said(&mut items, true, text),
            Part::Reasoning { text, signature } => {
                let sealed = signature.as_deref().map(|signature| format!("{SIGNATURE}{signature}"));
                items.push(Item::Reasoning { text: text.to_string(), sealed });
            }
            Part::Redacted(data) => items.push(Item::redacted(data)),
            Part::ToolCall(call) => {
                items.extend(call.signature.as_deref().map(Item::signature));
                let arguments = if call.arguments.trim().is_empty() { "{}" } else { &call.arguments };
                items.push(Item::Call {
                    id: call.id.to_string(),
                    name: call.name.to_string(),
                    arguments: arguments.to_owned(),
                });
            }
            Part::Media(_) | Part::ToolResult(_) | Part::CachePoint { .. } => {}
        }
    }
    items
}

fn said(items: &mut Vec<Item>, refusal: bool, text: &str) {
    match items.last_mut() {
        Some(Item::Message(texts)) => texts.push((refusal, text.to_owned())),
        _ => items.push(Item::Message(vec![(refusal, text.to_owned())])),
    }
}

pub(super) fn status(finish: Option<&Finish>) -> &'static str {
    match finish {
        None => "in_progress",
        Some(Finish::Length | Finish::ContextWindow | Finish::ContentFilter) => "incomplete",
        Some(_) => "completed",
    }
}

/// The object that whole answers are, and that streams begin and end with.
pub(super) fn response<'a>(
    context: &Context<'_>,
    echo: &'a [(&'static str, Box<RawValue>)],
    finish: Option<&Finish>,
    output: Vec<Json<'a>>,
    usage: Option<&Usage>,
) -> Object<'a> {
    let reason = match finish {
        Some(Finish::Length | Finish::ContextWindow) => Some("max_output_tokens"),
        Some(Finish::ContentFilter) => Some("content_filter"),
        _ => None,
    };
    let details = reason.map_or(Json::Null, |reason| Object::new().with("reason", reason).into());
    let echoed = |name: &str, otherwise: Json<'a>| {
        let found = echo.iter().find(|(known, _)| *known == name);
        found.map_or(otherwise, |(_, raw)| Json::Raw(raw))
    };
    let text = Object::new().with("format", Object::of("text"));
    Object::new()
        .with("id", format!("resp_{}", context.request_id))
        .with("object", "response")
        .with("created_at", context.created)
        .with("status", status(finish))
        .with("background", false)
        .with("error", Json::Null)
        .with("incomplete_details", details)
        .with("instructions", echoed("instructions", Json::Null))
        .with("max_output_tokens", echoed("max_output_tokens", Json::Null))
        .with("metadata", echoed("metadata", Object::new().into()))
        .with("model", context.model.to_owned())
        .with("output", output)
        .with("parallel_tool_calls", echoed("parallel_tool_calls", true.into()))
        .with("previous_response_id", Json::Null)
        .with("reasoning", echoed("reasoning", Json::Null))
        .with("service_tier", "default")
        .with("store", false)
        .with("temperature", echoed("temperature", Json::Null))
        .with("text", echoed("text", text.into()))
        .with("tool_choice", echoed("tool_choice", "auto".into()))
        .with("tools", echoed("tools", Vec::new().into()))
        .with("top_p", echoed("top_p", Json::Null))
        .with("truncation", "disabled")
        .with("usage", usage.map_or(Json::Null, |usage| usage_member(usage).into()))
        .with("user", echoed("user", Json::Null))
}

fn usage_member(usage: &Usage) -> Object<'static> {
    let input =
        Object::new().with("cached_tokens", usage.cache_read).with("cache_write_tokens", usage.cache_write);
    Object::new()
        .with("input_tokens", usage.prompt)
        .with("input_tokens_details", input)
        .with("output_tokens", usage.completion)
        .with("output_tokens_details", Object::new().with("reasoning_tokens", usage.reasoning))
        .with("total_tokens", usage.total())
}
