//! Bodies of requests: the scan for what concerns the gateway, and the splice (R8).

use bytes::Bytes;
use http::HeaderValue;
use serde_json::{Value, json};

use crate::request::{form, scan, splice};

/// Longer than anything that the scan says of itself.
const LONGEST_MESSAGE: usize = 160;

/// The same bytes as JSON, and as a form.
pub fn requests(bytes: &[u8]) {
    json_body(bytes);
    form_body(bytes);
}

/// A form is refused without a word of it, or scanned; then its model can be replaced, and nothing else is.
fn form_body(bytes: &[u8]) {
    let (body, kind) =
        (Bytes::copy_from_slice(bytes), HeaderValue::from_static("multipart/form-data; boundary=B"));
    let asked = match form::scan(&body, &kind) {
        Ok(asked) => asked,
        Err(refused) => {
            assert!(refused.status.is_client_error());
            assert!(refused.message.len() < LONGEST_MESSAGE && refused.message.is_ascii());
            return;
        }
    };
    assert_eq!(splice(&body, &asked, &asked.model, false), body, "nothing was to be changed");
    let sent = splice(&body, &asked, "upstream", true);
    let again = form::scan(&sent, &kind).expect("still a form");
    assert_eq!((again.model.as_str(), again.stream), ("upstream", asked.stream));
    assert_eq!(splice(&sent, &again, &asked.model, true), body, "and back");
}

/// A body is refused without a word of it, or scanned; what goes to the provider then says the same but for what was meant.
fn json_body(bytes: &[u8]) {
    let body = Bytes::copy_from_slice(bytes);
    let asked = match scan(&body) {
        Ok(asked) => asked,
        Err(refused) => {
            assert!(refused.status.is_client_error());
            assert!(refused.message.len() < LONGEST_MESSAGE && refused.message.is_ascii());
            return;
        }
    };
    assert_eq!(splice(&body, &asked, &asked.model, false), body, "nothing was to be changed");
    // What the scan skips may nest deeper, or hold larger numbers, than this parser takes.
    let Ok(mut expected) = serde_json::from_slice::<Value>(bytes) else { return };
    assert_eq!(expected["model"], json!(asked.model));
    let spliced = splice(&body, &asked, "upstream", true);
    let sent: Value = serde_json::from_slice(&spliced).expect("still JSON");
    expected["model"] = json!("upstream");
    if !asked.asks_for_usage() {
        if expected["stream_options"].is_null() {
            expected["stream_options"] = json!({});
        }
        expected["stream_options"]["include_usage"] = json!(true);
    }
    assert_eq!(sent, expected);
}
