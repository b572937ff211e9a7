//! A caller's messages, and what they are made of.

use std::borrow::Cow;

use crate::{
    chat::{GEMINI_SIGNATURE, Media, MediaKind, Message, Part, Role, Source, ToolCall, ToolResult},
    fields::{Fields, Value},
    limits,
    refusal::Refusal,
};

pub(crate) fn messages<'a>(value: &Value<'a>) -> Result<Vec<Message<'a>>, Refusal> {
    let list = value.list(limits::MESSAGES)?;
    if list.is_empty() {
        return Err(value.invalid("it is empty"));
    }
    list.iter().map(message).collect()
}

fn message<'a>(value: &Value<'a>) -> Result<Message<'a>, Refusal> {
    let mut fields = value.object()?;
    let role = fields.need("role")?;
    fields.refuse(&[("name", "it tells participants of one role not apart")])?;
    let (role, parts) = match role.text()?.as_ref() {
        "system" | "developer" => (Role::System, content(&fields.need("content")?, text_only)?),
        "user" => (Role::User, content(&fields.need("content")?, user_part)?),
        "assistant" => (Role::Assistant, assistant(&mut fields)?),
        "tool" => (Role::User, vec![tool_result(&mut fields)?]),
        "function" => return Err(role.unsupported("use messages of the role tool")),
        _ => return Err(role.invalid("it is none of system, developer, user, assistant and tool")),
    };
    fields.end()?;
    if parts.is_empty() {
        return Err(value.invalid("the message is empty"));
    }
    Ok(Message { role, parts })
}

type ReadPart<'a> = fn(&Value<'a>, &str, &mut Fields<'a>) -> Result<Part<'a>, Refusal>;

/// Text, or a list of parts.
fn content<'a>(value: &Value<'a>, read: ReadPart<'a>) -> Result<Vec<Part<'a>>, Refusal> {
    crate::content::content(value, read, cache_point)
}

/// How long it is kept has no effect on the answer, and no other provider has OpenAI's times.
pub(crate) fn cache_point<'a>(fields: &mut Fields<'a>) -> Result<Option<Part<'a>>, Refusal> {
    let Some(value) = fields.take("prompt_cache_breakpoint") else { return Ok(None) };
    let mut point = value.object()?;
    point.without_effect(&["mode", "ttl"]);
    point.end()?;
    Ok(Some(Part::CachePoint { hour: false }))
}

fn text_only<'a>(value: &Value<'a>, kind: &str, fields: &mut Fields<'a>) -> Result<Part<'a>, Refusal> {
    match kind {
        "text" => Ok(Part::Text(fields.need("text")?.text()?)),
        _ => Err(value.invalid("only text stands here")),
    }
}

fn assistant_part<'a>(value: &Value<'a>, kind: &str, fields: &mut Fields<'a>) -> Result<Part<'a>, Refusal> {
    match kind {
        "refusal" => Ok(Part::Refusal(fields.need("refusal")?.text()?)),
        _ => text_only(value, kind, fields),
    }
}

fn user_part<'a>(value: &Value<'a>, kind: &str, fields: &mut Fields<'a>) -> Result<Part<'a>, Refusal> {
    match kind {
        "image_url" => image(fields),
        "file" => file(fields),
        "input_audio" => audio(fields),
        "text" => text_only(value, kind, fields),
        _ => Err(value.invalid("it is none of text, image_url, file and input_audio")),
    }
}

fn image<'a>(fields: &mut Fields<'a>) -> Result<Part<'a>, Refusal> {
    let mut image = fields.need("image_url")?.object()?;
    let url = image.need("url")?;
    detail(&mut image)?;
    let source = source(&url)?;
    image.end()?;
    Ok(Part::Media(Media { kind: MediaKind::Image, source, name: None }))
}

pub(crate) fn detail(image: &mut Fields<'_>) -> Result<(), Refusal> {
    match image.take("detail") {
        Some(detail) if detail.text()? != "auto" => Err(detail.unsupported("it has no choice of detail")),
        _ => Ok(()),
    }
}

fn file<'a>(fields: &mut Fields<'a>) -> Result<Part<'a>, Refusal> {
    let mut file = fields.need("file")?.object()?;
    file.refuse(&[("file_id", "files that OpenAI stores are not within its reach")])?;
    let source = source(&file.need("file_data")?)?;
    let name = file.text("filename")?;
    file.end()?;
    Ok(Part::Media(Media { kind: MediaKind::Document, source, name }))
}

fn audio<'a>(fields: &mut Fields<'a>) -> Result<Part<'a>, Refusal> {
    let mut audio = fields.need("input_audio")?.object()?;
    let format = audio.need("format")?;
    let media_type = match format.text()?.as_ref() {
        "wav" => "audio/wav",
        "mp3" => "audio/mpeg",
        _ => return Err(format.invalid("it is neither wav nor mp3")),
    };
    let data = audio.need("data")?.text()?;
    audio.end()?;
    let source = Source::Inline { media_type: Cow::Borrowed(media_type), data };
    Ok(Part::Media(Media { kind: MediaKind::Audio, source, name: None }))
}

/// A URL, or `data:media/type;base64,…` (RFC 2397).
pub(crate) fn source<'a>(value: &Value<'a>) -> Result<Source<'a>, Refusal> {
    let url = value.text()?;
    if !url.starts_with("data:") {
        let fetched = url.starts_with("https://") || url.starts_with("http://");
        return if fetched {
            Ok(Source::Url(url))
        } else {
            Err(value.invalid("it is neither an http nor a data URL"))
        };
    }
    let rule = "it is not a data URL of a media type, in base64";
    match url {
        Cow::Borrowed(url) => {
            let (media_type, data) = inline(url).ok_or_else(|| value.invalid(rule))?;
            Ok(Source::Inline { media_type: Cow::Borrowed(media_type), data: Cow::Borrowed(data) })
        }
        Cow::Owned(url) => {
            let (media_type, data) = inline(&url).ok_or_else(|| value.invalid(rule))?;
            Ok(Source::Inline { media_type: media_type.to_owned().into(), data: data.to_owned().into() })
        }
    }
}

fn inline(url: &str) -> Option<(&str, &str)> {
    let (head, data) = url.strip_prefix("data:")?.split_once(',')?;
    let media_type = head.strip_suffix(";base64")?;
    (media_type.contains('/') && !media_type.contains(';')).then_some((media_type, data))
}

/// Reasoning stands before what it led to.
fn assistant<'a>(fields: &mut Fields<'a>) -> Result<Vec<Part<'a>>, Refusal> {
    fields
        .refuse(&[("audio", "answers in sound are not translated"), ("function_call", "use tool_calls")])?;
    fields.without_effect(&["reasoning_content", "annotations"]);
    let mut parts = Vec::new();
    if let Some(details) = fields.take("reasoning_details") {
        for detail in details.list(limits::PARTS)? {
            parts.push(reasoning(&detail)?);
        }
    }
    if let Some(said) = fields.take("content") {
        let said = content(&said, assistant_part)?;
        parts.extend(said.into_iter().filter(|part| !matches!(part, Part::Text(text) if text.is_empty())));
    }
    parts.extend(fields.text("refusal")?.map(Part::Refusal));
    if let Some(calls) = fields.take("tool_calls") {
        for call in calls.list(limits::PARTS)? {
            parts.push(Part::ToolCall(tool_call(&call)?));
        }
    }
    Ok(parts)
}

fn reasoning<'a>(value: &Value<'a>) -> Result<Part<'a>, Refusal> {
    let mut fields = value.object()?;
    fields.without_effect(&["id", "format", "index"]);
    let part = match fields.kind()?.as_ref() {
        "reasoning.text" => Part::Reasoning {
            text: fields.text("text")?.unwrap_or_default(),
            signature: fields.text("signature")?,
        },
        "reasoning.encrypted" => Part::Redacted(fields.need("data")?.text()?),
        _ => return Err(value.unsupported("only reasoning.text and reasoning.encrypted are translated")),
    };
    fields.end()?;
    Ok(part)
}

fn tool_call<'a>(value: &Value<'a>) -> Result<ToolCall<'a>, Refusal> {
    let mut fields = value.object()?;
    // Some clients send a stream's index back.
    fields.without_effect(&["index"]);
    if fields.kind()? != "function" {
        return Err(value.unsupported("only calls of functions are translated"));
    }
    let id = fields.need("id")?.text()?;
    let mut function = fields.need("function")?.object()?;
    let name = function.need("name")?.text()?;
    let arguments = function.need("arguments")?.text()?;
    function.end()?;
    let signature = match fields.take("extra_content") {
        Some(extra) => {
            let mut extra = extra.object()?;
            let mut google = extra.need("google")?.object()?;
            let signature = google.text("thought_signature")?;
            google.end()?;
            extra.end()?;
            signature.map(|signature| Cow::Owned(format!("{GEMINI_SIGNATURE}{signature}")))
        }
        None => None,
    };
    fields.end()?;
    Ok(ToolCall { id, name, arguments, signature })
}

fn tool_result<'a>(fields: &mut Fields<'a>) -> Result<Part<'a>, Refusal> {
    let id = fields.need("tool_call_id")?.text()?;
    let parts = content(&fields.need("content")?, text_only)?;
    Ok(Part::ToolResult(ToolResult { id, parts, is_error: false }))
}
