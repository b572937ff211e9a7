//! Fixtures, and a call from one end to the other.

use aws_smithy_eventstream::frame::write_message_to;
use serde_json::Value;

use crate::{
    Caller, Context, Dialect, Progress, Refused, Reply, StreamTranslator, Target,
    bedrock::{Frame, Frames},
    translate_request,
};

pub(super) const CONTEXT: Context<'static> =
    Context { request_id: "req_1", model: "public", created: 1_764_000_000 };

pub(super) fn fixture(path: &str) -> Vec<u8> {
    let path = format!("{}/fixtures/{path}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

pub(super) fn json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(bytes)))
}

pub(super) fn word(caller: Caller) -> &'static str {
    match caller {
        Caller::Chat => "chat",
        Caller::Responses => "responses",
        Caller::Messages => "messages",
    }
}

/// The fixtures' folder of a provider.
pub(super) fn folder(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::OpenAi | Dialect::OpenAiCompatible | Dialect::AzureOpenAi => "openai",
        Dialect::Anthropic => "anthropic",
        Dialect::Gemini | Dialect::Vertex => "gemini",
        Dialect::Bedrock => "bedrock",
    }
}

pub(super) fn target(dialect: Dialect) -> Target<'static> {
    let mut target = Target::new(dialect, "model-1");
    if dialect == Dialect::Bedrock {
        target.model = "anthropic.model-1:0";
        target.aws_region = Some("eu-central-1");
    }
    target
}

/// A caller's fixture, as a stream where that is wanted.
pub(super) fn asked(caller: Caller, case: &str, stream: bool) -> Vec<u8> {
    let body = fixture(&format!("callers/{}_{case}.json", word(caller)));
    if !stream {
        return body;
    }
    let options = if caller == Caller::Chat { r#","stream_options":{"include_usage":true}"# } else { "" };
    let text = String::from_utf8(body).expect("text");
    let open = text.trim_end().strip_suffix('}').expect("an object");
    format!(r#"{open},"stream":true{options}}}"#).into_bytes()
}

pub(super) fn sent(
    caller: Caller,
    case: &str,
    dialect: Dialect,
    stream: bool,
) -> Result<(Value, Reply), Refused> {
    let (outgoing, reply) = translate_request(caller, &asked(caller, case, stream), &target(dialect))?;
    Ok((json(&outgoing.body), reply))
}

/// A provider's events, as whoever cuts its bytes finds them.
pub(super) fn events(dialect: Dialect, case: &str) -> Vec<(String, Vec<u8>)> {
    if dialect == Dialect::Bedrock {
        let mut frames = Frames::default();
        frames.push(&event_stream(case));
        let mut found = Vec::new();
        while let Some(Frame { name, payload }) = frames.pop().expect("good frames") {
            found.push((name, payload.to_vec()));
        }
        assert!(!frames.is_amid());
        return found;
    }
    let text = String::from_utf8(fixture(&format!("{}/{case}.sse", folder(dialect)))).expect("text");
    let event = |event: &str| {
        let field =
            |name: &str| event.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim();
        (field("event:").to_owned(), field("data:").as_bytes().to_vec())
    };
    text.split("\n\n").filter(|event| !event.trim().is_empty()).map(event).collect()
}

/// A stream of Bedrock's, in its framing.
pub(super) fn event_stream(case: &str) -> Vec<u8> {
    let frames = json(&fixture(&format!("bedrock/{case}.json")));
    let mut bytes = Vec::new();
    for frame in frames.as_array().expect("a list") {
        let name = frame["name"].as_str().expect("a name");
        bytes.extend(framed(name, frame["payload"].to_string().as_bytes()));
    }
    bytes
}

pub(super) fn framed(name: &str, payload: &[u8]) -> Vec<u8> {
    use aws_smithy_types::event_stream::{Header, HeaderValue, Message};
    let exception = name.ends_with("Exception");
    let (kind, header) = if exception { ("exception", ":exception-type") } else { ("event", ":event-type") };
    let text = |text: &str| HeaderValue::String(text.to_owned().into());
    let message = Message::new(payload.to_vec())
        .add_header(Header::new(":message-type", text(kind)))
        .add_header(Header::new(header.to_owned(), text(name)))
        .add_header(Header::new(":content-type", text("application/json")));
    let mut bytes = Vec::new();
    write_message_to(&message, &mut bytes).expect("a frame");
    bytes
}

/// Runs a stream to its end. `cut`: only so many events come, and the connection breaks.
pub(super) fn run(
    reply: &Reply,
    events: &[(String, Vec<u8>)],
    cut: Option<usize>,
) -> (StreamTranslator, Vec<u8>) {
    let mut translator = reply.translate_stream(&CONTEXT);
    let mut out = Vec::new();
    for (name, data) in events.iter().take(cut.unwrap_or(usize::MAX)) {
        translator.event(name, data, &mut out);
    }
    if translator.progress() == Progress::Going {
        translator.end(cut.is_none(), &mut out);
    }
    (translator, out)
}

/// Every pair that is translated.
pub(super) fn pairs() -> impl Iterator<Item = (Caller, Dialect)> {
    let all = Caller::ALL
        .into_iter()
        .flat_map(|caller| Dialect::ALL.into_iter().map(move |dialect| (caller, dialect)));
    all.filter(|(caller, dialect)| crate::support(caller.call(), *dialect) == crate::Support::Translated)
}
