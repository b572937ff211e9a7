//! What a form asks for (RFC 7578): its model, and whether it wants a stream. It is read while it passes, and everything in it, files above all, goes to the provider as it
//! came, but for the model's name.
//!
//! Both ends have to read the same: a part is taken as `model` here only where every reader takes it so, and what is ambiguous is refused before a byte of it goes on. So
//! nothing can be said behind what was judged that a provider would take instead.

mod head;

use std::ops::Range;

use bailiwick_runtime::serving::ApiError;
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

/// A reader of a form that comes in pieces. It keeps none of them.
pub(crate) struct Form {
    /// `--` and the boundary.
    delimiter: Box<[u8]>,
    finder: memmem::Finder<'static>,
    state: State,
    parts: usize,
    /// Bytes that it is done with.
    done: usize,
    model: Option<Model>,
    stream: Option<bool>,
}

struct Model {
    name: String,
    at: Range<usize>,
}

/// What comes next.
#[derive(Clone, Copy)]
enum State {
    /// The first delimiter.
    Beginning,
    /// What stands behind a delimiter: a line's end, or `--`.
    Delimited,
    Head,
    Value(Field),
    /// Nothing but white space.
    Over,
}

#[derive(Clone, Copy)]
enum Field {
    Model,
    Stream,
    Other,
}

/// What became of a step.
enum Step {
    /// It is done with so many bytes.
    Done(usize),
    /// The same, and then more has to come.
    Needs(usize),
}

impl Form {
    /// A reader of a form of this type. Errors: 400, where it names no boundary.
    pub(crate) fn new(content_type: &HeaderValue) -> Result<Self, ApiError> {
        let delimiter = delimiter(content_type).ok_or_else(|| wrong("its type names no boundary"))?;
        let finder = memmem::Finder::new(&delimiter).into_owned();
        let (state, delimiter) = (State::Beginning, delimiter.into());
        Ok(Self { delimiter, finder, state, parts: 0, done: 0, model: None, stream: None })
    }

    /// Looks at the bytes behind those that it is done with, and says with how many of these it is done: they may go on. The others are to be shown again, with what comes next:
    /// at most [`LONGEST_HEAD`] of them.
    ///
    /// # Errors
    /// 400 that says what is wrong; never with what stands there.
    pub(crate) fn read(&mut self, bytes: &[u8]) -> Result<usize, ApiError> {
        let mut at = 0;
        loop {
            // Each turn goes past a delimiter or a head, and there are only so many of them.
            match self.step(bytes.get(at..).unwrap_or_default())? {
                Step::Done(length) => {
                    at += length;
                    self.done += length;
                }
                Step::Needs(length) => {
                    self.done += length;
                    return Ok(at + length);
                }
            }
        }
    }

    /// Whether its end has come.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self.state, State::Over)
    }

    /// Nothing follows. Errors: 400, where something should.
    pub(crate) fn end(&self) -> Result<(), ApiError> {
        if self.is_over() { Ok(()) } else { Err(wrong("it ends amid a part")) }
    }

    /// Whether its model has come.
    pub(crate) fn has_model(&self) -> bool {
        self.model.is_some()
    }

    /// Whether it has asked for a stream by now.
    pub(crate) fn stream(&self) -> bool {
        self.stream.unwrap_or_default()
    }

    /// What it asks for, as far as it has come. Errors: 400 without a model.
    pub(crate) fn asked(&self) -> Result<Asked, ApiError> {
        let Some(Model { name, at }) = &self.model else {
            return Err(error::invalid_field("model", "model is missing"));
        };
        Ok(Asked {
            model: name.clone(),
            stream: self.stream(),
            model_at: at.clone(),
            stream_options: StreamOptions::Absent,
            bounds: Bounds::default(),
        })
    }

    fn step(&mut self, bytes: &[u8]) -> Result<Step, ApiError> {
        match self.state {
            State::Beginning => self.step_at_beginning(bytes),
            State::Delimited => self.step_behind_delimiter(bytes),
            State::Head => self.step_in_head(bytes),
            State::Value(Field::Other) => self.step_in_value(bytes),
            State::Value(field) => self.step_in_field(field, bytes),
            // What would be read there by a reader that goes on would be read by nobody here.
            State::Over if !bytes.iter().all(u8::is_ascii_whitespace) => {
                Err(wrong("something stands behind its end"))
            }
            State::Over => Ok(Step::Needs(bytes.len())),
        }
    }

    fn step_at_beginning(&mut self, bytes: &[u8]) -> Result<Step, ApiError> {
        let length = self.delimiter.len();
        if bytes.starts_with(&self.delimiter) {
            self.state = State::Delimited;
            return Ok(Step::Done(length));
        }
        if self.delimiter.starts_with(bytes) {
            Ok(Step::Needs(0))
        } else {
            Err(wrong("it begins with no boundary"))
        }
    }

    fn step_behind_delimiter(&mut self, bytes: &[u8]) -> Result<Step, ApiError> {
        self.state = match bytes.get(..2) {
            Some(b"\r\n") => State::Head,
            Some(b"--") => State::Over,
            Some(_) => return Err(wrong("a boundary ends no line")),
            None => return Ok(Step::Needs(0)),
        };
        Ok(Step::Done(2))
    }

    fn step_in_head(&mut self, bytes: &[u8]) -> Result<Step, ApiError> {
        let head = bytes.get(..LONGEST_HEAD).unwrap_or(bytes);
        let Some(length) = memmem::find(head, b"\r\n\r\n") else {
            let is_long = head.len() == LONGEST_HEAD;
            return if is_long { Err(wrong("a part has no end of its head")) } else { Ok(Step::Needs(0)) };
        };
        self.parts += 1;
        if self.parts > MOST_PARTS {
            return Err(wrong("it has too many parts"));
        }
        let head = head.get(..length).unwrap_or_default();
        if self.finder.find(head).is_some() {
            return Err(wrong("its boundary stands amid a part"));
        }
        let name = head::name(head);
        let field =
            match name.ok_or_else(|| wrong("a part has no name, or a head that can be read in two ways"))? {
                "model" if self.model.is_none() => Field::Model,
                "stream" if self.stream.is_none() => Field::Stream,
                "model" | "stream" => return Err(wrong("it has two parts of one name")),
                _ => Field::Other,
            };
        self.state = State::Value(field);
        Ok(Step::Done(length + 4))
    }

    /// A value that is not read goes on, but for what may prove to be a delimiter.
    fn step_in_value(&mut self, bytes: &[u8]) -> Result<Step, ApiError> {
        match self.value(bytes)? {
            Some(length) => Ok(self.behind_value(length)),
            None => Ok(Step::Needs(bytes.len() - self.begun_delimiter(bytes))),
        }
    }

    /// One that is read is whole first.
    fn step_in_field(&mut self, field: Field, bytes: &[u8]) -> Result<Step, ApiError> {
        let Some(length) = self.value(bytes)? else {
            let is_long = bytes.len() > LONGEST_VALUE + self.delimiter.len() + 2;
            return if is_long { Err(not_good(field)) } else { Ok(Step::Needs(0)) };
        };
        let value = bytes.get(..length).filter(|value| value.len() <= LONGEST_VALUE);
        let value = value.and_then(|value| std::str::from_utf8(value).ok()).ok_or_else(|| not_good(field))?;
        match field {
            Field::Model => {
                self.model = Some(Model { name: value.to_owned(), at: self.done..self.done + length });
            }
            Field::Stream => self.stream = Some(boolean(value).ok_or_else(|| not_good(field))?),
            Field::Other => {}
        }
        Ok(self.behind_value(length))
    }

    fn behind_value(&mut self, length: usize) -> Step {
        self.state = State::Delimited;
        Step::Done(length + 2 + self.delimiter.len())
    }

    /// The length of the value that these bytes begin with, where its end has come. Some readers take a delimiter for one wherever it stands, so it stands nowhere else.
    fn value(&self, bytes: &[u8]) -> Result<Option<usize>, ApiError> {
        let Some(at) = self.finder.find(bytes) else { return Ok(None) };
        let value = bytes.get(..at).and_then(|value| value.strip_suffix(b"\r\n"));
        let value = value.ok_or_else(|| wrong("its boundary stands amid a part"))?;
        Ok(Some(value.len()))
    }

    /// How many of the last bytes may be the beginning of a delimiter and the line end before it.
    fn begun_delimiter(&self, bytes: &[u8]) -> usize {
        let is_begun = |tail: &[u8]| {
            let begins = tail.strip_prefix(b"\r\n").unwrap_or(tail);
            self.delimiter.starts_with(begins) || tail == b"\r"
        };
        let longest = (self.delimiter.len() + 1).min(bytes.len());
        let tail = |length: &usize| bytes.get(bytes.len() - length..).is_some_and(is_begun);
        (1..=longest).rev().find(tail).unwrap_or_default()
    }
}

fn wrong(what: &str) -> ApiError {
    error::invalid_form(what)
}

fn not_good(field: Field) -> ApiError {
    match field {
        Field::Stream => error::invalid_field("stream", "stream is not a boolean"),
        _ => error::invalid_field("model", "model is not the name of a model"),
    }
}

fn boolean(value: &str) -> Option<bool> {
    match value {
        "true" | "True" | "1" => Some(true),
        "false" | "False" | "0" | "" => Some(false),
        _ => None,
    }
}

/// `--` and the boundary.
fn delimiter(content_type: &HeaderValue) -> Option<Vec<u8>> {
    let (_, mut parameters) = content_type.to_str().ok()?.split_once(';')?;
    let mut found = None;
    while !parameters.trim().is_empty() {
        let (name, value, rest) = head::parameter(parameters)?;
        let is_twice = name.eq_ignore_ascii_case("boundary") && found.replace(value).is_some();
        // In the form of RFC 2231, which some take for the better one.
        if is_twice || name.to_ascii_lowercase().starts_with("boundary*") {
            return None;
        }
        parameters = rest;
    }
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"'()+_,-./:=?".contains(&byte);
    let boundary = found?;
    let good = (1..=LONGEST_BOUNDARY).contains(&boundary.len()) && boundary.bytes().all(allowed);
    good.then(|| [b"--", boundary.as_bytes()].concat())
}

#[cfg(test)]
mod tests;
