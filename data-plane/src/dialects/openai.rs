//! OpenAI's dialect, and everybody's who speaks it (<https://platform.openai.com/docs/api-reference>).

use bailiwick_domain::price::TokenCounts;
use memchr::memmem;
use serde::{Deserialize, de::IgnoredAny};

use crate::json;

/// The last event of a stream.
const DONE: &[u8] = b"[DONE]";

/// `usage`, as answers carry it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct Usage {
    prompt_tokens: u64,
    completion_tokens: u64,
    prompt_tokens_details: Option<PromptDetails>,
    completion_tokens_details: Option<CompletionDetails>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct PromptDetails {
    cached_tokens: Option<u64>,
    cache_write_tokens: Option<u64>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
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

/// What is read of answers as nearly all are. `None`: serde_json has to look.
impl Usage {
    /// In a whole answer; the inner `None`: it does not tell.
    fn of_plain(body: &[u8]) -> Option<Option<Self>> {
        let (mut usage, mut reader) = (None, json::Reader::new(body));
        reader.members(|name, reader| match name {
            b"usage" => once(&mut usage, Self::in_plain(reader)?),
            _ => reader.skip().map(drop),
        })?;
        reader.end().map(|()| usage.flatten())
    }

    fn in_plain(reader: &mut json::Reader<'_>) -> Option<Option<Self>> {
        if reader.is_null() {
            return Some(None);
        }
        let (mut prompt_tokens, mut completion_tokens) = (None, None);
        let (mut prompt_details, mut completion_details) = (None, None);
        reader.members(|name, reader| match name {
            b"prompt_tokens" => once(&mut prompt_tokens, reader.unsigned()?),
            b"completion_tokens" => once(&mut completion_tokens, reader.unsigned()?),
            b"prompt_tokens_details" => once(&mut prompt_details, PromptDetails::in_plain(reader)?),
            b"completion_tokens_details" => {
                once(&mut completion_details, CompletionDetails::in_plain(reader)?)
            }
            _ => reader.skip().map(drop),
        })?;
        Some(Some(Self {
            prompt_tokens: prompt_tokens.unwrap_or_default(),
            completion_tokens: completion_tokens.unwrap_or_default(),
            prompt_tokens_details: prompt_details,
            completion_tokens_details: completion_details,
        }))
    }
}

impl PromptDetails {
    fn in_plain(reader: &mut json::Reader<'_>) -> Option<Self> {
        let (mut cached_tokens, mut cache_write_tokens) = (None, None);
        reader.members(|name, reader| match name {
            b"cached_tokens" => once(&mut cached_tokens, reader.unsigned()?),
            b"cache_write_tokens" => once(&mut cache_write_tokens, reader.unsigned()?),
            _ => reader.skip().map(drop),
        })?;
        Some(Self { cached_tokens, cache_write_tokens })
    }
}

impl CompletionDetails {
    fn in_plain(reader: &mut json::Reader<'_>) -> Option<Self> {
        let mut reasoning_tokens = None;
        reader.members(|name, reader| match name {
            b"reasoning_tokens" => once(&mut reasoning_tokens, reader.unsigned()?),
            _ => reader.skip().map(drop),
        })?;
        Some(Self { reasoning_tokens })
    }
}

/// What is said twice is not followed.
fn once<T>(slot: &mut Option<T>, value: T) -> Option<()> {
    slot.replace(value).is_none().then_some(())
}

#[derive(Deserialize)]
struct Whole {
    #[serde(default)]
    usage: Option<Usage>,
}

/// The usage of a whole answer. `None`: it is not a JSON object, so not an answer. `Some(None)`: an answer that does not tell.
pub(crate) fn usage_of(body: &[u8]) -> Option<Option<TokenCounts>> {
    if let Some(usage) = Usage::of_plain(body) {
        return Some(usage.map(TokenCounts::from));
    }
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
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        #[test]
        fn a_plain_answer_tells_what_it_tells_the_parser(bytes in json::tests::documents()) {
            if let Some(usage) = Usage::of_plain(&bytes) {
                prop_assert_eq!(usage, serde_json::from_slice::<Whole>(&bytes).expect("an answer").usage);
            }
            let answer = [&b"{\"usage\":"[..], &bytes, b"}"].concat();
            if let Some(usage) = Usage::of_plain(&answer) {
                prop_assert_eq!(usage, serde_json::from_slice::<Whole>(&answer).expect("an answer").usage);
            }
        }
    }

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
