//! The request.

use serde_json::value::RawValue;

use crate::{
    chat::{
        Effort, Format, Media, MediaKind, Part, Reasoning, Request, Role, Source, Tool, ToolCall, ToolChoice,
        ToolResult, anthropic_signature,
    },
    json::{Json, Object, list},
    refusal::Refusal,
};

/// Writes the request's body.
pub(crate) fn encode(
    request: &Request<'_>,
    model: &str,
    default_max_tokens: u64,
) -> Result<Vec<u8>, Refusal> {
    check(request)?;
    let (system, rest) = request.split(counts);
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

/// Reasoning without a signature of Anthropic's is not sent.
pub(crate) fn counts(part: &Part<'_>) -> bool {
    match part {
        Part::Reasoning { signature, .. } => anthropic_signature(signature).is_some(),
        _ => true,
    }
}

/// What neither Anthropic nor Bedrock's Converse can do.
pub(crate) fn check(request: &Request<'_>) -> Result<(), Refusal> {
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
