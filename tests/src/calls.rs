//! Calls of an application, with a plain HTTP client.

use std::time::Duration;

use reqwest::{Client, Response, StatusCode};
use serde_json::{Value, json};

/// An application: a base URL and a key.
#[derive(Clone)]
pub struct Application {
    /// Without retries: what the gateway answers, the test sees.
    pub http: Client,
    /// Ends in `/v1`.
    pub base_url: String,
    /// API key.
    pub key: String,
}

/// An error in OpenAI's shape.
#[derive(Debug)]
pub struct Refusal {
    /// Status of the answer.
    pub status: StatusCode,
    /// `error.code`.
    pub code: String,
    /// `error.message`.
    pub message: String,
    /// `error.type`.
    pub kind: String,
}

impl Application {
    /// An application of a region's local organization.
    pub fn of(region: &crate::installation::Region) -> Self {
        Self::new(&region.base_url, &region.api_key)
    }

    /// An application.
    pub fn new(base_url: &str, key: &str) -> Self {
        let http = Client::builder().timeout(Duration::from_secs(60)).build().expect("client");
        Self { http, base_url: base_url.to_owned(), key: key.to_owned() }
    }

    /// Sends a chat completion.
    pub async fn chat(&self, model: &str, text: &str, stream: bool) -> reqwest::Result<Response> {
        let body = json!({"model": model, "stream": stream, "messages": [{"role": "user", "content": text}]});
        self.post("/chat/completions", &body).await
    }

    /// Posts JSON.
    pub async fn post(&self, path: &str, body: &Value) -> reqwest::Result<Response> {
        self.http.post(format!("{}{path}", self.base_url)).bearer_auth(&self.key).json(body).send().await
    }
}

/// The request id of an answer.
pub fn request_id(response: &Response) -> String {
    response
        .headers()
        .get("x-bailiwick-request-id")
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
        .to_owned()
}

/// Reads an answer as an error in OpenAI's shape, and fails when it is none.
pub async fn refusal(response: Response) -> Refusal {
    let status = response.status();
    let id = request_id(&response);
    let text = response.text().await.expect("a body");
    let body: Value =
        serde_json::from_str(&text).unwrap_or_else(|_| panic!("{status} without an error: {text:?}"));
    let field =
        |name: &str| body["error"][name].as_str().unwrap_or_else(|| panic!("no {name} in {text}")).to_owned();
    assert!(id.starts_with("req_"), "every answer names its request");
    assert_eq!(field("request_id"), id);
    Refusal { status, code: field("code"), message: field("message"), kind: field("type") }
}
