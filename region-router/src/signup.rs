//! `POST /v1/signup`: an organization and its first key, for someone who has no account yet.
//!
//! The region may stand in the head (`?region=` or `x-bailiwick-region`): then another region's signup is turned away with the body
//! unread (R6). Where it stands in the body alone, the body has to be read to know; it goes no further.

use std::time::Duration;

use bailiwick_domain::usage::RequestId;
use bailiwick_proto::{
    status,
    worker::v1::{SignUpRequest, signup_service_client::SignupServiceClient},
};
use bailiwick_runtime::serving::{
    ApiError, HeaderSection, IncomingRequest, REQUEST_ID_HEADERS, RequestBody, ResponseBody,
};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::{Deserialize, Serialize};
use tonic::{Code, Status, transport::Channel};

use crate::{admission::Admission, error};

/// Where it is.
pub(crate) const PATH: &str = "/v1/signup";
const LARGEST_BODY_BYTES: usize = 16 << 10;
const TIMEOUT: Duration = Duration::from_secs(15);
const REGION: HeaderName = HeaderName::from_static("x-bailiwick-region");
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Passes signups to the control plane.
#[derive(Clone)]
pub(crate) struct Signup {
    client: SignupServiceClient<Channel>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    region: Option<String>,
    organization_name: String,
    email: String,
}

#[derive(Serialize)]
struct SignedUp<'a> {
    organization_id: &'a str,
    region: &'a str,
    key_id: &'a str,
    api_key: &'a str,
}

impl Signup {
    pub(crate) fn new(channel: Channel) -> Self {
        Self { client: SignupServiceClient::new(channel) }
    }

    pub(crate) async fn sign_up(
        &self,
        admission: &Admission,
        request: &mut IncomingRequest<RequestBody>,
        request_id: RequestId,
    ) -> Result<Response<ResponseBody>, ApiError> {
        let body = std::mem::take(request.body_mut());
        let head = &*request;
        let named = region_in_head(head);
        if let Some(region) = &named {
            admission.check_region_name(region)?;
        }
        let asked = read(head.headers(), body).await?;
        let region =
            asked.region.or(named).ok_or_else(|| error::invalid_field("region", "region is missing"))?;
        admission.check_region_name(&region)?;
        let given = head.headers().text(&IDEMPOTENCY_KEY);
        let idempotency_key = given.map_or_else(|| request_id.to_string(), str::to_owned);
        let request = SignUpRequest {
            region,
            organization_name: asked.organization_name,
            email: asked.email,
            idempotency_key,
        };
        let answer = tokio::time::timeout(TIMEOUT, self.client.clone().sign_up(request)).await;
        let answer = answer.unwrap_or_else(|_late| Err(Status::unavailable("no answer in time")));
        let made = answer.map_err(|status| refused(&status))?.into_inner();
        Ok(created(
            &SignedUp {
                organization_id: &made.organization_id,
                region: admission.region_name(),
                key_id: &made.key_id,
                api_key: &made.api_key,
            },
            request_id,
        ))
    }
}

fn region_in_head<B>(head: &IncomingRequest<B>) -> Option<String> {
    let header = head.headers().text(&REGION);
    let query = || head.uri().query()?.split('&').find_map(|pair| pair.strip_prefix("region="));
    header.or_else(query).map(str::to_owned)
}

async fn read(headers: &HeaderSection, body: RequestBody) -> Result<Asked, ApiError> {
    let json = headers.text(&header::CONTENT_TYPE);
    if !json.is_some_and(|value| value.trim_start().to_ascii_lowercase().starts_with("application/json")) {
        let message = "send the signup as application/json";
        return Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", message));
    }
    let bytes = tokio::time::timeout(TIMEOUT, Limited::new(body, LARGEST_BODY_BYTES).collect()).await;
    let bytes: Bytes = match bytes {
        Ok(Ok(collected)) => collected.to_bytes(),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            let message = "a signup has at most 16 KiB";
            return Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "request_too_large", message));
        }
        _ => {
            return Err(ApiError::new(
                StatusCode::BAD_REQUEST,
                "request_incomplete",
                "the request broke off",
            ));
        }
    };
    serde_json::from_slice(&bytes).map_err(|error| {
        // serde_json's own message can repeat a value of the body: place and kind are enough.
        let (line, column) = (error.line(), error.column());
        let message = format!(
            "the body is not a signup (line {line}, column {column}): send {{\"region\", \"organization_name\", \"email\"}}"
        );
        ApiError::new(StatusCode::BAD_REQUEST, "invalid_json", message)
    })
}

fn created(signed_up: &SignedUp<'_>, request_id: RequestId) -> Response<ResponseBody> {
    let body = Bytes::from(serde_json::to_vec(signed_up).unwrap_or_default());
    let mut response = Response::new(ResponseBody::from(body));
    *response.status_mut() = StatusCode::CREATED;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    // The key in it is shown this once.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Ok(id) = HeaderValue::from_bytes(&request_id.to_ascii()) {
        for name in REQUEST_ID_HEADERS {
            headers.insert(name, id.clone());
        }
    }
    response
}

/// The control plane's reasons, as callers see them.
fn refused(status: &Status) -> ApiError {
    match status.code() {
        Code::InvalidArgument => {
            let violations = status::violations_of(status);
            let told: Vec<String> =
                violations.iter().map(|v| format!("{}: {}", v.field, v.description)).collect();
            ApiError::new(StatusCode::BAD_REQUEST, "invalid_request", told.join("; "))
        }
        Code::PermissionDenied => ApiError::new(StatusCode::FORBIDDEN, "signup_closed", status.message()),
        Code::ResourceExhausted => {
            let wait = status::retry_after_of(status).map_or(60, |after| after.as_secs().max(1));
            ApiError::new(StatusCode::TOO_MANY_REQUESTS, "signup_limit", "too many signups: try again later")
                .with_header(header::RETRY_AFTER, HeaderValue::from(wait))
        }
        code => {
            tracing::warn!(?code, reason = status::reason_of(status), "a signup failed");
            let message = "signing up is not possible at the moment: try again";
            ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "signup_unavailable", message)
        }
    }
}
