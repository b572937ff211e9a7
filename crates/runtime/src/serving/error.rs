//! Errors as callers' SDKs read them: `{"error": {"message", "type", "param", "code", "request_id"}}`.

use bailiwick_domain::usage::RequestId;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderName, HeaderValue, Response, StatusCode};
use serde::Serialize;

use super::ResponseBody;

/// Every answer carries the request's id in these: ours, and the one that OpenAI's SDKs show.
pub const REQUEST_ID_HEADERS: [HeaderName; 2] =
    [HeaderName::from_static("x-bailiwick-request-id"), HeaderName::from_static("x-request-id")];

/// An error for a caller.
#[derive(Debug, Clone)]
pub struct ApiError {
    /// The HTTP status.
    pub status: StatusCode,
    /// A stable word for programs, such as `model_not_found`.
    pub code: &'static str,
    /// The class, which SDKs turn into exception types.
    pub kind: ErrorKind,
    /// What is wrong and what to do, for people. Never a secret, never another tenant's data.
    pub message: String,
    /// The request's field that is wrong, if one is.
    pub param: Option<&'static str>,
    /// Further headers, such as `retry-after`.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

/// OpenAI's classes of errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// The request is wrong.
    #[serde(rename = "invalid_request_error")]
    InvalidRequest,
    /// The key is missing or wrong.
    #[serde(rename = "authentication_error")]
    Authentication,
    /// The key may not do this.
    #[serde(rename = "permission_error")]
    Permission,
    /// There is no such thing, or it may not be known.
    #[serde(rename = "not_found_error")]
    NotFound,
    /// A limit is reached.
    #[serde(rename = "rate_limit_error")]
    RateLimit,
    /// Our fault, or the provider's.
    #[serde(rename = "api_error")]
    Api,
}

impl ErrorKind {
    /// The class that a status belongs to.
    pub fn of(status: StatusCode) -> Self {
        match status.as_u16() {
            401 => Self::Authentication,
            403 => Self::Permission,
            404 => Self::NotFound,
            429 => Self::RateLimit,
            500..=599 => Self::Api,
            _ => Self::InvalidRequest,
        }
    }
}

#[derive(Serialize)]
struct Envelope<'a> {
    error: Inner<'a>,
}

#[derive(Serialize)]
struct Inner<'a> {
    message: &'a str,
    r#type: ErrorKind,
    param: Option<&'a str>,
    code: &'a str,
    request_id: &'a str,
}

impl ApiError {
    /// An error in the class of its status.
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        let (kind, message) = (ErrorKind::of(status), message.into());
        Self { status, code, kind, message, param: None, headers: Vec::new() }
    }

    /// Our own failure.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", message)
    }

    /// Names the request's field that is wrong.
    #[must_use]
    pub fn with_param(self, param: &'static str) -> Self {
        Self { param: Some(param), ..self }
    }

    /// Adds a header.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// The answer.
    pub fn into_response(self, request_id: RequestId) -> Response<ResponseBody> {
        let id = request_id.to_string();
        let mut response = Response::new(self.body(&id).into());
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Ok(id) = HeaderValue::try_from(id) {
            for name in REQUEST_ID_HEADERS {
                headers.insert(name, id.clone());
            }
        }
        headers.extend(self.headers);
        response
    }

    pub(super) fn body(&self, request_id: &str) -> Bytes {
        let error = Inner {
            message: &self.message,
            r#type: self.kind,
            param: self.param,
            code: self.code,
            request_id,
        };
        // A struct of texts always becomes JSON.
        serde_json::to_vec(&Envelope { error }).unwrap_or_default().into()
    }
}
