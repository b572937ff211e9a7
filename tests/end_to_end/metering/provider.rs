//! A provider whose every answer is known: each path and model has one, byte for byte.

use std::net::{IpAddr, SocketAddr};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

/// What a stream says, piece by piece, until it is cut: words of one token each.
pub(super) const WORDS: [&str; 8] = [" regions", " share", " nothing", " at", " all", " and", " no", " keys"];
/// How often they are said.
pub(super) const TIMES: usize = 40;

/// It serves until it is dropped.
pub(super) struct Provider {
    pub(super) address: SocketAddr,
    _server: JoinSet<()>,
}

/// What is answered.
struct Answer {
    content_type: &'static str,
    pieces: Vec<Vec<u8>>,
    /// Whether the answer ends, or is left open.
    ends: bool,
}

impl Provider {
    pub(super) async fn start(outside: IpAddr) -> Self {
        let listener = TcpListener::bind((outside, 0)).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let mut server = JoinSet::new();
        server.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((connection, _)) = listener.accept().await {
                connections.spawn(serve(connection));
            }
        });
        Self { address, _server: server }
    }
}

async fn serve(mut connection: TcpStream) {
    while let Some((path, body)) = read(&mut connection).await {
        let answer = answer(&path, &body);
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: {}\r\ntransfer-encoding: chunked\r\n\r\n",
            answer.content_type
        );
        let mut bytes = head.into_bytes();
        for piece in answer.pieces {
            bytes.extend(format!("{:x}\r\n", piece.len()).into_bytes());
            bytes.extend(piece);
            bytes.extend(b"\r\n");
        }
        if answer.ends {
            bytes.extend(b"0\r\n\r\n");
        }
        if connection.write_all(&bytes).await.is_err() {
            return;
        }
    }
}

/// A request's path and body.
async fn read(connection: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let (mut bytes, mut buffer) = (Vec::new(), vec![0; 64 << 10]);
    loop {
        let read = connection.read(&mut buffer).await.ok().filter(|read| *read > 0)?;
        bytes.extend_from_slice(&buffer[..read]);
        let Some(end) = bytes.windows(4).position(|at| at == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "))?;
        let length: usize = length.trim().parse().ok()?;
        if bytes.len() >= end + 4 + length {
            let path = head.split(' ').nth(1)?.to_owned();
            return Some((path, bytes[end + 4..end + 4 + length].to_vec()));
        }
    }
}

fn answer(path: &str, body: &[u8]) -> Answer {
    let asked: Value = serde_json::from_slice(body).unwrap_or_default();
    let model = asked["model"].as_str().unwrap_or_default();
    match path {
        "/v1/messages" => whole(&message()),
        "/v1/images/generations" => whole(&images(model)),
        "/v1/audio/speech" => {
            Answer { content_type: "audio/mpeg", pieces: vec![vec![0xff; 4096]], ends: true }
        }
        "/v1/audio/transcriptions" => transcription(body),
        _ if asked["stream"] == true => stream(model),
        _ => whole(&chat(model)),
    }
}

fn whole(value: &Value) -> Answer {
    Answer { content_type: "application/json", pieces: vec![value.to_string().into_bytes()], ends: true }
}

fn usage() -> Value {
    json!({"prompt_tokens": 1000, "completion_tokens": 200, "total_tokens": 1200,
           "prompt_tokens_details": {"cached_tokens": 400, "cache_write_tokens": 100},
           "completion_tokens_details": {"reasoning_tokens": 150}})
}

/// Said by the model `silent` without a word of what it cost.
fn chat(model: &str) -> Value {
    let text = WORDS.concat().repeat(TIMES);
    let mut answer = json!({"id": "x", "object": "chat.completion", "created": 1, "model": model,
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}]});
    if model != "silent" {
        answer["usage"] = usage();
    }
    answer
}

/// Anthropic's: fresh prompt tokens leave out what was read from the cache and written into it.
fn message() -> Value {
    json!({"id": "m", "type": "message", "role": "assistant", "model": "c", "stop_reason": "end_turn", "stop_sequence": null,
           "content": [{"type": "text", "text": "a"}],
           "usage": {"input_tokens": 100, "output_tokens": 50, "cache_read_input_tokens": 300, "cache_creation_input_tokens": 600,
                     "cache_creation": {"ephemeral_5m_input_tokens": 400, "ephemeral_1h_input_tokens": 200}}})
}

fn images(model: &str) -> Value {
    let mut answer = json!({"created": 1, "data": [{"b64_json": "A".repeat(300_000)}, {"b64_json": "B"}]});
    if model == "images-by-token" {
        answer["usage"] = json!({"input_tokens": 20, "output_tokens": 4000, "total_tokens": 4020});
    }
    answer
}

/// By the name that the form has for its model. A form without its file whole, or with another model, gets none.
fn transcription(body: &[u8]) -> Answer {
    let form = String::from_utf8_lossy(body);
    assert!(
        form.contains("filename=\"speech.mp3\"") && form.contains("name=\"model\""),
        "the form came whole"
    );
    let has = |model: &str| form.contains(&format!("\r\n\r\n{model}\r\n"));
    if has("by-second") {
        whole(&json!({"text": "a", "usage": {"type": "duration", "seconds": 90}}))
    } else if has("by-token") {
        whole(
            &json!({"text": "a", "usage": {"type": "tokens", "input_tokens": 140, "output_tokens": 45, "total_tokens": 185}}),
        )
    } else {
        Answer { content_type: "text/plain", pieces: vec![b"subtitles".to_vec()], ends: true }
    }
}

/// `cut` is left open before its end and its usage; `told` ends with both; `silent` ends without usage.
fn stream(model: &str) -> Answer {
    let chunk = |delta: Value| {
        json!({"id": "x", "object": "chat.completion.chunk", "created": 1, "model": model,
        "choices": [{"index": 0, "delta": delta, "finish_reason": null}], "usage": null})
    };
    let words = WORDS.iter().cycle().take(WORDS.len() * TIMES);
    let mut values: Vec<String> = words.map(|word| chunk(json!({"content": word})).to_string()).collect();
    if model != "cut" {
        values.extend((model == "told").then(|| json!({"choices": [], "usage": usage()}).to_string()));
        values.push("[DONE]".to_owned());
    }
    let pieces = values.iter().map(|value| format!("data: {value}\n\n").into_bytes()).collect();
    Answer { content_type: "text/event-stream", pieces, ends: model != "cut" }
}
