//! The request.

use crate::{
    anthropic::arguments,
    chat::{
        Effort, Format, Media, Part, Reasoning, Request, Role, Source, Tool, ToolCall, ToolChoice,
        ToolResult, gemini_signature,
    },
    json::{Json, Object, list},
    refusal::Refusal,
};

use super::OWN_CALL;

/// Writes the request's body.
pub(crate) fn encode(request: &Request<'_>) -> Result<Vec<u8>, Refusal> {
    Ok(counted(request)?.maybe("toolConfig", tool_config(request)).to_bytes())
}

/// What is counted of a request: Vertex AI's `CountTokensRequest` has no more.
pub(crate) fn counted<'a>(request: &'a Request<'_>) -> Result<Object<'a>, Refusal> {
    if request.parallel_tool_calls == Some(false) && !request.tools.is_empty() {
        return Err(Refusal::unsupported(
            "parallel_tool_calls",
            "it cannot be told to call one tool at a time",
        ));
    }
    let (system, rest) = request.split(|part| !matches!(part, Part::Redacted(_)));
    let contents: Result<Vec<_>, _> = rest.iter().map(|(role, said)| content(request, *role, said)).collect();
    let system = parts(request, &system)?;
    let instruction = (!system.is_empty()).then(|| Object::new().with("parts", system));
    let declarations = list(request.tools.iter().map(declaration));
    let tools = if declarations.is_empty() {
        Vec::new()
    } else {
        vec![Object::new().with("functionDeclarations", declarations).into()]
    };
    Ok(Object::new()
        .maybe("systemInstruction", instruction)
        .with("contents", list(contents?))
        .unless_empty("tools", tools)
        .maybe("generationConfig", generation(request)?.some()))
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
