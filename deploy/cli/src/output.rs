//! What is printed: tables for people, JSON for programs, both from the same records.
//!
//! Text of the server is cleared of control characters before a terminal sees it.
#![expect(clippy::print_stderr, reason = "the one place that prints")]

use std::io::{IsTerminal, Write};

use bailiwick_domain::money::NanoUsd;
use clap::ValueEnum;
use comfy_table::{Table, presets};
use serde::{Serialize, Serializer, ser::SerializeMap};

use crate::{failure::Failure, when::Moment};

/// How answers are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Table,
    Json,
}

/// A value of a record. Programs get times as RFC 3339 or null, and money as a decimal string of dollars.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Text(String),
    Count(u64),
    Flag(bool),
    /// Microseconds since the Unix epoch; 0: none.
    Time(i64),
    /// Nano-dollars.
    Money(i64),
    Maybe(Option<Box<Value>>),
    List(Vec<String>),
}

impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Text(text) if text.is_empty() => f.write_str("-"),
            Self::Text(text) => f.write_str(&printable(text)),
            Self::Count(count) => write!(f, "{count}"),
            Self::Flag(flag) => f.write_str(if *flag { "yes" } else { "no" }),
            Self::Time(micros) => write!(f, "{}", Moment(*micros)),
            Self::Money(nanos) => write!(f, "{}", NanoUsd::from_nanos(*nanos)),
            Self::Maybe(Some(value)) => value.fmt(f),
            Self::Maybe(None) => f.write_str("-"),
            Self::List(list) if list.is_empty() => f.write_str("-"),
            Self::List(list) => f.write_str(&printable(&list.join(", "))),
        }
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(text) => serializer.serialize_str(text),
            Self::Count(count) => serializer.serialize_u64(*count),
            Self::Flag(flag) => serializer.serialize_bool(*flag),
            Self::Time(micros) => Moment(*micros).serialize(serializer),
            Self::Money(nanos) => {
                serializer.collect_str(&NanoUsd::from_nanos(*nanos).to_string().replacen('$', "", 1))
            }
            Self::Maybe(value) => value.serialize(serializer),
            Self::List(list) => list.serialize(serializer),
        }
    }
}

/// Named values in the order in which they are printed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Record(Vec<(&'static str, Value)>);

impl Record {
    #[must_use]
    pub(crate) fn with(mut self, name: &'static str, value: Value) -> Self {
        self.0.push((name, value));
        self
    }

    #[must_use]
    pub(crate) fn text(self, name: &'static str, text: impl Into<String>) -> Self {
        self.with(name, Value::Text(text.into()))
    }

    #[must_use]
    pub(crate) fn count(self, name: &'static str, count: impl Into<u64>) -> Self {
        self.with(name, Value::Count(count.into()))
    }

    #[must_use]
    pub(crate) fn time(self, name: &'static str, micros: i64) -> Self {
        self.with(name, Value::Time(micros))
    }
}

impl Serialize for Record {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

/// Where answers go.
#[derive(Debug)]
pub(crate) struct Output {
    format: Format,
    color: bool,
    error_color: bool,
}

impl Output {
    pub(crate) fn new(format: Format, no_color: bool) -> Self {
        Self {
            format,
            color: !no_color && std::io::stdout().is_terminal(),
            error_color: !no_color && std::io::stderr().is_terminal(),
        }
    }

    pub(crate) fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    /// A list, a line each.
    pub(crate) fn list(&self, records: &[Record]) {
        match self.format {
            Format::Json => self.json(&records),
            Format::Table if records.is_empty() => self.note("none"),
            Format::Table => write_out(&table(records)),
        }
    }

    /// One thing, a line for each of its values.
    pub(crate) fn one(&self, record: &Record) {
        match self.format {
            Format::Json => self.json(record),
            Format::Table => write_out(&fields(record)),
        }
    }

    /// For programs.
    pub(crate) fn json(&self, value: &impl Serialize) {
        match serde_json::to_string_pretty(value) {
            Ok(text) => write_out(&text),
            Err(error) => eprintln!("error: the answer cannot be written as JSON: {error}"),
        }
    }

    /// For people only.
    pub(crate) fn line(&self, text: &str) {
        if self.format == Format::Table {
            write_out(&printable(text));
        }
    }

    /// A ✓ or × before a line; for people only.
    pub(crate) fn mark(&self, passed: Option<bool>, text: &str) {
        let (mark, color) = match passed {
            Some(true) => ("✓", "32"),
            Some(false) => ("×", "31"),
            None => ("-", "33"),
        };
        let mark = if self.color { format!("\u{1b}[{color}m{mark}\u{1b}[0m") } else { mark.to_owned() };
        write_out(&format!("{mark} {}", printable(text)));
    }

    /// Progress and remarks, which are no part of the answer.
    pub(crate) fn note(&self, text: &str) {
        eprintln!("{}", printable(text));
    }

    /// A question at the terminal, without an end of line.
    pub(crate) fn ask(&self, text: &str) {
        eprint!("{}", printable(text));
        let _gone = std::io::stderr().flush();
    }

    pub(crate) fn failure(&self, failure: &Failure) {
        if self.is_json() {
            let text = serde_json::to_string_pretty(&serde_json::json!({ "error": failure }));
            eprintln!("{}", text.unwrap_or_else(|_| failure.message.clone()));
            return;
        }
        let label = if self.error_color { "\u{1b}[31merror\u{1b}[0m" } else { "error" };
        eprintln!("{label}: {}", printable(&failure.to_string()));
    }

    pub(crate) fn completions(&self, command: &mut clap::Command, shell: clap_complete::Shell) {
        let mut script = Vec::new();
        clap_complete::generate(shell, command, "bailiwick", &mut script);
        write_out(String::from_utf8_lossy(&script).trim_end());
    }
}

/// A reader that went away (`| head`) is no error of ours.
fn write_out(text: &str) {
    let _gone = writeln!(std::io::stdout(), "{text}");
}

/// A server's text must not steer the terminal.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c }).collect()
}

fn title(name: &str) -> String {
    name.replace('_', " ")
}

fn table(records: &[Record]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    if let Some(first) = records.first() {
        table.set_header(first.0.iter().map(|(name, _)| title(name).to_uppercase()));
    }
    for record in records {
        // One thing, one line.
        table.add_row(record.0.iter().map(|(_, value)| value.to_string().replace('\n', " ")));
    }
    trimmed(&table)
}

fn fields(record: &Record) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    for (name, value) in &record.0 {
        table.add_row([title(name), value.to_string()]);
    }
    trimmed(&table)
}

fn trimmed(table: &Table) -> String {
    // comfy-table pads both ends of each line.
    let text = table.to_string();
    let lines: Vec<&str> =
        text.lines().map(|line| line.strip_prefix(' ').unwrap_or(line).trim_end()).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests;
