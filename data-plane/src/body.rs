//! Reads a request's body, bounded in size and in time.

use std::time::Duration;

use bailiwick_runtime::serving::ApiError;
use bytes::{Bytes, BytesMut};
use http::{header, request::Parts};
use http_body::Body;
use http_body_util::BodyExt;
use hyper::body::Incoming;

use crate::error;

/// Between two pieces of a body. A caller that sends less often holds a connection for nothing.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Errors: 415 for anything but JSON, 413 past the bound (at once, where Content-Length says so), 408 when it stalls, 400 when it breaks off.
pub(crate) async fn read(head: &Parts, mut body: Incoming, limit: usize) -> Result<Bytes, ApiError> {
    let value = head.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    if !value.is_some_and(is_json) {
        return Err(error::not_json());
    }
    if body.size_hint().lower() > limit as u64 {
        return Err(error::too_large(limit));
    }
    let mut first = Bytes::new();
    let mut more = BytesMut::new();
    loop {
        let piece = match tokio::time::timeout(LONGEST_PAUSE, body.frame()).await {
            Err(_late) => return Err(error::body_late()),
            Ok(None) => break,
            Ok(Some(Err(_broken))) => return Err(error::body_incomplete()),
            Ok(Some(Ok(frame))) => frame.into_data().unwrap_or_default(),
        };
        if first.len() + more.len() + piece.len() > limit {
            return Err(error::too_large(limit));
        }
        // Most bodies come in one piece, which is used uncopied.
        if first.is_empty() {
            first = piece;
        } else {
            more.extend_from_slice(&piece);
        }
    }
    if more.is_empty() {
        return Ok(first);
    }
    Ok([first, more.freeze()].concat().into())
}

/// `application/json`, whatever its parameters (RFC 9110, section 8.3.1).
fn is_json(value: &str) -> bool {
    let essence = value.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json")
}
