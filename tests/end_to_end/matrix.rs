//! Every caller's dialect × every provider's × what can happen, through router and worker: each cell is faithful, or a refusal that the documents name. The provider
//! answers with the shapes of the providers' references (`data-plane/dialects/fixtures`), in its own dialect, at its own path, and with its own credential. The table
//! is printed.

use std::{net::SocketAddr, path::Path};

use bailiwick_tests::{
    admin::Admin,
    calls::Application,
    eventually,
    installation::Installation,
    provider::{Heard, Provider},
};
use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt, net::TcpStream};

const REGION: &str = "eu-central-1";
const CASES: [&str; 8] = ["plain", "stream", "tools", "stream_tools", "image", "structured", "error", "cut"];
const TEXT: &str = "The capital is Paris.";
/// What the image is in callers' fixtures, base64.
const IMAGE: &str = "aW1hZ2U=";
const CREDENTIAL: &str = "sk-of-the-matrix";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Caller {
    Chat,
    Responses,
    Messages,
}

/// A kind of provider: how the admin API calls it, whose fixtures it answers with, where its endpoints end, and in which header its credential stands.
struct Kind {
    name: &'static str,
    folder: &'static str,
    path: &'static str,
    credential: &'static str,
}

const KINDS: [Kind; 7] = [
    Kind { name: "openai", folder: "openai", path: "/v1", credential: "authorization: bearer " },
    Kind { name: "openai_compatible", folder: "openai", path: "/v1", credential: "authorization: bearer " },
    Kind { name: "azure_openai", folder: "openai", path: "/openai", credential: "api-key: " },
    Kind { name: "anthropic", folder: "anthropic", path: "/v1", credential: "x-api-key: " },
    Kind { name: "gemini", folder: "gemini", path: "/v1beta", credential: "x-goog-api-key: " },
    Kind {
        name: "vertex",
        folder: "gemini",
        path: "/v1/projects/p/locations/l",
        credential: "authorization: bearer ",
    },
    Kind { name: "bedrock", folder: "bedrock", path: "", credential: "authorization: bearer " },
];

impl Caller {
    const ALL: [Self; 3] = [Self::Chat, Self::Responses, Self::Messages];

    fn word(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Responses => "responses",
            Self::Messages => "messages",
        }
    }

    fn path(self) -> &'static str {
        match self {
            Self::Chat => "/chat/completions",
            Self::Responses => "/responses",
            Self::Messages => "/messages",
        }
    }

    fn asks(self, model: &str, case: &str) -> Value {
        let (given, stream) = match case {
            "stream" | "cut" => ("plain", true),
            "stream_tools" => ("tools", true),
            "error" => ("plain", false),
            other => (other, false),
        };
        let mut body: Value =
            serde_json::from_slice(&fixture(&format!("callers/{}_{given}.json", self.word()))).expect("JSON");
        body["model"] = json!(model);
        if stream {
            body["stream"] = json!(true);
        }
        if stream && self == Self::Chat {
            body["stream_options"] = json!({"include_usage": true});
        }
        body
    }

    /// Whether bytes pass.
    fn same(self, kind: &Kind) -> bool {
        match self {
            Self::Chat => kind.folder == "openai",
            Self::Responses => matches!(kind.name, "openai" | "azure_openai"),
            Self::Messages => kind.name == "anthropic",
        }
    }

    /// Text, and the arguments of tools, of a whole answer.
    fn whole(self, body: &Value) -> (String, String) {
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        match self {
            Self::Chat => {
                let message = &body["choices"][0]["message"];
                let calls = list(&message["tool_calls"]);
                let arguments = calls.iter().map(|call| text(&call["function"]["arguments"])).collect();
                (text(&message["content"]), arguments)
            }
            Self::Responses => {
                let output = list(&body["output"]);
                let said = output.iter().flat_map(|item| list(&item["content"]));
                let arguments = output.iter().map(|item| text(&item["arguments"])).collect();
                (said.map(|part| text(&part["text"])).collect(), arguments)
            }
            Self::Messages => {
                let blocks = list(&body["content"]);
                let inputs = blocks.iter().filter(|block| block["input"].is_object());
                (
                    blocks.iter().map(|block| text(&block["text"])).collect(),
                    inputs.map(|block| block["input"].to_string()).collect(),
                )
            }
        }
    }

    /// The same of a stream's events.
    fn streamed(self, events: &[Value]) -> (String, String) {
        let of = |event: &Value, place: &str| event.pointer(place).and_then(Value::as_str).map(str::to_owned);
        let kind = |event: &Value, name: &str| event["type"] == name;
        let told = events.iter().filter_map(|event| match self {
            Self::Chat => of(event, "/choices/0/delta/content"),
            Self::Responses => of(event, "/delta").filter(|_| kind(event, "response.output_text.delta")),
            Self::Messages => of(event, "/delta/text"),
        });
        let arguments = events.iter().filter_map(|event| match self {
            Self::Chat => of(event, "/choices/0/delta/tool_calls/0/function/arguments"),
            Self::Responses => {
                of(event, "/delta").filter(|_| kind(event, "response.function_call_arguments.delta"))
            }
            Self::Messages => of(event, "/delta/partial_json"),
        });
        (told.collect(), arguments.collect())
    }

    fn ended(self, body: &str) -> bool {
        let last = body.trim_end().rsplit("\n\n").next().unwrap_or_default();
        last.contains(match self {
            Self::Chat => "data: [DONE]",
            Self::Responses => "\"response.completed\"",
            Self::Messages => "\"message_stop\"",
        })
    }
}

fn fixture(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../data-plane/dialects/fixtures").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// What a provider answers with at OpenAI's responses: there are no fixtures for them, because they are never translated from.
fn response(case: &str) -> Vec<Value> {
    let call = |city: &str| json!({"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "get_weather", "arguments": format!("{{\"city\":\"{city}\"}}"), "status": "completed"});
    let text = if case == "structured" { r#"{"zone":"CET","city":"Paris"}"# } else { TEXT };
    let said = json!({"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [{"type": "output_text", "text": text, "annotations": []}]});
    let output = if case.ends_with("tools") { json!([call("Paris"), call("Rome")]) } else { json!([said]) };
    let whole = json!({"id": "resp_1", "object": "response", "created_at": 1, "status": "completed", "model": "m", "output": output, "usage": {"input_tokens": 30, "output_tokens": 8, "total_tokens": 38}});
    let arguments = "{\"city\":\"Paris\"}{\"city\":\"Rome\"}";
    let kind = match case {
        "stream_tools" => "response.function_call_arguments.delta",
        _ => "response.output_text.delta",
    };
    let delta = |text: &str| json!({"type": kind, "item_id": "i", "output_index": 0, "delta": text});
    match case {
        "stream_tools" => vec![delta(arguments), json!({"type": "response.completed", "response": whole})],
        "stream" | "cut" => vec![
            delta("The capital"),
            delta(" is Paris."),
            json!({"type": "response.completed", "response": whole}),
        ],
        _ => vec![whole],
    }
}

/// The events of a provider's stream, each as it stands on the wire.
fn events(folder: &str, case: &str) -> Vec<Vec<u8>> {
    let case = if case == "cut" { "stream" } else { case };
    if folder == "responses" {
        let event =
            |value: &Value| format!("event: {}\ndata: {value}\n\n", value["type"].as_str().expect("a type"));
        return response(case).iter().map(|value| event(value).into_bytes()).collect();
    }
    if folder == "bedrock" {
        let frames: Vec<Value> =
            serde_json::from_slice(&fixture(&format!("bedrock/{case}.json"))).expect("JSON");
        return frames.iter().map(frame).collect();
    }
    let text = String::from_utf8(fixture(&format!("{folder}/{case}.sse"))).expect("text");
    let events = text.split_inclusive("\n\n").filter(|event| !event.trim().is_empty());
    events.map(|event| event.as_bytes().to_vec()).collect()
}

/// A frame of `application/vnd.amazon.eventstream`: lengths, a checksum of them, headers of text, the payload, a checksum of all.
fn frame(event: &Value) -> Vec<u8> {
    let (name, payload) = (event["name"].as_str().expect("a name"), event["payload"].to_string());
    let mut headers = Vec::new();
    for (header, value) in [(":message-type", "event"), (":event-type", name)] {
        headers.push(header.len() as u8);
        headers.extend_from_slice(header.as_bytes());
        headers.push(7);
        headers.extend_from_slice(&(value.len() as u16).to_be_bytes());
        headers.extend_from_slice(value.as_bytes());
    }
    let mut bytes = ((16 + headers.len() + payload.len()) as u32).to_be_bytes().to_vec();
    bytes.extend_from_slice(&(headers.len() as u32).to_be_bytes());
    bytes.extend_from_slice(&crc32fast::hash(&bytes).to_be_bytes());
    bytes.extend_from_slice(&headers);
    bytes.extend_from_slice(payload.as_bytes());
    bytes.extend_from_slice(&crc32fast::hash(&bytes).to_be_bytes());
    bytes
}

/// Which dialect a call is made in, by its path alone; and whether it has the credential that the dialect wants. `None`: it is called as nobody shall.
fn spoken(heard: &Heard) -> Option<&'static str> {
    let kind = |name: &str| KINDS.iter().find(|kind| kind.name == name).expect("a kind");
    let path = heard.path.as_str();
    let (kind, folder) = match path {
        "/v1/messages" => (kind("anthropic"), "anthropic"),
        "/v1/chat/completions" => (kind("openai"), "openai"),
        "/v1/responses" => (kind("openai"), "responses"),
        "/openai/v1/responses" => (kind("azure_openai"), "responses"),
        _ if path.starts_with("/openai/deployments/") => (kind("azure_openai"), "openai"),
        _ if path.starts_with("/v1beta/models/") => (kind("gemini"), "gemini"),
        _ if path.starts_with("/v1/projects/p/locations/l/publishers/google/models/") => {
            (kind("vertex"), "gemini")
        }
        _ if path.starts_with("/model/") => (kind("bedrock"), "bedrock"),
        _ => return None,
    };
    heard.head.contains(&format!("{}{CREDENTIAL}\r\n", kind.credential)).then_some(folder)
}

/// One call at the provider. What was wrong with it stands in the answer, which no caller takes for what it waits for.
async fn answer(mut stream: TcpStream) {
    while let Some(heard) = Heard::next(&mut stream).await {
        let (case, body) = (heard.model(), heard.json().to_string());
        let Some(folder) = spoken(&heard) else {
            return say(&mut stream, "500 Wrong", "", heard.head.as_bytes()).await;
        };
        if case == "image" && !body.contains(IMAGE) {
            return say(&mut stream, "500 Wrong", "", b"there is no image").await;
        }
        match &*case {
            "error" => {
                let name = if folder == "responses" { "openai" } else { folder };
                let kind = if folder == "bedrock" { "x-amzn-errortype: ThrottlingException\r\n" } else { "" };
                let body = fixture(&format!("{name}/error.json"));
                say(&mut stream, "429 Too Many Requests", kind, &body).await;
            }
            "stream" | "stream_tools" | "cut" => {
                let kind = if folder == "bedrock" {
                    "application/vnd.amazon.eventstream"
                } else {
                    "text/event-stream"
                };
                let head =
                    format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ntransfer-encoding: chunked\r\n\r\n");
                let mut bytes = head.into_bytes();
                for event in events(folder, &case) {
                    bytes.extend_from_slice(format!("{:x}\r\n", event.len()).as_bytes());
                    bytes.extend_from_slice(&event);
                    bytes.extend_from_slice(b"\r\n");
                    if case == "cut" && String::from_utf8_lossy(&event).contains("The capital") {
                        // Nothing more, and no end.
                        let _ = stream.write_all(&bytes).await;
                        return;
                    }
                }
                bytes.extend_from_slice(b"0\r\n\r\n");
                let _ = stream.write_all(&bytes).await;
            }
            _ if folder == "responses" => {
                say(&mut stream, "200 OK", "", response(&case)[0].to_string().as_bytes()).await;
            }
            _ => {
                let name = if case == "image" { "plain" } else { &*case };
                say(&mut stream, "200 OK", "", &fixture(&format!("{folder}/{name}.json"))).await;
            }
        }
    }
}

async fn say(stream: &mut TcpStream, status: &str, more: &str, body: &[u8]) {
    let head = format!(
        "HTTP/1.1 {status}\r\n{more}content-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let _ = stream.write_all(&[head.as_bytes(), body].concat()).await;
}

/// What became of one cell. Errors: how it is neither faithful nor refused as documented.
async fn cell(application: &Application, caller: Caller, kind: &Kind, case: &str) -> Result<String, String> {
    let body = caller.asks(&format!("{}-{case}", kind.name), case);
    let answer = application.post(caller.path(), &body).await.map_err(|error| error.to_string())?;
    let status = answer.status().as_u16();
    let mut bytes = Vec::new();
    let (mut answer, mut whole) = (answer, true);
    loop {
        match answer.chunk().await {
            Ok(Some(piece)) => bytes.extend_from_slice(&piece),
            Ok(None) => break,
            Err(_cut) => {
                whole = false;
                break;
            }
        }
    }
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let wrong = |what: &str| Err(format!("{what}: {status} {text}"));
    let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
    let events: Vec<Value> = data.filter_map(|data| serde_json::from_str(data).ok()).collect();
    let value: Value = serde_json::from_str(&text).unwrap_or_default();
    if status == 400 && value["error"]["code"] == "unsupported_by_provider" {
        return Ok("refused".to_owned());
    }
    if case == "error" {
        let is_shaped = value["error"]["message"].is_string()
            && (value["type"] == "error") == (caller == Caller::Messages);
        return if status == 429 && is_shaped {
            Ok("faithful: 429".to_owned())
        } else {
            wrong("no error of the dialect")
        };
    }
    if status != 200 {
        return wrong("refused");
    }
    if case == "cut" {
        let told = events.last().is_some_and(|last| {
            last["error"].is_object() || last["type"] == "error" || last["type"] == "response.failed"
        });
        let (said, _) = caller.streamed(&events);
        return match (whole, told, &*said) {
            (false, true, "The capital") if !caller.ended(&text) => Ok("faithful: told, and cut".to_owned()),
            _ => wrong("not told that it was cut"),
        };
    }
    let (said, arguments) = if case.starts_with("stream") {
        if !caller.ended(&text) {
            return wrong("no end");
        }
        caller.streamed(&events)
    } else {
        caller.whole(&value)
    };
    let good = match case {
        "tools" | "stream_tools" => arguments.contains("Paris") && arguments.contains("Rome"),
        "structured" => serde_json::from_str::<Value>(&said)
            .is_ok_and(|value| value == json!({"zone": "CET", "city": "Paris"})),
        _ => said == TEXT,
    };
    if !whole || !good {
        return wrong("something else was said");
    }
    if !caller.same(kind) {
        return Ok("faithful".to_owned());
    }
    let folder = if caller == Caller::Responses { "responses" } else { kind.folder };
    let sent = match case {
        "stream" | "stream_tools" => events_of(folder, case),
        _ if folder == "responses" => response(case)[0].to_string().into_bytes(),
        _ => fixture(&format!("{folder}/{}.json", if case == "image" { "plain" } else { case })),
    };
    if bytes == sent { Ok("bytes pass".to_owned()) } else { wrong("other bytes than the provider's") }
}

fn events_of(folder: &str, case: &str) -> Vec<u8> {
    events(folder, case).concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_caller_and_every_provider_understand_each_other_or_are_told_why_not() {
    let installation = Installation::start();
    let region = installation.region(REGION);
    let address = SocketAddr::from((installation.outside, installation.spare_port));
    let provider = Provider::start(address, answer).await;
    let admin = Admin::of(REGION, region);
    let credential = admin.new_credential(&region.organization, CREDENTIAL).await;
    let mut revision = 0;
    for kind in &KINDS {
        for case in CASES {
            let (name, endpoint) =
                (format!("{}-{case}", kind.name), format!("{}{}", provider.url, kind.path));
            let made =
                admin.new_model_of(kind.name, &region.organization, &name, &endpoint, case, &credential);
            revision = made.await;
        }
    }
    admin.applied(revision).await;
    let before = admin.total(&region.organization).await;
    let application = Application::of(region);
    let (mut wrong, mut answered, mut calls) = (Vec::new(), 0, 0);
    println!("{:<10} {:<18} {}", "caller", "provider", CASES.map(|case| format!("{case:<24}")).concat());
    for caller in Caller::ALL {
        for kind in &KINDS {
            let mut row = String::new();
            for case in CASES {
                let outcome = cell(&application, caller, kind, case).await;
                calls += 1;
                answered += u64::from(outcome.is_ok() && !matches!(case, "error" | "cut"));
                row.push_str(&format!("{:<24}", outcome.as_deref().unwrap_or("WRONG")));
                wrong.extend(
                    outcome.err().map(|what| format!("{} → {}, {case}: {what}", caller.word(), kind.name)),
                );
            }
            println!("{:<10} {:<18} {row}", caller.word(), kind.name);
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    // What is metered is what the providers said, whatever they speak.
    let total = eventually("every call is metered", || async {
        let total = admin.total(&region.organization).await;
        (total.calls >= before.calls + calls).then_some(total)
    })
    .await;
    assert_eq!(total.calls, before.calls + calls);
    assert!(total.prompt_tokens >= before.prompt_tokens + answered * 30, "{total:?}");
    assert!(total.completion_tokens >= before.completion_tokens + answered * 8, "{total:?}");
}
