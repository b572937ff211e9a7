//! HTTP requests as an attacker words them, and the parts of an answer that tell who gave it.

use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, Method, Request, StatusCode, Uri, header, response::Parts};
use http_body_util::{BodyExt as _, Limited, StreamBody, combinators::UnsyncBoxBody};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::JoinSet,
    time::timeout,
};

use crate::knock::{dial, tcp};

const TIMEOUT: Duration = Duration::from_secs(10);
/// Where the head alone has to be enough, nothing has to be waited for but the machine.
const TIMEOUT_OF_A_HEAD: Duration = Duration::from_secs(5);
const LARGEST_ANSWER_BYTES: usize = 256 << 10;

/// What [`ask`] says of a server that does not answer a head whose body is held back: it wants the body, so it did not decide from the head alone.
pub(crate) const WAITS_FOR_THE_BODY: &str = "no answer to the head alone: the body is waited for";

type Body = UnsyncBoxBody<Bytes, std::convert::Infallible>;

/// A request.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub(crate) method: Method,
    /// As it stands in the request line: a path, or a whole URL.
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) sends: Sends,
    /// The server's name in TLS, instead of the router's own.
    pub(crate) sni: Option<String>,
}

/// What follows the head.
#[derive(Clone, Debug)]
pub(crate) enum Sends {
    Nothing,
    /// 100 MB are promised, and none comes: whoever answers has not waited for them.
    HeldBack,
    Json(Value),
}

impl Ask {
    pub(crate) fn get(target: &str) -> Self {
        let (method, target) = (Method::GET, target.to_owned());
        Self { method, target, headers: Vec::new(), sends: Sends::Nothing, sni: None }
    }

    pub(crate) fn post(target: &str, sends: Sends) -> Self {
        let asked = Self { method: Method::POST, sends, ..Self::get(target) };
        asked.with("content-type", "application/json")
    }

    #[must_use]
    pub(crate) fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    #[must_use]
    pub(crate) fn bearer(self, key: &str) -> Self {
        self.with("authorization", format!("Bearer {key}"))
    }
}

/// An answer. Its body stays here: it may repeat what is nobody's business.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    headers: HeaderMap,
    body: Value,
}

impl Answer {
    fn of((head, body): (Parts, Bytes)) -> Self {
        let body = serde_json::from_slice(&body).unwrap_or_default();
        Self { status: head.status, headers: head.headers, body }
    }

    /// `error.code`; empty where there is none.
    pub(crate) fn code(&self) -> &str {
        self.body.pointer("/error/code").and_then(Value::as_str).unwrap_or_default()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The region whose worker answered. Routers pass it on, and set none themselves: empty means that no worker heard of the request.
    pub(crate) fn worker_of(&self) -> &str {
        self.header("x-bailiwick-region")
    }

    /// Whether the answer's message names something.
    pub(crate) fn mentions(&self, text: &str) -> bool {
        self.body.pointer("/error/message").and_then(Value::as_str).is_some_and(|said| said.contains(text))
    }
}

impl std::fmt::Display for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "HTTP {}", self.status.as_u16())?;
        if !self.code().is_empty() {
            write!(f, " {}", self.code())?;
        }
        match self.worker_of() {
            "" => f.write_str(", no worker"),
            region => write!(f, ", a worker of {region}"),
        }
    }
}

/// Asks a router by its base URL. The error is for people.
pub(crate) async fn ask(base_url: &str, ask: &Ask) -> Result<Answer, String> {
    fetch(base_url, ask).await.map(Answer::of)
}

/// Asks for a text, whoever answers with whatever status.
pub(crate) async fn text(base_url: &str, ask: &Ask) -> Result<String, String> {
    let (_head, body) = fetch(base_url, ask).await?;
    Ok(String::from_utf8_lossy(&body).into_owned())
}

/// Asks over a connection. `host` is named where the request does not name one itself.
pub(crate) async fn over(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    host: &str,
    ask: &Ask,
) -> Result<Answer, String> {
    exchange(stream, host, ask).await.map(Answer::of)
}

/// SHA-256 of the certificate that a router presents; `None` where it serves no TLS.
pub(crate) async fn fingerprint(base_url: &str) -> Result<Option<[u8; 32]>, String> {
    let (host, address, secure) = place(base_url)?;
    if !secure {
        return Ok(None);
    }
    let stream = dial(&address, Some(&host), None, b"http/1.1").await.map_err(|error| error.to_string())?;
    let leaf = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
    Ok(leaf.map(|leaf| bailiwick_runtime::identity::fingerprint(leaf)))
}

/// Host, `host:port`, and whether TLS is spoken there.
fn place(base_url: &str) -> Result<(String, String, bool), String> {
    let base: Uri = base_url.parse().map_err(|_| format!("{base_url:?} is not a URL"))?;
    let host = base.host().unwrap_or_default();
    let secure = base.scheme_str() == Some("https");
    let port = base.port_u16().unwrap_or(if secure { 443 } else { 80 });
    Ok((host.to_owned(), format!("{host}:{port}"), secure))
}

async fn fetch(base_url: &str, ask: &Ask) -> Result<(Parts, Bytes), String> {
    let (host, address, secure) = place(base_url)?;
    if secure {
        let sni = ask.sni.as_deref().unwrap_or(&host);
        let stream = dial(&address, Some(sni), None, b"http/1.1").await.map_err(|error| error.to_string())?;
        return exchange(stream, &address, ask).await;
    }
    exchange(tcp(&address).await.map_err(|error| error.to_string())?, &address, ask).await
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    host: &str,
    ask: &Ask,
) -> Result<(Parts, Bytes), String> {
    let request = request(host, ask)?;
    let asked = async {
        let (mut sender, connection) = http1::handshake::<_, Body>(TokioIo::new(stream)).await?;
        // Driven beside the request, and gone with it.
        let mut driven = JoinSet::new();
        driven.spawn(connection);
        let (head, body) = sender.send_request(request).await?.into_parts();
        Ok::<_, hyper::Error>((head, Limited::new(body, LARGEST_ANSWER_BYTES).collect().await))
    };
    let held_back = matches!(ask.sends, Sends::HeldBack);
    let bound = if held_back { TIMEOUT_OF_A_HEAD } else { TIMEOUT };
    let (head, body) = match timeout(bound, asked).await {
        Ok(asked) => asked.map_err(|error| error.to_string())?,
        Err(_elapsed) if held_back => return Err(WAITS_FOR_THE_BODY.to_owned()),
        Err(_elapsed) => return Err(format!("no answer in {} s", bound.as_secs())),
    };
    Ok((head, body.map(|body| body.to_bytes()).unwrap_or_default()))
}

fn request(host: &str, ask: &Ask) -> Result<Request<Body>, String> {
    let mut request = Request::builder().method(ask.method.clone()).uri(&ask.target);
    if !ask.headers.iter().any(|(name, _)| name == "host") {
        request = request.header(header::HOST, host);
    }
    for (name, value) in &ask.headers {
        request = request.header(name, value);
    }
    let body = match &ask.sends {
        Sends::Nothing => Body::new(http_body_util::Empty::new()),
        Sends::HeldBack => {
            request = request.header(header::CONTENT_LENGTH, "100000000");
            Body::new(StreamBody::new(stream::pending()))
        }
        Sends::Json(value) => Body::new(http_body_util::Full::new(Bytes::from(value.to_string()))),
    };
    request.body(body).map_err(|error| error.to_string())
}
