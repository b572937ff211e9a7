//! A caller's message.

use std::borrow::Cow;

use crate::{
    chat::{
        Effort, Format, Media, MediaKind, Message, Part, Reasoning, Request, Role, Sampling, Source, Tool,
        ToolCall, ToolChoice, ToolResult,
    },
    fields::{Fields, Value},
    limits,
    openai::effort,
    refusal::Refusal,
};

/// Anthropic gives formats no name, where OpenAI wants one.
const FORMAT_NAME: &str = "answer";

/// Reads a caller's body.
pub(crate) fn decode(body: &[u8]) -> Result<Request<'_>, Refusal> {
    let mut fields = crate::fields::body(body)?;
    let max_tokens = fields.need("max_tokens")?.count()?;
    Ok(Request { max_tokens: Some(max_tokens), ..prompt(fields)? })
}

/// Reads the body of a caller who wants the prompt counted: the same, without what concerns the answer.
pub(crate) fn decode_count(body: &[u8]) -> Result<Request<'_>, Refusal> {
    prompt(crate::fields::body(body)?)
}

fn prompt(mut fields: Fields<'_>) -> Result<Request<'_>, Refusal> {
    fields.without_effect(&["model", "cache_control", "service_tier"]);
    fields.refuse(&[
        ("container", "it has no containers"),
        ("diagnostics", "it has no such diagnostics"),
        ("inference_geo", "where it computes is the deployment's choice"),
        ("user_profile_id", "it has no such profiles"),
        ("workspace_id", "it has no such workspaces"),
        ("mcp_servers", "it reaches no such servers"),
    ])?;
    only(&mut fields, "speed", "standard")?;
    let mut messages: Vec<Message<'_>> = Vec::new();
    if let Some(system) = fields.take("system") {
        messages.push(Message { role: Role::System, parts: content(&system, text_block)? });
    }
    let said = fields.need("messages")?;
    let list = said.list(limits::MESSAGES)?;
    if list.is_empty() {
        return Err(said.invalid("it is empty"));
    }
    for entry in &list {
        messages.push(message(entry)?);
    }
    let (tool_choice, parallel_tool_calls) = tool_choice(&mut fields)?;
    let (format, effort) = output_config(&mut fields)?;
    let request = Request {
        messages,
        tools: tools(&mut fields)?,
        tool_choice,
        parallel_tool_calls,
        format,
        sampling: Sampling {
            temperature: fields.number("temperature")?,
            top_p: fields.number("top_p")?,
            top_k: fields.count("top_k")?,
            ..Sampling::default()
        },
        stop: stops(&mut fields)?,
        max_tokens: None,
        reasoning: reasoning(&mut fields, effort)?,
        choices: 1,
        logprobs: None,
        end_user: end_user(&mut fields)?,
        stream: fields.flag("stream")?.unwrap_or(false),
        include_usage: true,
    };
    fields.end()?;
    Ok(request)
}

fn only(fields: &mut Fields<'_>, name: &str, word: &str) -> Result<(), Refusal> {
    match fields.take(name) {
        Some(value) if value.text()? != word => Err(value.unsupported("it has no such choice")),
        _ => Ok(()),
    }
}

fn end_user<'a>(fields: &mut Fields<'a>) -> Result<Option<Cow<'a, str>>, Refusal> {
    let Some(metadata) = fields.take("metadata") else { return Ok(None) };
    let mut metadata = metadata.object()?;
    let user = metadata.text("user_id")?;
    metadata.end()?;
    Ok(user)
}

fn stops<'a>(fields: &mut Fields<'a>) -> Result<Vec<Cow<'a, str>>, Refusal> {
    let Some(stops) = fields.take("stop_sequences") else { return Ok(Vec::new()) };
    stops.list(limits::STOPS)?.iter().map(Value::text).collect()
}

fn output_config<'a>(fields: &mut Fields<'a>) -> Result<(Format<'a>, Option<Effort>), Refusal> {
    let Some(config) = fields.take("output_config") else { return Ok((Format::Text, None)) };
    let mut config = config.object()?;
    let effort = effort(config.take("effort"))?;
    let format = match config.take("format") {
        None => Format::Text,
        Some(value) => {
            let mut format = value.object()?;
            if format.kind()? != "json_schema" {
                return Err(value.invalid("its type is not json_schema"));
            }
            let schema = format.need("schema")?.raw_object()?;
            format.end()?;
            Format::JsonSchema { name: FORMAT_NAME.into(), description: None, schema, strict: Some(true) }
        }
    };
    config.end()?;
    Ok((format, effort))
}

/// Effort alone asks for no thinking, but for care; it is the same word elsewhere.
fn reasoning(fields: &mut Fields<'_>, effort: Option<Effort>) -> Result<Option<Reasoning>, Refusal> {
    let Some(value) = fields.take("thinking") else { return Ok(effort.map(Reasoning::Effort)) };
    let mut thinking = value.object()?;
    let reasoning = match thinking.kind()?.as_ref() {
        "disabled" => Reasoning::Effort(Effort::None),
        "adaptive" => Reasoning::Adaptive(effort),
        "enabled" => Reasoning::Budget(thinking.need("budget_tokens")?.count()?),
        _ => return Err(value.unsupported("only disabled, adaptive and enabled thinking is translated")),
    };
    only(&mut thinking, "display", "summarized")?;
    thinking.end()?;
    if let (Reasoning::Budget(_), Some(_)) = (reasoning, effort) {
        return Err(value.unsupported("it takes a budget or an effort, not both"));
    }
    Ok(Some(reasoning))
}

fn tool_choice<'a>(fields: &mut Fields<'a>) -> Result<(Option<ToolChoice<'a>>, Option<bool>), Refusal> {
    let Some(value) = fields.take("tool_choice") else { return Ok((None, None)) };
    let mut choice = value.object()?;
    let chosen = match choice.kind()?.as_ref() {
        "auto" => ToolChoice::Auto,
        "any" => ToolChoice::Required,
        "none" => ToolChoice::None,
        "tool" => ToolChoice::Named(choice.need("name")?.text()?),
        _ => return Err(value.invalid("its type is none of auto, any, tool and none")),
    };
    let parallel = choice.flag("disable_parallel_tool_use")?.map(|disabled| !disabled);
    choice.end()?;
    Ok((Some(chosen), parallel))
}

fn tools<'a>(fields: &mut Fields<'a>) -> Result<Vec<Tool<'a>>, Refusal> {
    let Some(tools) = fields.take("tools") else { return Ok(Vec::new()) };
    tools.list(limits::TOOLS)?.iter().map(tool).collect()
}

fn tool<'a>(value: &Value<'a>) -> Result<Tool<'a>, Refusal> {
    let mut fields = value.object()?;
    if let Some(kind) = fields.take("type")
        && kind.text()? != "custom"
    {
        return Err(kind.unsupported("only tools that the caller defines are translated"));
    }
    fields.without_effect(&["eager_input_streaming"]);
    fields.refuse(&[("input_examples", "it takes no examples of a tool's input")])?;
    if let Some(deferred) = fields.take("defer_loading")
        && deferred.flag()?
    {
        return Err(deferred.unsupported("it loads all tools at once"));
    }
    if let Some(callers) = fields.take("allowed_callers") {
        for caller in callers.list(16)? {
            if caller.text()? != "direct" {
                return Err(caller.unsupported("only the model itself calls tools"));
            }
        }
    }
    let tool = Tool {
        name: fields.need("name")?.text()?,
        description: fields.text("description")?,
        schema: Some(fields.need("input_schema")?.raw_object()?),
        strict: fields.flag("strict")?,
        cache: cache(&mut fields)?,
    };
    fields.end()?;
    Ok(tool)
}

/// Whether a cache point is asked for, and whether for an hour.
fn cache(fields: &mut Fields<'_>) -> Result<Option<bool>, Refusal> {
    let Some(value) = fields.take("cache_control") else { return Ok(None) };
    let mut control = value.object()?;
    if control.kind()? != "ephemeral" {
        return Err(value.invalid("its type is not ephemeral"));
    }
    let hour = match control.text("ttl")?.as_deref() {
        None | Some("5m") => false,
        Some("1h") => true,
        Some(_) => return Err(value.invalid("its ttl is neither 5m nor 1h")),
    };
    control.end()?;
    Ok(Some(hour))
}

fn message<'a>(value: &Value<'a>) -> Result<Message<'a>, Refusal> {
    let mut fields = value.object()?;
    let role = fields.need("role")?;
    let said = fields.need("content")?;
    let (role, parts) = match role.text()?.as_ref() {
        "user" => (Role::User, content(&said, user_block)?),
        "assistant" => (Role::Assistant, content(&said, assistant_block)?),
        "system" => (Role::System, content(&said, text_block)?),
        _ => return Err(role.invalid("it is none of user, assistant and system")),
    };
    fields.end()?;
    if parts.is_empty() {
        return Err(said.invalid("it is empty"));
    }
    Ok(Message { role, parts })
}

type ReadBlock<'a> = fn(&Value<'a>, &str, &mut Fields<'a>) -> Result<Part<'a>, Refusal>;

/// Text, or a list of blocks.
fn content<'a>(value: &Value<'a>, read: ReadBlock<'a>) -> Result<Vec<Part<'a>>, Refusal> {
    crate::content::content(value, read, |fields| Ok(cache(fields)?.map(|hour| Part::CachePoint { hour })))
}

fn text_block<'a>(value: &Value<'a>, kind: &str, fields: &mut Fields<'a>) -> Result<Part<'a>, Refusal> {
    if kind != "text" {
        return Err(value.unsupported("a block of this type is not translated here"));
    }
    if let Some(citations) = fields.take("citations")
        && !citations.list(limits::PARTS)?.is_empty()
    {
        return Err(citations.unsupported("it has no citations"));
    }
    Ok(Part::Text(fields.need("text")?.text()?))
}

fn user_block<'a>(value: &Value<'a>, kind: &str, fields: &mut Fields<'a>) -> Result<Part<'a>, Refusal> {
    match kind {
        "tool_result" => tool_result(fields),
        _ => result_block(value, kind, fields),
    }
}

fn result_block<'a>(value: &Value<'a>, kind: &str, fields: &mut Fields<'a>) -> Result<Part<'a>, Refusal> {
    match kind {
        "image" => media(MediaKind::Image, fields),
        "document" => media(MediaKind::Document, fields),
        _ => text_block(value, kind, fields),
    }
}

fn tool_result<'a>(fields: &mut Fields<'a>) -> Result<Part<'a>, Refusal> {
    fields.refuse(&[("toolset_name", "it has no tool sets")])?;
    let id = fields.need("tool_use_id")?.text()?;
    let parts =
        fields.take("content").map(|said| content(&said, result_block)).transpose()?.unwrap_or_default();
    let is_error = fields.flag("is_error")?.unwrap_or(false);
    Ok(Part::ToolResult(ToolResult { id, parts, is_error }))
}

fn media<'a>(kind: MediaKind, fields: &mut Fields<'a>) -> Result<Part<'a>, Refusal> {
    fields.refuse(&[
        ("transformations", "it transforms no images"),
        ("context", "it has no place for a document's context"),
    ])?;
    if let Some(citations) = fields.take("citations") {
        let mut config = citations.object()?;
        if config.flag("enabled")?.unwrap_or(false) {
            return Err(citations.unsupported("it has no citations"));
        }
        config.end()?;
    }
    let name = if kind == MediaKind::Document { fields.text("title")? } else { None };
    let value = fields.need("source")?;
    let mut source = value.object()?;
    let found = match (source.kind()?.as_ref(), kind) {
        ("base64", _) => Source::Inline {
            media_type: source.need("media_type")?.text()?,
            data: source.need("data")?.text()?,
        },
        ("url", _) => Source::Url(source.need("url")?.text()?),
        ("text", MediaKind::Document) => {
            source.without_effect(&["media_type"]);
            Source::PlainText(source.need("data")?.text()?)
        }
        ("file", _) => return Err(value.unsupported("files that Anthropic stores are not within its reach")),
        _ => return Err(value.unsupported("a source of this type is not translated")),
    };
    source.end()?;
    Ok(Part::Media(Media { kind, source: found, name }))
}

fn assistant_block<'a>(value: &Value<'a>, kind: &str, fields: &mut Fields<'a>) -> Result<Part<'a>, Refusal> {
    match kind {
        "thinking" => Ok(Part::Reasoning {
            text: fields.need("thinking")?.text()?,
            signature: fields.text("signature")?.filter(|signature| !signature.is_empty()),
        }),
        "redacted_thinking" => Ok(Part::Redacted(fields.need("data")?.text()?)),
        "tool_use" => tool_use(fields),
        _ => text_block(value, kind, fields),
    }
}

fn tool_use<'a>(fields: &mut Fields<'a>) -> Result<Part<'a>, Refusal> {
    fields.refuse(&[("toolset_name", "it has no tool sets")])?;
    if let Some(caller) = fields.take("caller") {
        let mut who = caller.object()?;
        if who.kind()? != "direct" {
            return Err(caller.unsupported("only the model itself calls tools"));
        }
        who.end()?;
    }
    Ok(Part::ToolCall(ToolCall {
        id: fields.need("id")?.text()?,
        name: fields.need("name")?.text()?,
        arguments: fields.need("input")?.raw_object()?.get().into(),
        signature: None,
    }))
}
