//! Reads a request's body, bounded.

use bailiwick_runtime::serving::ApiError;
use bytes::Bytes;
use http::{header, request::Parts};
use http_body::Body;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;

use crate::error;

/// Errors: 415 for anything but JSON, 413 past the bound (at once, where Content-Length says so), 400 when it breaks off.
pub(crate) async fn read(head: &Parts, body: Incoming, limit: usize) -> Result<Bytes, ApiError> {
    let value = head.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    if !value.is_some_and(is_json) {
        return Err(error::not_json());
    }
    if body.size_hint().lower() > limit as u64 {
        return Err(error::too_large(limit));
    }
    match Limited::new(body, limit).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(broken) if broken.is::<LengthLimitError>() => Err(error::too_large(limit)),
        Err(_) => Err(error::body_incomplete()),
    }
}

/// `application/json`, whatever its parameters (RFC 9110, section 8.3.1).
fn is_json(value: &str) -> bool {
    let essence = value.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json")
}
