//! The spans of time that a limit counts in, and where they begin and end.
//!
//! **Fixed windows, of UTC, for minutes too.** Within a window every count only grows, so messages that are lost, doubled or reordered merge by taking the
//! larger number, and the sum over all workers is exact. A sliding minute would have to know *when* each unit was used; a worker that is cut off cannot say,
//! so its units would be kept back for a minute more than they need. The price: a caller may use one minute's amount at its end and the next one's at its
//! beginning, so any 60 seconds hold at most twice the amount, and any calendar minute never more than once. Providers and gateways that count fixed minutes
//! behave so; those with token buckets allow the same burst after a quiet minute.

use bailiwick_domain::time::Timestamp;
use jiff::{ToSpan as _, civil::Date, tz::TimeZone};

const MINUTE_MICROS: i64 = 60_000_000;

/// After which time a limit begins anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Period {
    /// Each minute.
    Minute,
    /// Each day.
    Day,
    /// Each calendar month.
    Month,
    /// Never.
    Always,
}

impl Period {
    /// The window that the instant is in.
    pub fn window(self, at: Timestamp) -> Window {
        match self {
            Self::Minute => {
                let starts = at.as_micros().saturating_sub(at.as_micros().rem_euclid(MINUTE_MICROS));
                Window {
                    starts: Timestamp::from_micros(starts),
                    ends: Timestamp::from_micros(starts.saturating_add(MINUTE_MICROS)),
                }
            }
            Self::Day => {
                date(at).and_then(|date| between(date, date.tomorrow().ok()?)).unwrap_or(Window::ALWAYS)
            }
            Self::Month => date(at)
                .and_then(|date| {
                    let first = date.first_of_month();
                    between(first, first.checked_add(1.month()).ok()?)
                })
                .unwrap_or(Window::ALWAYS),
            Self::Always => Window::ALWAYS,
        }
    }
}

/// A span of time, its end excluded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Window {
    /// Its first instant. Of two windows of one period, the one that starts later is the later one.
    pub starts: Timestamp,
    /// The first instant after it.
    pub ends: Timestamp,
}

impl Window {
    /// Has no end.
    pub const ALWAYS: Self =
        Self { starts: Timestamp::from_micros(i64::MIN), ends: Timestamp::from_micros(i64::MAX) };

    /// Whether the instant is in it.
    pub fn contains(&self, at: Timestamp) -> bool {
        self.starts <= at && at < self.ends
    }

    /// Whether it ever ends.
    pub fn is_endless(&self) -> bool {
        *self == Self::ALWAYS
    }
}

fn date(at: Timestamp) -> Option<Date> {
    let instant = jiff::Timestamp::from_microsecond(at.as_micros()).ok()?;
    Some(instant.to_zoned(TimeZone::UTC).date())
}

fn between(first: Date, after: Date) -> Option<Window> {
    Some(Window { starts: midnight(first)?, ends: midnight(after)? })
}

fn midnight(date: Date) -> Option<Timestamp> {
    let zoned = date.to_zoned(TimeZone::UTC).ok()?;
    Some(Timestamp::from_micros(zoned.timestamp().as_microsecond()))
}

#[cfg(test)]
mod tests;
