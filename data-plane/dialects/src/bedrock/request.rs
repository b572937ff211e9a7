//! The request.

use crate::{
    anthropic::{self, arguments, counts},
    chat::{
        Effort, Format, Media, MediaKind, Part, Reasoning, Request, Role, Source, Tool, ToolCall, ToolChoice,
        ToolResult, anthropic_signature,
    },
    json::{Json, Object, list},
    refusal::Refusal,
};

/// Characters of a document's name.
const LONGEST_NAME: usize = 200;

/// Writes the request's body; the path names the model, which tells what may stand beside Converse's own fields.
pub(crate) fn encode(request: &Request<'_>, model: &str) -> Result<Vec<u8>, Refusal> {
    check(request)?;
    let (system, rest) = request.split(counts);
    let messages: Result<Vec<_>, _> = rest.iter().map(|(role, parts)| message(*role, parts)).collect();
    let (effort, beside) = beside(request, model)?;
    let output = Object::new().maybe("textFormat", format(&request.format)?).maybe("effort", effort);
    let body = Object::new()
        .unless_empty("system", blocks(&system)?)
        .with("messages", list(messages?))
        .maybe("inferenceConfig", inference(request).some())
        .maybe("toolConfig", tool_config(request)?)
        .maybe("additionalModelRequestFields", beside.some())
        .maybe("outputConfig", output.some());
    Ok(body.to_bytes())
}

/// What is counted of a request: `ConverseTokensRequest` has no more.
pub(crate) fn counted<'a>(request: &'a Request<'_>, model: &str) -> Result<Object<'a>, Refusal> {
    check(request)?;
    let (system, rest) = request.split(counts);
    let messages: Result<Vec<_>, _> = rest.iter().map(|(role, parts)| message(*role, parts)).collect();
    let (_, beside) = beside(request, model)?;
    Ok(Object::new()
        .unless_empty("system", blocks(&system)?)
        .with("messages", list(messages?))
        .maybe("toolConfig", tool_config(request)?)
        .maybe("additionalModelRequestFields", beside.some()))
}

fn check(request: &Request<'_>) -> Result<(), Refusal> {
    anthropic::check(request)?;
    if request.parallel_tool_calls == Some(false) && !request.tools.is_empty() {
        let why = "it cannot be told to call one tool at a time";
        return Err(Refusal::unsupported("parallel_tool_calls", why));
    }
    Ok(())
}

fn inference<'a>(request: &'a Request<'_>) -> Object<'a> {
    Object::new()
        .maybe("maxTokens", request.max_tokens)
        .maybe("temperature", request.sampling.temperature)
        .maybe("topP", request.sampling.top_p)
        .unless_empty("stopSequences", list(request.stop.iter().map(|stop| &**stop)))
}

/// Effort, and what stands beside Converse's own fields. That `outputConfig.effort` takes these words is told by the service's model of 2023-09-30 as
/// text of 16 characters at most, and nowhere more closely: a model that does not know one answers 400.
fn beside(request: &Request<'_>, model: &str) -> Result<(Option<&'static str>, Object<'static>), Refusal> {
    let is_anthropic = model.contains("anthropic.");
    let mut beside = Object::new();
    if let Some(top_k) = request.sampling.top_k {
        if !is_anthropic {
            return Err(Refusal::unsupported("top_k", "the model takes it not through Converse"));
        }
        beside = beside.with("top_k", top_k);
    }
    let effort = match request.reasoning {
        None => None,
        Some(_) if !is_anthropic => {
            return Err(Refusal::unsupported("reasoning", "the model takes none through Converse"));
        }
        Some(Reasoning::Effort(Effort::None) | Reasoning::Adaptive(Some(Effort::None))) => {
            beside = beside.with("thinking", Object::of("disabled"));
            None
        }
        Some(Reasoning::Budget(tokens)) => {
            beside = beside.with("thinking", Object::of("enabled").with("budget_tokens", tokens));
            None
        }
        Some(Reasoning::Adaptive(effort)) => {
            beside = beside.with("thinking", Object::of("adaptive"));
            effort
        }
        Some(Reasoning::Effort(effort)) => {
            beside = beside.with("thinking", Object::of("adaptive"));
            Some(effort)
        }
    };
    let effort = effort.map(|effort| if effort == Effort::Minimal { Effort::Low } else { effort });
    Ok((effort.map(Effort::as_str), beside))
}

fn format<'a>(format: &'a Format<'_>) -> Result<Option<Object<'a>>, Refusal> {
    match format {
        Format::Text => Ok(None),
        Format::JsonObject => {
            Err(Refusal::unsupported("response_format", "it wants a schema: use json_schema"))
        }
        Format::JsonSchema { name, description, schema, .. } => {
            // The schema is text here.
            let schema = Object::new()
                .with("schema", schema.get())
                .with("name", &**name)
                .maybe("description", description.as_deref());
            let structure = Object::new().with("jsonSchema", schema);
            Ok(Some(Object::of("json_schema").with("structure", structure)))
        }
    }
}

fn tool_config<'a>(request: &'a Request<'_>) -> Result<Option<Object<'a>>, Refusal> {
    let spoken = request.messages.iter().flat_map(|message| &message.parts);
    let mut spoken = spoken.filter(|part| matches!(part, Part::ToolCall(_) | Part::ToolResult(_)));
    if request.tools.is_empty() {
        return Ok(None);
    }
    let choice = match &request.tool_choice {
        None => None,
        Some(ToolChoice::Auto) => Some(Object::new().with("auto", Object::new())),
        Some(ToolChoice::Required) => Some(Object::new().with("any", Object::new())),
        Some(ToolChoice::Named(name)) => {
            Some(Object::new().with("tool", Object::new().with("name", &**name)))
        }
        // Tools that are not told cannot be called; but where calls were made, it wants to be told them.
        Some(ToolChoice::None) if spoken.next().is_none() => return Ok(None),
        Some(ToolChoice::None) => {
            return Err(Refusal::unsupported(
                "tool_choice",
                "it cannot be told to call no tool after a call was made",
            ));
        }
    };
    let mut tools: Vec<Json<'a>> = Vec::new();
    for tool in &request.tools {
        tools.push(self::tool(tool).into());
        tools.extend(tool.cache.map(|hour| cache_point(hour).into()));
    }
    Ok(Some(Object::new().with("tools", tools).maybe("toolChoice", choice)))
}

fn tool<'a>(tool: &'a Tool<'_>) -> Object<'a> {
    let schema = match tool.schema {
        Some(schema) => Object::new().with("json", schema),
        None => Object::new().with("json", Object::of("object").with("properties", Object::new())),
    };
    let spec = Object::new()
        .with("name", &*tool.name)
        .maybe("description", tool.description.as_deref().filter(|text| !text.is_empty()))
        .with("inputSchema", schema)
        .maybe("strict", tool.strict.filter(|strict| *strict));
    Object::new().with("toolSpec", spec)
}

fn message<'a>(role: Role, parts: &[&'a Part<'_>]) -> Result<Object<'a>, Refusal> {
    let word = match role {
        Role::User => "user",
        Role::Assistant => "assistant",
        Role::System => {
            return Err(Refusal::unsupported(
                "messages",
                "it takes the system's messages at the beginning alone",
            ));
        }
    };
    let (results, rest): (Vec<_>, Vec<_>) =
        parts.iter().partition(|part| matches!(part, Part::ToolResult(_)));
    let mut content = blocks(&results)?;
    content.extend(blocks(&rest)?);
    Ok(Object::new().with("role", word).with("content", content))
}

fn blocks<'a>(parts: &[&'a Part<'_>]) -> Result<Vec<Json<'a>>, Refusal> {
    let mut written = Vec::new();
    for part in parts {
        written.extend(block(part)?.map(Json::from));
    }
    Ok(written)
}

fn block<'a>(part: &'a Part<'_>) -> Result<Option<Object<'a>>, Refusal> {
    Ok(Some(match part {
        Part::Text(text) | Part::Refusal(text) => Object::new().with("text", &**text),
        Part::Media(media) => self::media(media)?,
        Part::ToolCall(call) => tool_use(call)?,
        Part::ToolResult(result) => tool_result(result)?,
        Part::Reasoning { text, signature } => match anthropic_signature(signature) {
            Some(signature) => {
                let text = Object::new().with("text", &**text).with("signature", signature);
                Object::new().with("reasoningContent", Object::new().with("reasoningText", text))
            }
            // Without its signature it would be refused, and has no effect.
            None => return Ok(None),
        },
        Part::Redacted(data) => {
            Object::new().with("reasoningContent", Object::new().with("redactedContent", &**data))
        }
        Part::CachePoint { hour } => cache_point(*hour),
    }))
}

fn cache_point(hour: bool) -> Object<'static> {
    Object::new().with("cachePoint", Object::of("default").maybe("ttl", hour.then_some("1h")))
}

fn tool_use<'a>(call: &'a ToolCall<'_>) -> Result<Object<'a>, Refusal> {
    let written = Object::new()
        .with("toolUseId", &*call.id)
        .with("name", &*call.name)
        .with("input", arguments(&call.arguments)?);
    Ok(Object::new().with("toolUse", written))
}

fn tool_result<'a>(result: &'a ToolResult<'_>) -> Result<Object<'a>, Refusal> {
    let parts: Vec<_> = result.parts.iter().filter(|part| !matches!(part, Part::CachePoint { .. })).collect();
    let written = Object::new()
        .with("toolUseId", &*result.id)
        .with("content", blocks(&parts)?)
        .maybe("status", result.is_error.then_some("error"));
    Ok(Object::new().with("toolResult", written))
}

fn media<'a>(media: &'a Media<'_>) -> Result<Object<'a>, Refusal> {
    let place = "messages.content";
    let (format, source) = match &media.source {
        Source::Url(_) => {
            return Err(Refusal::unsupported(place, "it takes media with the request, not by URL"));
        }
        Source::PlainText(text) => ("txt", Object::new().with("text", &**text)),
        Source::Inline { media_type, data } => {
            let format = format_of(media.kind, media_type)
                .ok_or_else(|| Refusal::unsupported(place, "it does not take media of this type"))?;
            (format, Object::new().with("bytes", &**data))
        }
    };
    let block = Object::new().with("format", format);
    Ok(match media.kind {
        MediaKind::Image => Object::new().with("image", block.with("source", source)),
        MediaKind::Audio => Object::new().with("audio", block.with("source", source)),
        MediaKind::Document => {
            let block = block.with("name", document_name(media.name.as_deref())).with("source", source);
            Object::new().with("document", block)
        }
    })
}

fn format_of(kind: MediaKind, media_type: &str) -> Option<&'static str> {
    Some(match (kind, media_type) {
        (MediaKind::Image, "image/png") => "png",
        (MediaKind::Image, "image/jpeg") => "jpeg",
        (MediaKind::Image, "image/gif") => "gif",
        (MediaKind::Image, "image/webp") => "webp",
        (MediaKind::Audio, "audio/wav") => "wav",
        (MediaKind::Audio, "audio/mpeg") => "mp3",
        (MediaKind::Document, "application/pdf") => "pdf",
        (MediaKind::Document, "text/plain") => "txt",
        (MediaKind::Document, "text/csv") => "csv",
        (MediaKind::Document, "text/html") => "html",
        (MediaKind::Document, "text/markdown") => "md",
        _ => return None,
    })
}

/// Letters, digits, single spaces, hyphens, parentheses and brackets
/// (<https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_DocumentBlock.html>); what else a name has becomes a hyphen.
fn document_name(name: Option<&str>) -> String {
    let taken =
        |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '(' | ')' | '[' | ']');
    let name = name.unwrap_or("document").chars().take(LONGEST_NAME);
    name.map(|letter| if taken(letter) { letter } else { '-' }).collect()
}
