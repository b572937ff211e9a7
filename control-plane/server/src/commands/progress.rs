//! Says on the error stream how far a command is that takes long.

use std::{
    io::Write as _,
    time::{Duration, Instant},
};

/// What takes no longer than this says nothing.
const SILENT: Duration = Duration::from_secs(2);

/// Speaks every other second.
pub(crate) struct Progress {
    done: &'static str,
    next: Instant,
}

impl Progress {
    /// `done` is what happens to rows, e.g. `read`.
    pub(crate) fn new(done: &'static str) -> Self {
        Self { done, next: Instant::now() + SILENT }
    }

    /// So many rows of a table are done.
    pub(crate) fn tell(&mut self, table: &str, rows: u64) {
        if Instant::now() >= self.next {
            self.next = Instant::now() + SILENT;
            // Where the error stream is gone, nobody is there to hear.
            let _ = writeln!(std::io::stderr().lock(), "{table}: {rows} rows {}", self.done);
        }
    }
}
