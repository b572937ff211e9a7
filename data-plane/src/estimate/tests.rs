use proptest::prelude::*;

use super::*;

const PROSE: &str = "A bailiwick is the district inside which an officer has authority, and outside which he has none. \
     Each region keeps its own accounts, its own keys and its own trail of what was done; nothing is shared. ";

fn exactly(text: &str) -> u64 {
    tokenizer::ready();
    tokenizer::count(text)
}

fn within(estimate: u64, truth: u64, percent: u64) -> bool {
    estimate.abs_diff(truth) * 100 <= truth * percent
}

fn stream(pieces: &[&str]) -> Passed {
    let mut passed = Passed::default();
    for piece in pieces {
        let chunk = serde_json::json!({"id": "chatcmpl-1", "model": "m", "choices": [{"delta": {"role": "assistant", "content": piece}}]});
        passed.answer(chunk.to_string().as_bytes());
    }
    passed
}

#[test]
fn a_short_stream_is_counted_as_its_whole_text_is() {
    tokenizer::ready();
    for text in [
        PROSE,
        "\"quoted\"\n\ttabs \\ and \u{1F600} 漢字かな, naïve façade",
        "fn main() { println!(\"{}\", 1 + 1); }",
    ] {
        let pieces: Vec<String> = text.chars().map(String::from).collect();
        let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
        assert_eq!(stream(&pieces).tokens(), exactly(text), "{text}");
    }
}

#[test]
fn a_long_stream_is_counted_by_how_it_began_and_no_more_of_it_is_kept() {
    tokenizer::ready();
    let text = PROSE.repeat(400);
    let words: Vec<&str> = text.split_inclusive(' ').collect();
    let passed = stream(&words);
    assert!(passed.sample.capacity() <= 2 * SAMPLE_BYTES);
    assert!(within(passed.tokens(), exactly(&text), 2), "{} {}", passed.tokens(), exactly(&text));
}

#[test]
fn what_providers_escape_is_counted_as_what_it_says() {
    tokenizer::ready();
    let text = "漢字かな交じり文を数える。".repeat(20);
    let escaped: String = text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
    let mut passed = Passed::default();
    passed.answer(format!(r#"{{"delta":{{"text":"{escaped}"}}}}"#).as_bytes());
    assert!(within(passed.tokens(), exactly(&text), 2));
    let long = escaped.repeat(100);
    let mut passed = Passed::default();
    passed.answer(format!(r#"{{"delta":{{"text":"{long}"}}}}"#).as_bytes());
    assert!(within(passed.tokens(), 100 * exactly(&text), 5), "{}", passed.tokens());
}

#[test]
fn text_is_found_in_the_pieces_of_every_dialect_and_nothing_else_is() {
    tokenizer::ready();
    for piece in [
        r#"{"id":"long-identifier","choices":[{"index":0,"delta":{"content":"word"},"finish_reason":null}]}"#,
        r#"{"choices":[{"text":"word"}],"model":"some-model"}"#,
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"word"}}"#,
        r#"{"type":"content_block_delta","delta":{"type":"input_json_delta","partial_json":"word"}}"#,
        r#"{"type":"response.output_text.delta","item_id":"msg_1","delta":"word"}"#,
        r#"{"candidates":[{"content":{"parts":[{"text":"word"}],"role":"model"}}],"modelVersion":"g"}"#,
        r#"{"contentBlockIndex":0,"delta":{"text":"word"},"p":"abcdefgh"}"#,
    ] {
        let mut passed = Passed::default();
        passed.answer(piece.as_bytes());
        assert_eq!(passed.sample, "word", "{piece}");
    }
}

#[test]
fn what_was_told_since_is_not_estimated_again() {
    tokenizer::ready();
    let mut passed = stream(&["some words"]);
    passed.clear();
    assert!(passed.is_empty() && passed.sample.is_empty());
    assert_eq!(passed.tokens(), 0);
}

#[test]
fn a_chat_is_counted_as_openai_counts_it() {
    tokenizer::ready();
    // Seven tokens for each message's frame and role, as the cookbook has it; pictures at least 85.
    let body = format!(
        r#"{{"model":"gpt-4o","messages":[{{"role":"system","content":"{PROSE}"}},{{"role":"user","content":[{{"type":"text","text":"What is this?"}},{{"type":"image_url","image_url":{{"url":"data:image/png;base64,{}"}}}}]}}],"stream":true}}"#,
        "A".repeat(100_000),
    );
    let truth = exactly(PROSE) + exactly("What is this?") + 2 * 4 + 3 + 85;
    let whole = Prompt::Body(body.into());
    assert!(within(whole.tokens(), truth, 5), "{} {truth}", whole.tokens());
    let mut shrunk = whole;
    let before = shrunk.tokens();
    shrunk.shrink();
    assert!(matches!(shrunk, Prompt::Read(_)));
    assert_eq!(shrunk.tokens(), before);
    assert_eq!(Prompt::Nothing.tokens(), 0);
}

#[test]
fn a_minute_of_speech_is_a_minute_of_characters() {
    tokenizer::ready();
    let body = format!(r#"{{"model":"tts","voice":"alloy","input":"{}"}}"#, "a".repeat(450));
    assert_eq!(Prompt::Body(body.into()).spoken(), (625, 30_000));
}

proptest! {
    #[test]
    fn whatever_bytes_come_it_ends(bytes: Vec<u8>, pieces: Vec<String>) {
        let mut passed = Passed::default();
        passed.answer(&bytes);
        passed.plain(&bytes);
        let _ = (passed.tokens(), Prompt::Body(bytes.into()).tokens());
        let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
        prop_assert_eq!(stream(&pieces).is_empty(), pieces.concat().is_empty());
    }
}
