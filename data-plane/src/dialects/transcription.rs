//! What OpenAI tells of transcriptions: tokens, or seconds, which older models have in `duration` alone
//! (<https://platform.openai.com/docs/api-reference/audio/json-object>).

use bailiwick_domain::price::{MediaCounts, TokenCounts};
use serde::Deserialize;

use super::Told;

/// A year of audio; what claims to be longer is not believed.
const MOST_SECONDS: f64 = 31_536_000.0;

#[derive(Deserialize)]
struct Whole {
    usage: Option<Usage>,
    duration: Option<Seconds>,
}

#[derive(Deserialize)]
struct Usage {
    input_tokens: Option<u64>,
    output_tokens: Option<u64>,
    seconds: Option<Seconds>,
}

/// Some send it as text.
#[derive(Deserialize)]
#[serde(untagged)]
enum Seconds {
    Number(f64),
    Text(String),
}

impl Seconds {
    fn millis(&self) -> Option<u64> {
        let seconds = match self {
            Self::Number(number) => *number,
            Self::Text(text) => text.parse().ok()?,
        };
        let bounded = (0.0..=MOST_SECONDS).contains(&seconds).then_some(seconds)?;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounded above")]
        Some((bounded * 1000.0).ceil() as u64)
    }
}

/// `None`: it does not tell.
pub(super) fn usage_of(body: &[u8]) -> Option<Told> {
    let whole: Whole = serde_json::from_slice(body).ok()?;
    let usage = whole.usage.as_ref();
    let seconds = usage.and_then(|usage| usage.seconds.as_ref()).or(whole.duration.as_ref());
    let audio_millis = seconds.and_then(Seconds::millis);
    let input = usage.and_then(|usage| usage.input_tokens);
    let output = usage.and_then(|usage| usage.output_tokens);
    if audio_millis.is_none() && input.is_none() && output.is_none() {
        return None;
    }
    let bounded = |count: Option<u64>| count.unwrap_or_default().min(1 << 40);
    let tokens =
        TokenCounts { prompt: bounded(input), completion: bounded(output), ..TokenCounts::default() };
    Some(Told { tokens, media: MediaCounts { images: 0, audio_millis: audio_millis.unwrap_or_default() } })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(prompt: u64, completion: u64, audio_millis: u64) -> Option<Told> {
        let tokens = TokenCounts { prompt, completion, ..TokenCounts::default() };
        Some(Told { tokens, media: MediaCounts { images: 0, audio_millis } })
    }

    #[test]
    fn tokens_and_seconds_are_read_wherever_they_stand() {
        let tokens = br#"{"text":"a","usage":{"type":"tokens","input_tokens":14,"output_tokens":45,"total_tokens":59}}"#;
        assert_eq!(usage_of(tokens), told(14, 45, 0));
        assert_eq!(usage_of(br#"{"text":"a","usage":{"type":"duration","seconds":27}}"#), told(0, 0, 27_000));
        assert_eq!(usage_of(br#"{"text":"a","duration":8.4704}"#), told(0, 0, 8471));
        assert_eq!(usage_of(br#"{"text":"a","duration":"8.47"}"#), told(0, 0, 8470));
    }

    #[test]
    fn what_tells_nothing_is_not_taken_for_nothing_used() {
        for silent in [
            &br#"{"text":"a"}"#[..],
            b"1\n00:00:00,000 --> 00:00:01,000\na",
            br#"{"duration":-1}"#,
            b"",
            br#"{"duration":1e99}"#,
        ] {
            assert_eq!(usage_of(silent), None);
        }
    }
}
