//! Problems of a configuration: collected, each with its key path, none with a value (which might be a secret in the wrong place).

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use figment::error::{Actual, Kind};

use super::Checked;

/// More are not worth reading.
pub(super) const MAX: usize = 64;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where: `serve.listen`. Empty for the configuration as a whole.
    pub key: String,
    /// What, and what is expected instead. Never the value itself.
    pub problem: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.key.is_empty() {
            f.write_str(&self.problem)
        } else {
            write!(f, "{}: {}", self.key, self.problem)
        }
    }
}

pub(super) fn display(problems: &[Problem]) -> String {
    let lines: Vec<String> = problems.iter().map(|problem| format!("  {problem}")).collect();
    format!("the configuration has {} problem(s):\n{}", problems.len(), lines.join("\n"))
}

/// Collects problems while sections are checked.
#[derive(Debug, Default)]
pub struct Problems {
    list: Vec<Problem>,
    section: Vec<String>,
}

impl Problems {
    /// Reports a problem of `key` in the present section. One key is reported once: the first problem is the cause of others.
    pub fn report(&mut self, key: &str, problem: impl fmt::Display) {
        let key = self.path_of(key);
        if !self.reported(&key) && self.list.len() < MAX {
            self.list.push(Problem { key, problem: problem.to_string() });
        }
    }

    /// The value of a key that must be there.
    pub fn require<T>(&mut self, key: &str, value: Option<T>) -> Option<T> {
        if value.is_none() {
            self.report(key, "is missing");
        }
        value
    }

    /// The value that a text stands for.
    pub fn parse<T: FromStr<Err: fmt::Display>>(&mut self, key: &str, text: &str) -> Option<T> {
        text.parse().map_err(|error| self.report(key, error)).ok()
    }

    /// A value that must lie within bounds.
    pub fn within<T: PartialOrd + fmt::Display>(
        &mut self,
        key: &str,
        value: T,
        bounds: RangeInclusive<T>,
    ) -> Option<T> {
        if bounds.contains(&value) {
            return Some(value);
        }
        self.report(key, format_args!("must be between {} and {}", bounds.start(), bounds.end()));
        None
    }

    /// Checks a section that must be there.
    pub fn section<C: Checked>(&mut self, name: &str, raw: Option<C::Raw>) -> Option<C> {
        let raw = self.require(name, raw)?;
        self.nested(name, |problems| C::check(raw, problems))
    }

    /// Checks a section whose settings all have defaults.
    pub fn section_or_default<C: Checked<Raw: Default>>(
        &mut self,
        name: &str,
        raw: Option<C::Raw>,
    ) -> Option<C> {
        self.nested(name, |problems| C::check(raw.unwrap_or_default(), problems))
    }

    /// Puts `name` before every key that `check` reports.
    pub fn nested<T>(&mut self, name: &str, check: impl FnOnce(&mut Self) -> T) -> T {
        self.section.push(name.to_owned());
        let checked = check(self);
        self.section.pop();
        checked
    }

    /// What was found.
    pub fn into_list(self) -> Vec<Problem> {
        self.list
    }

    fn path_of(&self, key: &str) -> String {
        let mut path = self.section.join(".");
        if !path.is_empty() && !key.is_empty() {
            path.push('.');
        }
        path + key
    }

    /// Whether this key, or the section that it is in, was reported before.
    fn reported(&self, key: &str) -> bool {
        self.list.iter().any(|problem| {
            key == problem.key
                || (!problem.key.is_empty()
                    && key.starts_with(&problem.key)
                    && key.as_bytes().get(problem.key.len()) == Some(&b'.'))
        })
    }
}

/// A text that is not TOML. The library's message quotes the line; ours names only the place.
pub(super) fn of_syntax(error: &figment::Error) -> Problem {
    let text = error.to_string();
    let told: Vec<&str> =
        text.lines().filter(|line| !line.contains('|') && !line.trim().is_empty()).collect();
    Problem { key: String::new(), problem: told.join(": ") }
}

/// Where a value is wrong, and how.
pub(super) fn of_value(error: &figment::Error) -> (Vec<String>, String) {
    let mut path = error.path.clone();
    let problem = match &error.kind {
        Kind::Message(message) => message.clone(),
        Kind::InvalidType(actual, expected) => format!("expected {expected}, found {}", kind_of(actual)),
        Kind::InvalidValue(_, expected) => format!("expected {expected}"),
        Kind::InvalidLength(length, expected) => format!("expected {expected}, found {length} of them"),
        Kind::UnknownVariant(_, expected) => format!("expected one of {}", expected.join(", ")),
        Kind::UnknownField(field, expected) => {
            // The library's path ends with the field itself here, unlike below.
            if path.last() != Some(field) {
                path.push(field.clone());
            }
            format!("is not known here; known are {}", expected.join(", "))
        }
        Kind::MissingField(field) => {
            path.push(field.to_string());
            "is missing".to_owned()
        }
        Kind::DuplicateField(field) => {
            path.push((*field).to_owned());
            "is given twice".to_owned()
        }
        Kind::ISizeOutOfRange(_) | Kind::USizeOutOfRange(_) => {
            "the number is too large or too small".to_owned()
        }
        Kind::Unsupported(_) | Kind::UnsupportedKey(..) => "is of a type that has no place here".to_owned(),
    };
    (path, problem)
}

fn kind_of(actual: &Actual) -> &'static str {
    match actual {
        Actual::Bool(_) => "a boolean",
        Actual::Unsigned(_) | Actual::Signed(_) => "an integer",
        Actual::Float(_) => "a number",
        Actual::Char(_) | Actual::Str(_) => "a string",
        Actual::Bytes(_) | Actual::Seq => "a list",
        Actual::Map => "a table",
        _ => "something else",
    }
}
