//! What the router itself answers. Messages say what to do; none repeats a key.

use bailiwick_domain::region::Region;
use bailiwick_runtime::serving::ApiError;
use http::{HeaderName, HeaderValue, StatusCode, header};

/// Where a caller of another region belongs.
pub(crate) const HOME_ENDPOINT: HeaderName = HeaderName::from_static("x-bailiwick-home-endpoint");

pub(crate) fn missing_key() -> ApiError {
    let message = "no API key was sent: send it as `Authorization: Bearer bw_…` or as `x-api-key: bw_…`";
    challenged(ApiError::new(StatusCode::UNAUTHORIZED, "missing_api_key", message))
}

pub(crate) fn invalid_key() -> ApiError {
    let message =
        "the API key is not valid: check that it was copied whole, or ask your administrator for a new one";
    challenged(ApiError::new(StatusCode::UNAUTHORIZED, "invalid_api_key", message))
}

fn challenged(error: ApiError) -> ApiError {
    error.with_header(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
}

/// 421 (RFC 9110, section 15.5.20): it is never proxied across and never redirected; the body would have crossed already.
pub(crate) fn wrong_region(here: &Region, home: &Region) -> ApiError {
    let (here, name) = (&here.name, &home.name);
    let Some(endpoint) = &home.endpoint else {
        let message =
            format!("this is {here}; what you sent belongs to {name}: use the base URL of that region");
        return ApiError::new(StatusCode::MISDIRECTED_REQUEST, "wrong_region", message);
    };
    let message = format!("this is {here}; what you sent belongs to {name}: use {endpoint} as the base URL");
    let error = ApiError::new(StatusCode::MISDIRECTED_REQUEST, "wrong_region", message);
    match HeaderValue::try_from(endpoint.as_str()) {
        Ok(value) => error.with_header(HOME_ENDPOINT, value),
        Err(_) => error,
    }
}

pub(crate) fn no_worker() -> ApiError {
    let message = "no worker of this region is available now: try again in a moment";
    ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "no_worker_available", message)
        .with_header(header::RETRY_AFTER, HeaderValue::from_static("1"))
}

pub(crate) fn worker_lost() -> ApiError {
    let message = "the worker broke off before it answered; the call may or may not have been made";
    ApiError::new(StatusCode::BAD_GATEWAY, "worker_lost", message)
}

pub(crate) fn body_incomplete() -> ApiError {
    ApiError::new(StatusCode::BAD_REQUEST, "request_incomplete", "the body broke off before its end")
}

pub(crate) fn worker_timeout() -> ApiError {
    ApiError::new(StatusCode::GATEWAY_TIMEOUT, "worker_timeout", "the worker did not answer in time")
}

pub(crate) fn not_found() -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, "not_found", "there is nothing at this path")
}

pub(crate) fn method_not_allowed(allowed: &'static str) -> ApiError {
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", format!("this path takes {allowed}"))
        .with_header(header::ALLOW, HeaderValue::from_static(allowed))
}

pub(crate) fn invalid_field(field: &'static str, message: impl Into<String>) -> ApiError {
    ApiError::new(StatusCode::BAD_REQUEST, "invalid_request", message).with_param(field)
}
