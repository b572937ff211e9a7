//! A whole answer.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    chat::{Answer, Choice, Finish, GEMINI_SIGNATURE, Part, TokenLogprob, ToolCall, Usage},
    fault::Fault,
    limits,
};

use super::OWN_CALL;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Body {
    pub(super) candidates: Option<Vec<Candidate>>,
    pub(super) prompt_feedback: Option<Feedback>,
    pub(super) usage_metadata: Option<Counts>,
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
            cache_write_hour: 0,
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
        return Ok(Answer { choices: vec![blocked], usage });
    }
    let mut calls = 0;
    let choices = candidates.into_iter().map(|candidate| choice(candidate, request_id, &mut calls));
    Ok(Answer { choices: choices.collect::<Result<_, _>>()?, usage })
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
