//! Requests and whole answers.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    anthropic::arguments,
    chat::{
        Answer, Choice, Effort, Finish, Format, GEMINI_SIGNATURE, Media, Part, Reasoning, Request, Role,
        Source, TokenLogprob, Tool, ToolCall, ToolChoice, ToolResult, Usage, gemini_signature,
    },
    fault::Fault,
    json::{Json, Object, list},
    limits,
    refusal::Refusal,
};

/// Begins the names that calls get here where Gemini gives none. It would not know them.
pub(super) const OWN_CALL: &str = "bwcall_";

/// Writes the request's body.
pub(crate) fn encode(request: &Request<'_>) -> Result<Vec<u8>, Refusal> {
    if request.parallel_tool_calls == Some(false) && !request.tools.is_empty() {
        return Err(Refusal::unsupported(
            "parallel_tool_calls",
            "it cannot be told to call one tool at a time",
        ));
    }
    let (system, rest) = request.split();
    let contents: Result<Vec<_>, _> = rest.iter().map(|(role, said)| content(request, *role, said)).collect();
    let system = parts(request, &system)?;
    let instruction = (!system.is_empty()).then(|| Object::new().with("parts", system));
    let declarations = list(request.tools.iter().map(declaration));
    let tools = if declarations.is_empty() {
        Vec::new()
    } else {
        vec![Object::new().with("functionDeclarations", declarations).into()]
    };
    let body = Object::new()
        .maybe("systemInstruction", instruction)
        .with("contents", list(contents?))
        .unless_empty("tools", tools)
        .maybe("toolConfig", tool_config(request))
        .maybe("generationConfig", generation(request)?.some());
    Ok(body.to_bytes())
}

fn content<'a>(request: &'a Request<'_>, role: Role, said: &[&'a Part<'_>]) -> Result<Object<'a>, Refusal> {
    let word = match role {
        Role::User => "user",
        Role::Assistant => "model",
        Role::System => {
            return Err(Refusal::unsupported(
                "messages",
                "it takes the system's messages at the beginning alone",
            ));
        }
    };
    // Functions' responses stand right behind the calls.
    let (results, rest): (Vec<_>, Vec<_>) = said.iter().partition(|part| matches!(part, Part::ToolResult(_)));
    let mut written = parts(request, &results)?;
    written.extend(parts(request, &rest)?);
    Ok(Object::new().with("role", word).with("parts", written))
}

/// A signature without words belongs to the part behind it.
fn parts<'a>(request: &'a Request<'_>, said: &[&'a Part<'_>]) -> Result<Vec<Json<'a>>, Refusal> {
    let mut written = Vec::new();
    let mut pending: Option<&str> = None;
    for part in said {
        let object = match part {
            Part::Reasoning { text, signature } if text.is_empty() => {
                pending = gemini_signature(signature);
                continue;
            }
            Part::Reasoning { text, signature } => Object::new()
                .with("text", &**text)
                .with("thought", true)
                .maybe("thoughtSignature", gemini_signature(signature)),
            Part::Text(text) | Part::Refusal(text) => {
                Object::new().with("text", &**text).maybe("thoughtSignature", pending.take())
            }
            Part::Media(media) => self::media(media)?,
            Part::ToolCall(call) => {
                let signature = gemini_signature(&call.signature).or(pending.take());
                function_call(call)?.maybe("thoughtSignature", signature)
            }
            Part::ToolResult(result) => function_response(request, result)?,
            // What only Anthropic can read means nothing here; its caches are automatic.
            Part::Redacted(_) | Part::CachePoint { .. } => continue,
        };
        written.push(object.into());
    }
    let last = pending.map(|signature| Object::new().with("text", "").with("thoughtSignature", signature));
    written.extend(last.map(Json::from));
    Ok(written)
}

fn media<'a>(media: &'a Media<'_>) -> Result<Object<'a>, Refusal> {
    match &media.source {
        Source::Inline { media_type, data } => {
            let blob = Object::new().with("mimeType", &**media_type).with("data", &**data);
            Ok(Object::new().with("inlineData", blob))
        }
        Source::PlainText(text) => Ok(Object::new().with("text", &**text)),
        Source::Url(_) => {
            Err(Refusal::unsupported("messages.content", "it takes media with the request, not by URL"))
        }
    }
}

fn function_call<'a>(call: &'a ToolCall<'_>) -> Result<Object<'a>, Refusal> {
    let written = Object::new()
        .maybe("id", known(&call.id))
        .with("name", &*call.name)
        .with("args", arguments(&call.arguments)?);
    Ok(Object::new().with("functionCall", written))
}

fn known(id: &str) -> Option<&str> {
    (!id.starts_with(OWN_CALL)).then_some(id)
}

fn function_response<'a>(
    request: &'a Request<'_>,
    result: &'a ToolResult<'_>,
) -> Result<Object<'a>, Refusal> {
    let mut text = String::new();
    for part in &result.parts {
        match part {
            Part::Text(said) => text.push_str(said),
            Part::CachePoint { .. } => {}
            _ => return Err(Refusal::unsupported("tool_result.content", "a tool's result is text alone")),
        }
    }
    let response = Object::new().with(if result.is_error { "error" } else { "output" }, text);
    let written = Object::new()
        .maybe("id", known(&result.id))
        .with("name", called(request, &result.id)?)
        .with("response", response);
    Ok(Object::new().with("functionResponse", written))
}

/// Gemini wants the function's name with its response, where the other dialects tell the call alone.
fn called<'a>(request: &'a Request<'_>, id: &str) -> Result<&'a str, Refusal> {
    let parts = request.messages.iter().flat_map(|message| &message.parts);
    let mut names = parts.filter_map(|part| match part {
        Part::ToolCall(call) if call.id == id => Some(&*call.name),
        _ => None,
    });
    names.next_back().ok_or_else(|| Refusal::invalid("messages", "a tool's result has no call before it"))
}

fn declaration<'a>(tool: &'a Tool<'_>) -> Object<'a> {
    Object::new()
        .with("name", &*tool.name)
        .maybe("description", tool.description.as_deref())
        .maybe("parametersJsonSchema", tool.schema)
}

/// Where arguments must follow their schema to the letter, and calls are the model's choice, `VALIDATED` holds both
/// (<https://ai.google.dev/gemini-api/docs/function-calling#function_calling_modes>); `ANY` does so by itself.
fn tool_config<'a>(request: &'a Request<'_>) -> Option<Object<'a>> {
    if request.tools.is_empty() {
        return None;
    }
    let strict = request.tools.iter().any(|tool| tool.strict == Some(true));
    let config = match &request.tool_choice {
        None | Some(ToolChoice::Auto) if strict => Object::new().with("mode", "VALIDATED"),
        None => return None,
        Some(ToolChoice::Auto) => Object::new().with("mode", "AUTO"),
        Some(ToolChoice::None) => Object::new().with("mode", "NONE"),
        Some(ToolChoice::Required) => Object::new().with("mode", "ANY"),
        Some(ToolChoice::Named(name)) => {
            Object::new().with("mode", "ANY").with("allowedFunctionNames", vec![(&**name).into()])
        }
    };
    Some(Object::new().with("functionCallingConfig", config))
}

fn generation<'a>(request: &'a Request<'_>) -> Result<Object<'a>, Refusal> {
    let sampling = request.sampling;
    if sampling.seed.is_some_and(|seed| i32::try_from(seed).is_err()) {
        return Err(Refusal::unsupported("seed", "it is of 32 bits"));
    }
    let config = Object::new()
        .maybe("temperature", sampling.temperature)
        .maybe("topP", sampling.top_p)
        .maybe("topK", sampling.top_k)
        .maybe("frequencyPenalty", sampling.frequency_penalty)
        .maybe("presencePenalty", sampling.presence_penalty)
        .maybe("seed", sampling.seed)
        .maybe("maxOutputTokens", request.max_tokens)
        .unless_empty("stopSequences", list(request.stop.iter().map(|stop| &**stop)))
        .maybe("candidateCount", Some(request.choices).filter(|choices| *choices > 1))
        .maybe("responseLogprobs", request.logprobs.map(|_| true))
        .maybe("logprobs", request.logprobs.filter(|top| *top > 0));
    let config = match &request.format {
        Format::Text => config,
        Format::JsonObject => config.with("responseMimeType", "application/json"),
        Format::JsonSchema { description: Some(_), .. } => {
            return Err(Refusal::unsupported(
                "response_format.json_schema.description",
                "it describes schemas within them",
            ));
        }
        Format::JsonSchema { schema, .. } => {
            config.with("responseMimeType", "application/json").with("responseJsonSchema", *schema)
        }
    };
    Ok(config.maybe("thinkingConfig", thinking(request.reasoning)?))
}

fn thinking(reasoning: Option<Reasoning>) -> Result<Option<Object<'static>>, Refusal> {
    let told = || Object::new().with("includeThoughts", true);
    Ok(Some(match reasoning {
        None => return Ok(None),
        Some(Reasoning::Effort(Effort::None) | Reasoning::Adaptive(Some(Effort::None))) => {
            Object::new().with("thinkingBudget", 0_u64)
        }
        Some(Reasoning::Budget(tokens)) => told().with("thinkingBudget", tokens),
        // -1: as the model likes.
        Some(Reasoning::Adaptive(None)) => told().with("thinkingBudget", -1_i64),
        Some(Reasoning::Effort(effort) | Reasoning::Adaptive(Some(effort))) => {
            told().with("thinkingLevel", level(effort)?)
        }
    }))
}

fn level(effort: Effort) -> Result<&'static str, Refusal> {
    match effort {
        Effort::None | Effort::Minimal => Ok("MINIMAL"),
        Effort::Low => Ok("LOW"),
        Effort::Medium => Ok("MEDIUM"),
        Effort::High => Ok("HIGH"),
        Effort::ExtraHigh => Ok("XHIGH"),
        Effort::Max => Err(Refusal::unsupported("reasoning_effort", "it has no level above xhigh")),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Body {
    pub(super) candidates: Option<Vec<Candidate>>,
    pub(super) prompt_feedback: Option<Feedback>,
    pub(super) usage_metadata: Option<Counts>,
    pub(super) response_id: Option<String>,
    pub(super) error: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Feedback {
    pub(super) block_reason: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Candidate {
    pub(super) index: Option<u32>,
    pub(super) content: Option<Content>,
    pub(super) finish_reason: Option<String>,
    pub(super) logprobs_result: Option<LogprobsResult>,
}

#[derive(Deserialize)]
pub(super) struct Content {
    pub(super) parts: Option<Vec<Said>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Said {
    pub(super) text: Option<String>,
    pub(super) thought: Option<bool>,
    pub(super) thought_signature: Option<String>,
    pub(super) function_call: Option<FunctionCall>,
}

#[derive(Deserialize)]
pub(super) struct FunctionCall {
    pub(super) id: Option<String>,
    pub(super) name: String,
    pub(super) args: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LogprobsResult {
    chosen_candidates: Option<Vec<OneLogprob>>,
    top_candidates: Option<Vec<TopCandidates>>,
}

#[derive(Deserialize)]
struct TopCandidates {
    candidates: Option<Vec<OneLogprob>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OneLogprob {
    #[serde(default)]
    token: String,
    #[serde(default)]
    log_probability: f64,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Counts {
    prompt_token_count: Option<u64>,
    candidates_token_count: Option<u64>,
    thoughts_token_count: Option<u64>,
    cached_content_token_count: Option<u64>,
    tool_use_prompt_token_count: Option<u64>,
}

impl Counts {
    pub(super) fn counted(self, is_final: bool) -> Usage {
        let thoughts = self.thoughts_token_count.unwrap_or_default();
        let prompt = self.prompt_token_count.unwrap_or_default();
        let usage = Usage {
            prompt: prompt.saturating_add(self.tool_use_prompt_token_count.unwrap_or_default()),
            completion: self.candidates_token_count.unwrap_or_default().saturating_add(thoughts),
            cache_read: self.cached_content_token_count.unwrap_or_default(),
            cache_write: 0,
            reasoning: thoughts,
            is_final,
        };
        usage.bounded()
    }
}

/// Reads a whole answer. `request_id` names calls that Gemini gives no name.
pub(crate) fn read_answer(body: &[u8], request_id: &str) -> Result<Answer, Fault> {
    let body: Body = serde_json::from_slice(body).map_err(|_| Fault::NotOfDialect)?;
    let usage = body.usage_metadata.map(|counts| counts.counted(true));
    let candidates = body.candidates.unwrap_or_default();
    if candidates.is_empty() {
        // The prompt was blocked before anything was said.
        body.prompt_feedback.and_then(|feedback| feedback.block_reason).ok_or(Fault::NotOfDialect)?;
        let blocked = Choice { parts: Vec::new(), finish: Finish::ContentFilter, logprobs: Vec::new() };
        return Ok(Answer { id: body.response_id, choices: vec![blocked], usage });
    }
    let mut calls = 0;
    let choices = candidates.into_iter().map(|candidate| choice(candidate, request_id, &mut calls));
    Ok(Answer { id: body.response_id, choices: choices.collect::<Result<_, _>>()?, usage })
}

fn choice(candidate: Candidate, request_id: &str, calls: &mut u32) -> Result<Choice, Fault> {
    let said = candidate.content.and_then(|content| content.parts).unwrap_or_default();
    if said.len() > limits::ANSWER_PIECES {
        return Err(Fault::TooLarge);
    }
    let mut parts: Vec<Part<'static>> = Vec::new();
    for one in said {
        let signature = one.thought_signature.map(|signature| Cow::Owned(own(&signature)));
        if let Some(call) = one.function_call {
            parts.push(Part::ToolCall(tool_call(call, signature, request_id, calls)));
        } else if one.thought == Some(true) {
            parts.push(Part::Reasoning { text: one.text.unwrap_or_default().into(), signature });
        } else {
            let signed =
                signature.map(|signature| Part::Reasoning { text: "".into(), signature: Some(signature) });
            parts.extend(signed);
            parts.extend(one.text.filter(|text| !text.is_empty()).map(|text| Part::Text(text.into())));
        }
    }
    let called = parts.iter().any(|part| matches!(part, Part::ToolCall(_)));
    let finish = finish(candidate.finish_reason.as_deref().ok_or(Fault::NotOfDialect)?, called)?;
    Ok(Choice { parts, finish, logprobs: logprobs(candidate.logprobs_result) })
}

fn tool_call(
    call: FunctionCall,
    signature: Option<Cow<'static, str>>,
    request_id: &str,
    calls: &mut u32,
) -> ToolCall<'static> {
    let id = call_id(call.id, request_id, *calls);
    *calls += 1;
    ToolCall { id: id.into(), name: call.name.into(), arguments: args(call.args).into(), signature }
}

/// A signature, marked as Gemini's.
pub(super) fn own(signature: &str) -> String {
    format!("{GEMINI_SIGNATURE}{signature}")
}

pub(super) fn call_id(id: Option<String>, request_id: &str, calls: u32) -> String {
    id.filter(|id| !id.is_empty()).unwrap_or_else(|| format!("{OWN_CALL}{request_id}_{calls}"))
}

pub(super) fn args(args: Option<Box<RawValue>>) -> String {
    args.map_or_else(|| "{}".to_owned(), |args| String::from(Box::<str>::from(args)))
}

/// Errors: what the model wrote is no call, and Gemini says so.
pub(super) fn finish(reason: &str, called: bool) -> Result<Finish, Fault> {
    Ok(match reason {
        "MAX_TOKENS" => Finish::Length,
        "SAFETY"
        | "RECITATION"
        | "BLOCKLIST"
        | "PROHIBITED_CONTENT"
        | "SPII"
        | "MODEL_ARMOR"
        | "LANGUAGE"
        | "IMAGE_SAFETY"
        | "IMAGE_PROHIBITED_CONTENT"
        | "IMAGE_RECITATION" => Finish::ContentFilter,
        "MALFORMED_FUNCTION_CALL"
        | "UNEXPECTED_TOOL_CALL"
        | "TOO_MANY_TOOL_CALLS"
        | "MALFORMED_RESPONSE"
        | "MISSING_THOUGHT_SIGNATURE" => return Err(Fault::Malformed),
        _ if called => Finish::ToolCalls,
        _ => Finish::Stop,
    })
}

pub(super) fn logprobs(result: Option<LogprobsResult>) -> Vec<TokenLogprob> {
    let Some(result) = result else { return Vec::new() };
    let mut tops = result.top_candidates.unwrap_or_default().into_iter();
    let chosen = result.chosen_candidates.unwrap_or_default().into_iter();
    let told = chosen.map(|one| {
        let top = tops.next().and_then(|top| top.candidates).unwrap_or_default();
        let top = top.into_iter().map(|one| (one.token, one.log_probability)).collect();
        TokenLogprob { token: one.token, logprob: one.log_probability, top }
    });
    told.collect()
}
