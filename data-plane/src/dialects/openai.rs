//! OpenAI's dialect, and everybody's who speaks it (<https://platform.openai.com/docs/api-reference>).

use bailiwick_domain::price::TokenCounts;
use memchr::memmem;
use serde::{Deserialize, de::IgnoredAny};

/// The last event of a stream.
const DONE: &[u8] = b"[DONE]";

/// `usage`, as answers carry it.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Usage {
    prompt_tokens: u64,
    completion_tokens: u64,
    prompt_tokens_details: Option<PromptDetails>,
    completion_tokens_details: Option<CompletionDetails>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
struct PromptDetails {
    cached_tokens: Option<u64>,
    cache_write_tokens: Option<u64>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
struct CompletionDetails {
    reasoning_tokens: Option<u64>,
}

impl From<Usage> for TokenCounts {
    fn from(usage: Usage) -> Self {
        // Counts go into signed columns; a provider that claims more is not believed.
        let bounded = |count: u64| count.min(1 << 40);
        let details = usage.prompt_tokens_details.unwrap_or_default();
        Self {
            prompt: bounded(usage.prompt_tokens),
            completion: bounded(usage.completion_tokens),
            cached_prompt: bounded(details.cached_tokens.unwrap_or_default()),
            cache_write: bounded(details.cache_write_tokens.unwrap_or_default()),
            cache_write_hour: 0,
            reasoning: bounded(
                usage.completion_tokens_details.and_then(|d| d.reasoning_tokens).unwrap_or_default(),
            ),
        }
    }
}

#[derive(Deserialize)]
struct Whole {
    #[serde(default)]
    usage: Option<Usage>,
}

/// The usage of a whole answer. `None`: it is not a JSON object, so not an answer. `Some(None)`: an answer that does not tell.
pub(crate) fn usage_of(body: &[u8]) -> Option<Option<TokenCounts>> {
    // From an array, serde would read the same struct by position.
    body.trim_ascii_start().strip_prefix(b"{")?;
    let whole: Whole = serde_json::from_slice(body).ok()?;
    Some(whole.usage.map(TokenCounts::from))
}

/// The usage in a captured `usage` object.
pub(crate) fn usage_in(object: &[u8]) -> Option<TokenCounts> {
    serde_json::from_slice::<Usage>(object).ok().map(TokenCounts::from)
}

/// What one event of a stream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// The end.
    Done,
    /// Usage, and whether the event carries nothing else.
    Usage(TokenCounts, bool),
    /// A piece of the answer.
    Content,
    /// A comment, or nothing.
    Other,
}

#[derive(Deserialize)]
struct Chunk {
    #[serde(default)]
    usage: Option<Usage>,
    #[serde(default)]
    choices: Option<Vec<IgnoredAny>>,
}

/// Judges the data of one event.
pub(crate) fn event(data: &[u8]) -> Event {
    let data = data.trim_ascii();
    if data.is_empty() {
        return Event::Other;
    }
    if data == DONE {
        return Event::Done;
    }
    if !tells_usage(data) {
        return Event::Content;
    }
    match serde_json::from_slice::<Chunk>(data) {
        Ok(Chunk { usage: Some(usage), choices }) => {
            Event::Usage(usage.into(), choices.is_none_or(|choices| choices.is_empty()))
        }
        _ => Event::Content,
    }
}

/// Whether a member `usage` with an object stands somewhere in it. With `include_usage`, every chunk has `"usage":null`; only one is
/// worth parsing. Inside a JSON string the quotes would be escaped, so what was said cannot look like it.
fn tells_usage(data: &[u8]) -> bool {
    const MEMBER: &[u8] = b"\"usage\"";
    memmem::find_iter(data, MEMBER).any(|at| {
        let rest = data.get(at + MEMBER.len()..).unwrap_or_default().trim_ascii_start();
        rest.strip_prefix(b":").is_some_and(|value| value.trim_ascii_start().starts_with(b"{"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(prompt: u64, completion: u64) -> TokenCounts {
        TokenCounts { prompt, completion, ..TokenCounts::default() }
    }

    #[test]
    fn usage_is_read_with_its_details() {
        let body = br#"{"choices":[{"message":{"content":"\"usage\":{\"prompt_tokens\":9}"}}],"usage":{"prompt_tokens":7,"completion_tokens":5,"prompt_tokens_details":{"cached_tokens":2,"cache_write_tokens":1},"completion_tokens_details":{"reasoning_tokens":3}}}"#;
        let counted = TokenCounts {
            prompt: 7,
            completion: 5,
            cached_prompt: 2,
            cache_write: 1,
            cache_write_hour: 0,
            reasoning: 3,
        };
        assert_eq!(usage_of(body), Some(Some(counted)));
        assert_eq!(usage_of(b"{}"), Some(None));
        for other in [&b"<html>"[..], b"[]", br#"[{"prompt_tokens":7}]"#, b"null", b""] {
            assert_eq!(usage_of(other), None);
        }
        assert_eq!(
            usage_of(br#"{"usage":{"prompt_tokens":7,"total_tokens":7,"prompt_tokens_details":null}}"#),
            Some(Some(tokens(7, 0)))
        );
    }

    #[test]
    fn events_are_told_apart() {
        assert_eq!(event(b" [DONE]"), Event::Done);
        assert_eq!(
            event(br#"{"choices":[{"delta":{"content":"\"usage\":{}"}}],"usage":null}"#),
            Event::Content
        );
        assert_eq!(
            event(br#"{"choices":[],"usage": {"prompt_tokens":1,"completion_tokens":2}}"#),
            Event::Usage(tokens(1, 2), true)
        );
        assert_eq!(
            event(br#"{"choices":[{}],"usage":{"prompt_tokens":1,"completion_tokens":2}}"#),
            Event::Usage(tokens(1, 2), false)
        );
        assert_eq!(event(b""), Event::Other);
    }
}
