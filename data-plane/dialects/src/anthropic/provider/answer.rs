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
struct Body {
    #[serde(rename = "type")]
    kind: String,
    content: Vec<Block>,
    stop_reason: Option<String>,
    stop_sequence: Option<String>,
    usage: BodyUsage,
}

#[derive(Deserialize)]
pub(super) struct Block {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) text: Option<String>,
    pub(super) thinking: Option<String>,
    pub(super) signature: Option<String>,
    pub(super) data: Option<String>,
    pub(super) id: Option<String>,
    pub(super) name: Option<String>,
    pub(super) input: Option<Box<RawValue>>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct BodyUsage {
    input_tokens: Option<u64>,
    output_tokens: Option<u64>,
    cache_creation_input_tokens: Option<u64>,
    cache_read_input_tokens: Option<u64>,
    cache_creation: Option<CacheCreation>,
    output_tokens_details: Option<OutputDetails>,
}

/// How long what was written is kept: parts of `cache_creation_input_tokens`.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
struct CacheCreation {
    ephemeral_1h_input_tokens: Option<u64>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
struct OutputDetails {
    thinking_tokens: Option<u64>,
}

impl BodyUsage {
    /// Counts of a later event replace those of an earlier one; what it does not tell stands.
    pub(super) fn updated(self, later: Self) -> Self {
        Self {
            input_tokens: later.input_tokens.or(self.input_tokens),
            output_tokens: later.output_tokens.or(self.output_tokens),
            cache_creation_input_tokens: later
                .cache_creation_input_tokens
                .or(self.cache_creation_input_tokens),
            cache_read_input_tokens: later.cache_read_input_tokens.or(self.cache_read_input_tokens),
            cache_creation: later.cache_creation.or(self.cache_creation),
            output_tokens_details: later.output_tokens_details.or(self.output_tokens_details),
        }
    }

    pub(super) fn counted(self, is_final: bool) -> Usage {
        let (read, written) = (
            self.cache_read_input_tokens.unwrap_or_default(),
            self.cache_creation_input_tokens.unwrap_or_default(),
        );
        let fresh = self.input_tokens.unwrap_or_default();
        let usage = Usage {
            prompt: fresh.saturating_add(read).saturating_add(written),
            completion: self.output_tokens.unwrap_or_default(),
            cache_read: read,
            cache_write: written,
            cache_write_hour: self
                .cache_creation
                .and_then(|creation| creation.ephemeral_1h_input_tokens)
                .unwrap_or_default(),
            reasoning: self
                .output_tokens_details
                .and_then(|details| details.thinking_tokens)
                .unwrap_or_default(),
            is_final,
        };
        usage.bounded()
    }
}

/// Reads a whole answer. Blocks of types that no request of ours can have asked for are left out.
pub(crate) fn read_answer(body: &[u8]) -> Result<Answer, Fault> {
    let body: Body = serde_json::from_slice(body).map_err(|_| Fault::NotOfDialect)?;
    if body.kind != "message" || body.content.len() > limits::ANSWER_PIECES {
        return Err(Fault::NotOfDialect);
    }
    let mut parts = Vec::new();
    for block in body.content {
        parts.extend(part(block)?);
    }
    let finish = finish(body.stop_reason.as_deref().ok_or(Fault::NotOfDialect)?, body.stop_sequence);
    let choice = Choice { parts, finish, logprobs: Vec::new() };
    Ok(Answer { choices: vec![choice], usage: Some(body.usage.counted(true)) })
}

fn part(block: Block) -> Result<Option<Part<'static>>, Fault> {
    let owned = |text: Option<String>| text.map(Cow::Owned).ok_or(Fault::NotOfDialect);
    Ok(Some(match block.kind.as_str() {
        "text" => Part::Text(owned(block.text)?),
        "thinking" => Part::Reasoning {
            text: owned(block.thinking)?,
            signature: block.signature.filter(|signature| !signature.is_empty()).map(Cow::Owned),
        },
        "redacted_thinking" => Part::Redacted(owned(block.data)?),
        "tool_use" => Part::ToolCall(ToolCall {
            id: owned(block.id)?,
            name: owned(block.name)?,
            arguments: String::from(Box::<str>::from(block.input.ok_or(Fault::NotOfDialect)?)).into(),
            signature: None,
        }),
        _ => return Ok(None),
    }))
}

pub(super) fn finish(reason: &str, sequence: Option<String>) -> Finish {
    match (reason, sequence) {
        ("max_tokens", _) => Finish::Length,
        ("model_context_window_exceeded", _) => Finish::ContextWindow,
        ("stop_sequence", Some(sequence)) => Finish::StopSequence(sequence),
        ("tool_use", _) => Finish::ToolCalls,
        ("refusal", _) => Finish::ContentFilter,
        _ => Finish::Stop,
    }
}

/// The usage of a whole message, where bytes pass. `None`: it is no answer.
pub(crate) fn usage_of_message(body: &[u8]) -> Option<Option<Usage>> {
    #[derive(Deserialize)]
    struct Whole {
        usage: Option<BodyUsage>,
    }
    let whole: Whole = serde_json::from_slice(body).ok()?;
    Some(whole.usage.map(|usage| usage.counted(true)))
}
