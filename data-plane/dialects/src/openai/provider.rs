//! A provider that speaks chat completions, for callers who speak something else.

use std::borrow::Cow;

use serde::Deserialize;

use crate::{
    Dialect,
    chat::{
        Answer, Choice, Event, Finish, Format, Media, MediaKind, Part, Reasoning, Request, Role, Source,
        TokenLogprob, Tool, ToolCall, ToolChoice, ToolResult, Usage,
    },
    failure::Failure,
    fault::Fault,
    json::{Json, Object, list},
    limits,
    refusal::Refusal,
};

use super::DONE;

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
    let (first, rest) = request.split();
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

#[derive(Deserialize)]
struct Body {
    id: Option<String>,
    choices: Vec<BodyChoice>,
    usage: Option<BodyUsage>,
}

#[derive(Deserialize)]
struct BodyChoice {
    message: Said,
    finish_reason: Option<String>,
    logprobs: Option<BodyLogprobs>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Said {
    content: Option<String>,
    refusal: Option<String>,
    // Compatible servers' names for the same.
    reasoning_content: Option<String>,
    reasoning: Option<String>,
    tool_calls: Option<Vec<SaidCall>>,
}

#[derive(Deserialize)]
struct SaidCall {
    index: Option<u32>,
    id: Option<String>,
    function: Option<SaidFunction>,
}

#[derive(Deserialize)]
struct SaidFunction {
    name: Option<String>,
    arguments: Option<String>,
}

#[derive(Deserialize)]
struct BodyLogprobs {
    content: Option<Vec<BodyLogprob>>,
}

#[derive(Deserialize)]
struct BodyLogprob {
    token: String,
    logprob: f64,
    #[serde(default)]
    top_logprobs: Vec<TopLogprob>,
}

#[derive(Deserialize)]
struct TopLogprob {
    token: String,
    logprob: f64,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(default)]
struct BodyUsage {
    prompt_tokens: Option<u64>,
    completion_tokens: Option<u64>,
    prompt_tokens_details: Option<PromptDetails>,
    completion_tokens_details: Option<CompletionDetails>,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(default)]
struct PromptDetails {
    cached_tokens: Option<u64>,
    cache_write_tokens: Option<u64>,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(default)]
struct CompletionDetails {
    reasoning_tokens: Option<u64>,
}

impl From<BodyUsage> for Usage {
    fn from(usage: BodyUsage) -> Self {
        let prompt = usage.prompt_tokens_details.unwrap_or_default();
        let completion = usage.completion_tokens_details.unwrap_or_default();
        let counted = Self {
            prompt: usage.prompt_tokens.unwrap_or_default(),
            completion: usage.completion_tokens.unwrap_or_default(),
            cache_read: prompt.cached_tokens.unwrap_or_default(),
            cache_write: prompt.cache_write_tokens.unwrap_or_default(),
            reasoning: completion.reasoning_tokens.unwrap_or_default(),
            is_final: true,
        };
        counted.bounded()
    }
}

/// Reads a whole answer.
pub(crate) fn read_answer(body: &[u8]) -> Result<Answer, Fault> {
    let body: Body = serde_json::from_slice(body).map_err(|_| Fault::NotOfDialect)?;
    if body.choices.is_empty() || body.choices.len() > limits::ANSWER_PIECES {
        return Err(Fault::NotOfDialect);
    }
    let choices = body.choices.into_iter().map(choice).collect::<Result<_, _>>()?;
    Ok(Answer { id: body.id, choices, usage: body.usage.map(Usage::from) })
}

fn choice(choice: BodyChoice) -> Result<Choice, Fault> {
    let said = choice.message;
    let some = |text: Option<String>| text.filter(|text| !text.is_empty()).map(Cow::Owned);
    let mut parts: Vec<Part<'static>> = Vec::new();
    let reasoning = some(said.reasoning_content).or(some(said.reasoning));
    parts.extend(reasoning.map(|text| Part::Reasoning { text, signature: None }));
    parts.extend(some(said.content).map(Part::Text));
    parts.extend(some(said.refusal).map(Part::Refusal));
    for call in said.tool_calls.into_iter().flatten() {
        let (Some(id), Some(SaidFunction { name: Some(name), arguments })) = (call.id, call.function) else {
            return Err(Fault::NotOfDialect);
        };
        let arguments = arguments.unwrap_or_default();
        parts.push(Part::ToolCall(ToolCall {
            id: id.into(),
            name: name.into(),
            arguments: arguments.into(),
            signature: None,
        }));
    }
    let calls = parts.iter().any(|part| matches!(part, Part::ToolCall(_)));
    let finish = finish(choice.finish_reason.as_deref().ok_or(Fault::NotOfDialect)?, calls);
    Ok(Choice { parts, finish, logprobs: logprobs(choice.logprobs) })
}

fn logprobs(logprobs: Option<BodyLogprobs>) -> Vec<TokenLogprob> {
    let tokens = logprobs.and_then(|logprobs| logprobs.content).unwrap_or_default();
    let top = |top: Vec<TopLogprob>| top.into_iter().map(|one| (one.token, one.logprob)).collect();
    let token = |one: BodyLogprob| TokenLogprob {
        token: one.token,
        logprob: one.logprob,
        top: top(one.top_logprobs),
    };
    tokens.into_iter().map(token).collect()
}

/// Compatible servers have words of their own for a complete answer; a call that was asked for by name ends with `stop`.
fn finish(word: &str, calls: bool) -> Finish {
    match word {
        "length" => Finish::Length,
        "tool_calls" | "function_call" => Finish::ToolCalls,
        "content_filter" => Finish::ContentFilter,
        _ if calls => Finish::ToolCalls,
        _ => Finish::Stop,
    }
}

/// The usage of a whole answer, where bytes pass. `None`: it is no answer.
pub(crate) fn usage_of_chat(body: &[u8]) -> Option<Option<Usage>> {
    #[derive(Deserialize)]
    struct Whole {
        usage: Option<BodyUsage>,
    }
    let whole: Whole = serde_json::from_slice(body).ok()?;
    Some(whole.usage.map(Usage::from))
}

#[derive(Deserialize)]
struct Chunk {
    choices: Option<Vec<ChunkChoice>>,
    usage: Option<BodyUsage>,
    error: Option<serde::de::IgnoredAny>,
    // Some compatible servers send their errors bare.
    object: Option<String>,
}

#[derive(Deserialize)]
struct ChunkChoice {
    index: Option<u32>,
    delta: Option<Said>,
    finish_reason: Option<String>,
    logprobs: Option<BodyLogprobs>,
}

/// Reads chunks.
#[derive(Debug, Default)]
pub(crate) struct ProviderStream {
    calls: Vec<Begun>,
    finished: bool,
    done: bool,
}

/// A call that has begun.
#[derive(Debug)]
struct Begun {
    choice: u32,
    /// As the provider counts it; some count every call 0, and tell them apart by their names alone.
    index: u32,
    id: String,
}

impl ProviderStream {
    pub(crate) fn read(&mut self, dialect: Dialect, data: &[u8], out: &mut Vec<Event>) -> Result<(), Fault> {
        let data = data.trim_ascii();
        if data.is_empty() {
            return Ok(());
        }
        if data == DONE {
            self.done = true;
            out.push(Event::Done);
            return Ok(());
        }
        let chunk: Chunk = serde_json::from_slice(data).map_err(|_| Fault::NotOfDialect)?;
        if chunk.error.is_some() || chunk.object.as_deref() == Some("error") {
            out.push(Event::Failed(Failure::read_in_stream(dialect, None, data)));
            return Ok(());
        }
        for choice in chunk.choices.into_iter().flatten() {
            self.choice(choice, out)?;
        }
        let is_final = self.finished;
        out.extend(chunk.usage.map(|usage| Event::Usage(Usage { is_final, ..usage.into() })));
        Ok(())
    }

    /// What remains when the connection ends where the answer says that it ends: servers that forget `[DONE]` have finished their choices.
    pub(crate) fn end(&mut self, out: &mut Vec<Event>) {
        if self.finished && !self.done {
            self.done = true;
            out.push(Event::Done);
        }
    }

    fn choice(&mut self, choice: ChunkChoice, out: &mut Vec<Event>) -> Result<(), Fault> {
        let index = choice.index.unwrap_or_default();
        let said = choice.delta.unwrap_or_default();
        let some = |text: Option<String>| text.filter(|text| !text.is_empty());
        if let Some(text) = some(said.reasoning_content).or(some(said.reasoning)) {
            out.push(Event::Reasoning { choice: index, text });
        }
        if let Some(text) = some(said.content) {
            out.push(Event::Text { choice: index, text, logprobs: logprobs(choice.logprobs) });
        }
        if let Some(text) = some(said.refusal) {
            out.push(Event::Refusal { choice: index, text });
        }
        for (at, call) in said.tool_calls.into_iter().flatten().enumerate() {
            self.call(index, at, call, out)?;
        }
        if let Some(word) = choice.finish_reason {
            self.finished = true;
            let calls = self.calls.iter().any(|call| call.choice == index);
            out.push(Event::Finished { choice: index, finish: finish(&word, calls) });
        }
        Ok(())
    }

    fn call(&mut self, choice: u32, at: usize, call: SaidCall, out: &mut Vec<Event>) -> Result<(), Fault> {
        let index = match call.index {
            Some(index) => index,
            None => u32::try_from(at).map_err(|_| Fault::TooLarge)?,
        };
        let function = call.function.unwrap_or(SaidFunction { name: None, arguments: None });
        let id = call.id.filter(|id| !id.is_empty());
        let same = |begun: &Begun| {
            (begun.choice, begun.index) == (choice, index) && id.as_ref().is_none_or(|id| *id == begun.id)
        };
        let tool = match self.calls.iter().rposition(same) {
            Some(tool) => u32::try_from(tool).map_err(|_| Fault::TooLarge)?,
            None => {
                let (Some(id), Some(name)) = (id, function.name) else { return Err(Fault::OutOfOrder) };
                if self.calls.len() >= limits::ANSWER_PIECES {
                    return Err(Fault::TooLarge);
                }
                let tool = u32::try_from(self.calls.len()).map_err(|_| Fault::TooLarge)?;
                self.calls.push(Begun { choice, index, id: id.clone() });
                out.push(Event::ToolBegan { choice, tool, id, name, signature: None });
                tool
            }
        };
        if let Some(json) = function.arguments.filter(|json| !json.is_empty()) {
            out.push(Event::ToolArguments { choice, tool, json });
        }
        Ok(())
    }
}
