//! What holds for every input.

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::{
    Caller, Context, Dialect, Failure, Target,
    bedrock::Frames,
    observe,
    translate::{decode, encode},
    translate_request, usage_of,
};

use super::world::{self, CONTEXT};

fn dialects() -> impl Strategy<Value = Dialect> {
    prop::sample::select(Dialect::ALL.to_vec())
}

fn callers() -> impl Strategy<Value = Caller> {
    prop::sample::select(Caller::ALL.to_vec())
}

/// JSON that is almost what a dialect wants: a fixture with a value changed.
fn damaged(fixture: Vec<u8>) -> impl Strategy<Value = Vec<u8>> {
    let length = fixture.len();
    (
        0..length,
        0..length,
        prop::sample::select(vec!["", "null", "0", "-1", "1e400", "{}", "[]", "\"\"", "\\ud800", "\u{0}"]),
    )
        .prop_map(move |(from, to, with)| {
            let (from, to) = (from.min(to), from.max(to).min(from.min(to) + 24));
            [&fixture[..from], with.as_bytes(), &fixture[to..]].concat()
        })
}

fn fixtures() -> Vec<String> {
    let mut all = Vec::new();
    for folder in ["callers", "openai", "anthropic", "gemini", "bedrock"] {
        let path = format!("{}/fixtures/{folder}", env!("CARGO_MANIFEST_DIR"));
        let entries = std::fs::read_dir(path).expect("a folder");
        all.extend(
            entries.map(|entry| format!("{folder}/{}", entry.expect("a file").file_name().to_string_lossy())),
        );
    }
    all.sort();
    all
}

fn everything(caller: Caller, dialect: Dialect, bytes: &[u8]) {
    let target = world::target(dialect);
    let _ = translate_request(caller, bytes, &target);
    let _ = Failure::read(dialect, 400, None, bytes).answer(caller.call(), "r");
    for call in crate::Call::ALL {
        let _ = observe(call, bytes);
        let _ = usage_of(call, bytes);
    }
    if let Ok((_, reply)) = world::sent(caller, "plain", dialect, true) {
        let _ = reply.translate_answer(bytes, &CONTEXT);
        for name in
            ["", "contentBlockStart", "contentBlockDelta", "messageStop", "metadata", "validationException"]
        {
            let mut translator = reply.translate_stream(&CONTEXT);
            let mut out = Vec::new();
            translator.event(name, bytes, &mut out);
            translator.event(name, bytes, &mut out);
            translator.end(true, &mut out);
        }
    }
}

proptest! {
    #[test]
    fn no_bytes_make_a_panic(caller in callers(), dialect in dialects(), bytes: Vec<u8>) {
        everything(caller, dialect, &bytes);
        let mut frames = Frames::default();
        frames.push(&bytes);
        while let Ok(Some(_)) = frames.pop() {}
    }

    #[test]
    fn no_damage_makes_a_panic(
        caller in callers(),
        dialect in dialects(),
        bytes in prop::sample::select(fixtures()).prop_flat_map(|path| damaged(world::fixture(&path))),
    ) {
        everything(caller, dialect, &bytes);
        let text = String::from_utf8_lossy(&bytes);
        for line in text.lines().filter_map(|line| line.strip_prefix("data: ")) {
            everything(caller, dialect, line.as_bytes());
        }
    }

    #[test]
    fn no_damaged_frame_makes_a_panic(at: prop::sample::Index, byte: u8, checked: bool) {
        let mut bytes = world::framed("contentBlockDelta", br#"{"contentBlockIndex":0,"delta":{"text":"x"}}"#);
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if checked {
            // With checksums that fit, so that what is inside is read.
            let end = bytes.len() - 4;
            let prelude = crc(&bytes[..8]);
            bytes[8..12].copy_from_slice(&prelude);
            let whole = crc(&bytes[..end]);
            bytes[end..].copy_from_slice(&whole);
        }
        let mut frames = Frames::default();
        frames.push(&bytes);
        while let Ok(Some(_)) = frames.pop() {}
    }

    #[test]
    fn the_same_comes_out_however_frames_are_cut(cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12)) {
        let bytes = world::event_stream("stream_tools");
        let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).chain([0, bytes.len()]).collect();
        places.sort_unstable();
        let (_, reply) = world::sent(Caller::Messages, "tools", Dialect::Bedrock, true).expect("translated");
        let mut translator = reply.translate_stream(&CONTEXT);
        let (mut frames, mut out) = (Frames::default(), Vec::new());
        for pair in places.windows(2) {
            frames.push(&bytes[pair[0]..pair[1]]);
            while let Some(frame) = frames.pop().expect("good frames") {
                translator.event(&frame.name, &frame.payload, &mut out);
            }
        }
        let (_, at_once) = world::run(&reply, &world::events(Dialect::Bedrock, "stream_tools"), None);
        prop_assert_eq!(out, at_once);
    }

    #[test]
    fn how_a_provider_cuts_its_words_changes_nothing_that_is_heard(
        words in prop::collection::vec("[a-z\"\\\\{}\n é]{1,8}", 1..8),
        caller in prop::sample::select(vec![Caller::Responses, Caller::Messages]),
    ) {
        let (_, reply) = world::sent(caller, "plain", Dialect::OpenAiCompatible, true).expect("translated");
        let heard = |pieces: &[String]| {
            let chunk = |piece: &String| json!({"choices": [{"index": 0, "delta": {"content": piece}}]});
            let mut events: Vec<(String, Vec<u8>)> =
                pieces.iter().map(|piece| (String::new(), chunk(piece).to_string().into_bytes())).collect();
            events.push((String::new(), br#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#.to_vec()));
            events.push((String::new(), b"[DONE]".to_vec()));
            super::heard::stream(caller, &world::run(&reply, &events, None).1)
        };
        prop_assert_eq!(heard(&words), heard(&[words.concat()]));
    }

    #[test]
    fn a_message_means_the_same_after_a_round_trip(body in messages()) {
        let bytes = body.to_string().into_bytes();
        let request = decode(Caller::Messages, &bytes).expect("a request");
        let target = Target::new(Dialect::Anthropic, "m");
        let once = encode(&request, &target).expect("translated");
        let again = decode(Caller::Messages, &once).expect("still a request");
        prop_assert_eq!(&once, &encode(&again, &target).expect("translated"), "it settles at once");
        prop_assert_eq!(plain(&body), plain(&world::json(&once)), "and means what was asked");
    }

    #[test]
    fn a_chat_means_the_same_after_a_round_trip(body in chats()) {
        let bytes = body.to_string().into_bytes();
        let request = decode(Caller::Chat, &bytes).expect("a request");
        let target = Target::new(Dialect::OpenAi, "m");
        let once = encode(&request, &target).expect("translated");
        let again = decode(Caller::Chat, &once).expect("still a request");
        prop_assert_eq!(&once, &encode(&again, &target).expect("translated"), "it settles at once");
        prop_assert_eq!(&body["messages"], &world::json(&once)["messages"]);
        for member in ["tools", "temperature", "seed", "stop", "n"] {
            prop_assert_eq!(&body[member], &world::json(&once)[member], "{}", member);
        }
    }

    #[test]
    fn names_stay_one_segment_of_the_path(model in "\\PC{1,40}", dialect in dialects(), stream: bool) {
        let target = Target { aws_region: Some("r"), ..Target::new(dialect, &model) };
        let path = target.path(crate::Call::ChatCompletions, stream).expect("served");
        let expected = Target { aws_region: Some("r"), ..Target::new(dialect, "x") };
        let expected = expected.path(crate::Call::ChatCompletions, stream).expect("served");
        for separator in ['/', '?', '#', '&'] {
            prop_assert_eq!(path.matches(separator).count(), expected.matches(separator).count());
        }
        prop_assert!(path.is_ascii() && !path.contains(' '));
    }

    #[test]
    fn translated_answers_are_always_json(caller in callers(), text: String, id in "[a-z0-9_]{1,12}") {
        let (_, reply) = world::sent(caller, "plain", Dialect::Anthropic, false).unwrap_or_else(|_| {
            world::sent(Caller::Chat, "plain", Dialect::Anthropic, false).expect("translated")
        });
        let body = json!({"type": "message", "content": [{"type": "text", "text": text}], "stop_reason": "end_turn",
            "usage": {"input_tokens": u64::MAX, "output_tokens": 1, "cache_read_input_tokens": u64::MAX}});
        let context = Context { request_id: &id, ..CONTEXT };
        let translated = reply.translate_answer(body.to_string().as_bytes(), &context).expect("an answer");
        let usage = translated.usage.expect("usage");
        prop_assert!(usage.prompt <= 1 << 40 && usage.cache_read <= usage.prompt);
        world::json(&translated.body);
    }
}

/// CRC-32 (IEEE), as frames have it.
fn crc(bytes: &[u8]) -> [u8; 4] {
    let step = |crc: u32, _| if crc & 1 == 1 { (crc >> 1) ^ 0xEDB8_8320 } else { crc >> 1 };
    let crc = bytes.iter().fold(u32::MAX, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step));
    (!crc).to_be_bytes()
}

/// A message request with texts as lists, so that both forms of it compare equal.
fn plain(body: &Value) -> Value {
    let mut body = body.clone();
    for message in body["messages"].as_array_mut().expect("messages") {
        if let Value::String(text) = &message["content"] {
            message["content"] = json!([{"type": "text", "text": text}]);
        }
    }
    if let Value::String(text) = &body["system"] {
        body["system"] = json!([{"type": "text", "text": text}]);
    }
    body
}

fn messages() -> impl Strategy<Value = Value> {
    let text = "\\PC{1,12}".prop_map(|text| json!({"type": "text", "text": text}));
    let image = Just(
        json!({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aQ=="}}),
    );
    let user = prop::collection::vec(prop_oneof![text.clone(), image], 1..4);
    let cached = text.clone().prop_map(|mut text| {
        text["cache_control"] = json!({"type": "ephemeral", "ttl": "1h"});
        text
    });
    let thinking = Just(json!({"type": "thinking", "thinking": "Hm.", "signature": "c2ln"}));
    let call = "[a-z]{1,6}"
        .prop_map(|id| json!({"type": "tool_use", "id": id, "name": "f", "input": {"z": 1, "a": [id]}}));
    let assistant = prop::collection::vec(prop_oneof![text, thinking, call, cached], 1..4);
    let turns = prop::collection::vec((user, assistant), 1..4);
    let options = prop::sample::subsequence(
        vec![
            ("temperature", json!(0.25)),
            ("top_p", json!(0.5)),
            ("top_k", json!(3)),
            ("stop_sequences", json!(["a", "b"])),
            ("thinking", json!({"type": "enabled", "budget_tokens": 2000})),
            ("tool_choice", json!({"type": "auto", "disable_parallel_tool_use": true})),
            ("system", json!("Be brief.")),
            ("metadata", json!({"user_id": "u"})),
            ("stream", json!(true)),
        ],
        0..=9,
    );
    (turns, options).prop_map(|(turns, options)| {
        let mut list = Vec::new();
        for (user, assistant) in turns {
            list.push(json!({"role": "user", "content": user}));
            list.push(json!({"role": "assistant", "content": assistant}));
        }
        let tools = json!([{"name": "f", "input_schema": {"type": "object"}}]);
        let mut body = json!({"model": "m", "max_tokens": 5, "messages": list, "tools": tools});
        for (member, value) in options {
            body[member] = value;
        }
        body
    })
}

fn chats() -> impl Strategy<Value = Value> {
    let turns = prop::collection::vec(("\\PC{1,12}", "\\PC{1,12}", "[a-z]{1,6}"), 1..4);
    let options = prop::sample::subsequence(
        vec![("temperature", json!(0.25)), ("seed", json!(7)), ("stop", json!(["a"])), ("n", json!(2))],
        0..=4,
    );
    (turns, options).prop_map(|(turns, options)| {
        let mut list = vec![json!({"role": "system", "content": "Be brief."})];
        for (user, assistant, id) in turns {
            list.push(json!({"role": "user", "content": user}));
            let function = json!({"name": "f", "arguments": "{\"z\":1}"});
            let call = json!({"id": id, "type": "function", "function": function});
            list.push(json!({"role": "assistant", "content": assistant, "tool_calls": [call]}));
            list.push(json!({"role": "tool", "tool_call_id": id, "content": "x"}));
        }
        let function = json!({"name": "f", "parameters": {"type": "object"}, "strict": true});
        let tools = json!([{"type": "function", "function": function}]);
        let mut body = json!({"model": "m", "messages": list, "tools": tools});
        for (member, value) in options {
            body[member] = value;
        }
        body
    })
}
