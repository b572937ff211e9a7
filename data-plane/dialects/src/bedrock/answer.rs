//! A whole answer.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    chat::{Answer, Choice, Finish, Part, ToolCall, Usage},
    fault::Fault,
    limits,
};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    output: Output,
    stop_reason: String,
    usage: Option<Counts>,
}

#[derive(Deserialize)]
struct Output {
    message: OutputMessage,
}

#[derive(Deserialize)]
struct OutputMessage {
    content: Vec<Block>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Block {
    text: Option<String>,
    tool_use: Option<ToolUse>,
    reasoning_content: Option<ReasoningContent>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ToolUse {
    tool_use_id: String,
    name: String,
    input: Box<RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ReasoningContent {
    reasoning_text: Option<ReasoningText>,
    redacted_content: Option<String>,
}

#[derive(Deserialize)]
struct ReasoningText {
    text: String,
    signature: Option<String>,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Counts {
    input_tokens: Option<u64>,
    output_tokens: Option<u64>,
    cache_read_input_tokens: Option<u64>,
    cache_write_input_tokens: Option<u64>,
    /// How long what was written is kept.
    cache_details: Option<Vec<CacheDetail>>,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct CacheDetail {
    input_tokens: u64,
    ttl: String,
}

impl Counts {
    /// That `inputTokens` leaves cached ones out is what users see, as with Anthropic itself; the reference does not say
    /// (<https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_TokenUsage.html>).
    pub(super) fn counted(self) -> Usage {
        let read = self.cache_read_input_tokens.unwrap_or_default();
        let written = self.cache_write_input_tokens.unwrap_or_default();
        let usage = Usage {
            prompt: self.input_tokens.unwrap_or_default().saturating_add(read).saturating_add(written),
            completion: self.output_tokens.unwrap_or_default(),
            cache_read: read,
            cache_write: written,
            cache_write_hour: self
                .cache_details
                .iter()
                .flatten()
                .filter(|detail| detail.ttl == "1h")
                .fold(0, |sum, detail| sum.saturating_add(detail.input_tokens)),
            reasoning: 0,
            is_final: true,
        };
        usage.bounded()
    }
}

/// Reads a whole answer.
pub(crate) fn read_answer(body: &[u8]) -> Result<Answer, Fault> {
    let body: Body = serde_json::from_slice(body).map_err(|_| Fault::NotOfDialect)?;
    if body.output.message.content.len() > limits::ANSWER_PIECES {
        return Err(Fault::TooLarge);
    }
    let parts = body.output.message.content.into_iter().filter_map(part).collect();
    let choice = Choice { parts, finish: finish(&body.stop_reason)?, logprobs: Vec::new() };
    Ok(Answer { choices: vec![choice], usage: body.usage.map(Counts::counted) })
}

fn part(block: Block) -> Option<Part<'static>> {
    if let Some(text) = block.text {
        return Some(Part::Text(text.into()));
    }
    if let Some(call) = block.tool_use {
        return Some(Part::ToolCall(ToolCall {
            id: call.tool_use_id.into(),
            name: call.name.into(),
            arguments: String::from(Box::<str>::from(call.input)).into(),
            signature: None,
        }));
    }
    let reasoning = block.reasoning_content?;
    let text = reasoning
        .reasoning_text
        .map(|said| Part::Reasoning { text: said.text.into(), signature: said.signature.map(Cow::Owned) });
    text.or_else(|| reasoning.redacted_content.map(|data| Part::Redacted(data.into())))
}

/// Errors: what the model wrote is malformed, and Bedrock says so.
pub(super) fn finish(reason: &str) -> Result<Finish, Fault> {
    Ok(match reason {
        "max_tokens" => Finish::Length,
        "model_context_window_exceeded" => Finish::ContextWindow,
        "tool_use" => Finish::ToolCalls,
        "guardrail_intervened" | "content_filtered" => Finish::ContentFilter,
        "malformed_model_output" | "malformed_tool_use" => return Err(Fault::Malformed),
        // Which stop sequence it was, is not told.
        _ => Finish::Stop,
    })
}
