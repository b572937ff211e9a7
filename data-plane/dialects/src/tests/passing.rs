//! What is read of bytes that pass.

use crate::{Call, Seen, Usage, observe, usage_of};

use super::world;
use crate::Dialect;

#[test]
fn usage_of_whole_answers_is_read() {
    let usage = Usage {
        prompt: 30,
        completion: 8,
        cache_read: 10,
        cache_write: 0,
        cache_write_hour: 0,
        reasoning: 3,
        is_final: true,
    };
    assert_eq!(usage_of(Call::ChatCompletions, &world::fixture("openai/plain.json")), Some(Some(usage)));
    let anthropic = Usage { cache_write: 5, ..usage };
    assert_eq!(usage_of(Call::Messages, &world::fixture("anthropic/plain.json")), Some(Some(anthropic)));
    let response = br#"{"object":"response","usage":{"input_tokens":30,"input_tokens_details":{"cached_tokens":10},"output_tokens":8,"output_tokens_details":{"reasoning_tokens":3},"total_tokens":38}}"#;
    assert_eq!(usage_of(Call::Responses, response), Some(Some(usage)));
    assert_eq!(usage_of(Call::Messages, b"{}"), Some(None));
    assert_eq!(usage_of(Call::Responses, b"<html>"), None);
}

#[test]
fn passing_streams_tell_usage_and_their_end() {
    let seen = |call, dialect, case| -> Vec<Seen> {
        world::events(dialect, case).iter().map(|(_, data)| observe(call, data)).collect()
    };
    let chat = seen(Call::ChatCompletions, Dialect::OpenAi, "stream");
    assert!(matches!(
        chat[4..],
        [Seen::Usage(Usage { prompt: 30, completion: 8, .. }, true), Seen::Done(None)]
    ));
    assert!(seen(Call::ChatCompletions, Dialect::OpenAi, "stream_error").contains(&Seen::Failed));
    let message = seen(Call::Messages, Dialect::Anthropic, "stream");
    assert!(matches!(message[0], Seen::Usage(Usage { prompt: 30, is_final: false, .. }, false)));
    assert_eq!(message.last(), Some(&Seen::Done(None)));
    assert!(seen(Call::Messages, Dialect::Anthropic, "stream_error").contains(&Seen::Failed));
    let end = br#"{"type":"response.completed","response":{"usage":{"input_tokens":3,"output_tokens":4}}}"#;
    assert!(matches!(
        observe(Call::Responses, end),
        Seen::Done(Some(Usage { prompt: 3, completion: 4, .. }))
    ));
    let said = br#"{"choices":[{"delta":{"content":"\"usage\":{} \"error\":{}"}}],"usage":null}"#;
    assert_eq!(observe(Call::ChatCompletions, said), Seen::Content);
}

#[test]
fn a_passing_streams_counts_add_up_over_its_events() {
    let mut known = Usage::default();
    for (_, data) in world::events(Dialect::Anthropic, "stream") {
        if let Seen::Usage(usage, _) = observe(Call::Messages, &data) {
            known = known.updated(usage);
        }
    }
    let usage = Usage {
        prompt: 30,
        completion: 8,
        cache_read: 10,
        cache_write: 5,
        cache_write_hour: 0,
        reasoning: 3,
        is_final: true,
    };
    assert_eq!(known, usage);
}
