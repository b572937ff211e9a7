//! A caller's response request.

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::{
    chat::{
        Format, Media, MediaKind, Message, Part, Reasoning, Request, Role, Sampling, Source, Tool, ToolCall,
        ToolChoice, ToolResult,
    },
    fields::{Fields, Value},
    limits, openai,
    refusal::Refusal,
};

use super::{REDACTED, SIGNATURE};

/// What an answer repeats of its request.
const ECHOED: [&str; 11] = [
    "instructions",
    "max_output_tokens",
    "metadata",
    "parallel_tool_calls",
    "reasoning",
    "temperature",
    "text",
    "tool_choice",
    "tools",
    "top_p",
    "user",
];

/// What an answer repeats of its request, as it came. Of a body that was decoded.
pub(crate) fn echo(body: &[u8]) -> Vec<(&'static str, Box<RawValue>)> {
    let Ok(fields) = crate::fields::body(body) else { return Vec::new() };
    let repeated = |name: &'static str| Some((name, fields.raw(name)?.to_owned()));
    ECHOED.into_iter().filter_map(repeated).collect()
}

/// Reads a caller's body.
pub(crate) fn decode(body: &[u8]) -> Result<Request<'_>, Refusal> {
    let mut fields = crate::fields::body(body)?;
    fields.without_effect(&[
        "model",
        "metadata",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
    ]);
    refuse(&mut fields)?;
    let mut messages: Vec<Message<'_>> = Vec::new();
    if let Some(instructions) = fields.text("instructions")? {
        messages.push(Message { role: Role::System, parts: vec![Part::Text(instructions)] });
    }
    input(&fields.need("input")?, &mut messages)?;
    let request = Request {
        messages,
        tools: tools(&mut fields)?,
        tool_choice: fields.take("tool_choice").map(|choice| tool_choice(&choice)).transpose()?,
        parallel_tool_calls: fields.flag("parallel_tool_calls")?,
        format: text(&mut fields)?,
        sampling: Sampling {
            temperature: fields.number("temperature")?,
            top_p: fields.number("top_p")?,
            ..Sampling::default()
        },
        stop: Vec::new(),
        max_tokens: fields.count("max_output_tokens")?,
        reasoning: reasoning(&mut fields)?,
        choices: 1,
        logprobs: None,
        end_user: openai::end_user(&mut fields)?,
        stream: fields.flag("stream")?.unwrap_or(false),
        include_usage: true,
    };
    fields.end()?;
    Ok(request)
}

fn refuse(fields: &mut Fields<'_>) -> Result<(), Refusal> {
    fields.refuse(&[
        ("previous_response_id", "answers are not stored; send what was said in input"),
        ("conversation", "conversations are not stored; send what was said in input"),
        ("prompt", "prompts that OpenAI stores are not within its reach"),
        ("background_options", "it answers while the caller waits"),
        ("context_management", "it does not manage contexts"),
        ("max_tool_calls", "it counts no calls"),
        ("moderation", "it has no such moderation"),
        ("access_programs", "it has no such programs"),
        ("image", "it compresses no images"),
    ])?;
    if let Some(background) = fields.take("background")
        && background.flag()?
    {
        return Err(background.unsupported("it answers while the caller waits"));
    }
    if let Some(top) = fields.take("top_logprobs")
        && top.count()? > 0
    {
        return Err(top.unsupported("probabilities are not translated into responses; use chat completions"));
    }
    if let Some(include) = fields.take("include") {
        for entry in include.list(32)? {
            if entry.text()? != "reasoning.encrypted_content" {
                return Err(entry.unsupported("it has nothing of this kind to include"));
            }
        }
    }
    if let Some(options) = fields.take("stream_options") {
        let mut options = options.object()?;
        options.without_effect(&["include_obfuscation"]);
        options.end()?;
    }
    openai::only(fields, "truncation", &["disabled"])?;
    openai::without_account_effect(fields)
}

fn text<'a>(fields: &mut Fields<'a>) -> Result<Format<'a>, Refusal> {
    let Some(text) = fields.take("text") else { return Ok(Format::Text) };
    let mut text = text.object()?;
    openai::only(&mut text, "verbosity", &["medium"])?;
    let format = match text.take("format") {
        None => Format::Text,
        Some(value) => {
            let mut format = value.object()?;
            match format.kind()?.as_ref() {
                "text" => format.end().map(|()| Format::Text)?,
                "json_object" => format.end().map(|()| Format::JsonObject)?,
                "json_schema" => openai::json_schema(format)?,
                _ => return Err(value.invalid("its type is none of text, json_object and json_schema")),
            }
        }
    };
    text.end()?;
    Ok(format)
}

/// Summaries are what is told of reasoning, when anything is.
fn reasoning(fields: &mut Fields<'_>) -> Result<Option<Reasoning>, Refusal> {
    let Some(reasoning) = fields.take("reasoning") else { return Ok(None) };
    let mut reasoning = reasoning.object()?;
    reasoning.without_effect(&["summary", "generate_summary"]);
    openai::only(&mut reasoning, "mode", &["standard"])?;
    openai::only(&mut reasoning, "context", &["auto"])?;
    let effort = openai::effort(reasoning.take("effort"))?;
    reasoning.end()?;
    Ok(effort.map(Reasoning::Effort))
}

fn tools<'a>(fields: &mut Fields<'a>) -> Result<Vec<Tool<'a>>, Refusal> {
    let Some(tools) = fields.take("tools") else { return Ok(Vec::new()) };
    tools.list(limits::TOOLS)?.iter().map(tool).collect()
}

fn tool<'a>(value: &Value<'a>) -> Result<Tool<'a>, Refusal> {
    let mut fields = value.object()?;
    if fields.kind()? != "function" {
        return Err(value.unsupported("only functions are translated"));
    }
    fields.refuse(&[
        ("output_schema", "it knows no schemas of outputs"),
        ("allowed_callers", "only the model itself calls tools"),
    ])?;
    for name in ["defer_loading", "async"] {
        if let Some(wanted) = fields.take(name)
            && wanted.flag()?
        {
            return Err(wanted.unsupported("it has no such tools"));
        }
    }
    let tool = openai::function(&mut fields)?;
    fields.end()?;
    Ok(tool)
}

fn tool_choice<'a>(value: &Value<'a>) -> Result<ToolChoice<'a>, Refusal> {
    if value.is_text() {
        return openai::tool_choice_word(value);
    }
    let mut fields = value.object()?;
    if fields.kind()? != "function" {
        return Err(value.unsupported("only a function can be chosen"));
    }
    let name = fields.need("name")?.text()?;
    fields.end()?;
    Ok(ToolChoice::Named(name))
}

fn input<'a>(value: &Value<'a>, messages: &mut Vec<Message<'a>>) -> Result<(), Refusal> {
    if value.is_text() {
        messages.push(Message { role: Role::User, parts: vec![Part::Text(value.text()?)] });
        return Ok(());
    }
    let items = value.list(limits::MESSAGES)?;
    if items.is_empty() {
        return Err(value.invalid("it is empty"));
    }
    for entry in &items {
        messages.push(item(entry)?);
    }
    Ok(())
}

fn item<'a>(value: &Value<'a>) -> Result<Message<'a>, Refusal> {
    let mut fields = value.object()?;
    let kind = fields.text("type")?.unwrap_or("message".into());
    fields.without_effect(&["id", "status", "phase"]);
    let message = match kind.as_ref() {
        "message" => message(&mut fields)?,
        "function_call" => of_assistant(Part::ToolCall(function_call(&mut fields)?)),
        "function_call_output" => {
            Message { role: Role::User, parts: vec![Part::ToolResult(function_output(&mut fields)?)] }
        }
        "reasoning" => of_assistant(reasoning_item(&mut fields)?),
        "item_reference" => return Err(value.unsupported("items are not stored; send them whole")),
        _ => return Err(value.unsupported("an item of this type is not translated")),
    };
    fields.end()?;
    Ok(message)
}

fn of_assistant(part: Part<'_>) -> Message<'_> {
    Message { role: Role::Assistant, parts: vec![part] }
}

fn message<'a>(fields: &mut Fields<'a>) -> Result<Message<'a>, Refusal> {
    let role = fields.need("role")?;
    let said = fields.need("content")?;
    let role = match role.text()?.as_ref() {
        "system" | "developer" => Role::System,
        "user" => Role::User,
        "assistant" => Role::Assistant,
        _ => return Err(role.invalid("it is none of system, developer, user and assistant")),
    };
    let parts = content(&said, role)?;
    if parts.is_empty() {
        return Err(said.invalid("it is empty"));
    }
    Ok(Message { role, parts })
}

fn content<'a>(value: &Value<'a>, role: Role) -> Result<Vec<Part<'a>>, Refusal> {
    let read = |value: &Value<'a>, kind: &str, fields: &mut Fields<'a>| part(value, kind, role, fields);
    crate::content::content(value, read, openai::cache_point)
}

fn part<'a>(value: &Value<'a>, kind: &str, role: Role, fields: &mut Fields<'a>) -> Result<Part<'a>, Refusal> {
    match (kind, role) {
        ("input_text", _) => Ok(Part::Text(fields.need("text")?.text()?)),
        ("output_text", Role::Assistant) => {
            fields.without_effect(&["annotations", "logprobs"]);
            Ok(Part::Text(fields.need("text")?.text()?))
        }
        ("refusal", Role::Assistant) => Ok(Part::Refusal(fields.need("refusal")?.text()?)),
        ("input_image", Role::User) => {
            fields.refuse(&[("file_id", "files that OpenAI stores are not within its reach")])?;
            openai::detail(fields)?;
            let source = openai::source(&fields.need("image_url")?)?;
            Ok(Part::Media(Media { kind: MediaKind::Image, source, name: None }))
        }
        ("input_file", Role::User) => file(fields),
        _ => Err(value.unsupported("a part of this type is not translated here")),
    }
}

fn file<'a>(fields: &mut Fields<'a>) -> Result<Part<'a>, Refusal> {
    fields.refuse(&[("file_id", "files that OpenAI stores are not within its reach")])?;
    openai::detail(fields)?;
    let name = fields.text("filename")?;
    let source = match fields.take("file_url") {
        Some(url) => Source::Url(url.text()?),
        None => openai::source(&fields.need("file_data")?)?,
    };
    Ok(Part::Media(Media { kind: MediaKind::Document, source, name }))
}

fn function_call<'a>(fields: &mut Fields<'a>) -> Result<ToolCall<'a>, Refusal> {
    fields.refuse(&[("namespace", "it has no namespaces of tools")])?;
    fields.without_effect(&["caller", "async"]);
    Ok(ToolCall {
        id: fields.need("call_id")?.text()?,
        name: fields.need("name")?.text()?,
        arguments: fields.need("arguments")?.text()?,
        signature: None,
    })
}

fn function_output<'a>(fields: &mut Fields<'a>) -> Result<ToolResult<'a>, Refusal> {
    fields.refuse(&[("namespace", "it has no namespaces of tools")])?;
    fields.without_effect(&["caller", "name"]);
    let id = fields.need("call_id")?.text()?;
    let parts = content(&fields.need("output")?, Role::User)?;
    Ok(ToolResult { id, parts, is_error: false })
}

fn reasoning_item<'a>(fields: &mut Fields<'a>) -> Result<Part<'a>, Refusal> {
    let mut text: Cow<'a, str> = Cow::default();
    for list in ["summary", "content"] {
        let Some(list) = fields.take(list) else { continue };
        for entry in list.list(limits::PARTS)? {
            let mut one = entry.object()?;
            one.kind()?;
            let said = one.need("text")?.text()?;
            if text.is_empty() {
                text = said
            } else {
                text.to_mut().push_str(&said)
            }
            one.end()?;
        }
    }
    let Some(sealed) = fields.take("encrypted_content") else {
        return Ok(Part::Reasoning { text, signature: None });
    };
    let content = sealed.text()?;
    if let Some(data) = content.strip_prefix(REDACTED) {
        return Ok(Part::Redacted(data.to_owned().into()));
    }
    match content.strip_prefix(SIGNATURE) {
        Some(signature) => Ok(Part::Reasoning { text, signature: Some(signature.to_owned().into()) }),
        None => Err(sealed.unsupported("the reasoning is another provider's")),
    }
}
