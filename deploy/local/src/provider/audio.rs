//! Transcriptions and translations of files, in OpenAI's shapes (<https://platform.openai.com/docs/api-reference/audio>). What a file says is what stands in it.

use axum::{
    body::Bytes,
    http::{HeaderMap, header},
};
use serde_json::{Map, Value, json};

use crate::answers::Request;

/// Every file is as long.
const SECONDS: f64 = 2.5;

/// How the text is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Json,
    Verbose,
    Text,
}

/// What a form asks for: as a prompt, its file. `None`: it is no form, or has no file.
pub(crate) fn request(headers: &HeaderMap, body: &Bytes) -> Option<(Request, Format)> {
    let content_type = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    let boundary = content_type.strip_prefix("multipart/form-data")?.split_once("boundary=")?.1;
    let delimiter = format!("--{}", boundary.trim_matches('"'));
    let text = String::from_utf8_lossy(body);
    let parts = text.strip_suffix("\r\n").unwrap_or(&text).strip_suffix("--")?.split(&delimiter);
    let mut fields = Map::new();
    for part in parts {
        let Some((head, value)) = part.split_once("\r\n\r\n") else { continue };
        let name = head.split("name=\"").nth(1).and_then(|name| name.split('"').next())?;
        let value = value.strip_suffix("\r\n")?;
        let value = if name == "stream" { json!(value == "true") } else { json!(value) };
        fields.insert(name.to_owned(), value);
    }
    let format = match fields.get("response_format").and_then(Value::as_str) {
        Some("verbose_json") => Format::Verbose,
        Some("text") => Format::Text,
        _ => Format::Json,
    };
    let file = fields.remove("file")?;
    fields.insert("prompt".to_owned(), file);
    Some((serde_json::from_value(Value::Object(fields)).ok()?, format))
}

/// The whole text. Only some shapes tell what it took.
pub(crate) fn whole(format: Format, text: &str, prompt: u64, completion: u64) -> Bytes {
    match format {
        Format::Text => format!("{text}\n").into(),
        Format::Json => json!({"text": text, "usage": usage(prompt, completion)}).to_string().into(),
        Format::Verbose => {
            let segment = json!({"id": 0, "seek": 0, "start": 0.0, "end": SECONDS, "text": text, "tokens": [], "temperature": 0.0,
                                 "avg_logprob": -0.1, "compression_ratio": 1.0, "no_speech_prob": 0.0});
            json!({"task": "transcribe", "language": "english", "duration": SECONDS, "text": text, "segments": [segment],
                   "usage": {"type": "duration", "seconds": SECONDS.ceil()}})
            .to_string()
            .into()
        }
    }
}

/// The same, word by word.
pub(crate) fn events(words: &[String], prompt: u64, completion: u64) -> Vec<String> {
    let delta = |word: &String| json!({"type": "transcript.text.delta", "delta": word});
    let done =
        json!({"type": "transcript.text.done", "text": words.concat(), "usage": usage(prompt, completion)});
    words
        .iter()
        .map(delta)
        .chain([done])
        .map(|event| format!("event: {}\ndata: {event}\n\n", name(&event)))
        .collect()
}

fn name(event: &Value) -> &str {
    event["type"].as_str().unwrap_or_default()
}

fn usage(prompt: u64, completion: u64) -> Value {
    json!({"type": "tokens", "input_tokens": prompt, "output_tokens": completion, "total_tokens": prompt + completion,
           "input_token_details": {"audio_tokens": prompt, "text_tokens": 0}})
}
