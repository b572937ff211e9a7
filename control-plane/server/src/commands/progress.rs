//! Says on the error stream how far a command is that takes long.

use std::{
    io::Write as _,
    time::{Duration, Instant},
};

/// What takes no longer than this says nothing.
const SILENT: Duration = Duration::from_secs(2);

/// Speaks every other second.
pub(crate) struct Progress {
    next: Instant,
}

impl Progress {
    pub(crate) fn new() -> Self {
        Self { next: Instant::now() + SILENT }
    }

    /// So many rows are done; `what` is the table, or the step.
    pub(crate) fn tell(&mut self, what: &str, rows: u64) {
        if Instant::now() >= self.next {
            self.next = Instant::now() + SILENT;
            // Where the error stream is gone, nobody is there to hear.
            let _ = writeln!(std::io::stderr().lock(), "{what}: {rows} rows");
        }
    }
}
