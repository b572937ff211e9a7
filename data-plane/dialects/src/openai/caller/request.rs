//! A caller's chat completion.

use crate::{
    chat::{Effort, Format, Reasoning, Request, Sampling, Tool, ToolChoice},
    fields::{Fields, Value},
    limits,
    refusal::Refusal,
};

use super::parts::messages;

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
    let request = Request {
        messages: messages(&fields.need("messages")?)?,
        tools: tools(&mut fields)?,
        tool_choice: fields.take("tool_choice").map(|choice| tool_choice(&choice)).transpose()?,
        parallel_tool_calls: fields.flag("parallel_tool_calls")?,
        format: fields
            .take("response_format")
            .map(|format| response_format(&format))
            .transpose()?
            .unwrap_or_default(),
        sampling: sampling(&mut fields)?,
        stop: stops(&mut fields)?,
        max_tokens: max_tokens(&mut fields)?,
        reasoning: effort(fields.take("reasoning_effort"))?.map(Reasoning::Effort),
        choices: fields.count("n")?.unwrap_or(1),
        logprobs: logprobs(&mut fields)?,
        end_user: end_user(&mut fields)?,
        stream: fields.flag("stream")?.unwrap_or(false),
        include_usage: stream_options(&mut fields)?,
    };
    fields.end()?;
    Ok(request)
}

fn refuse(fields: &mut Fields<'_>) -> Result<(), Refusal> {
    fields.refuse(&[
        ("functions", "use tools"),
        ("function_call", "use tool_choice"),
        ("audio", "answers in sound are not translated"),
        ("prediction", "it takes no predicted output"),
        ("web_search_options", "it has no such search"),
        ("moderation", "it has no such moderation"),
    ])?;
    if let Some(bias) = fields.take("logit_bias")
        && bias.object()?.end().is_err()
    {
        return Err(bias.unsupported("it takes no bias of tokens"));
    }
    if let Some(modalities) = fields.take("modalities") {
        for modality in modalities.list(8)? {
            if modality.text()? != "text" {
                return Err(modality.unsupported("answers other than text are not translated"));
            }
        }
    }
    only(fields, "verbosity", &["medium"])?;
    without_account_effect(fields)
}

/// What concerns the caller's account with OpenAI.
pub(crate) fn without_account_effect(fields: &mut Fields<'_>) -> Result<(), Refusal> {
    if let Some(store) = fields.take("store")
        && store.flag()?
    {
        return Err(store.unsupported("it stores no answers"));
    }
    only(fields, "service_tier", &["auto", "default"])
}

/// A word that has no effect, or a refusal.
pub(crate) fn only(fields: &mut Fields<'_>, name: &str, words: &[&str]) -> Result<(), Refusal> {
    match fields.take(name) {
        Some(value) if !words.contains(&value.text()?.as_ref()) => {
            Err(value.unsupported("it has no such choice"))
        }
        _ => Ok(()),
    }
}

pub(crate) fn end_user<'a>(fields: &mut Fields<'a>) -> Result<Option<std::borrow::Cow<'a, str>>, Refusal> {
    let (user, identifier) = (fields.text("user")?, fields.text("safety_identifier")?);
    Ok(identifier.or(user))
}

fn sampling(fields: &mut Fields<'_>) -> Result<Sampling, Refusal> {
    let effective = |penalty: Option<f64>| penalty.filter(|penalty| *penalty != 0.0);
    Ok(Sampling {
        temperature: fields.number("temperature")?,
        top_p: fields.number("top_p")?,
        top_k: None,
        frequency_penalty: effective(fields.number("frequency_penalty")?),
        presence_penalty: effective(fields.number("presence_penalty")?),
        seed: fields.integer("seed")?,
    })
}

fn stops<'a>(fields: &mut Fields<'a>) -> Result<Vec<std::borrow::Cow<'a, str>>, Refusal> {
    match fields.take("stop") {
        None => Ok(Vec::new()),
        Some(stop) if stop.is_text() => Ok(vec![stop.text()?]),
        Some(stop) => stop.list(limits::STOPS)?.iter().map(Value::text).collect(),
    }
}

fn max_tokens(fields: &mut Fields<'_>) -> Result<Option<u64>, Refusal> {
    let (new, old) = (fields.take("max_completion_tokens"), fields.take("max_tokens"));
    match (new, old) {
        (Some(_), Some(old)) => Err(old.invalid("it stands beside max_completion_tokens")),
        (new, old) => new.or(old).map(|value| value.count()).transpose(),
    }
}

pub(crate) fn effort(value: Option<Value<'_>>) -> Result<Option<Effort>, Refusal> {
    let Some(value) = value else { return Ok(None) };
    Effort::parse(&value.text()?).map(Some).ok_or_else(|| value.invalid("it is no effort that is known"))
}

fn logprobs(fields: &mut Fields<'_>) -> Result<Option<u64>, Refusal> {
    let wanted = fields.flag("logprobs")?.unwrap_or(false);
    let top = fields.take("top_logprobs");
    match top {
        Some(top) if !wanted => Err(top.invalid("it wants logprobs to be true")),
        Some(top) => top.count().map(Some),
        None => Ok(wanted.then_some(0)),
    }
}

fn stream_options(fields: &mut Fields<'_>) -> Result<bool, Refusal> {
    let Some(options) = fields.take("stream_options") else { return Ok(false) };
    let mut options = options.object()?;
    options.without_effect(&["include_obfuscation"]);
    let usage = options.flag("include_usage")?.unwrap_or(false);
    options.end()?;
    Ok(usage)
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
    let mut described = fields.need("function")?.object()?;
    let tool = function(&mut described)?;
    described.end()?;
    fields.end()?;
    Ok(tool)
}

/// A function's name, description and schema.
pub(crate) fn function<'a>(fields: &mut Fields<'a>) -> Result<Tool<'a>, Refusal> {
    Ok(Tool {
        name: fields.need("name")?.text()?,
        description: fields.text("description")?,
        schema: fields.take("parameters").map(|schema| schema.raw_object()).transpose()?,
        strict: fields.flag("strict")?,
        cache: None,
    })
}

fn tool_choice<'a>(value: &Value<'a>) -> Result<ToolChoice<'a>, Refusal> {
    if value.is_text() {
        return tool_choice_word(value);
    }
    let mut fields = value.object()?;
    if fields.kind()? != "function" {
        return Err(value.unsupported("only a function can be chosen"));
    }
    let mut function = fields.need("function")?.object()?;
    let name = function.need("name")?.text()?;
    function.end()?;
    fields.end()?;
    Ok(ToolChoice::Named(name))
}

pub(crate) fn tool_choice_word<'a>(value: &Value<'a>) -> Result<ToolChoice<'a>, Refusal> {
    match value.text()?.as_ref() {
        "auto" => Ok(ToolChoice::Auto),
        "none" => Ok(ToolChoice::None),
        "required" => Ok(ToolChoice::Required),
        _ => Err(value.invalid("it is none of auto, none and required")),
    }
}

fn response_format<'a>(value: &Value<'a>) -> Result<Format<'a>, Refusal> {
    let mut fields = value.object()?;
    let format = match fields.kind()?.as_ref() {
        "text" => Format::Text,
        "json_object" => Format::JsonObject,
        "json_schema" => json_schema(fields.need("json_schema")?.object()?)?,
        _ => return Err(value.invalid("it is none of text, json_object and json_schema")),
    };
    fields.end()?;
    Ok(format)
}

pub(crate) fn json_schema(mut fields: Fields<'_>) -> Result<Format<'_>, Refusal> {
    let format = Format::JsonSchema {
        name: fields.need("name")?.text()?,
        description: fields.text("description")?,
        schema: fields.need("schema")?.raw_object()?,
        strict: fields.flag("strict")?,
    };
    fields.end()?;
    Ok(format)
}
