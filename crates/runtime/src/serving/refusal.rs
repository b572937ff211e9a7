//! Heads that cannot be read, answered in the shape that callers' SDKs read.

use bailiwick_domain::usage::RequestId;
use http::{Response, StatusCode};

use super::{ApiError, HttpLimits, ResponseBody};
use crate::http1::Refused;

/// Says what is wrong. No service heard of it.
pub(super) fn response(refused: Refused, limits: &HttpLimits) -> Response<ResponseBody> {
    error(refused, limits).into_response(RequestId::random())
}

fn error(refused: Refused, limits: &HttpLimits) -> ApiError {
    match refused {
        Refused::TooLarge => ApiError::new(
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            "request_headers_too_large",
            format!(
                "The request's head is larger than {} bytes or has more than {} header fields. Send fewer or shorter headers.",
                limits.header_bytes, limits.headers
            ),
        ),
        Refused::TargetTooLong => ApiError::new(
            StatusCode::URI_TOO_LONG,
            "uri_too_long",
            "The request's URI is too long. Put parameters into the body.",
        ),
        Refused::Malformed => ApiError::new(
            StatusCode::BAD_REQUEST,
            "malformed_request",
            "The request's head is not valid HTTP/1.1.",
        ),
    }
}
