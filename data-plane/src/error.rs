//! What the worker itself answers. Messages say what to do; none repeats a key, or anything that was said.

use bailiwick_domain::{address::ClientAddress, region::Region};
use bailiwick_runtime::serving::ApiError;
use http::{HeaderName, HeaderValue, Method, StatusCode, header};

/// Where a caller of another region belongs.
pub(crate) const HOME_ENDPOINT: HeaderName = HeaderName::from_static("x-bailiwick-home-endpoint");
/// The region that answered.
pub(crate) const REGION: HeaderName = HeaderName::from_static("x-bailiwick-region");
/// The public model that answered.
pub(crate) const MODEL: HeaderName = HeaderName::from_static("x-bailiwick-model");
/// The deployment that answered.
pub(crate) const DEPLOYMENT: HeaderName = HeaderName::from_static("x-bailiwick-deployment");
/// Calls to providers that were made for the answer.
pub(crate) const ATTEMPTS: HeaderName = HeaderName::from_static("x-bailiwick-attempts");
/// What a whole answer cost, in US dollars, where that is known when its head goes out.
pub(crate) const COST: HeaderName = HeaderName::from_static("x-bailiwick-cost");
/// The worker's own time (<https://www.w3.org/TR/server-timing/>).
pub(crate) const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

fn of(status: StatusCode, code: &'static str, message: impl Into<String>) -> ApiError {
    ApiError::new(status, code, message)
}

pub(crate) fn missing_key() -> ApiError {
    challenged(of(
        StatusCode::UNAUTHORIZED,
        "missing_api_key",
        "no API key was sent: send it as `Authorization: Bearer bw_…` or as `x-api-key: bw_…`",
    ))
}

/// One text for a key that is malformed, unknown, revoked or expired: the answer tells nobody which.
pub(crate) fn invalid_key() -> ApiError {
    challenged(of(
        StatusCode::UNAUTHORIZED,
        "invalid_api_key",
        "the API key is not valid: check that it was copied whole, or ask your administrator for a new one",
    ))
}

fn challenged(error: ApiError) -> ApiError {
    error.with_header(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
}

/// 421 (RFC 9110, section 15.5.20).
pub(crate) fn wrong_region(here: &Region, home: &Region) -> ApiError {
    let (here, name) = (&here.name, &home.name);
    let whither =
        home.endpoint.as_ref().map_or("the base URL of that region".to_owned(), ToString::to_string);
    let message = format!("this is {here}; the API key belongs to {name}: use {whither}");
    let error = of(StatusCode::MISDIRECTED_REQUEST, "wrong_region", message);
    match home.endpoint.as_ref().and_then(|endpoint| HeaderValue::try_from(endpoint.as_str()).ok()) {
        Some(endpoint) => error.with_header(HOME_ENDPOINT, endpoint),
        None => error,
    }
}

pub(crate) fn not_configured() -> ApiError {
    retry_soon(of(
        StatusCode::SERVICE_UNAVAILABLE,
        "configuration_unavailable",
        "this worker has no configuration yet: try again in a moment",
    ))
}

pub(crate) fn stale() -> ApiError {
    retry_soon(of(
        StatusCode::SERVICE_UNAVAILABLE,
        "configuration_stale",
        "this worker has not heard from its control plane for too long to know whether the key is still valid",
    ))
}

fn retry_soon(error: ApiError) -> ApiError {
    error.with_header(header::RETRY_AFTER, HeaderValue::from_static("1"))
}

pub(crate) fn suspended() -> ApiError {
    of(
        StatusCode::FORBIDDEN,
        "organization_suspended",
        "the organization is suspended: ask its administrator",
    )
}

/// It names the caller's own address, for them to act on, and none that is allowed.
pub(crate) fn address_not_allowed(origin: Option<ClientAddress>) -> ApiError {
    let message = match origin {
        Some(address) => format!(
            "the organization or the API key takes no calls from {address}: call from an allowed address, or ask your administrator to allow this one"
        ),
        None => "the organization or the API key takes calls from some addresses alone, and the router did not say where this one comes \
                 from: ask the operator to bring the region's routers up to date"
            .to_owned(),
    };
    of(StatusCode::FORBIDDEN, "address_not_allowed", message)
}

pub(crate) fn not_found() -> ApiError {
    of(StatusCode::NOT_FOUND, "not_found", "there is nothing at this path")
}

pub(crate) fn method_not_allowed(allowed: &Method) -> ApiError {
    let error =
        of(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", format!("this path takes {allowed}"));
    match HeaderValue::try_from(allowed.as_str()) {
        Ok(value) => error.with_header(header::ALLOW, value),
        Err(_) => error,
    }
}

pub(crate) fn not_json() -> ApiError {
    of(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "unsupported_media_type",
        "send the body as `Content-Type: application/json`",
    )
}

pub(crate) fn not_form() -> ApiError {
    of(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "unsupported_media_type",
        "send the body as `Content-Type: multipart/form-data`",
    )
}

pub(crate) fn too_large(limit: usize) -> ApiError {
    of(StatusCode::PAYLOAD_TOO_LARGE, "request_too_large", format!("the body has more than {limit} bytes"))
}

pub(crate) fn body_incomplete() -> ApiError {
    of(StatusCode::BAD_REQUEST, "request_incomplete", "the body broke off before its end")
}

pub(crate) fn body_late() -> ApiError {
    of(StatusCode::REQUEST_TIMEOUT, "request_timeout", "the body did not come on for 30 seconds")
}

pub(crate) fn invalid_json(message: String) -> ApiError {
    of(StatusCode::BAD_REQUEST, "invalid_json", message)
}

pub(crate) fn invalid_form(what: &str) -> ApiError {
    of(StatusCode::BAD_REQUEST, "invalid_request", format!("the body is not a good form: {what}"))
}

pub(crate) fn invalid_field(field: &'static str, message: &'static str) -> ApiError {
    of(StatusCode::BAD_REQUEST, "invalid_request", message).with_param(field)
}

/// The model's name is the caller's own, but it is not repeated: it may be anything.
pub(crate) fn model_not_found() -> ApiError {
    of(
        StatusCode::NOT_FOUND,
        "model_not_found",
        "the organization has no model of this name: GET /v1/models lists those that it has",
    )
    .with_param("model")
}

pub(crate) fn model_not_allowed() -> ApiError {
    of(StatusCode::FORBIDDEN, "model_not_allowed", "the API key may not use this model").with_param("model")
}

/// What the provider cannot do, or what is wrong with the request in its own dialect. It names the field, and repeats no value.
pub(crate) fn refused(refused: &bailiwick_dialects::Refused) -> ApiError {
    of(StatusCode::BAD_REQUEST, refused.code(), refused.to_string())
        .with_param(refused.refusal.field().to_owned())
}

pub(crate) fn no_deployment() -> ApiError {
    of(
        StatusCode::SERVICE_UNAVAILABLE,
        "no_deployment_available",
        "no deployment of the model may be called now: ask your administrator to check its credential, the region's egress policy and the organization's residency",
    )
}

/// What is left of a limit does not cover the call.
pub(crate) fn rate_limit_exceeded(message: String) -> ApiError {
    of(StatusCode::TOO_MANY_REQUESTS, "rate_limit_exceeded", message)
}

/// The same for money.
pub(crate) fn insufficient_quota(message: String) -> ApiError {
    of(StatusCode::TOO_MANY_REQUESTS, "insufficient_quota", message)
}

/// Nobody knows what the call would cost.
pub(crate) fn unpriced(message: String) -> ApiError {
    of(StatusCode::FORBIDDEN, "model_unpriced", message)
}

pub(crate) fn journal_full() -> ApiError {
    retry_soon(of(
        StatusCode::SERVICE_UNAVAILABLE,
        "usage_journal_full",
        "this worker cannot record what calls cost, and serves none until it can",
    ))
}

pub(crate) fn overloaded() -> ApiError {
    retry_soon(of(
        StatusCode::SERVICE_UNAVAILABLE,
        "worker_overloaded",
        "this worker holds as much as its memory allows: try again in a moment",
    ))
}

pub(crate) fn egress_refused() -> ApiError {
    of(
        StatusCode::BAD_GATEWAY,
        "egress_refused",
        "the provider's address lies outside the region's egress policy",
    )
}

pub(crate) fn provider_unreachable() -> ApiError {
    of(StatusCode::BAD_GATEWAY, "provider_unreachable", "the provider cannot be reached")
}

pub(crate) fn provider_invalid() -> ApiError {
    of(
        StatusCode::BAD_GATEWAY,
        "provider_invalid_response",
        "the provider's answer broke off or is not what it should be",
    )
}

pub(crate) fn provider_refused_credential() -> ApiError {
    of(
        StatusCode::BAD_GATEWAY,
        "provider_credential_refused",
        "the provider refused the organization's credential: ask your administrator to replace it",
    )
}

pub(crate) fn credential_unfit() -> ApiError {
    of(
        StatusCode::BAD_GATEWAY,
        "provider_credential_unfit",
        "the deployment's credential is not of a kind that its provider takes: ask your administrator to replace it (an AWS key is for bedrock, and names its \
         region where the endpoint does not; a client of Entra is for azure_openai, a Google service account for vertex)",
    )
}

/// Whoever issues tokens is not the provider, and what it said is not told.
pub(crate) fn token_refused() -> ApiError {
    of(
        StatusCode::BAD_GATEWAY,
        "provider_credential_refused",
        "no token could be had for the organization's credential, because whoever issues them refused it: ask your administrator to replace it",
    )
}

pub(crate) fn issuer_refused() -> ApiError {
    of(
        StatusCode::BAD_GATEWAY,
        "egress_refused",
        "the region's egress policy does not let tokens be had where the organization's credential says: ask the operator to name the host as an issuer",
    )
}

pub(crate) fn no_token() -> ApiError {
    of(
        StatusCode::BAD_GATEWAY,
        "provider_token_unavailable",
        "no token could be had for the organization's credential, because whoever issues them does not answer as it should: try again in a moment",
    )
}

pub(crate) fn provider_timeout() -> ApiError {
    of(StatusCode::GATEWAY_TIMEOUT, "provider_timeout", "the provider did not answer in time")
}
