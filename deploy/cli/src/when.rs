//! Times and durations as people write and read them.

use std::time::Duration;

use bailiwick_domain::time::Timestamp;
use jiff::{Span, SpanRelativeTo};
use serde::{Serialize, Serializer};

/// A length of time such as `90s`, `24h`, `7d` or `1h 30m`; a day has 24 hours.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    const EXPECTED: &str = "expected a duration such as 90s, 24h or 7d";
    let span: Span = text.parse().map_err(|_malformed| EXPECTED.to_owned())?;
    let length = span
        .to_duration(SpanRelativeTo::days_are_24_hours())
        .map_err(|_calendar| format!("{EXPECTED}: months and years have no fixed length"))?;
    Duration::try_from(length).map_err(|_negative| format!("{EXPECTED}, not a negative one"))
}

/// A point in time: RFC 3339, or a duration that is counted from now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    At(Timestamp),
    Relative(Duration),
}

impl When {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if let Ok(at) = text.parse::<jiff::Timestamp>() {
            return Ok(Self::At(Timestamp::from_micros(at.as_microsecond())));
        }
        duration(text).map(Self::Relative).map_err(|_neither| {
            "expected a time such as 2026-11-23T08:00:00Z, or a duration such as 24h".to_owned()
        })
    }

    /// `24h` means 24 hours ago.
    pub(crate) fn before(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(at) => at,
            Self::Relative(length) => now.saturating_sub(length),
        }
    }

    /// `24h` means in 24 hours.
    pub(crate) fn after(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(at) => at,
            Self::Relative(length) => now.saturating_add(length),
        }
    }
}

/// A time of the wire, in microseconds since the Unix epoch; 0 means that there is none. Programs read RFC 3339 or null.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moment(pub(crate) i64);

impl Moment {
    fn known(self) -> Option<jiff::Timestamp> {
        (self.0 != 0).then(|| jiff::Timestamp::from_microsecond(self.0).ok()).flatten()
    }
}

impl From<Timestamp> for Moment {
    fn from(at: Timestamp) -> Self {
        Self(at.as_micros())
    }
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.known() {
            Some(at) => serializer.collect_str(&at),
            None => serializer.serialize_none(),
        }
    }
}

impl std::fmt::Display for Moment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.known() {
            // People need no fractions of a second.
            Some(at) => write!(f, "{:.0}", at),
            None => f.write_str("-"),
        }
    }
}

/// `in 59m 30s`, `3m 2s ago` or `now`.
pub(crate) fn relative(at: Timestamp, now: Timestamp) -> String {
    let (ahead, behind) = (at.saturating_since(now), now.saturating_since(at));
    match (ahead.as_secs(), behind.as_secs()) {
        (0, 0) => "now".to_owned(),
        (0, _) => format!("{} ago", short(behind)),
        _ => format!("in {}", short(ahead)),
    }
}

/// The two largest units: `3d 4h`, `59m 30s`, `12s`, `250ms`.
pub(crate) fn short(length: Duration) -> String {
    let seconds = length.as_secs();
    let units =
        [(seconds / 86_400, "d"), (seconds / 3600 % 24, "h"), (seconds / 60 % 60, "m"), (seconds % 60, "s")];
    let Some(first) = units.iter().position(|(count, _)| *count > 0) else {
        return format!("{}ms", length.as_millis());
    };
    let used = units.iter().skip(first).take(2).filter(|(count, _)| *count > 0);
    used.map(|(count, unit)| format!("{count}{unit}")).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests;
