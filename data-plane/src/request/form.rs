//! What a form asks for (RFC 7578): its model, and whether it wants a stream. Everything else, files above all, goes to the provider as it came.
//!
//! Both ends have to read the same: a part is taken as `model` here only where every reader takes it so, and what is ambiguous is refused.

use std::ops::Range;

use bailiwick_runtime::serving::ApiError;
use bytes::Bytes;
use http::HeaderValue;
use memchr::memmem;

use super::{Asked, Bounds, StreamOptions};
use crate::error;

/// Parts of a form. OpenAI's have a dozen fields.
const MOST_PARTS: usize = 64;
/// What stands before a part's value.
const LONGEST_HEAD: usize = 4 << 10;
/// RFC 2046, section 5.1.1.
const LONGEST_BOUNDARY: usize = 70;
/// Fields that are read are short.
const LONGEST_VALUE: usize = 256;

/// Looks at a form's fields. Errors: 400 that says what is wrong; never with what stands there.
pub(crate) fn scan(body: &Bytes, content_type: &HeaderValue) -> Result<Asked, ApiError> {
    let boundary = boundary(content_type).ok_or_else(|| wrong("its type names no boundary"))?;
    let (mut model, mut stream) = (None, None);
    for part in parts(body, &boundary)? {
        let (field, taken) = match part.name {
            "model" => (&mut model, part.value),
            "stream" => (&mut stream, part.value),
            _ => continue,
        };
        if field.replace(taken).is_some() {
            return Err(wrong("it has two parts of one name"));
        }
    }
    let model_at = model.ok_or_else(|| error::invalid_field("model", "model is missing"))?;
    let model = text(body, &model_at)
        .ok_or_else(|| error::invalid_field("model", "model is not the name of a model"))?;
    let stream = match stream.as_ref().map(|at| text(body, at)) {
        None => false,
        Some(Some("true" | "True" | "1")) => true,
        Some(Some("false" | "False" | "0" | "")) => false,
        Some(_) => return Err(error::invalid_field("stream", "stream is not a boolean")),
    };
    Ok(Asked {
        model: model.to_owned(),
        stream,
        model_at: model_at.clone(),
        stream_options: StreamOptions::Absent,
        bounds: Bounds::default(),
        form: Some(content_type.clone()),
    })
}

fn wrong(what: &str) -> ApiError {
    error::invalid_form(what)
}

fn text<'a>(body: &'a [u8], at: &Range<usize>) -> Option<&'a str> {
    let value = body.get(at.clone()).filter(|value| value.len() <= LONGEST_VALUE)?;
    std::str::from_utf8(value).ok()
}

/// `--` and the boundary, with the line end before it.
fn boundary(content_type: &HeaderValue) -> Option<Vec<u8>> {
    let (_, mut parameters) = content_type.to_str().ok()?.split_once(';')?;
    let mut found = None;
    while !parameters.trim().is_empty() {
        let (name, value, rest) = parameter(parameters)?;
        if name.eq_ignore_ascii_case("boundary") && found.replace(value).is_some() {
            return None;
        }
        parameters = rest;
    }
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"'()+_,-./:=?".contains(&byte);
    let boundary = found?;
    let good = (1..=LONGEST_BOUNDARY).contains(&boundary.len()) && boundary.bytes().all(allowed);
    good.then(|| [b"\r\n--", boundary.as_bytes()].concat())
}

struct Part<'a> {
    name: &'a str,
    value: Range<usize>,
}

fn parts<'a>(body: &'a [u8], boundary: &[u8]) -> Result<Vec<Part<'a>>, ApiError> {
    let first = boundary.get(2..).unwrap_or_default();
    let Some(mut rest) = body.strip_prefix(first) else { return Err(wrong("it begins with no boundary")) };
    let finder = memmem::Finder::new(boundary);
    let mut found = Vec::new();
    // Each turn goes past a boundary, and at most as often as parts are allowed.
    for _ in 0..=MOST_PARTS {
        if rest.starts_with(b"--") {
            return Ok(found);
        }
        let Some(part) = rest.strip_prefix(b"\r\n") else { return Err(wrong("a boundary ends no line")) };
        let begins = body.len() - part.len();
        let head = part.get(..LONGEST_HEAD.min(part.len())).unwrap_or_default();
        let head_ends =
            memmem::find(head, b"\r\n\r\n").ok_or_else(|| wrong("a part has no end of its head"))?;
        let name = name(head.get(..head_ends).unwrap_or_default());
        let name = name.ok_or_else(|| wrong("a part has no name, or one that can be read in two ways"))?;
        let value_at = head_ends + 4;
        let value = part.get(value_at..).unwrap_or_default();
        let length = finder.find(value).ok_or_else(|| wrong("it ends amid a part"))?;
        found.push(Part { name, value: begins + value_at..begins + value_at + length });
        rest = value.get(length + boundary.len()..).unwrap_or_default();
    }
    Err(wrong("it has too many parts"))
}

/// The name that its one `Content-Disposition` gives a part.
fn name(head: &[u8]) -> Option<&str> {
    let head = std::str::from_utf8(head).ok()?;
    let mut name = None;
    for line in head.split("\r\n") {
        let (field, value) = line.split_once(':')?;
        // Folded lines are read in two ways.
        if field.bytes().any(|byte| byte.is_ascii_whitespace()) || line.contains(['\r', '\n']) {
            return None;
        }
        if !field.eq_ignore_ascii_case("content-disposition") {
            continue;
        }
        let (kind, mut parameters) = value.split_once(';')?;
        if !kind.trim().eq_ignore_ascii_case("form-data") || name.is_some() {
            return None;
        }
        while !parameters.trim().is_empty() {
            let (parameter, value, rest) = parameter(parameters)?;
            if parameter.eq_ignore_ascii_case("name") {
                if name.is_some() || value.contains('\\') {
                    return None;
                }
                name = Some(value);
            } else if parameter.to_ascii_lowercase().starts_with("name*") {
                return None;
            }
            parameters = rest;
        }
    }
    name
}

/// The first of `name=value; …`, its value without quotes, and what follows.
fn parameter(text: &str) -> Option<(&str, &str, &str)> {
    let (name, value) = text.split_once('=')?;
    let name = name.trim();
    let Some(quoted) = value.strip_prefix('"') else {
        let (value, rest) = value.split_once(';').unwrap_or((value, ""));
        return Some((name, value.trim(), rest));
    };
    let mut escaped = false;
    let end = quoted.bytes().position(|byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    })?;
    let (value, rest) = quoted.split_at_checked(end)?;
    let rest = rest.strip_prefix('"')?.trim_start();
    let rest = if rest.is_empty() { rest } else { rest.strip_prefix(';')? };
    Some((name, value, rest))
}

#[cfg(test)]
mod tests;
