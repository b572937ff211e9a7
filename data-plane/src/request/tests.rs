use http::StatusCode;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn scanned(text: &str) -> Asked {
    scan(&Bytes::copy_from_slice(text.as_bytes())).expect("good")
}

fn code_of(text: &str) -> (StatusCode, &'static str) {
    let error = scan(&Bytes::copy_from_slice(text.as_bytes())).expect_err("refused");
    assert!(!error.message.contains("canary"), "{}", error.message);
    (error.status, error.code)
}

fn spliced(text: &str, model: &str, ask: bool) -> String {
    let body = Bytes::copy_from_slice(text.as_bytes());
    let asked = scan(&body).expect("good");
    String::from_utf8(splice(&body, &asked, model, ask).to_vec()).expect("text")
}

#[test]
fn what_concerns_the_gateway_is_found_wherever_it_stands() {
    let asked =
        scanned(r#" {"messages":[{"model":"no","stream":false}],"stream" : true,"model":"a\u002fb"} "#);
    assert_eq!((asked.model.as_str(), asked.stream, asked.asks_for_usage()), ("a/b", true, false));
    assert!(scanned(r#"{"model":"m","stream_options":{"x":1,"include_usage":true}}"#).asks_for_usage());
}

#[test]
fn r8_what_is_wrong_is_told_without_what_was_said() {
    for (text, expected) in [
        ("", "invalid_json"),
        ("{\"model\":\"m\",\"messages\":[\"canary", "invalid_json"),
        ("{\"model\":\"m\" canary}", "invalid_json"),
        ("{\"model\":\"m\"} canary", "invalid_json"),
        ("[\"canary\"]", "invalid_json"),
        ("\"canary\"", "invalid_json"),
        ("{\"model\":\"canary\",\"model\":\"canary2\"}", "invalid_json"),
        ("{\"model\":\"m\",\"stream\":true,\"stream\":\"canary\"}", "invalid_json"),
        ("{\"canary\":1}", "invalid_request"),
        ("{\"model\":{\"canary\":1}}", "invalid_request"),
        ("{\"model\":\"m\",\"stream\":\"canary\"}", "invalid_request"),
    ] {
        assert_eq!(code_of(text), (StatusCode::BAD_REQUEST, expected), "{text}");
    }
}

#[test]
fn a_body_that_needs_no_change_is_not_even_copied() {
    let body = Bytes::from_static(br#"{"model":"m","stream":true,"stream_options":{"include_usage":true}}"#);
    let asked = scan(&body).expect("good");
    assert_eq!(splice(&body, &asked, "m", true).as_ptr(), body.as_ptr());
}

#[test]
fn usage_is_asked_for_whatever_the_caller_said_of_it() {
    for (text, expected) in [
        (r#"{"model":"m"}"#, r#"{"stream_options":{"include_usage":true},"model":"m"}"#),
        (
            r#"{"model":"m","stream_options":null}"#,
            r#"{"model":"m","stream_options":{"include_usage":true}}"#,
        ),
        (r#"{"model":"m","stream_options":{}}"#, r#"{"model":"m","stream_options":{"include_usage":true}}"#),
        (
            r#"{"model":"m","stream_options":{ "include_usage" : false , "x":1}}"#,
            r#"{"model":"m","stream_options":{ "include_usage" : true , "x":1}}"#,
        ),
        (
            r#"{"model":"m","stream_options":{"x":1}}"#,
            r#"{"model":"m","stream_options":{"include_usage":true,"x":1}}"#,
        ),
    ] {
        assert_eq!(spliced(text, "m", true), expected);
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-z{}\":]{0,8}", inner, 0..4)
                .prop_map(|map| Value::from(serde_json::Map::from_iter(map))),
        ]
    })
}

fn any_options() -> impl Strategy<Value = Value> {
    let asked = prop::option::of(prop_oneof![Just(Value::Null), any::<bool>().prop_map(Value::from)]);
    let object = (prop::collection::btree_map("[a-z{}\":]{0,8}", any_json(), 0..4), asked).prop_map(
        |(others, asked)| {
            let asked = asked.map(|asked| ("include_usage".to_owned(), asked));
            Value::from(serde_json::Map::from_iter(others.into_iter().chain(asked)))
        },
    );
    prop_oneof![Just(Value::Null), object]
}

proptest! {
    #[test]
    fn a_spliced_body_says_the_same_but_for_what_was_meant(
        others in prop::collection::btree_map("[a-z]{1,6}_", any_json(), 0..5),
        options in prop::option::of(any_options()),
        pretty: bool,
    ) {
        let mut object = serde_json::Map::from_iter(others);
        object.insert("model".into(), json!("public"));
        object.insert("stream".into(), json!(true));
        if let Some(options) = options {
            object.insert("stream_options".into(), options);
        }
        let before = Value::from(object);
        let text = if pretty { serde_json::to_string_pretty(&before) } else { serde_json::to_string(&before) };
        let text = text.expect("json");
        let asked = scanned(&text);
        let after: Value = serde_json::from_str(&spliced(&text, "upstream", true)).expect("still JSON");
        let mut expected = before.clone();
        expected["model"] = json!("upstream");
        if !asked.asks_for_usage() {
            if expected["stream_options"].is_null() {
                expected["stream_options"] = json!({});
            }
            expected["stream_options"]["include_usage"] = json!(true);
        }
        prop_assert_eq!(after, expected);
    }

    #[test]
    fn any_bytes_are_scanned_or_refused(bytes: Vec<u8>) {
        let _ = scan(&Bytes::from(bytes));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2048))]

    #[test]
    fn a_plain_body_says_what_it_says_to_the_parser(bytes in crate::json::tests::documents()) {
        if let Some(found) = Found::in_plain(&bytes) {
            prop_assert_eq!(found, Found::in_any(&bytes).expect("an object"));
        }
    }
}
