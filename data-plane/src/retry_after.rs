//! How long a server wants to be left alone (RFC 9110, section 10.2.3).

use std::time::{Duration, SystemTime};

use bailiwick_domain::time::Timestamp;
use bailiwick_runtime::serving::HeaderSection;
use http::{HeaderName, header};

/// OpenAI's own, finer than the standard's.
const RETRY_AFTER_MS: HeaderName = HeaderName::from_static("retry-after-ms");
/// What a server may ask for; more is taken for this.
const LONGEST: Duration = Duration::from_secs(3600);

/// In seconds, or until a date: then by the server's own clock, where it tells it (`Date`), so that it does not matter whether ours goes right. What is neither counts
/// as nothing said.
pub(crate) fn retry_after(headers: &HeaderSection, now: Timestamp) -> Option<Duration> {
    let text = |name: &HeaderName| headers.text(name).map(str::trim);
    let seconds = |text: &str| Duration::try_from_secs_f64(text.parse().ok()?).ok();
    let date = |text: &str| httpdate::parse_http_date(text).ok();
    let millis = text(&RETRY_AFTER_MS).and_then(seconds).map(|thousand| thousand / 1000);
    let after = millis.or_else(|| {
        let text_of = text(&header::RETRY_AFTER)?;
        seconds(text_of).or_else(|| {
            let there = text(&header::DATE).and_then(date).unwrap_or_else(|| system_time(now));
            // What is over is over.
            Some(date(text_of)?.duration_since(there).unwrap_or_default())
        })
    });
    after.map(|after| after.min(LONGEST))
}

fn system_time(now: Timestamp) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(now.as_millis())
}

#[cfg(test)]
mod tests;
