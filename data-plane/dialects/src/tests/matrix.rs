//! Every caller × every provider × every case: faithful, or a refusal that the documents name. The table is a snapshot, for readers.

use std::fmt::Write as _;

use serde_json::json;

use crate::{Caller, Class, Dialect, Failure, Progress, Support, support};

use super::{
    heard::{self, Heard},
    world::{self, CONTEXT},
};

const CASES: [&str; 11] = [
    "plain",
    "stream",
    "tools",
    "stream tools",
    "image",
    "structured",
    "reasoning",
    "error",
    "stream error",
    "cut",
    "refusal",
];

#[test]
fn every_caller_is_understood_by_every_provider_or_told_why_not() {
    let mut table = String::new();
    for caller in Caller::ALL {
        for dialect in Dialect::ALL {
            let _ = writeln!(table, "{} -> {}", world::word(caller), dialect.name());
            for case in CASES {
                let outcome = match support(caller.call(), dialect) {
                    Support::Same => "bytes pass".to_owned(),
                    Support::Refused(why) => format!("refused: {why}"),
                    Support::Translated => cell(caller, dialect, case),
                };
                let _ = writeln!(table, "    {case:<13} {outcome}");
            }
        }
    }
    insta::assert_snapshot!("matrix", table);
}

fn cell(caller: Caller, dialect: Dialect, case: &str) -> String {
    match case {
        "plain" | "image" | "reasoning" => answered(caller, dialect, case, "plain"),
        "tools" | "structured" => answered(caller, dialect, case, case),
        "refusal" => answered(caller, dialect, "plain", "refusal"),
        "stream" => streamed(caller, dialect, "plain", "stream"),
        "stream tools" => streamed(caller, dialect, "tools", "stream_tools"),
        "stream error" => broken(caller, dialect, "stream_error", None),
        "cut" => cut(caller, dialect),
        _ => error(caller, dialect),
    }
}

/// What a fixture's answer must be heard as.
fn expected(dialect: Dialect, answer: &str) -> Heard {
    let reasons = matches!(world::folder(dialect), "anthropic" | "gemini" | "bedrock");
    let mark = if world::folder(dialect) == "gemini" { "gemini:" } else { "" };
    let signed = |reasoned: bool| reasoned.then(|| format!("{mark}c2lnbmVk"));
    match answer {
        "plain" | "stream" => Heard {
            text: "The capital is Paris.".to_owned(),
            reasoning: if reasons { "Easy.".to_owned() } else { String::new() },
            signature: signed(reasons && (answer, world::folder(dialect)) != ("stream", "gemini")),
            finish: "stop".to_owned(),
            usage: [30, 8, 10, if dialect == Dialect::Bedrock { 0 } else { 3 }],
            ended: true,
            ..Heard::default()
        },
        "tools" | "stream_tools" => {
            let gemini = world::folder(dialect) == "gemini";
            let id =
                |given: &str, at: usize| if gemini { format!("bwcall_req_1_{at}") } else { given.to_owned() };
            let name = "get_weather".to_owned();
            Heard {
                calls: vec![
                    (id("call_a", 0), name.clone(), json!({"city": "Paris"})),
                    (id("call_b", 1), name, json!({"city": "Rome"})),
                ],
                signature: signed(gemini),
                finish: "tools".to_owned(),
                usage: [30, 8, 0, 0],
                ended: true,
                ..Heard::default()
            }
        }
        "structured" => Heard {
            text: r#"{"zone":"CET","city":"Paris"}"#.to_owned(),
            finish: "stop".to_owned(),
            usage: [30, 8, 0, 0],
            ended: true,
            ..Heard::default()
        },
        _ => Heard { finish: "policy".to_owned(), usage: [30, 0, 0, 0], ended: true, ..Heard::default() },
    }
}

fn answered(caller: Caller, dialect: Dialect, case: &str, answer: &str) -> String {
    let reply = match world::sent(caller, case, dialect, false) {
        Ok((_, reply)) => reply,
        Err(refused) => return format!("refused: {refused}"),
    };
    let body = world::fixture(&format!("{}/{answer}.json", world::folder(dialect)));
    let translated = reply.translate_answer(&body, &CONTEXT).expect("an answer");
    let found = heard::whole(caller, &world::json(&translated.body));
    assert_eq!(found, expected(dialect, answer), "{caller:?} {dialect:?} {case}");
    assert_eq!(translated.refused_by_policy, answer == "refusal");
    let usage = translated.usage.expect("usage");
    assert_eq!([usage.prompt, usage.completion, usage.cache_read, usage.reasoning], found.usage);
    if translated.refused_by_policy {
        "faithful: a refusal by policy".to_owned()
    } else {
        "faithful".to_owned()
    }
}

fn streamed(caller: Caller, dialect: Dialect, case: &str, answer: &str) -> String {
    let reply = match world::sent(caller, case, dialect, true) {
        Ok((_, reply)) => reply,
        Err(refused) => return format!("refused: {refused}"),
    };
    let (translator, out) = world::run(&reply, &world::events(dialect, answer), None);
    assert_eq!(translator.progress(), Progress::Done);
    assert_eq!(heard::stream(caller, &out), expected(dialect, answer), "{caller:?} {dialect:?} {answer}");
    assert!(translator.usage().expect("usage").is_final);
    assert!(translator.pieces() > 0);
    "faithful".to_owned()
}

fn broken(caller: Caller, dialect: Dialect, answer: &str, cut: Option<usize>) -> String {
    let (_, reply) = world::sent(caller, "plain", dialect, true).expect("it is translated");
    let (translator, out) = world::run(&reply, &world::events(dialect, answer), cut);
    assert!(matches!(translator.progress(), Progress::Failed(_) | Progress::Broken(_)));
    let found = heard::stream(caller, &out);
    assert_eq!(found.text, "The capital", "what was said before it went on");
    assert!(!found.ended, "a part is never taken for the whole");
    format!("faithful: the caller is told {}", found.error.expect("an error"))
}

/// The connection breaks behind the first words.
fn cut(caller: Caller, dialect: Dialect) -> String {
    let first = |(_, data): &(String, Vec<u8>)| String::from_utf8_lossy(data).contains("The capital");
    let events = world::events(dialect, "stream");
    let at = events.iter().position(first).expect("the first words") + 1;
    broken(caller, dialect, "stream", Some(at))
}

fn error(caller: Caller, dialect: Dialect) -> String {
    let body = world::fixture(&format!("{}/error.json", world::folder(dialect)));
    let header =
        (dialect == Dialect::Bedrock).then_some("ThrottlingException:http://internal.amazon.com/coral/");
    let failure = Failure::read(dialect, 429, header, &body);
    assert_eq!(failure.class, Class::RateLimit);
    let (status, body) = failure.answer(caller.call(), CONTEXT.request_id);
    assert_eq!(status, 429);
    let body = world::json(&body);
    let word = match caller {
        Caller::Messages => {
            assert_eq!(body["type"], "error");
            &body["error"]["type"]
        }
        _ => &body["error"]["code"],
    };
    format!("faithful: 429 {}", word.as_str().expect("a word"))
}
