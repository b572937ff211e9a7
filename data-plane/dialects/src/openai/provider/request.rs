//! The request.

use std::borrow::Cow;

use crate::{
    Dialect,
    chat::{
        Format, Media, MediaKind, Part, Reasoning, Request, Role, Source, Tool, ToolCall, ToolChoice,
        ToolResult,
    },
    json::{Json, Object, list},
    refusal::Refusal,
};

/// Most stop sequences (<https://platform.openai.com/docs/api-reference/chat/create>).
const STOPS: usize = 4;

/// Writes the request's body. `dialect` is one of OpenAI's; `model` may be left out by Azure, whose path names it, but is understood.
pub(crate) fn encode(request: &Request<'_>, dialect: Dialect, model: &str) -> Result<Vec<u8>, Refusal> {
    check(request)?;
    let sampling = request.sampling;
    // Compatible servers learned the new name late.
    let most = if dialect == Dialect::OpenAiCompatible { "max_tokens" } else { "max_completion_tokens" };
    let stream_options = request.stream.then(|| Object::new().with("include_usage", true));
    let body = Object::new()
        .with("model", model)
        .with("messages", messages(request)?)
        .unless_empty("tools", list(request.tools.iter().map(tool)))
        .maybe("tool_choice", request.tool_choice.as_ref().map(tool_choice))
        .maybe("parallel_tool_calls", request.parallel_tool_calls.filter(|_| !request.tools.is_empty()))
        .maybe("response_format", format(&request.format))
        .maybe("temperature", sampling.temperature)
        .maybe("top_p", sampling.top_p)
        .maybe("frequency_penalty", sampling.frequency_penalty)
        .maybe("presence_penalty", sampling.presence_penalty)
        .maybe("seed", sampling.seed)
        .unless_empty("stop", list(request.stop.iter().map(|stop| &**stop)))
        .maybe(most, request.max_tokens)
        .maybe("reasoning_effort", request.reasoning.and_then(effort))
        .maybe("n", Some(request.choices).filter(|choices| *choices > 1))
        .maybe("logprobs", request.logprobs.map(|_| true))
        .maybe("top_logprobs", request.logprobs.filter(|top| *top > 0))
        .maybe("user", request.end_user.as_deref())
        .maybe("stream", request.stream.then_some(true))
        .maybe("stream_options", stream_options);
    Ok(body.to_bytes())
}

fn check(request: &Request<'_>) -> Result<(), Refusal> {
    if request.sampling.top_k.is_some() {
        return Err(Refusal::unsupported("top_k", "it has no such sampling"));
    }
    if request.stop.len() > STOPS {
        return Err(Refusal::unsupported("stop_sequences", "it takes four at most"));
    }
    match request.messages.last() {
        Some(last) if last.role == Role::Assistant => {
            Err(Refusal::unsupported("messages", "it does not continue a message of the assistant"))
        }
        _ => Ok(()),
    }
}

/// Budgets have no counterpart but words: up to 4,096 tokens low, up to 16,384 medium, more high. `None`: as the model likes.
fn effort(reasoning: Reasoning) -> Option<&'static str> {
    match reasoning {
        Reasoning::Effort(effort) => Some(effort.as_str()),
        Reasoning::Adaptive(effort) => effort.map(|effort| effort.as_str()),
        Reasoning::Budget(0..=4096) => Some("low"),
        Reasoning::Budget(4097..=16_384) => Some("medium"),
        Reasoning::Budget(_) => Some("high"),
    }
}

/// Neighbours of one role are joined: calls that were made together stand in one message.
fn messages<'a>(request: &'a Request<'_>) -> Result<Vec<Json<'a>>, Refusal> {
    let (first, rest) = request.split(|part| !matches!(part, Part::Reasoning { .. } | Part::Redacted(_)));
    let mut written = Vec::new();
    if !first.is_empty() {
        written.push(system(&first)?);
    }
    for (role, said) in rest {
        match role {
            Role::System => written.push(system(&said)?),
            Role::User => user(&said, &mut written)?,
            Role::Assistant => written.push(assistant(&said)?.into()),
        }
    }
    Ok(written)
}

fn system<'a>(said: &[&'a Part<'_>]) -> Result<Json<'a>, Refusal> {
    let said: Result<Vec<_>, _> = said.iter().map(|part| content(part)).collect();
    let said = said?.into_iter().flatten().collect();
    Ok(Object::new().with("role", "system").with("content", plainly(said)).into())
}

/// One text alone stands as text: some compatible servers take no lists of parts but from users.
fn plainly(mut parts: Vec<Piece<'_>>) -> Json<'_> {
    match (parts.len(), parts.pop()) {
        (1, Some(Piece::Text(text))) => text.into(),
        (_, last) => {
            parts.extend(last);
            list(parts.into_iter().map(Piece::object)).into()
        }
    }
}

enum Piece<'a> {
    Text(&'a str),
    Other(Object<'a>),
}

impl<'a> Piece<'a> {
    fn object(self) -> Object<'a> {
        match self {
            Self::Text(text) => Object::of("text").with("text", text),
            Self::Other(object) => object,
        }
    }
}

/// Results of tools are messages of their own, and stand right behind the calls.
fn user<'a>(parts: &[&'a Part<'_>], written: &mut Vec<Json<'a>>) -> Result<(), Refusal> {
    let mut said = Vec::new();
    for part in parts {
        match part {
            Part::ToolResult(result) => written.push(tool_result(result)?.into()),
            other => said.extend(content(other)?),
        }
    }
    if !said.is_empty() {
        written.push(Object::new().with("role", "user").with("content", plainly(said)).into());
    }
    Ok(())
}

/// A tool's failure has no field here: the text says so first.
fn tool_result<'a>(result: &'a ToolResult<'_>) -> Result<Object<'a>, Refusal> {
    let mut text = String::from(if result.is_error { "Error: " } else { "" });
    for part in &result.parts {
        match part {
            Part::Text(said) => text.push_str(said),
            Part::CachePoint { .. } => {}
            _ => return Err(Refusal::unsupported("tool_result.content", "a tool's result is text alone")),
        }
    }
    Ok(Object::new().with("role", "tool").with("tool_call_id", &*result.id).with("content", text))
}

/// Earlier reasoning cannot be given back in this dialect; it has no effect on what its models answer.
fn assistant<'a>(parts: &[&'a Part<'_>]) -> Result<Object<'a>, Refusal> {
    let (mut said, mut calls) = (Vec::new(), Vec::new());
    for part in parts {
        match part {
            Part::ToolCall(call) => calls.push(tool_call(call).into()),
            Part::Refusal(text) => said.push(Piece::Other(Object::of("refusal").with("refusal", &**text))),
            Part::Reasoning { .. } | Part::Redacted(_) => {}
            other => said.extend(content(other)?),
        }
    }
    let said = if said.is_empty() { Json::Null } else { plainly(said) };
    Ok(Object::new().with("role", "assistant").with("content", said).unless_empty("tool_calls", calls))
}

fn tool_call<'a>(call: &'a ToolCall<'_>) -> Object<'a> {
    let function = Object::new().with("name", &*call.name).with("arguments", &*call.arguments);
    Object::new().with("id", &*call.id).with("type", "function").with("function", function)
}

fn content<'a>(part: &'a Part<'_>) -> Result<Option<Piece<'a>>, Refusal> {
    Ok(match part {
        Part::Text(text) => Some(Piece::Text(text)),
        Part::Media(media) => Some(Piece::Other(self::media(media)?)),
        // Its cache is automatic.
        Part::CachePoint { .. } => None,
        _ => return Err(Refusal::invalid("messages", "a part stands in a message of the wrong role")),
    })
}

fn media<'a>(media: &'a Media<'_>) -> Result<Object<'a>, Refusal> {
    let place = "messages.content";
    match (media.kind, &media.source) {
        (MediaKind::Image, source) => {
            let url = match source {
                Source::Url(url) => Cow::Borrowed(&**url),
                Source::Inline { media_type, data } => format!("data:{media_type};base64,{data}").into(),
                Source::PlainText(_) => return Err(Refusal::invalid(place, "an image is not plain text")),
            };
            Ok(Object::of("image_url").with("image_url", Object::new().with("url", url)))
        }
        (MediaKind::Document, Source::Inline { media_type, data }) => {
            let file = Object::new()
                .with("filename", media.name.as_deref().unwrap_or("document"))
                .with("file_data", format!("data:{media_type};base64,{data}"));
            Ok(Object::of("file").with("file", file))
        }
        (MediaKind::Document, Source::PlainText(text)) => Ok(Object::of("text").with("text", &**text)),
        (MediaKind::Document, Source::Url(_)) => {
            Err(Refusal::unsupported(place, "it takes documents with the request, not by URL"))
        }
        (MediaKind::Audio, _) => Err(Refusal::unsupported(place, "sound is not translated for it")),
    }
}

fn tool<'a>(tool: &'a Tool<'_>) -> Object<'a> {
    let function = Object::new()
        .with("name", &*tool.name)
        .maybe("description", tool.description.as_deref())
        .maybe("parameters", tool.schema)
        .maybe("strict", tool.strict);
    Object::of("function").with("function", function)
}

fn tool_choice<'a>(choice: &'a ToolChoice<'_>) -> Json<'a> {
    match choice {
        ToolChoice::Auto => "auto".into(),
        ToolChoice::None => "none".into(),
        ToolChoice::Required => "required".into(),
        ToolChoice::Named(name) => {
            Object::of("function").with("function", Object::new().with("name", &**name)).into()
        }
    }
}

fn format<'a>(format: &'a Format<'_>) -> Option<Object<'a>> {
    match format {
        Format::Text => None,
        Format::JsonObject => Some(Object::of("json_object")),
        Format::JsonSchema { name, description, schema, strict } => {
            let schema = Object::new()
                .with("name", &**name)
                .maybe("description", description.as_deref())
                .with("schema", *schema)
                .maybe("strict", *strict);
            Some(Object::of("json_schema").with("json_schema", schema))
        }
    }
}
