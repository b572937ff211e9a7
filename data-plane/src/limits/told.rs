//! What callers are told of their limits: in every answer to a call that has some.

use std::time::Duration;

use bailiwick_domain::time::Timestamp;
use bailiwick_quota::{
    holder::{Holder, Monotonic, Standing},
    limit::Measure,
};
use bailiwick_runtime::serving::{ApiError, ErrorShape, Fields};
use http::{HeaderName, HeaderValue};

use super::cells::Held;

/// Names of the headers with a limit's amount, what remains of it, and when it begins anew.
type Names = [HeaderName; 3];

/// As OpenAI documents them (<https://platform.openai.com/docs/guides/rate-limits>).
const OPENAI_REQUESTS: Names = [
    HeaderName::from_static("x-ratelimit-limit-requests"),
    HeaderName::from_static("x-ratelimit-remaining-requests"),
    HeaderName::from_static("x-ratelimit-reset-requests"),
];
const OPENAI_TOKENS: Names = [
    HeaderName::from_static("x-ratelimit-limit-tokens"),
    HeaderName::from_static("x-ratelimit-remaining-tokens"),
    HeaderName::from_static("x-ratelimit-reset-tokens"),
];
/// As Anthropic documents them (<https://docs.claude.com/en/api/rate-limits>).
const ANTHROPIC_REQUESTS: Names = [
    HeaderName::from_static("anthropic-ratelimit-requests-limit"),
    HeaderName::from_static("anthropic-ratelimit-requests-remaining"),
    HeaderName::from_static("anthropic-ratelimit-requests-reset"),
];
const ANTHROPIC_TOKENS: Names = [
    HeaderName::from_static("anthropic-ratelimit-tokens-limit"),
    HeaderName::from_static("anthropic-ratelimit-tokens-remaining"),
    HeaderName::from_static("anthropic-ratelimit-tokens-reset"),
];

/// How the limits stand that a call was charged to: of each measure the one of which least remains.
///
/// What *remains* is this worker's best knowledge of its region: what is idle here, and what the control plane had lent to nobody when it last spoke of the account, which is
/// at most a second ago where the account is used. It can be less than there is, by what is idle at other workers, and more, by what they have taken since then. What this call
/// may use is taken off already.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Told {
    requests: Option<Standing>,
    tokens: Option<Standing>,
    shape: ErrorShape,
    now: Timestamp,
}

impl Told {
    pub(super) fn of(
        held: &[Held],
        holder: &Holder,
        at: Monotonic,
        shape: ErrorShape,
        now: Timestamp,
    ) -> Self {
        let tightest = |measure: Measure| {
            let of_measure = held.iter().filter(|held| held.cell.measure() == measure);
            let standings = of_measure.map(|held| holder.standing(&held.cell, at));
            standings.min_by_key(|standing| (standing.remaining, standing.amount))
        };
        Self {
            requests: tightest(Measure::RequestsPerMinute),
            tokens: tightest(Measure::TokensPerMinute),
            shape,
            now,
        }
    }

    /// Puts it into an answer, in place of what the provider says of its own limits.
    pub(crate) fn in_answer<T>(
        &self,
        answered: Result<T, ApiError>,
        told: &mut Fields,
    ) -> Result<T, ApiError> {
        if answered.is_ok() {
            self.headers().for_each(|(name, value)| told.put(&name, value.as_bytes()));
        }
        answered.map_err(|error| self.in_error(error))
    }

    pub(super) fn in_error(&self, error: ApiError) -> ApiError {
        self.headers().fold(error, |error, (name, value)| error.with_header(name, value))
    }

    fn headers(&self) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
        let (requests, tokens) = match self.shape {
            ErrorShape::OpenAi => (OPENAI_REQUESTS, OPENAI_TOKENS),
            ErrorShape::Anthropic => (ANTHROPIC_REQUESTS, ANTHROPIC_TOKENS),
        };
        let named = [(requests, self.requests), (tokens, self.tokens)];
        named.into_iter().filter_map(|(names, standing)| Some((names, standing?))).flat_map(
            |(names, standing)| {
                let resets_in = standing.resets_in.unwrap_or_default();
                let resets = match self.shape {
                    ErrorShape::OpenAi => HeaderValue::try_from(span(resets_in)).ok(),
                    ErrorShape::Anthropic => HeaderValue::try_from(instant(self.now, resets_in)).ok(),
                };
                let values = [Some(standing.amount.into()), Some(standing.remaining.into()), resets];
                names.into_iter().zip(values).filter_map(|(name, value)| Some((name, value?)))
            },
        )
    }
}

/// As `6m0s`, `59s` or `120ms`, rounded up: who waits so long does not come too early.
fn span(span: Duration) -> String {
    let millis = span.as_micros().div_ceil(1000);
    let seconds = millis.div_ceil(1000);
    match (seconds / 60, seconds % 60) {
        _ if millis < 1000 => format!("{millis}ms"),
        (0, seconds) => format!("{seconds}s"),
        (minutes, seconds) => format!("{minutes}m{seconds}s"),
    }
}

/// RFC 3339, in whole seconds, rounded up.
fn instant(now: Timestamp, span: Duration) -> String {
    let micros = now.saturating_add(span).as_micros();
    let seconds = micros.saturating_add(999_999).div_euclid(1_000_000);
    jiff::Timestamp::from_second(seconds).map(|instant| instant.to_string()).unwrap_or_default()
}
#[cfg(test)]
mod tests;
