//! What a request asks for: its model, whether it wants a stream, and how long an answer it allows. No more of it is parsed, and every other byte goes to the provider as it
//! came.

pub(crate) mod form;
mod splice;

use std::{borrow::Cow, fmt, ops::Range};

use bailiwick_domain::usage::CallType;
use bailiwick_runtime::serving::ApiError;
use bytes::Bytes;
use serde::de::{Deserializer as _, Error as _, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::{error, json};

pub(crate) use splice::splice;

/// The part of a request that concerns the gateway, and where it stands.
#[derive(Debug)]
pub(crate) struct Asked {
    /// The public model name.
    pub(crate) model: String,
    /// Whether a stream is wanted.
    pub(crate) stream: bool,
    /// Place of the model's JSON string, or of its name in a form.
    model_at: Range<usize>,
    /// What the request says of usage in a stream.
    stream_options: StreamOptions,
    /// How long an answer it allows.
    bounds: Bounds,
}

/// Bounds of the answer, in tokens, by the names that endpoints have for them. What is no number is none: the provider will say so. Of several, the largest: whichever the
/// provider takes is within it.
#[derive(Debug, Default, PartialEq, Eq)]
struct Bounds {
    max_tokens: Option<u64>,
    max_completion_tokens: Option<u64>,
    max_output_tokens: Option<u64>,
    /// Answers to one request.
    choices: Option<u64>,
}

#[derive(Debug, PartialEq, Eq)]
enum StreamOptions {
    Absent,
    /// `null`, at this place.
    Null(Range<usize>),
    /// An object that asks for usage.
    WithUsage,
    /// An object that says no, at this place.
    Without(Range<usize>),
    /// An object that says nothing of it, at this place; whether it has members.
    Silent(Range<usize>, bool),
}

impl Asked {
    /// Where the model's name stands in a form, or its string in JSON.
    pub(crate) fn model_at(&self) -> &Range<usize> {
        &self.model_at
    }

    /// Whether the caller of a stream will see the provider's usage anyway.
    pub(crate) fn asks_for_usage(&self) -> bool {
        matches!(self.stream_options, StreamOptions::WithUsage)
    }

    /// Tokens of all answers together that the caller allows; `None` when it does not say.
    pub(crate) fn answer_bound(&self, call_type: CallType) -> Option<u64> {
        let Bounds { max_tokens, max_completion_tokens, max_output_tokens, .. } = self.bounds;
        let bound = match call_type {
            CallType::ChatCompletion => max_completion_tokens.max(max_tokens),
            CallType::Completion | CallType::Message => max_tokens,
            CallType::Response => max_output_tokens,
            _ => None,
        };
        Some(bound?.saturating_mul(self.choices()))
    }

    /// Answers to this one request: 1 to [`MOST_CHOICES`].
    pub(crate) fn choices(&self) -> u64 {
        self.bounds.choices.unwrap_or(1).clamp(1, MOST_CHOICES)
    }
}

/// As many answers to one request as any provider gives.
const MOST_CHOICES: u64 = 128;

/// Looks at the top level of a JSON object. Errors: 400 with the place of what is wrong; never with what stands there.
pub(crate) fn scan(body: &Bytes) -> Result<Asked, ApiError> {
    let found = match Found::in_plain(body) {
        Some(found) => found,
        None => Found::in_any(body)?,
    };
    let model = found.model.ok_or_else(|| error::invalid_field("model", "model is missing"))?;
    let name = match json::text(model.as_bytes()) {
        Some(name) => name.to_owned(),
        None => parse(model).ok_or_else(|| error::invalid_field("model", "model is not a string"))?,
    };
    let stream = match found.stream {
        None | Some("false" | "null") => false,
        Some("true") => true,
        Some(_) => return Err(error::invalid_field("stream", "stream is not a boolean")),
    };
    let stream_options = match found.stream_options {
        None => StreamOptions::Absent,
        Some(raw) => options(body, raw)?,
    };
    Ok(Asked { model: name, stream, model_at: place(body, model), stream_options, bounds: found.bounds })
}

/// serde_json's own message can repeat what stands there; place and class cannot.
fn invalid(error: &serde_json::Error) -> ApiError {
    let what = match error.classify() {
        serde_json::error::Category::Eof => "the body ends too early",
        serde_json::error::Category::Syntax => "the body is not JSON",
        _ => "the body is not a JSON object, or names one of model, stream and stream_options twice",
    };
    error::invalid_json(format!("{what} (line {}, column {})", error.line(), error.column()))
}

/// Only what means the same to every provider passes: what one reads as yes and another as no would leave a stream without its usage.
fn options(body: &Bytes, text: &str) -> Result<StreamOptions, ApiError> {
    let at = place(body, text);
    if text == "null" {
        return Ok(StreamOptions::Null(at));
    }
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let found = deserializer.deserialize_map(Options).map_err(|_| {
        error::invalid_field(
            "stream_options",
            "stream_options is not an object, or names include_usage twice",
        )
    })?;
    match found.include_usage.map(|value| (value.get(), value)) {
        Some(("true", _)) => Ok(StreamOptions::WithUsage),
        Some(("false" | "null", value)) => Ok(StreamOptions::Without(place(body, value.get()))),
        Some(_) => {
            Err(error::invalid_field("stream_options", "stream_options.include_usage is not a boolean"))
        }
        None => Ok(StreamOptions::Silent(at, found.members)),
    }
}

fn parse(text: &str) -> Option<String> {
    serde_json::from_str(text).ok()
}

/// Where a value that was borrowed from the body stands in it.
fn place(body: &Bytes, text: &str) -> Range<usize> {
    let start = (text.as_ptr() as usize).saturating_sub(body.as_ptr() as usize);
    start..start + text.len()
}

/// What stands at the top level, as it is written.
#[derive(Debug, Default, PartialEq, Eq)]
struct Found<'a> {
    model: Option<&'a str>,
    stream: Option<&'a str>,
    stream_options: Option<&'a str>,
    bounds: Bounds,
}

impl<'a> Found<'a> {
    /// In a body as nearly all are. `None`: the other one has to look.
    fn in_plain(body: &'a [u8]) -> Option<Self> {
        let (mut found, mut reader) = (Self::default(), json::Reader::new(body));
        reader.members(|name, reader| {
            let value = reader.skip()?;
            let written = || std::str::from_utf8(value).ok();
            let slot = match name {
                b"model" => &mut found.model,
                b"stream" => &mut found.stream,
                b"stream_options" => &mut found.stream_options,
                other => {
                    if let Some(slot) = found.bounds.slot(other) {
                        *slot = number(written()?).max(*slot);
                    }
                    return Some(());
                }
            };
            slot.replace(written()?).is_none().then_some(())
        })?;
        reader.end().map(|()| found)
    }

    /// In any. Errors: it is no JSON object, or says one thing twice.
    fn in_any(body: &'a [u8]) -> Result<Self, ApiError> {
        let mut deserializer = serde_json::Deserializer::from_slice(body);
        let found = deserializer.deserialize_map(TopLevel);
        let found = found.and_then(|found| deserializer.end().map(|()| found));
        found.map_err(|error| invalid(&error))
    }
}

struct TopLevel;

impl<'de> Visitor<'de> for TopLevel {
    type Value = Found<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Found<'de>, A::Error> {
        let mut found = Found::default();
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            let slot = match key.as_ref() {
                "model" => &mut found.model,
                "stream" => &mut found.stream,
                "stream_options" => &mut found.stream_options,
                other => {
                    match found.bounds.slot(other.as_bytes()) {
                        Some(slot) => *slot = number(map.next_value::<&RawValue>()?.get()).max(*slot),
                        None => drop(map.next_value::<IgnoredAny>()?),
                    }
                    continue;
                }
            };
            // Two of them: the gateway could read one, and the provider the other.
            if slot.replace(map.next_value::<&RawValue>()?.get()).is_some() {
                return Err(A::Error::custom("twice"));
            }
        }
        Ok(found)
    }
}

impl Bounds {
    fn slot(&mut self, key: &[u8]) -> Option<&mut Option<u64>> {
        match key {
            b"max_tokens" => Some(&mut self.max_tokens),
            b"max_completion_tokens" => Some(&mut self.max_completion_tokens),
            b"max_output_tokens" => Some(&mut self.max_output_tokens),
            b"n" => Some(&mut self.choices),
            _ => None,
        }
    }
}

fn number(text: &str) -> Option<u64> {
    text.parse().ok()
}

#[derive(Default)]
struct FoundOptions<'a> {
    include_usage: Option<&'a RawValue>,
    members: bool,
}

struct Options;

impl<'de> Visitor<'de> for Options {
    type Value = FoundOptions<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<FoundOptions<'de>, A::Error> {
        let mut found = FoundOptions::default();
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            found.members = true;
            if key == "include_usage" {
                if found.include_usage.replace(map.next_value()?).is_some() {
                    return Err(A::Error::custom("twice"));
                }
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests;
