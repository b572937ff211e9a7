//! When a deployment is left alone: after failures in a row, or when too many of its latest calls failed; for a time that grows. Then one call at a time finds out
//! whether it is well again.
//!
//! Envoy's outlier detection ejects by the same two: `consecutive_5xx`, 5 where nothing else is said, and the share of failures
//! (<https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/outlier>). The share is counted over calls and not over time: so a busy deployment is left
//! alone within moments, one that is seldom called is not for what happened long ago and costs little, and no call has to look at a clock.

use std::time::{Duration, Instant};

/// Failures in a row after which a deployment cools down.
pub(super) const FAILURES: u32 = 5;
/// The latest calls that are remembered.
const WINDOW: u32 = 20;
/// Failures among them after which a deployment cools down: half of what is remembered, however few those are yet.
const FAILURES_IN_WINDOW: u32 = 10;
/// What it had before is forgiven after this many calls that it was well for, of which no more than a quarter failed.
const FORGIVEN_AFTER: u32 = 10;
/// The first time.
const SHORTEST: Duration = Duration::from_secs(1);
/// Twice as long each time, up to this.
const LONGEST: Duration = Duration::from_secs(60);

/// How much a failure says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Severity {
    /// It may pass: several in a row count.
    Counts,
    /// The next call would fail too, for so long at least as the provider says.
    AtOnce(Duration),
}

/// Where a deployment stands.
#[derive(Debug, Default)]
pub(super) struct Cooling {
    state: State,
    /// How often it has cooled down since that was forgiven.
    times: u32,
}

#[derive(Debug)]
enum State {
    Well(Latest),
    Cooling {
        until: Instant,
    },
    /// A call is finding out, since this time was over.
    Probed {
        until: Instant,
    },
}

impl Default for State {
    fn default() -> Self {
        Self::Well(Latest::default())
    }
}

/// How the latest calls ended, since it was last found well.
#[derive(Clone, Copy, Debug, Default)]
struct Latest {
    /// A bit each, set where it failed, the newest lowest.
    failed: u32,
    /// How many are known, up to [`WINDOW`].
    known: u32,
}

impl Latest {
    fn push(&mut self, failed: bool) {
        self.failed = (self.failed << 1 | u32::from(failed)) & ((1 << WINDOW) - 1);
        self.known = (self.known + 1).min(WINDOW);
    }

    fn are_too_many(self) -> bool {
        self.failed.trailing_ones() >= FAILURES || self.failed.count_ones() >= FAILURES_IN_WINDOW
    }

    fn forgive(self) -> bool {
        self.known >= FORGIVEN_AFTER && 4 * self.failed.count_ones() <= self.known
    }
}

impl Cooling {
    /// Whether a call may go there.
    pub(super) fn admits(&self, now: Instant) -> bool {
        match self.state {
            State::Well(_) => true,
            State::Cooling { until } => until <= now,
            State::Probed { .. } => false,
        }
    }

    /// A call goes there. Whether it is the one that finds out.
    pub(super) fn begin(&mut self, now: Instant) -> bool {
        match self.state {
            State::Cooling { until } if until <= now => {
                self.state = State::Probed { until };
                true
            }
            _ => false,
        }
    }

    /// A call was answered whole.
    pub(super) fn succeeded(&mut self) {
        if let State::Well(latest) = &mut self.state {
            latest.push(false);
            if latest.forgive() {
                self.times = 0;
            }
        }
    }

    /// The call that was to find out has an answer.
    pub(super) fn probed(&mut self) {
        self.state = State::default();
    }

    /// The call that was to find out ended without telling, because its caller left.
    pub(super) fn not_probed(&mut self) {
        if let State::Probed { until } = self.state {
            // For the next call to find out.
            self.state = State::Cooling { until };
        }
    }

    /// A call failed. For how long the deployment cools down, where that begins now. `spread`: around 1, so that cores and workers do not return together.
    pub(super) fn failed(
        &mut self,
        severity: Severity,
        is_probe: bool,
        now: Instant,
        spread: f64,
    ) -> Option<Duration> {
        let are_too_many = match &mut self.state {
            State::Well(latest) => {
                latest.push(true);
                latest.are_too_many()
            }
            State::Probed { .. } if is_probe => true,
            // What had begun before tells nothing new.
            State::Probed { .. } | State::Cooling { .. } => return None,
        };
        let least = match severity {
            Severity::Counts if !are_too_many => return None,
            Severity::Counts => Duration::ZERO,
            Severity::AtOnce(least) => least.min(LONGEST),
        };
        let grown = SHORTEST.saturating_mul(1_u32.checked_shl(self.times).unwrap_or(u32::MAX)).min(LONGEST);
        let cools_for = grown.mul_f64(spread).max(least);
        self.times = self.times.saturating_add(1).min(16);
        self.state = State::Cooling { until: now + cools_for };
        Some(cools_for)
    }
}

#[cfg(test)]
mod tests;
