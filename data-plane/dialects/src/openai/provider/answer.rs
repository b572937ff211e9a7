//! A whole answer.

use std::borrow::Cow;

use serde::Deserialize;

use crate::{
    chat::{Answer, Choice, Finish, Part, TokenLogprob, ToolCall, Usage},
    fault::Fault,
    limits,
};

#[derive(Deserialize)]
struct Body {
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
pub(super) struct Said {
    pub(super) content: Option<String>,
    pub(super) refusal: Option<String>,
    // Compatible servers' names for the same.
    pub(super) reasoning_content: Option<String>,
    pub(super) reasoning: Option<String>,
    pub(super) tool_calls: Option<Vec<SaidCall>>,
}

#[derive(Deserialize)]
pub(super) struct SaidCall {
    pub(super) index: Option<u32>,
    pub(super) id: Option<String>,
    pub(super) function: Option<SaidFunction>,
}

#[derive(Deserialize)]
pub(super) struct SaidFunction {
    pub(super) name: Option<String>,
    pub(super) arguments: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct BodyLogprobs {
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
pub(super) struct BodyUsage {
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
            cache_write_hour: 0,
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
    Ok(Answer { choices, usage: body.usage.map(Usage::from) })
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

pub(super) fn logprobs(logprobs: Option<BodyLogprobs>) -> Vec<TokenLogprob> {
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
pub(super) fn finish(word: &str, calls: bool) -> Finish {
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
