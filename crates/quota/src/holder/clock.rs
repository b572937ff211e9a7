//! What a worker knows of the control plane's time: no clocks are compared but through messages.
//!
//! An answer says what time it was when its question was considered. That was not before the question was sent, and not after the answer came. So between answers the time is between two
//! bounds, which part by the drift of the clocks. A window's units are used only when *both* bounds are in it: a worker neither begins a window early nor ends it late, whatever its wall
//! clock says. At a window's boundary, calls wait for the time that the bounds are apart: a round trip, and 0.6 seconds for each ten minutes that a worker is cut off.

use std::time::Duration;

use bailiwick_domain::time::Timestamp;

use crate::policy::{Policy, micros};

/// A worker's own monotonic clock: microseconds since any instant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Monotonic(u64);

impl Monotonic {
    /// From microseconds since any one instant.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// In microseconds.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// Later by `by`.
    #[must_use]
    pub fn after(self, by: Duration) -> Self {
        Self(self.0.saturating_add(micros(by)))
    }

    /// How long after `earlier` it is, in microseconds; 0 when it is not.
    pub fn micros_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// What is known of the control plane's time, and until when leases live.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// At this instant it was this, or later.
    lower: (Monotonic, Timestamp),
    /// At this instant it was this, or earlier.
    upper: (Monotonic, Timestamp),
    alive_until: Monotonic,
}

impl Bounds {
    /// Before anything was heard.
    pub(super) const UNKNOWN: Self = Self {
        lower: (Monotonic(0), Timestamp::from_micros(i64::MIN)),
        upper: (Monotonic(0), Timestamp::from_micros(i64::MAX)),
        alive_until: Monotonic(0),
    };

    /// From an answer that says `now`, to a question that was sent at `sent`.
    pub(super) fn heard(policy: &Policy, now: Timestamp, sent: Monotonic, received: Monotonic) -> Self {
        let life = policy.shrunk_micros(micros(policy.lease_life));
        Self {
            lower: (received, now),
            upper: (sent, now),
            alive_until: Monotonic(sent.0.saturating_add(life)),
        }
    }

    /// Both are true: the tighter of each bound.
    pub(super) fn and(self, other: Self, policy: &Policy, at: Monotonic) -> Self {
        let later = |a: &Self, b: &Self| a.earliest(policy, at) >= b.earliest(policy, at);
        let sooner = |a: &Self, b: &Self| a.latest(policy, at) <= b.latest(policy, at);
        Self {
            lower: if later(&other, &self) { other.lower } else { self.lower },
            upper: if sooner(&other, &self) { other.upper } else { self.upper },
            alive_until: self.alive_until.max(other.alive_until),
        }
    }

    /// It is this time, or later.
    pub(super) fn earliest(&self, policy: &Policy, at: Monotonic) -> Timestamp {
        let (then, time) = self.lower;
        time.saturating_add(Duration::from_micros(policy.shrunk_micros(at.micros_since(then))))
    }

    /// It is this time, or earlier.
    pub(super) fn latest(&self, policy: &Policy, at: Monotonic) -> Timestamp {
        let (then, time) = self.upper;
        time.saturating_add(Duration::from_micros(policy.stretched_micros(at.micros_since(then))))
    }

    /// How long the leases live.
    pub(super) fn left(&self, at: Monotonic) -> Duration {
        Duration::from_micros(self.alive_until.micros_since(at))
    }

    /// Whether the leases live.
    pub(super) fn alive(&self, at: Monotonic) -> bool {
        at < self.alive_until
    }
}
