//! What is read of bytes that pass: usage, and where a stream ends. For callers and providers who speak the same.

use memchr::memmem;
use serde::Deserialize;

use crate::{Call, anthropic, chat::Usage, openai};

/// What one event of a passing stream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// The end, with the usage that it tells.
    Done(Option<Usage>),
    /// Usage so far. `alone`: the event carries nothing else.
    Usage(Usage, bool),
    /// A piece of the answer.
    Content,
    /// The provider's error: the stream ends with it.
    Failed,
    /// A comment, or nothing.
    Other,
}

/// The usage of a whole answer. `None`: it is not a JSON object, so no answer. `Some(None)`: an answer that does not tell.
pub fn usage_of(call: Call, body: &[u8]) -> Option<Option<Usage>> {
    match call {
        Call::Messages => anthropic::usage_of_message(body),
        Call::Responses | Call::Images | Call::Transcriptions | Call::AudioTranslations => {
            usage_of_response(body)
        }
        // Its tokens are counted, not used.
        Call::CountTokens => openai::usage_of_chat(body).map(|_| None),
        _ => openai::usage_of_chat(body),
    }
}

/// Judges one event of a stream by its data alone: each dialect's events tell themselves what they are.
pub fn observe(call: Call, data: &[u8]) -> Seen {
    let data = data.trim_ascii();
    if data.is_empty() {
        return Seen::Other;
    }
    match call {
        Call::Messages => observe_message(data),
        Call::Responses | Call::Images | Call::Transcriptions | Call::AudioTranslations | Call::Speech => {
            observe_response(data)
        }
        _ => observe_chat(data),
    }
}

fn observe_chat(data: &[u8]) -> Seen {
    #[derive(Deserialize)]
    struct Chunk {
        choices: Option<Vec<serde::de::IgnoredAny>>,
    }
    if data == openai::DONE {
        return Seen::Done(None);
    }
    if has_object(data, b"\"error\"") {
        return Seen::Failed;
    }
    if !has_object(data, b"\"usage\"") {
        return Seen::Content;
    }
    let alone =
        serde_json::from_slice(data).is_ok_and(|chunk: Chunk| chunk.choices.is_none_or(|all| all.is_empty()));
    match openai::usage_of_chat(data) {
        Some(Some(usage)) => Seen::Usage(usage, alone),
        _ => Seen::Content,
    }
}

#[derive(Deserialize)]
struct Kind<'a> {
    #[serde(rename = "type", borrow)]
    kind: std::borrow::Cow<'a, str>,
}

fn observe_message(data: &[u8]) -> Seen {
    let Ok(Kind { kind }) = serde_json::from_slice(data) else { return Seen::Other };
    match kind.as_ref() {
        "content_block_delta" | "content_block_start" => Seen::Content,
        "message_stop" => Seen::Done(None),
        "error" => Seen::Failed,
        "message_start" => {
            #[derive(Deserialize)]
            struct Start<'a> {
                #[serde(borrow)]
                message: &'a serde_json::value::RawValue,
            }
            let usage = serde_json::from_slice(data).ok().and_then(|start: Start<'_>| {
                anthropic::usage_of_message(start.message.get().as_bytes()).flatten()
            });
            usage.map_or(Seen::Other, |usage| Seen::Usage(Usage { is_final: false, ..usage }, false))
        }
        "message_delta" => match anthropic::usage_of_message(data).flatten() {
            Some(usage) => Seen::Usage(usage, false),
            None => Seen::Other,
        },
        _ => Seen::Other,
    }
}

fn observe_response(data: &[u8]) -> Seen {
    let Ok(Kind { kind }) = serde_json::from_slice(data) else { return Seen::Other };
    match kind.as_ref() {
        "response.completed" | "response.incomplete" => {
            #[derive(Deserialize)]
            struct End<'a> {
                #[serde(borrow)]
                response: &'a serde_json::value::RawValue,
            }
            let end: Option<End<'_>> = serde_json::from_slice(data).ok();
            Seen::Done(end.and_then(|end| usage_of_response(end.response.get().as_bytes()).flatten()))
        }
        "response.failed" | "error" => Seen::Failed,
        // Images, transcriptions and speech end with an event that tells usage itself.
        "image_generation.completed" | "transcript.text.done" | "speech.audio.done" => {
            Seen::Done(usage_of_response(data).flatten())
        }
        kind if kind.ends_with(".delta") => Seen::Content,
        _ => Seen::Other,
    }
}

#[derive(Deserialize)]
struct ResponseUsage {
    input_tokens: Option<u64>,
    output_tokens: Option<u64>,
    input_tokens_details: Option<InputDetails>,
    output_tokens_details: Option<OutputDetails>,
}

#[derive(Clone, Copy, Default, Deserialize)]
struct InputDetails {
    cached_tokens: Option<u64>,
    cache_write_tokens: Option<u64>,
}

#[derive(Clone, Copy, Default, Deserialize)]
struct OutputDetails {
    reasoning_tokens: Option<u64>,
}

fn usage_of_response(body: &[u8]) -> Option<Option<Usage>> {
    #[derive(Deserialize)]
    struct Whole {
        usage: Option<ResponseUsage>,
    }
    let whole: Whole = serde_json::from_slice(body).ok()?;
    Some(whole.usage.map(|usage| {
        let input = usage.input_tokens_details.unwrap_or_default();
        let counted = Usage {
            prompt: usage.input_tokens.unwrap_or_default(),
            completion: usage.output_tokens.unwrap_or_default(),
            cache_read: input.cached_tokens.unwrap_or_default(),
            cache_write: input.cache_write_tokens.unwrap_or_default(),
            cache_write_hour: 0,
            reasoning: usage.output_tokens_details.and_then(|all| all.reasoning_tokens).unwrap_or_default(),
            is_final: true,
        };
        counted.bounded()
    }))
}

/// Whether a member of this name with an object stands somewhere in it. Inside a JSON string the quotes would be escaped, so what was said cannot look like it.
fn has_object(data: &[u8], member: &[u8]) -> bool {
    memmem::find_iter(data, member).any(|at| {
        let rest = data.get(at + member.len()..).unwrap_or_default().trim_ascii_start();
        rest.strip_prefix(b":").is_some_and(|value| value.trim_ascii_start().starts_with(b"{"))
    })
}
