//! How often calls may be tried again, so that retries do not multiply an outage: a fifth of the calls, and ten a second, whichever is more of; saved up for ten seconds at most.
//! As in Finagle's `RetryBudget` (<https://twitter.github.io/finagle/guide/Clients.html#retries>).

use std::time::Instant;

/// What a retry costs, where a call pays 1.
const RETRY: u32 = 5;
/// Retries a second that cost nothing.
const FLOOR_PER_SECOND: f64 = 10.0;
/// What is saved up at most.
const FULL: u32 = 100 * RETRY;

#[derive(Debug)]
pub(super) struct Budget {
    saved: u32,
    /// Since when the floor has not been added.
    since: Option<Instant>,
}

impl Default for Budget {
    fn default() -> Self {
        Self { saved: FULL, since: None }
    }
}

impl Budget {
    pub(super) fn called(&mut self) {
        self.saved = (self.saved + 1).min(FULL);
    }

    /// Takes a retry out, if there is one.
    pub(super) fn withdraw(&mut self, now: Instant) -> bool {
        let idle = self.since.map_or(0.0, |since| now.saturating_duration_since(since).as_secs_f64());
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "saturates, and is no less than 0"
        )]
        let earned = (idle * FLOOR_PER_SECOND * f64::from(RETRY)) as u32;
        if earned > 0 || self.since.is_none() {
            self.since = Some(now);
            self.saved = self.saved.saturating_add(earned).min(FULL);
        }
        let left = self.saved.checked_sub(RETRY);
        left.map(|left| self.saved = left).is_some()
    }
}

#[cfg(test)]
mod tests;
