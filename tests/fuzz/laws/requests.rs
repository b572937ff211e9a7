//! Bodies of requests: the scan for what concerns the gateway, and the splice (R8).

use std::ops::Range;

use bytes::Bytes;
use http::HeaderValue;
use serde_json::{Value, json};

use super::cut;
use crate::request::{form::Form, scan, splice};

/// Longer than anything that the scan says of itself.
const LONGEST_MESSAGE: usize = 160;
/// A head that is not whole, or a value that is read.
const LONGEST_KEPT: usize = 4 << 10;

/// The same bytes as JSON, and as a form.
pub fn requests(bytes: &[u8]) {
    json_body(bytes);
    form_body(bytes);
}

/// A form is refused without a word of it, or read, however it is cut: the same is found, at the same place, and nothing goes on but what came. With another model it is still a form.
fn form_body(bytes: &[u8]) {
    let at_once = read_form(&[bytes]);
    let (body, pieces) = cut(bytes);
    assert_eq!(read_form(&[body]), read_form(&pieces));
    let Some((model, stream, at)) = at_once else { return };
    assert_eq!(&bytes[at.clone()], model.as_bytes());
    let renamed = [&bytes[..at.start], b"upstream", &bytes[at.end..]].concat();
    let renamed = read_form(&[&renamed]).expect("still a form");
    assert_eq!((renamed.0.as_str(), renamed.1, renamed.2.start), ("upstream", stream, at.start));
}

/// Its model, whether it wants a stream, and where the model stands.
fn read_form(pieces: &[&[u8]]) -> Option<(String, bool, Range<usize>)> {
    let kind = HeaderValue::from_static("multipart/form-data; boundary=B");
    let mut form = Form::new(&kind).expect("a boundary");
    let (mut kept, mut gone) = (Vec::new(), Vec::new());
    let mut read = || {
        for piece in pieces {
            kept.extend_from_slice(piece);
            let done = form.read(&kept)?;
            gone.extend(kept.drain(..done));
            assert!(kept.len() < LONGEST_KEPT);
        }
        form.end()?;
        form.asked()
    };
    match read() {
        Ok(asked) => {
            assert_eq!(gone, pieces.concat());
            Some((asked.model.clone(), asked.stream, asked.model_at().clone()))
        }
        Err(refused) => {
            assert!(refused.status.is_client_error());
            assert!(refused.message.len() < LONGEST_MESSAGE && refused.message.is_ascii());
            None
        }
    }
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
