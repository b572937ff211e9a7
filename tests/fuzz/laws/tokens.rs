//! What an issuer of tokens answers.

use std::time::Duration;

use bailiwick_domain::time::Timestamp;
use http::{HeaderMap, HeaderValue, StatusCode, header};

use crate::tokens::read;

/// The first byte says the status, up to a line's end comes `retry-after`, the rest is the body. A token is one that a header carries, unseen in logs, for a time
/// within its bounds; whatever is none says nothing of what came.
pub fn tokens(bytes: &[u8]) {
    const STATUSES: [u16; 6] = [200, 400, 401, 307, 429, 503];
    let Some((first, rest)) = bytes.split_first() else { return };
    let status = STATUSES.get(usize::from(*first) % STATUSES.len()).copied().unwrap_or(200);
    let Ok(status) = StatusCode::from_u16(status) else { return };
    let line = rest.iter().position(|byte| *byte == b'\n').unwrap_or(0);
    let (after, body) = rest.split_at(line);
    let mut headers = HeaderMap::new();
    if let Ok(value) = HeaderValue::from_bytes(after) {
        headers.insert(header::RETRY_AFTER, value);
    }
    match read(status, &headers, body, Timestamp::from_micros(1_764_000_000_000_000)) {
        Ok(issued) => {
            assert_eq!(status, StatusCode::OK);
            assert!(issued.authorization.is_sensitive());
            assert!(issued.authorization.to_str().is_ok_and(|text| text.starts_with("Bearer ")));
            assert!((Duration::from_secs(1)..=Duration::from_secs(86_400)).contains(&issued.lifetime));
        }
        Err(failed) => {
            assert!(failed.why.to_string().len() < 100);
            assert!(failed.after.is_none_or(|after| after <= Duration::from_secs(3600)));
        }
    }
}
