//! The numbers that lending goes by, and what each of them bounds.

use std::time::Duration;

/// How leases are lent. Control plane and workers must be given the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Of what a limit has left, one part in this many is lent ahead of demand; the rest waits for whoever asks. 2 keeps half: see the crate's theorem.
    pub lend_one_in: u64,
    /// How long a slice should last its worker at its present demand: so long serves a worker that is cut off, and so much is in doubt when one dies.
    pub horizon: Duration,
    /// How long a worker that hears nothing may go on with what it has: the configuration's lease. Counted by the worker's monotonic clock from when it sent the
    /// message that was last answered, so it ends before the control plane's count, which begins when that message arrives.
    pub lease_life: Duration,
    /// By how much two clocks may run apart, in millionths: 500 is the most by which NTP slews.
    pub drift_ppm: u64,
    /// How long a call may wait for units.
    pub patience: Duration,
    /// How long a call can last: after a worker's lease has ended, its parallel calls are counted for so long.
    pub longest_call: Duration,
    /// How long an answer to a recall is awaited.
    pub recall_patience: Duration,
    /// After a recall nothing is lent ahead of demand for so long, so that units do not go round in circles.
    pub calm: Duration,
    /// A worker that was told that a limit is used up asks again after so long.
    pub ask_again: Duration,
    /// Time over which demand is smoothed.
    pub smoothing: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            lend_one_in: 2,
            horizon: Duration::from_secs(600),
            lease_life: Duration::from_secs(3600),
            drift_ppm: 500,
            patience: Duration::from_millis(250),
            longest_call: Duration::from_secs(900),
            recall_patience: Duration::from_millis(150),
            calm: Duration::from_secs(1),
            ask_again: Duration::from_millis(250),
            smoothing: Duration::from_secs(3),
        }
    }
}

impl Policy {
    /// The span as the slower of two clocks counts it, at least: rounded up.
    pub(crate) fn stretched_micros(&self, micros: u64) -> u64 {
        micros.saturating_add(self.drift_of(micros))
    }

    /// The span as the faster of two clocks counts it, at most: rounded down.
    pub(crate) fn shrunk_micros(&self, micros: u64) -> u64 {
        micros.saturating_sub(self.drift_of(micros))
    }

    fn drift_of(&self, micros: u64) -> u64 {
        let drift = u128::from(micros).saturating_mul(u128::from(self.drift_ppm)).div_ceil(1_000_000);
        u64::try_from(drift).unwrap_or(u64::MAX)
    }
}

/// The span in microseconds.
pub(crate) fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}
