//! The endpoints.

mod streams;

use std::{sync::Arc, time::Duration};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde_json::{Value, json};
use tokio::sync::watch;

use self::streams::{held, streamed, truncated};
use crate::{
    answers::{self, Request},
    anthropic,
    audio::{self, Format},
    behaviour::Behaviour,
    ledger::Ledger,
    media, responses,
};

const LARGEST_BODY_BYTES: usize = 32 << 20;

/// What all calls share.
#[derive(Clone)]
pub(crate) struct Provider {
    keys: Arc<[String]>,
    ledger: Arc<Ledger>,
    latency: Duration,
    chunk_delay: Duration,
    /// How often what is held was released.
    released: watch::Sender<u64>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Chat,
    Completion,
    Embedding,
    Message,
    Response,
    Image,
    Speech,
    Moderation,
    /// Text of a file.
    Transcription(Format),
}

impl Kind {
    fn streams(self) -> bool {
        matches!(
            self,
            Self::Chat | Self::Completion | Self::Message | Self::Response | Self::Transcription(_)
        )
    }

    /// An error, as its dialect says it.
    fn error(self, status: StatusCode, message: &str, kind: &str, code: &str) -> Value {
        match self {
            Self::Message => anthropic::error(status.as_u16(), message),
            _ => answers::error(message, kind, code),
        }
    }
}

impl Provider {
    pub(crate) fn new(keys: Vec<String>, latency: Duration, chunk_delay: Duration) -> Self {
        Self {
            keys: keys.into(),
            ledger: Arc::default(),
            latency,
            chunk_delay,
            released: watch::Sender::default(),
        }
    }

    /// Notes a call that was answered to its end.
    fn served(&self, prompt: u64, completion: u64) {
        self.ledger.note(|served| {
            served.completed += 1;
            served.prompt_tokens += prompt;
            served.completion_tokens += completion;
        });
    }

    /// The accepted key's position.
    fn authenticate(&self, kind: Kind, headers: &HeaderMap) -> Option<usize> {
        let value = match kind {
            Kind::Message => headers.get("x-api-key")?.to_str().ok()?,
            _ => headers.get(header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")?,
        };
        if self.keys.is_empty() {
            return Some(0);
        }
        self.keys.iter().position(|key| key == value)
    }
}

pub(crate) fn router(provider: Provider) -> Router {
    Router::new()
        .route("/v1/chat/completions", post(|state, headers, body| call(Kind::Chat, state, headers, body)))
        .route("/v1/completions", post(|state, headers, body| call(Kind::Completion, state, headers, body)))
        .route("/v1/embeddings", post(|state, headers, body| call(Kind::Embedding, state, headers, body)))
        .route("/v1/messages", post(|state, headers, body| call(Kind::Message, state, headers, body)))
        .route("/v1/messages/count_tokens", post(count_tokens))
        .route("/v1/responses", post(|state, headers, body| call(Kind::Response, state, headers, body)))
        .route("/v1/images/generations", post(|state, headers, body| call(Kind::Image, state, headers, body)))
        .route("/v1/audio/speech", post(|state, headers, body| call(Kind::Speech, state, headers, body)))
        .route("/v1/audio/transcriptions", post(transcribe))
        .route("/v1/audio/translations", post(transcribe))
        .route("/v1/moderations", post(|state, headers, body| call(Kind::Moderation, state, headers, body)))
        .route("/v1/models", get(models))
        .route("/simulated/served", get(served))
        .route("/simulated/release", post(release))
        .layer(DefaultBodyLimit::max(LARGEST_BODY_BYTES))
        .with_state(provider)
}

async fn models() -> Json<Value> {
    Json(
        json!({"object": "list", "data": [{"id": "simulated", "object": "model", "created": 0, "owned_by": "simulated"}]}),
    )
}

async fn served(State(provider): State<Provider>) -> Response {
    Json(provider.ledger.read()).into_response()
}

async fn release(State(provider): State<Provider>) {
    provider.released.send_modify(|times| *times += 1);
}

async fn call(kind: Kind, State(provider): State<Provider>, headers: HeaderMap, body: Bytes) -> Response {
    let request = serde_json::from_slice(&body).ok();
    take(kind, provider, &headers, request, "We could not parse the JSON body.").await
}

async fn transcribe(State(provider): State<Provider>, headers: HeaderMap, body: Bytes) -> Response {
    let (request, format) = audio::request(&headers, &body).unzip();
    let kind = Kind::Transcription(format.unwrap_or(Format::Json));
    take(kind, provider, &headers, request, "We could not parse the form.").await
}

async fn take(
    kind: Kind,
    provider: Provider,
    headers: &HeaderMap,
    request: Option<Request>,
    complaint: &str,
) -> Response {
    let Some(key) = provider.authenticate(kind, headers) else {
        provider.ledger.note(|served| served.unauthorized += 1);
        let (status, message) = (StatusCode::UNAUTHORIZED, "Incorrect API key provided.");
        let body = kind.error(status, message, "invalid_request_error", "invalid_api_key");
        return (status, Json(body)).into_response();
    };
    let Some(request) = request else {
        let status = StatusCode::BAD_REQUEST;
        let body = kind.error(status, complaint, "invalid_request_error", "invalid_body");
        return (status, Json(body)).into_response();
    };
    provider.ledger.note(|served| {
        served.started += 1;
        *served.by_key.entry(key).or_default() += 1;
    });
    if !provider.latency.is_zero() {
        tokio::time::sleep(provider.latency).await;
    }
    answer(kind, provider, request).await
}

async fn count_tokens(State(provider): State<Provider>, headers: HeaderMap, body: Bytes) -> Response {
    let kind = Kind::Message;
    match (provider.authenticate(kind, &headers), serde_json::from_slice::<Request>(&body)) {
        (Some(_), Ok(request)) => Json(json!({"input_tokens": request.prompt_tokens()})).into_response(),
        (Some(_), Err(_)) => {
            (StatusCode::BAD_REQUEST, Json(anthropic::error(400, "We could not parse the JSON body.")))
                .into_response()
        }
        (None, _) => {
            (StatusCode::UNAUTHORIZED, Json(anthropic::error(401, "invalid x-api-key"))).into_response()
        }
    }
}

async fn answer(kind: Kind, provider: Provider, request: Request) -> Response {
    match Behaviour::of(&request.model) {
        Behaviour::Status(code) => {
            let status = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            let message = format!("simulated failure for: {}", request.last_text());
            let body = kind.error(status, &message, answers::error_type(status), "simulated");
            (status, Json(body)).into_response()
        }
        Behaviour::Page(code) => {
            let status = StatusCode::from_u16(code).unwrap_or(StatusCode::BAD_GATEWAY);
            let page =
                format!("<html><body><h1>{status}</h1><pre>{}</pre></body></html>", request.last_text());
            (status, [(header::CONTENT_TYPE, "text/html")], page).into_response()
        }
        Behaviour::Headers => {
            let text = request.last_text();
            let mut response = if request.stream {
                streamed(kind, provider, &request, Behaviour::Headers)
            } else {
                whole(kind, &provider, &request, Behaviour::Headers)
            };
            for name in ["x-simulated-echo", "openai-organization", "x-request-id", "set-cookie"] {
                if let Ok(value) = HeaderValue::from_str(&text) {
                    response.headers_mut().insert(name, value);
                }
            }
            response
        }
        Behaviour::Garbage => {
            ([(header::CONTENT_TYPE, "application/json")], "<html>not what you asked for").into_response()
        }
        Behaviour::Hang => std::future::pending().await,
        Behaviour::Redirect => {
            (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, "http://127.0.0.1:9/v1")]).into_response()
        }
        Behaviour::Held if kind == Kind::Chat => held(provider, &request),
        behaviour if request.stream && kind.streams() => streamed(kind, provider, &request, behaviour),
        behaviour => whole(kind, &provider, &request, behaviour),
    }
}

fn whole(kind: Kind, provider: &Provider, request: &Request, behaviour: Behaviour) -> Response {
    let words = answers::words(request, behaviour);
    let (prompt, completion) = (request.prompt_tokens(), count(&words));
    let usage = answers::usage(prompt, completion);
    let body = match kind {
        Kind::Chat if behaviour == Behaviour::Tools => {
            answers::tool_calls(&request.model, &words.concat(), &usage)
        }
        Kind::Chat => answers::chat(&request.model, &words.concat(), &usage),
        Kind::Message => {
            let tools = behaviour == Behaviour::Tools;
            anthropic::message(&request.model, &words.concat(), tools, prompt, completion)
        }
        Kind::Completion => answers::completion(&request.model, &words.concat(), &usage),
        Kind::Embedding => answers::embeddings(&request.model, request.inputs(), prompt),
        Kind::Response => {
            let tools = behaviour == Behaviour::Tools;
            responses::whole(&request.model, &words.concat(), tools, prompt, completion)
        }
        Kind::Image => media::image(prompt),
        Kind::Moderation => media::moderation(&request.model, request.inputs(), &request.last_text()),
        Kind::Transcription(format) => {
            let answer = audio::whole(format, &words.concat(), prompt, completion);
            if behaviour == Behaviour::Truncated {
                return truncated(&answer);
            }
            provider.served(prompt, completion);
            let kind = if format == Format::Text { "text/plain" } else { "application/json" };
            return ([(header::CONTENT_TYPE, kind)], answer).into_response();
        }
        Kind::Speech => {
            provider.served(0, 0);
            return ([(header::CONTENT_TYPE, "audio/mpeg")], media::speech(&request.last_text()))
                .into_response();
        }
    };
    let completion = match kind {
        Kind::Embedding | Kind::Moderation => 0,
        Kind::Image => media::IMAGE_TOKENS,
        _ => completion,
    };
    let prompt = if kind == Kind::Moderation { 0 } else { prompt };
    let bytes = Bytes::from(body.to_string());
    if behaviour == Behaviour::Truncated {
        return truncated(&bytes);
    }
    provider.served(prompt, completion);
    ([(header::CONTENT_TYPE, "application/json")], bytes).into_response()
}

fn count(words: &[String]) -> u64 {
    u64::try_from(words.len()).unwrap_or(u64::MAX)
}
