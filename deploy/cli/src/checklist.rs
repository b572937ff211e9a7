//! Checks, one after the other, each with what was found and what to do about it.

use crate::{
    failure::Exit,
    output::{Output, Record, Value},
};

/// What became of a check.
#[derive(Clone, Debug)]
struct Item {
    check: String,
    /// `None`: could not be looked at.
    passed: Option<bool>,
    finding: String,
    hint: Option<String>,
    /// Something is to be done, and nothing is broken.
    is_warning: bool,
}

/// Checks; printed to people as they are made, to programs at the end.
#[derive(Debug)]
pub(crate) struct Checklist<'a> {
    output: &'a Output,
    items: Vec<Item>,
}

/// A check's finding, or what is wrong and what to do about it.
pub(crate) type Finding = Result<String, (String, String)>;

impl<'a> Checklist<'a> {
    pub(crate) fn new(output: &'a Output) -> Self {
        Self { output, items: Vec::new() }
    }

    /// Notes a check; true when it passed.
    pub(crate) fn check(&mut self, check: &str, finding: Finding) -> bool {
        let passed = finding.is_ok();
        let (finding, hint) = match finding {
            Ok(finding) => (finding, None),
            Err((finding, hint)) => (finding, Some(hint).filter(|hint| !hint.is_empty())),
        };
        self.add(Item { check: check.to_owned(), passed: Some(passed), finding, hint, is_warning: false });
        passed
    }

    /// A check that could not be made, and why.
    pub(crate) fn skip(&mut self, check: &str, why: &str) {
        let (check, finding) = (check.to_owned(), why.to_owned());
        self.add(Item { check, passed: None, finding, hint: None, is_warning: false });
    }

    /// Something is to be done, though nothing is broken.
    pub(crate) fn warn(&mut self, check: &str, finding: String, hint: &str) {
        let (check, hint) = (check.to_owned(), Some(hint.to_owned()));
        self.add(Item { check, passed: None, finding, hint, is_warning: true });
    }

    fn add(&mut self, item: Item) {
        if !self.output.is_json() {
            let line = match item.finding.as_str() {
                "" => item.check.clone(),
                finding => format!("{}: {finding}", item.check),
            };
            self.output.mark(item.passed, &line);
            if let Some(hint) = &item.hint {
                self.output.line(&format!("    hint: {hint}"));
            }
        }
        self.items.push(item);
    }

    pub(crate) fn finish(self) -> Exit {
        let warnings = self.items.iter().filter(|item| item.is_warning).count();
        let failed = self.items.iter().filter(|item| item.passed == Some(false)).count();
        if self.output.is_json() {
            let checks: Vec<Record> = self.items.iter().map(record).collect();
            self.output.json(&serde_json::json!({ "passed": failed == 0, "checks": checks }));
        } else {
            let all = self.items.len();
            self.output.line(&match (failed, warnings) {
                (0, 0) => format!("\nall {all} checks passed or were skipped"),
                (0, warnings) => format!("\nall {all} checks passed or were skipped; {warnings} to look at"),
                (failed, _) => format!("\n{failed} of {all} checks failed"),
            });
        }
        if failed == 0 { Exit::Done } else { Exit::Failed }
    }
}

fn record(item: &Item) -> Record {
    let outcome = match item.passed {
        Some(true) => "passed",
        Some(false) => "failed",
        None if item.is_warning => "warning",
        None => "skipped",
    };
    let hint = item.hint.clone().map(|hint| Box::new(Value::Text(hint)));
    Record::default()
        .text("check", &item.check)
        .text("outcome", outcome)
        .text("finding", &item.finding)
        .with("hint", Value::Maybe(hint))
}
