//! What the terminal sees while things start.

use std::time::Instant;

/// Says what happens, with the time since the start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Progress {
    since: Instant,
}

impl Progress {
    pub(crate) fn start() -> Self {
        Self { since: Instant::now() }
    }

    pub(crate) fn say(&self, region: &str, what: &str) {
        line(&format!("[{:5.1} s] {region:<12} {what}", self.since.elapsed().as_secs_f64()));
    }
}

/// Says why it ends.
pub(crate) fn failed(error: &anyhow::Error) {
    line(&format!("error: {error:#}"));
}

/// One line of progress. It goes to standard error: standard output is the result's.
#[expect(clippy::print_stderr, reason = "a command for the terminal")]
pub(crate) fn line(text: &str) {
    eprintln!("{text}");
}

/// One line of the result.
#[expect(clippy::print_stdout, reason = "a command for the terminal")]
pub(crate) fn result(text: &str) {
    println!("{text}");
}
