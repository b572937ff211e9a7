//! When a deployment is left alone: after failures in a row, for a time that grows; then one call at a time finds out whether it is well again.

use std::time::{Duration, Instant};

/// Failures in a row after which a deployment cools down.
pub(super) const FAILURES: u32 = 5;
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
    /// How often it has cooled down since it was last well.
    times: u32,
}

#[derive(Debug)]
enum State {
    Well {
        failures: u32,
    },
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
        Self::Well { failures: 0 }
    }
}

impl Cooling {
    /// Whether a call may go there.
    pub(super) fn admits(&self, now: Instant) -> bool {
        match self.state {
            State::Well { .. } => true,
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
        if matches!(self.state, State::Well { .. }) {
            *self = Self::default();
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
        let failures = match self.state {
            State::Well { failures } => failures.saturating_add(1),
            State::Probed { .. } if is_probe => FAILURES,
            // What had begun before tells nothing new.
            State::Probed { .. } | State::Cooling { .. } => return None,
        };
        let least = match severity {
            Severity::Counts if failures < FAILURES => {
                self.state = State::Well { failures };
                return None;
            }
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
