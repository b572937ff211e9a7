use std::{borrow::Cow, fmt};

use proptest::{collection::vec, prelude::*};
use serde::de::{Deserializer as _, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::*;

/// JSON objects as they are sent and as they are not: written with any white space, with names that concern the worker, some of them twice, and then with up to two bytes changed.
pub(crate) fn documents() -> impl Strategy<Value = Vec<u8>> {
    let changes = vec(
        (any::<prop::sample::Index>(), prop::sample::select(b"\"\\{}[]:,0e.-nu \x01\xff".to_vec())),
        0..3,
    );
    (object(), changes).prop_map(|(text, changes)| {
        let mut bytes = text.into_bytes();
        for (place, byte) in changes {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        bytes
    })
}

fn object() -> impl Strategy<Value = String> {
    let members = |inner: BoxedStrategy<String>| {
        vec((space(), name(), space(), space(), inner, space()), 0..6).prop_map(|members| {
            let members =
                members.iter().map(|(a, name, b, c, value, d)| format!("{a}{name}{b}:{c}{value}{d}"));
            format!("{{{}}}", members.collect::<Vec<_>>().join(","))
        })
    };
    let inner = scalar().prop_recursive(4, 24, 4, move |inner| {
        let list = vec((space(), inner.clone(), space()), 0..4).prop_map(|items| {
            let items = items.iter().map(|(a, value, b)| format!("{a}{value}{b}"));
            format!("[{}]", items.collect::<Vec<_>>().join(","))
        });
        prop_oneof![list, members(inner)]
    });
    (space(), members(inner.boxed()), space())
        .prop_map(|(before, object, behind)| format!("{before}{object}{behind}"))
}

fn space() -> impl Strategy<Value = String> + Clone {
    prop_oneof![4 => Just(String::new()), 1 => "[ \n\r\t]{0,3}"]
}

fn name() -> impl Strategy<Value = String> + Clone {
    const NAMES: [&str; 12] = [
        "model",
        "stream",
        "stream_options",
        "max_tokens",
        "n",
        "usage",
        "prompt_tokens",
        "completion_tokens",
        "prompt_tokens_details",
        "completion_tokens_details",
        "cached_tokens",
        "us\\u0061ge",
    ];
    prop_oneof![3 => prop::sample::select(NAMES.to_vec()).prop_map(|name| format!("\"{name}\"")), 1 => string()]
}

fn scalar() -> impl Strategy<Value = String> + Clone {
    let number = r"-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,3})?([eE][+-]?[0-9]{1,3})?";
    let word = prop::sample::select(vec!["true", "false", "null"]).prop_map(str::to_owned);
    prop_oneof![word, number, "[0-9]{1,3}", string()]
}

fn string() -> impl Strategy<Value = String> + Clone {
    let piece = prop_oneof![
        4 => "[a-z :,{}]{0,9}",
        1 => "[^\"\\\\\\x00-\\x1f]{0,60}",
        1 => prop::sample::select(vec!["\\\"", "\\\\", "\\/", "\\n", "\\u00e9", "\\ud800", "\\u12", "\\x"]).prop_map(str::to_owned),
    ];
    vec(piece, 0..4).prop_map(|pieces| format!("\"{}\"", pieces.concat()))
}

type Found = Vec<(Vec<u8>, Vec<u8>)>;

fn found(bytes: &[u8]) -> Option<Found> {
    let (mut found, mut reader) = (Vec::new(), Reader::new(bytes));
    reader.members(|name, reader| {
        found.push((name.to_vec(), reader.skip()?.to_vec()));
        Some(())
    })?;
    reader.end().map(|()| found)
}

/// The same, by serde_json. `Err`: it is no object.
fn parsed(bytes: &[u8]) -> serde_json::Result<Found> {
    struct Members;

    impl<'de> Visitor<'de> for Members {
        type Value = Found;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Found, A::Error> {
            let mut found = Vec::new();
            while let Some(name) = map.next_key::<Cow<'de, str>>()? {
                let value: &RawValue = map.next_value()?;
                found.push((name.as_bytes().to_vec(), value.get().as_bytes().to_vec()));
            }
            Ok(found)
        }
    }

    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let found = deserializer.deserialize_map(Members)?;
    deserializer.end()?;
    Ok(found)
}

fn is_object(bytes: &[u8]) -> bool {
    let members: Result<std::collections::BTreeMap<String, IgnoredAny>, _> = serde_json::from_slice(bytes);
    members.is_ok()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn what_is_found_is_what_serde_json_finds(bytes in documents()) {
        if let Some(found) = found(&bytes) {
            prop_assert!(is_object(&bytes));
            // It alone wants values to be text.
            if std::str::from_utf8(&bytes).is_ok() {
                prop_assert_eq!(found, parsed(&bytes).unwrap());
            }
        }
    }

    #[test]
    fn whatever_is_plain_is_followed(bytes in documents()) {
        let Ok(parsed) = parsed(&bytes) else { return Ok(()) };
        // Without an escape, so without one in a name.
        if !bytes.contains(&b'\\') {
            prop_assert_eq!(found(&bytes), Some(parsed));
        }
    }

    #[test]
    fn anything_else_is_refused_or_an_object(bytes in vec(any::<u8>(), 0..64)) {
        prop_assert!(found(&bytes).is_none() || is_object(&bytes));
    }
}

#[test]
fn the_end_of_a_string_is_found_wherever_it_is() {
    for length in 0..80 {
        for (special, ends) in [("\"", true), ("\\n", true), ("\\\"", true), ("\u{1}", false), ("\\x", false)]
        {
            let text = format!(
                "{{\"a\":\"{}{special}{}",
                "ä".repeat(length),
                if special == "\"" { "}" } else { "b\"}" }
            );
            assert_eq!(found(text.as_bytes()).is_some(), ends, "{text}");
        }
    }
}

#[test]
fn what_is_cut_anywhere_is_not_followed() {
    let whole = br#"{"a":[1,-2.5e+3,{"b":null,"c":"x\u00e9y"}],"d":true,"e":{}} "#;
    assert!(found(whole).is_some());
    for length in 0..whole.len() - 1 {
        assert_eq!(found(&whole[..length]), None, "{length}");
    }
    for wrong in [
        &b"{} x"[..],
        b"[]",
        b"{\"a\":01}",
        b"{\"a\":1.}",
        b"{\"a\":1e}",
        b"{\"a\":-}",
        b"{\"a\":[}]}",
        b"{\"a\":1,}",
        b"{\"a\":[1,]}",
        b"{,}",
        b"{\"a\" 1}",
    ] {
        assert_eq!(found(wrong), None, "{}", wrong.escape_ascii());
    }
}

#[test]
fn what_nests_deep_is_left_to_the_other() {
    let nested = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
    assert!(found(nested(60).as_bytes()).is_some());
    assert!(found(nested(1 << 20).as_bytes()).is_none());
}

#[test]
fn values_are_read_or_left_to_the_other() {
    assert_eq!(text(b"\"a b\""), Some("a b"));
    for other in [&b"\"a\\n\""[..], b"1", b"\"", b"\"\xff\""] {
        assert_eq!(text(other), None);
    }
    assert_eq!(unsigned(b"0"), Some(0));
    assert_eq!(unsigned(b"9999999999999999999"), Some(9_999_999_999_999_999_999));
    for other in [&b""[..], b"-1", b"1.0", b"null", b"10000000000000000000"] {
        assert_eq!(unsigned(other), None);
    }
    for (value, is_null) in [(" null ", true), ("nul", false), ("nulL", false), ("\"null\"", false)] {
        let mut reader = Reader::new(value.as_bytes());
        assert_eq!((reader.is_null(), reader.end().is_some()), (is_null, is_null), "{value}");
    }
}
