//! Calls of an application, with a plain HTTP client.

use std::time::Duration;

use reqwest::{Client, Response, StatusCode};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};

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

/// A call on a connection of its own, read byte by byte: for callers that take their time, and for thousands of them.
pub struct Caller {
    stream: TcpStream,
    /// What was received, unless it was [forgotten](Self::forget).
    pub received: Vec<u8>,
}

impl Caller {
    /// Sends a chat completion that shall be streamed.
    pub async fn stream(base_url: &str, key: &str, model: &str) -> std::io::Result<Self> {
        Self::with_buffer(base_url, key, model, None).await
    }

    /// The same, once this has come of it.
    ///
    /// # Panics
    /// It never comes.
    pub async fn begun(base_url: &str, key: &str, model: &str, first: &str) -> Self {
        let mut caller = Self::stream(base_url, key, model).await.expect("connected");
        let begun = caller.read_to(first).await.expect("a stream");
        assert!(begun, "{}", String::from_utf8_lossy(&caller.received));
        caller
    }

    /// The same with a socket that takes no more than about so many bytes ahead of its reader.
    pub async fn with_buffer(
        base_url: &str,
        key: &str,
        model: &str,
        bytes: Option<u32>,
    ) -> std::io::Result<Self> {
        let address = base_url.trim_start_matches("http://").trim_end_matches("/v1");
        let socket = TcpSocket::new_v4()?;
        if let Some(bytes) = bytes {
            socket.set_recv_buffer_size(bytes)?;
        }
        let mut stream = socket.connect(address.parse().expect("an address")).await?;
        let body =
            json!({"model": model, "stream": true, "messages": [{"role": "user", "content": "hello"}]})
                .to_string();
        let request = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {key}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).await?;
        Ok(Self { stream, received: Vec::new() })
    }

    /// Reads on; gives how many bytes came, 0 at the connection's end.
    pub async fn read(&mut self, most: usize) -> std::io::Result<usize> {
        let mut piece = vec![0; most];
        let length = self.stream.read(&mut piece).await?;
        self.received.extend_from_slice(&piece[..length]);
        Ok(length)
    }

    /// Reads until this has come. False: the connection ended before.
    pub async fn read_to(&mut self, text: &str) -> std::io::Result<bool> {
        while !self.received.windows(text.len()).any(|window| window == text.as_bytes()) {
            if self.read(4096).await? == 0 {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Forgets what was received.
    pub fn forget(&mut self) {
        self.received = Vec::new();
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
