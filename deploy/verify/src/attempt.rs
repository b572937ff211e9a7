//! One attempt: what was tried, what had to refuse it, and what was seen.

use std::time::{Duration, Instant};

use serde::{Serialize, Serializer};

/// What became of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Refused, by the documented refusal.
    Refused,
    /// Could not be tried from here; says nothing.
    NotAttempted,
    /// Nobody answered, so nothing is proved. Counts as a failure.
    Unanswered,
    /// Let through, or answered with anything but its documented refusal.
    Hole,
}

/// An attempt and its outcome. Carries no secret.
#[derive(Clone, Debug, Serialize)]
pub struct Attempt {
    /// What was tried, e.g. `a foreign key at the router, its body held back`.
    pub what: String,
    /// What has to refuse it.
    pub layer: &'static str,
    /// Its documented refusal.
    pub expected: String,
    /// What was answered, or why nothing was tried.
    pub observed: String,
    /// What that means.
    pub verdict: Verdict,
    /// From the first byte that was sent for it to the refusal.
    #[serde(rename = "took_micros", serialize_with = "micros")]
    pub took: Duration,
}

fn micros<S: Serializer>(took: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(took.as_micros()).unwrap_or(u64::MAX))
}

/// An attempt that has begun.
pub(crate) struct Probe {
    what: String,
    layer: &'static str,
    expected: String,
    began: Instant,
}

impl Probe {
    pub(crate) fn new(what: impl Into<String>, layer: &'static str, expected: impl Into<String>) -> Self {
        Self { what: what.into(), layer, expected: expected.into(), began: Instant::now() }
    }

    /// What was expected or not.
    pub(crate) fn expect(self, as_documented: bool, observed: impl Into<String>) -> Attempt {
        self.end(if as_documented { Verdict::Refused } else { Verdict::Hole }, observed)
    }

    /// Nobody answered.
    pub(crate) fn unanswered(self, why: impl Into<String>) -> Attempt {
        self.end(Verdict::Unanswered, why)
    }

    /// It cannot be tried.
    pub(crate) fn not_attempted(self, why: impl Into<String>) -> Attempt {
        Attempt { took: Duration::ZERO, ..self.end(Verdict::NotAttempted, why) }
    }

    fn end(self, verdict: Verdict, observed: impl Into<String>) -> Attempt {
        let Self { what, layer, expected, began } = self;
        Attempt { what, layer, expected, observed: observed.into(), verdict, took: began.elapsed() }
    }
}
