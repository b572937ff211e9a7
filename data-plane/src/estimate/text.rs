//! Text out of passing JSON, without parsing it: strings, each with the name that stands before it. Whatever bytes come, it ends, and looks at each once.

use std::borrow::Cow;

use memchr::{memchr, memchr2};

/// Members whose strings a model has written, in the pieces of any dialect's stream and in its whole answers.
const GENERATED: [&[u8]; 10] = [
    b"content",
    b"text",
    b"reasoning_content",
    b"reasoning",
    b"thinking",
    b"refusal",
    b"arguments",
    b"partial_json",
    b"delta",
    b"input",
];

/// Members whose strings a model does not read as text: names, settings, and what pictures and files are carried in.
const NOT_READ: [&[u8]; 21] = [
    b"model",
    b"type",
    b"role",
    b"id",
    b"tool_call_id",
    b"tool_use_id",
    b"call_id",
    b"user",
    b"detail",
    b"media_type",
    b"signature",
    b"encrypted_content",
    b"file_data",
    b"file_id",
    b"previous_response_id",
    b"reasoning_effort",
    b"service_tier",
    b"ttl",
    b"voice",
    b"response_format",
    b"stream_format",
];
/// Members that carry a picture or a file, by address or in Base64.
const PICTURES: [&[u8]; 4] = [b"url", b"image_url", b"data", b"b64_json"];

/// What a request has.
pub(super) enum Asked<'a> {
    /// A JSON string without its quotes.
    Text(&'a [u8]),
    /// A message begins, or ends: it has a role.
    Message,
    /// A picture, or a file.
    Picture,
}

/// The strings that a model has written.
pub(super) fn generated<'a>(data: &'a [u8], mut each: impl FnMut(&'a [u8])) {
    strings(data, |name, value| {
        if GENERATED.contains(&name) {
            each(value);
        }
    });
}

/// The strings that a model is to read.
pub(super) fn asked<'a>(body: &'a [u8], mut each: impl FnMut(Asked<'a>)) {
    strings(body, |name, value| {
        if name == b"role" {
            each(Asked::Message);
        } else if PICTURES.contains(&name) {
            each(Asked::Picture);
        } else if !NOT_READ.contains(&name) {
            each(Asked::Text(value));
        }
    });
}

/// Each string that is a value, without its quotes, and the last name before it. Where the data is cut off, its last string is what has come of it.
fn strings<'a>(data: &'a [u8], mut each: impl FnMut(&'a [u8], &'a [u8])) {
    let (mut rest, mut name): (&[u8], &[u8]) = (data, b"");
    while let Some(start) = memchr(b'"', rest) {
        let Some(inside) = rest.get(start + 1..) else { return };
        let Some(end) = end_of_string(inside) else { return each(name, inside) };
        let string = inside.get(..end).unwrap_or_default();
        rest = inside.get(end + 1..).unwrap_or_default();
        let behind = rest.iter().find(|byte| !byte.is_ascii_whitespace());
        if behind == Some(&b':') {
            name = string;
        } else {
            each(name, string);
        }
    }
}

/// Where the quote stands that ends it.
fn end_of_string(inside: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        at += memchr2(b'"', b'\\', inside.get(at..)?)?;
        if inside.get(at) == Some(&b'"') {
            return Some(at);
        }
        at += 2;
    }
}

/// At most so many bytes of a string, cut where no escape is cut through.
pub(super) fn beginning(raw: &[u8], most: usize) -> &[u8] {
    let Some(cut) = raw.get(..most) else { return raw };
    // The longest escape is a pair of \uXXXX.
    let tail = cut.len().saturating_sub(12);
    let escape = cut.get(tail..).and_then(|tail| memchr(b'\\', tail)).map(|at| tail + at);
    cut.get(..escape.unwrap_or(cut.len())).unwrap_or_default()
}

/// What a JSON string says; as it stands, where it is no good one.
pub(super) fn unescaped(raw: &[u8]) -> Cow<'_, str> {
    if memchr(b'\\', raw).is_none() {
        return String::from_utf8_lossy(raw);
    }
    let quoted = [b"\"", raw, b"\""].concat();
    match serde_json::from_slice::<String>(&quoted) {
        Ok(text) => Cow::Owned(text),
        Err(_) => String::from_utf8_lossy(raw),
    }
}
