//! Errors as callers' SDKs read them: `{"error": {"message", "type", "param", "code", "request_id"}}` for OpenAI's, and
//! `{"type": "error", "error": {"type", "message", "code"}, "request_id"}` for Anthropic's (<https://docs.claude.com/en/api/errors>).

use std::borrow::Cow;

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
    pub param: Option<Cow<'static, str>>,
    /// Further headers, such as `retry-after`.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

/// Which SDK reads an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorShape {
    /// OpenAI's.
    OpenAi,
    /// Anthropic's.
    Anthropic,
}

impl ErrorShape {
    /// That of whoever calls this path.
    pub fn of_path(path: &str) -> Self {
        match path {
            "/v1/messages" | "/v1/messages/count_tokens" => Self::Anthropic,
            _ => Self::OpenAi,
        }
    }
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

#[derive(Serialize)]
struct AnthropicEnvelope<'a> {
    r#type: &'a str,
    error: AnthropicInner<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
}

#[derive(Serialize)]
struct AnthropicInner<'a> {
    r#type: &'a str,
    message: &'a str,
    code: &'a str,
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
    pub fn with_param(self, param: impl Into<Cow<'static, str>>) -> Self {
        Self { param: Some(param.into()), ..self }
    }

    /// Adds a header.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// The answer, for OpenAI's SDKs.
    pub fn into_response(self, request_id: RequestId) -> Response<ResponseBody> {
        self.into_response_for(ErrorShape::OpenAi, request_id)
    }

    /// The answer.
    pub fn into_response_for(self, shape: ErrorShape, request_id: RequestId) -> Response<ResponseBody> {
        let id = request_id.to_string();
        let body = match shape {
            ErrorShape::OpenAi => self.body(&id),
            ErrorShape::Anthropic => self.anthropic_body(Some(&id)),
        };
        let mut response = Response::new(body.into());
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
            param: self.param.as_deref(),
            code: self.code,
            request_id,
        };
        // A struct of texts always becomes JSON.
        serde_json::to_vec(&Envelope { error }).unwrap_or_default().into()
    }

    /// What Anthropic's SDKs read. In the middle of a stream, the answer's head has told the request's id.
    pub fn anthropic_body(&self, request_id: Option<&str>) -> Bytes {
        let error = AnthropicInner { r#type: self.anthropic_type(), message: &self.message, code: self.code };
        let envelope = AnthropicEnvelope { r#type: "error", error, request_id };
        serde_json::to_vec(&envelope).unwrap_or_default().into()
    }

    fn anthropic_type(&self) -> &'static str {
        match self.status.as_u16() {
            401 => "authentication_error",
            403 => "permission_error",
            404 => "not_found_error",
            413 => "request_too_large",
            429 => "rate_limit_error",
            504 => "timeout_error",
            500..=599 => "api_error",
            _ => "invalid_request_error",
        }
    }
}
