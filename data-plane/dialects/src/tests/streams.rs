//! Streams that providers should not send.

use serde_json::json;

use crate::{Caller, Class, Dialect, Failure, Fault, Progress, bedrock::Frames, limits, translate_request};

use super::{
    heard,
    world::{self, CONTEXT},
};

#[test]
fn a_piece_goes_on_with_the_event_that_brings_it() {
    for (caller, dialect) in world::pairs() {
        let (_, reply) = world::sent(caller, "plain", dialect, true).expect("translated");
        let mut translator = reply.translate_stream(&CONTEXT);
        for (name, data) in world::events(dialect, "stream") {
            let mut out = Vec::new();
            translator.event(&name, &data, &mut out);
            for word in ["The capital", " is Paris."] {
                let brought = String::from_utf8_lossy(&data).contains(word);
                assert!(!brought || String::from_utf8_lossy(&out).contains(word), "{caller:?} {dialect:?}");
            }
        }
    }
}

#[test]
fn what_comes_behind_the_end_is_ignored() {
    for (caller, dialect) in world::pairs() {
        let (_, reply) = world::sent(caller, "plain", dialect, true).expect("translated");
        let events = world::events(dialect, "stream");
        let (mut translator, out) = world::run(&reply, &events, None);
        let mut more = Vec::new();
        for (name, data) in &events {
            assert_eq!(translator.event(name, data, &mut more), Progress::Done);
        }
        assert_eq!(
            translator.event("", b"<html>", &mut more),
            Progress::Done,
            "garbage does not break what is complete"
        );
        assert_eq!(translator.end(false, &mut more), Progress::Done);
        assert_eq!(translator.fail(Class::Timeout, &mut more), Progress::Done);
        assert!(more.is_empty());
        assert!(heard::stream(caller, &out).ended);
    }
}

#[test]
fn garbage_breaks_the_stream_off_with_an_error() {
    for (caller, dialect) in world::pairs() {
        let (_, reply) = world::sent(caller, "plain", dialect, true).expect("translated");
        let mut translator = reply.translate_stream(&CONTEXT);
        let mut out = Vec::new();
        let progress = translator.event("contentBlockDelta", b"<html>", &mut out);
        assert_eq!(progress, Progress::Broken(Fault::NotOfDialect));
        let found = heard::stream(caller, &out);
        assert!(found.error.is_some() && !found.ended);
    }
}

#[test]
fn interleaved_calls_are_told_apart_or_broken_off() {
    let piece = |index: u32, member: &str| {
        format!(r#"{{"choices":[{{"index":0,"delta":{{"tool_calls":[{{"index":{index},{member}}}]}}}}]}}"#)
    };
    let begin = |id: &str| format!(r#""id":"{id}","function":{{"name":"f","arguments":""}}"#);
    let more = r#""function":{"arguments":"{}"}"#;
    let events = [piece(0, &begin("a")), piece(1, &begin("b")), piece(0, more)];
    for caller in [Caller::Messages, Caller::Responses] {
        let (_, reply) = world::sent(caller, "plain", Dialect::OpenAiCompatible, true).expect("translated");
        let mut translator = reply.translate_stream(&CONTEXT);
        let mut out = Vec::new();
        for event in &events {
            translator.event("", event.as_bytes(), &mut out);
        }
        assert_eq!(translator.progress(), Progress::Broken(Fault::OutOfOrder));
    }
}

#[test]
fn what_is_held_has_a_bound() {
    let piece = |member: &str| {
        let text = "x".repeat(1 << 20);
        format!(r#"{{"choices":[{{"index":0,"delta":{{"{member}":"{text}"}}}}]}}"#)
    };
    let thought = {
        let text = "x".repeat(1 << 20);
        format!(
            r#"{{"type":"content_block_delta","index":0,"delta":{{"type":"thinking_delta","thinking":"{text}"}}}}"#
        )
    };
    for (caller, dialect, piece) in [
        (Caller::Responses, Dialect::OpenAiCompatible, piece("content")),
        (Caller::Responses, Dialect::OpenAiCompatible, piece("reasoning")),
        (Caller::Chat, Dialect::Anthropic, thought),
    ] {
        let (_, reply) = world::sent(caller, "plain", dialect, true).expect("translated");
        let mut translator = reply.translate_stream(&CONTEXT);
        let mut passed = 0;
        while translator.event("", piece.as_bytes(), &mut Vec::new()) == Progress::Going {
            passed += 1 << 20;
            assert!(passed <= limits::HELD_BYTES);
        }
        assert_eq!(translator.progress(), Progress::Broken(Fault::TooLarge));
    }
}

#[test]
fn an_event_has_a_bound() {
    let mut frames = Frames::default();
    frames.push(&u32::MAX.to_be_bytes());
    frames.push(&[0; 8]);
    assert_eq!(frames.pop(), Err(Fault::TooLarge));
    let (_, reply) = world::sent(Caller::Chat, "plain", Dialect::Anthropic, true).expect("translated");
    let mut translator = reply.translate_stream(&CONTEXT);
    let large = vec![b' '; limits::EVENT_BYTES + 1];
    assert_eq!(translator.event("", &large, &mut Vec::new()), Progress::Broken(Fault::TooLarge));
}

#[test]
fn a_provider_that_forgets_the_last_event_is_complete_only_where_its_body_was_delimited() {
    let (_, reply) =
        world::sent(Caller::Messages, "plain", Dialect::OpenAiCompatible, true).expect("translated");
    let mut events = world::events(Dialect::OpenAiCompatible, "stream");
    events.pop();
    for (delimited, ended) in [(true, true), (false, false)] {
        let mut translator = reply.translate_stream(&CONTEXT);
        let mut out = Vec::new();
        events.iter().for_each(|(name, data)| {
            translator.event(name, data, &mut out);
        });
        translator.end(delimited, &mut out);
        assert_eq!(heard::stream(Caller::Messages, &out).ended, ended);
    }
}

#[test]
fn calls_that_a_provider_counts_alike_are_told_apart_by_their_names() {
    let call = |id: &str, city: &str| {
        let function = json!({"name": "f", "arguments": json!({"city": city}).to_string()});
        let call = json!({"index": 0, "id": id, "type": "function", "function": function});
        json!({"choices": [{"index": 0, "delta": {"tool_calls": [call]}}]})
    };
    let end = json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]});
    let events: Vec<_> = [call("a", "Paris"), call("b", "Rome"), end]
        .iter()
        .map(|event| (String::new(), event.to_string().into_bytes()))
        .chain([(String::new(), b"[DONE]".to_vec())])
        .collect();
    for caller in [Caller::Messages, Caller::Responses] {
        let (_, reply) = world::sent(caller, "plain", Dialect::OpenAiCompatible, true).expect("translated");
        let (_, out) = world::run(&reply, &events, None);
        let found = heard::stream(caller, &out);
        let calls = [("a", "Paris"), ("b", "Rome")]
            .map(|(id, city)| (id.to_owned(), "f".to_owned(), json!({"city": city})));
        assert_eq!((found.calls, found.finish.as_str()), (calls.to_vec(), "tools"));
    }
}

#[test]
fn several_answers_keep_apart() {
    let candidate = |index: u32, text: &str, reason: Option<&str>| json!({"index": index, "content": {"role": "model", "parts": [{"text": text}]}, "finishReason": reason});
    let (_, reply) = {
        let body =
            json!({"model": "m", "messages": [{"role": "user", "content": "Hi"}], "n": 2, "stream": true});
        translate_request(Caller::Chat, body.to_string().as_bytes(), &world::target(Dialect::Gemini))
            .expect("translated")
    };
    let first = json!({"candidates": [candidate(0, "Yes", None), candidate(1, "No", Some("STOP"))]});
    let second = json!({"candidates": [candidate(0, "!", Some("MAX_TOKENS"))]});
    let mut translator = reply.translate_stream(&CONTEXT);
    let mut out = Vec::new();
    translator.event("", first.to_string().as_bytes(), &mut out);
    assert_eq!(translator.progress(), Progress::Going);
    translator.event("", second.to_string().as_bytes(), &mut out);
    assert_eq!(translator.end(true, &mut out), Progress::Done);
    let text = String::from_utf8(out).expect("text");
    let chunks = text
        .lines()
        .filter_map(|line| line.strip_prefix("data: {"))
        .map(|rest| world::json(format!("{{{rest}").as_bytes()));
    let (mut said, mut reasons) = ([String::new(), String::new()], [json!(null), json!(null)]);
    for chunk in chunks {
        let choice = &chunk["choices"][0];
        let at = usize::try_from(choice["index"].as_u64().expect("an index")).expect("small");
        said[at] += choice["delta"]["content"].as_str().unwrap_or_default();
        if choice["finish_reason"].is_string() {
            reasons[at] = choice["finish_reason"].clone();
        }
    }
    assert_eq!(said, ["Yes!", "No"]);
    assert_eq!(reasons, [json!("length"), json!("stop")]);
}

#[test]
fn a_models_refusal_is_no_answer_to_a_caller_of_messages() {
    let (_, reply) = world::sent(Caller::Messages, "structured", Dialect::OpenAi, true).expect("translated");
    let events = [
        json!({"choices": [{"index": 0, "delta": {"refusal": "I will not."}}]}).to_string(),
        json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}).to_string(),
        "[DONE]".to_owned(),
    ];
    let events: Vec<_> = events.into_iter().map(|event| (String::new(), event.into_bytes())).collect();
    let found = heard::stream(Caller::Messages, &world::run(&reply, &events, None).1);
    assert_eq!((found.text.as_str(), found.finish.as_str()), ("I will not.", "policy"));
}

/// What callers get, for readers.
#[test]
fn streams_read_as_their_references_say() {
    for caller in Caller::ALL {
        let mut text = String::new();
        for (case, answer) in [("plain", "stream"), ("tools", "stream_tools")] {
            let dialect = Dialect::Bedrock;
            let (_, reply) = world::sent(caller, case, dialect, true).expect("translated");
            let (_, out) = world::run(&reply, &world::events(dialect, answer), None);
            text += &String::from_utf8(out).expect("text");
            text += "========\n";
        }
        insta::assert_snapshot!(format!("stream_{}", world::word(caller)), text);
    }
}

#[test]
fn r8_nothing_that_was_said_is_printed() {
    let canary = "canary-said";
    let body = json!({"model": "m", "instructions": canary, "input": canary, "stream": true}).to_string();
    let (outgoing, reply) =
        translate_request(Caller::Responses, body.as_bytes(), &world::target(Dialect::Anthropic))
            .expect("translated");
    assert!(String::from_utf8_lossy(&outgoing.body).contains(canary));
    let mut translator = reply.translate_stream(&CONTEXT);
    let data =
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": canary}});
    translator.event("", data.to_string().as_bytes(), &mut Vec::new());
    let whole = json!({"type": "message", "content": [{"type": "text", "text": canary}], "stop_reason": "end_turn", "usage": {}});
    let translated = reply.translate_answer(whole.to_string().as_bytes(), &CONTEXT).expect("an answer");
    let error = json!({"error": {"type": "invalid_request_error", "message": canary}});
    let failure = Failure::read(Dialect::Anthropic, 400, None, error.to_string().as_bytes());
    let mut frames = Frames::default();
    frames.push(&world::framed("contentBlockDelta", canary.as_bytes()));
    let waiting = format!("{frames:?}");
    let frame = frames.pop().expect("a frame");
    let printed =
        format!("{outgoing:?} {reply:?} {translator:?} {translated:?} {failure:?} {waiting} {frame:?}");
    let bytes = format!("{:?}", canary.as_bytes());
    assert!(!printed.contains(canary) && !printed.contains(bytes.trim_matches(['[', ']'])), "{printed}");
}

/// What callers get whole, for readers.
#[test]
fn answers_read_as_their_references_say() {
    let mut text = String::new();
    for caller in Caller::ALL {
        for (case, answer) in [("plain", "plain"), ("tools", "tools"), ("plain", "refusal")] {
            let (_, reply) = world::sent(caller, case, Dialect::Bedrock, false).expect("translated");
            let body = world::fixture(&format!("bedrock/{answer}.json"));
            let translated = reply.translate_answer(&body, &CONTEXT).expect("an answer");
            text +=
                &format!("{} {answer} {}\n", world::word(caller), String::from_utf8_lossy(&translated.body));
        }
    }
    insta::assert_snapshot!("answers", text);
}

#[test]
fn names_of_calls_are_held_within_the_bound_and_counted() {
    let name = "x".repeat(1 << 20);
    for caller in [Caller::Chat, Caller::Messages, Caller::Responses] {
        let (_, reply) = world::sent(caller, "plain", Dialect::OpenAiCompatible, true).expect("translated");
        let mut translator = reply.translate_stream(&CONTEXT);
        for index in 0..=limits::HELD_BYTES / name.len() {
            if translator.progress() != Progress::Going {
                break;
            }
            let call = json!({"index": index, "id": format!("{name}{index}"), "function": {"name": "f", "arguments": "{}"}});
            let chunk = json!({"choices": [{"index": 0, "delta": {"tool_calls": [call]}}]});
            translator.event("", chunk.to_string().as_bytes(), &mut Vec::new());
            let held = if caller == Caller::Responses { 2 * name.len() } else { name.len() };
            if translator.progress() == Progress::Going {
                assert!(translator.held_bytes() >= held * (index + 1), "{caller:?}");
            }
        }
        assert_eq!(translator.progress(), Progress::Broken(Fault::TooLarge), "{caller:?}");
    }
}

#[test]
fn no_answer_has_more_choices_than_any_provider_gives() {
    for dialect in [Dialect::OpenAiCompatible, Dialect::Gemini] {
        let (_, reply) = world::sent(Caller::Chat, "plain", dialect, true).expect("translated");
        let mut translator = reply.translate_stream(&CONTEXT);
        for index in 0..=limits::CHOICES {
            assert_eq!(translator.progress(), Progress::Going);
            let event = match dialect {
                Dialect::Gemini => {
                    json!({"candidates": [{"index": index, "content": {"parts": [{"text": "a"}]}}]})
                }
                _ => json!({"choices": [{"index": index, "delta": {"content": "a"}}]}),
            };
            translator.event("", event.to_string().as_bytes(), &mut Vec::new());
        }
        assert_eq!(translator.progress(), Progress::Broken(Fault::TooLarge), "{dialect:?}");
    }
}
