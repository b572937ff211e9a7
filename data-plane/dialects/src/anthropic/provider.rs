//! Anthropic, for callers who speak something else.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    Dialect,
    chat::{
        Answer, Choice, Effort, Event, Finish, Format, Media, MediaKind, Part, Reasoning, Request, Role,
        Source, Tool, ToolCall, ToolChoice, ToolResult, Usage, anthropic_signature,
    },
    failure::Failure,
    fault::Fault,
    json::{Json, Object, list},
    limits,
    refusal::Refusal,
};

/// Writes the request's body.
pub(crate) fn encode(
    request: &Request<'_>,
    model: &str,
    default_max_tokens: u64,
) -> Result<Vec<u8>, Refusal> {
    check(request)?;
    let (system, rest) = request.split();
    let messages: Result<Vec<_>, _> = rest.iter().map(|(role, parts)| message(*role, parts)).collect();
    let (thinking, effort) = thinking(request.reasoning);
    let output_config = Object::new().maybe("effort", effort).maybe("format", format(&request.format)?);
    let body = Object::new()
        .with("model", model)
        .with("max_tokens", request.max_tokens.unwrap_or(default_max_tokens))
        .unless_empty("system", blocks(&system)?)
        .with("messages", list(messages?))
        .unless_empty("tools", tools(&request.tools)?)
        .maybe("tool_choice", tool_choice(request))
        .maybe("thinking", thinking)
        .maybe("output_config", output_config.some())
        .maybe("temperature", request.sampling.temperature)
        .maybe("top_p", request.sampling.top_p)
        .maybe("top_k", request.sampling.top_k)
        .unless_empty("stop_sequences", list(request.stop.iter().map(|stop| &**stop)))
        .maybe("metadata", request.end_user.as_deref().map(|user| Object::new().with("user_id", user)))
        .maybe("stream", request.stream.then_some(true));
    Ok(body.to_bytes())
}

fn check(request: &Request<'_>) -> Result<(), Refusal> {
    let sampling = request.sampling;
    let refuse = |field: &str, why| Err(Refusal::unsupported(field, why));
    match () {
        () if request.choices > 1 => refuse("n", "it gives one answer"),
        () if request.logprobs.is_some() => refuse("logprobs", "it tells no probabilities"),
        () if sampling.seed.is_some() => refuse("seed", "it has no seed"),
        () if sampling.frequency_penalty.is_some() => refuse("frequency_penalty", "it has no such penalty"),
        () if sampling.presence_penalty.is_some() => refuse("presence_penalty", "it has no such penalty"),
        () if sampling.temperature.is_some_and(|temperature| temperature > 1.0) => {
            refuse("temperature", "it is 1 at most")
        }
        () => Ok(()),
    }
}

/// `thinking` and `effort`. An effort that is asked for by callers of other dialects is of reasoning, so the model may think as it likes, at that effort; Anthropic
/// has no word below `low`. Models that cannot think adaptively say so themselves (400).
fn thinking(reasoning: Option<Reasoning>) -> (Option<Object<'static>>, Option<&'static str>) {
    let word = |effort: Effort| match effort {
        Effort::None => None,
        Effort::Minimal => Some(Effort::Low.as_str()),
        other => Some(other.as_str()),
    };
    match reasoning {
        None => (None, None),
        Some(Reasoning::Effort(Effort::None)) => (Some(Object::of("disabled")), None),
        Some(Reasoning::Effort(effort)) => (Some(Object::of("adaptive")), word(effort)),
        Some(Reasoning::Adaptive(effort)) => (Some(Object::of("adaptive")), effort.and_then(word)),
        Some(Reasoning::Budget(tokens)) => (Some(Object::of("enabled").with("budget_tokens", tokens)), None),
    }
}

fn format<'a>(format: &'a Format<'_>) -> Result<Option<Object<'a>>, Refusal> {
    match format {
        Format::Text => Ok(None),
        Format::JsonObject => {
            Err(Refusal::unsupported("response_format", "it wants a schema: use json_schema"))
        }
        // The name is a label; a description, and answers that need not follow the schema, have no counterpart.
        Format::JsonSchema { description: Some(_), .. } => Err(Refusal::unsupported(
            "response_format.json_schema.description",
            "it describes schemas within them",
        )),
        Format::JsonSchema { schema, .. } => Ok(Some(Object::of("json_schema").with("schema", *schema))),
    }
}

fn message<'a>(role: Role, parts: &[&'a Part<'_>]) -> Result<Object<'a>, Refusal> {
    let word = match role {
        Role::System => "system",
        Role::User => "user",
        Role::Assistant => "assistant",
    };
    // What tools gave stands first in a message.
    let (results, rest): (Vec<_>, Vec<_>) =
        parts.iter().partition(|part| matches!(part, Part::ToolResult(_)));
    let mut content = blocks(&results)?;
    content.extend(blocks(&rest)?);
    Ok(Object::new().with("role", word).with("content", content))
}

/// A cache point marks the block before it.
fn blocks<'a>(parts: &[&'a Part<'_>]) -> Result<Vec<Json<'a>>, Refusal> {
    let mut written = Vec::new();
    let mut parts = parts.iter().peekable();
    while let Some(part) = parts.next() {
        let Some(block) = block(part)? else { continue };
        let cached = match parts.peek() {
            Some(Part::CachePoint { hour }) => Some(cache_control(*hour)),
            _ => None,
        };
        written.push(block.maybe("cache_control", cached).into());
    }
    Ok(written)
}

fn cache_control(hour: bool) -> Object<'static> {
    Object::of("ephemeral").maybe("ttl", hour.then_some("1h"))
}

fn block<'a>(part: &'a Part<'_>) -> Result<Option<Object<'a>>, Refusal> {
    Ok(Some(match part {
        Part::Text(text) | Part::Refusal(text) => Object::of("text").with("text", &**text),
        Part::Media(media) => self::media(media)?,
        Part::ToolCall(call) => tool_use(call)?,
        Part::ToolResult(result) => tool_result(result)?,
        Part::Reasoning { text, signature } => match anthropic_signature(signature) {
            Some(signature) => Object::of("thinking").with("thinking", &**text).with("signature", signature),
            // Without its signature it would be refused, and has no effect.
            None => return Ok(None),
        },
        Part::CachePoint { .. } => return Ok(None),
        Part::Redacted(data) => Object::of("redacted_thinking").with("data", &**data),
    }))
}

fn tool_use<'a>(call: &'a ToolCall<'_>) -> Result<Object<'a>, Refusal> {
    let input = arguments(&call.arguments)?;
    Ok(Object::of("tool_use").with("id", &*call.id).with("name", &*call.name).with("input", input))
}

/// Arguments as an object, where callers send them as text.
pub(crate) fn arguments(text: &str) -> Result<&RawValue, Refusal> {
    let text = text.trim();
    let text = if text.is_empty() { "{}" } else { text };
    let raw: Option<&RawValue> = serde_json::from_str(text).ok();
    raw.filter(|_| text.starts_with('{'))
        .ok_or_else(|| Refusal::invalid("messages.tool_calls.function.arguments", "it is not a JSON object"))
}

fn tool_result<'a>(result: &'a ToolResult<'_>) -> Result<Object<'a>, Refusal> {
    let parts: Vec<_> = result.parts.iter().collect();
    Ok(Object::of("tool_result")
        .with("tool_use_id", &*result.id)
        .unless_empty("content", blocks(&parts)?)
        .maybe("is_error", result.is_error.then_some(true)))
}

fn media<'a>(media: &'a Media<'_>) -> Result<Object<'a>, Refusal> {
    let source = match (&media.source, media.kind) {
        (_, MediaKind::Audio) => {
            return Err(Refusal::unsupported("messages.content", "it takes no sound"));
        }
        (Source::Inline { media_type, data }, MediaKind::Document) if media_type == "text/plain" => {
            let _ = data;
            return Err(Refusal::unsupported("messages.content", "it takes text as text, not in base64"));
        }
        (Source::Inline { media_type, data }, _) => {
            Object::of("base64").with("media_type", &**media_type).with("data", &**data)
        }
        (Source::Url(url), _) => Object::of("url").with("url", &**url),
        (Source::PlainText(text), _) => {
            Object::of("text").with("media_type", "text/plain").with("data", &**text)
        }
    };
    Ok(match media.kind {
        MediaKind::Document => {
            Object::of("document").with("source", source).maybe("title", media.name.as_deref())
        }
        _ => Object::of("image").with("source", source),
    })
}

fn tools<'a>(tools: &'a [Tool<'_>]) -> Result<Vec<Json<'a>>, Refusal> {
    tools.iter().map(|tool| Ok(self::tool(tool)?.into())).collect()
}

fn tool<'a>(tool: &'a Tool<'_>) -> Result<Object<'a>, Refusal> {
    let written = Object::new().with("name", &*tool.name).maybe("description", tool.description.as_deref());
    let written = match tool.schema {
        Some(schema) => written.with("input_schema", schema),
        None => written.with("input_schema", Object::of("object").with("properties", Object::new())),
    };
    Ok(written
        .maybe("strict", tool.strict.filter(|strict| *strict))
        .maybe("cache_control", tool.cache.map(cache_control)))
}

fn tool_choice<'a>(request: &'a Request<'_>) -> Option<Object<'a>> {
    let disabled = request.parallel_tool_calls == Some(false) && !request.tools.is_empty();
    let choice = match &request.tool_choice {
        Some(ToolChoice::None) => return Some(Object::of("none")),
        Some(ToolChoice::Auto) => Object::of("auto"),
        Some(ToolChoice::Required) => Object::of("any"),
        Some(ToolChoice::Named(name)) => Object::of("tool").with("name", &**name),
        None if disabled => Object::of("auto"),
        None => return None,
    };
    Some(choice.maybe("disable_parallel_tool_use", disabled.then_some(true)))
}

#[derive(Deserialize)]
struct Body {
    id: Option<String>,
    #[serde(rename = "type")]
    kind: String,
    content: Vec<Block>,
    stop_reason: Option<String>,
    stop_sequence: Option<String>,
    usage: BodyUsage,
}

#[derive(Deserialize)]
struct Block {
    #[serde(rename = "type")]
    kind: String,
    text: Option<String>,
    thinking: Option<String>,
    signature: Option<String>,
    data: Option<String>,
    id: Option<String>,
    name: Option<String>,
    input: Option<Box<RawValue>>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
struct BodyUsage {
    input_tokens: Option<u64>,
    output_tokens: Option<u64>,
    cache_creation_input_tokens: Option<u64>,
    cache_read_input_tokens: Option<u64>,
    output_tokens_details: Option<OutputDetails>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
struct OutputDetails {
    thinking_tokens: Option<u64>,
}

impl BodyUsage {
    /// Counts of a later event replace those of an earlier one; what it does not tell stands.
    fn updated(self, later: Self) -> Self {
        Self {
            input_tokens: later.input_tokens.or(self.input_tokens),
            output_tokens: later.output_tokens.or(self.output_tokens),
            cache_creation_input_tokens: later
                .cache_creation_input_tokens
                .or(self.cache_creation_input_tokens),
            cache_read_input_tokens: later.cache_read_input_tokens.or(self.cache_read_input_tokens),
            output_tokens_details: later.output_tokens_details.or(self.output_tokens_details),
        }
    }

    fn counted(self, is_final: bool) -> Usage {
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
    Ok(Answer { id: body.id, choices: vec![choice], usage: Some(body.usage.counted(true)) })
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

fn finish(reason: &str, sequence: Option<String>) -> Finish {
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

#[derive(Deserialize)]
struct StreamEvent {
    #[serde(rename = "type")]
    kind: String,
    message: Option<StartedMessage>,
    index: Option<u64>,
    content_block: Option<Block>,
    delta: Option<Delta>,
    usage: Option<BodyUsage>,
}

#[derive(Deserialize)]
struct StartedMessage {
    usage: Option<BodyUsage>,
}

#[derive(Deserialize)]
struct Delta {
    #[serde(rename = "type")]
    kind: Option<String>,
    text: Option<String>,
    thinking: Option<String>,
    signature: Option<String>,
    partial_json: Option<String>,
    stop_reason: Option<String>,
    stop_sequence: Option<String>,
}

/// Reads events.
#[derive(Debug, Default)]
pub(crate) struct ProviderStream {
    usage: BodyUsage,
    /// Which blocks are calls: (block, call).
    tools: Vec<(u64, u32)>,
}

impl ProviderStream {
    pub(crate) fn read(&mut self, data: &[u8], out: &mut Vec<Event>) -> Result<(), Fault> {
        if data.trim_ascii().is_empty() {
            return Ok(());
        }
        let event: StreamEvent = serde_json::from_slice(data).map_err(|_| Fault::NotOfDialect)?;
        match event.kind.as_str() {
            "message_start" => self.count(event.message.and_then(|message| message.usage), false, out),
            "content_block_start" => {
                let (Some(index), Some(block)) = (event.index, event.content_block) else {
                    return Err(Fault::NotOfDialect);
                };
                self.block(index, block, out)?;
            }
            "content_block_delta" => {
                let (Some(index), Some(delta)) = (event.index, event.delta) else {
                    return Err(Fault::NotOfDialect);
                };
                self.delta(index, delta, out)?;
            }
            "message_delta" => {
                let delta = event.delta.ok_or(Fault::NotOfDialect)?;
                if let Some(reason) = delta.stop_reason {
                    let finish = finish(&reason, delta.stop_sequence);
                    out.push(Event::Finished { choice: 0, finish });
                }
                self.count(event.usage, true, out);
            }
            "message_stop" => out.push(Event::Done),
            "error" => out.push(Event::Failed(Failure::read_in_stream(Dialect::Anthropic, None, data))),
            // `ping`, the end of a block, and what may come to be added (<https://docs.claude.com/en/docs/build-with-claude/streaming>).
            _ => {}
        }
        Ok(())
    }

    fn count(&mut self, usage: Option<BodyUsage>, is_final: bool, out: &mut Vec<Event>) {
        if let Some(usage) = usage {
            self.usage = self.usage.updated(usage);
            out.push(Event::Usage(self.usage.counted(is_final)));
        }
    }

    fn block(&mut self, index: u64, block: Block, out: &mut Vec<Event>) -> Result<(), Fault> {
        let some = |text: Option<String>| text.filter(|text| !text.is_empty());
        match block.kind.as_str() {
            "text" => {
                let text = some(block.text);
                out.extend(text.map(|text| Event::Text { choice: 0, text, logprobs: Vec::new() }));
            }
            "thinking" => {
                out.extend(some(block.thinking).map(|text| Event::Reasoning { choice: 0, text }));
            }
            "redacted_thinking" => {
                let data = block.data.ok_or(Fault::NotOfDialect)?;
                out.push(Event::Redacted { choice: 0, data });
            }
            "tool_use" => {
                let (Some(id), Some(name)) = (block.id, block.name) else { return Err(Fault::NotOfDialect) };
                if self.tools.len() >= limits::ANSWER_PIECES {
                    return Err(Fault::TooLarge);
                }
                let tool = u32::try_from(self.tools.len()).map_err(|_| Fault::TooLarge)?;
                self.tools.push((index, tool));
                out.push(Event::ToolBegan { choice: 0, tool, id, name, signature: None });
            }
            _ => {}
        }
        Ok(())
    }

    fn delta(&mut self, index: u64, delta: Delta, out: &mut Vec<Event>) -> Result<(), Fault> {
        match delta.kind.as_deref() {
            Some("text_delta") => {
                let text = delta.text.ok_or(Fault::NotOfDialect)?;
                out.push(Event::Text { choice: 0, text, logprobs: Vec::new() });
            }
            Some("thinking_delta") => {
                out.push(Event::Reasoning { choice: 0, text: delta.thinking.ok_or(Fault::NotOfDialect)? });
            }
            Some("signature_delta") => {
                let signature = delta.signature.ok_or(Fault::NotOfDialect)?;
                out.push(Event::Signature { choice: 0, signature });
            }
            Some("input_json_delta") => {
                let json = delta.partial_json.ok_or(Fault::NotOfDialect)?;
                let tool = self.tools.iter().rev().find(|(block, _)| *block == index).map(|(_, tool)| *tool);
                if let (Some(tool), false) = (tool, json.is_empty()) {
                    out.push(Event::ToolArguments { choice: 0, tool, json });
                }
            }
            _ => {}
        }
        Ok(())
    }
}
