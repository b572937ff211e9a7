//! Why a call is refused, in words that its caller can act on.

use std::{fmt, time::Duration};

use crate::limit::{Account, Measure};

/// Which limit refused a call, and when to come again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The limit, and the key, member or model that it is counted for.
    pub account: Account,
    /// What it counts.
    pub measure: Measure,
    /// How much of it is allowed.
    pub amount: u64,
    /// Why.
    pub reason: Reason,
    /// After so long units are there again for certain, or, where calls that end bring them back, it is worth trying; `None` when time will not help.
    pub retry_after: Option<Duration>,
}

impl Refusal {
    /// `Retry-After` in whole seconds, rounded up: who waits so long does not come too early.
    pub fn retry_after_seconds(&self) -> Option<u64> {
        let wait = self.retry_after?;
        Some(wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0)).max(1))
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the limit of {} {} {}", self.amount, self.measure, self.reason)
    }
}

/// Why a call is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It is used up, by all workers together.
    UsedUp,
    /// The call asks for more than the limit ever allows.
    LargerThanLimit,
    /// This worker cannot reach its control plane, and has used what it was lent.
    CutOff,
    /// The control plane has not answered in time.
    NoAnswer,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UsedUp => "is used up",
            Self::LargerThanLimit => "is smaller than this one call",
            Self::CutOff => "cannot be shared now, and this worker's part is used up",
            Self::NoAnswer => "could not be shared in time",
        })
    }
}
