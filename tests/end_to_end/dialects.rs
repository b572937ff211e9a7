//! Callers and providers of different dialects, through router and worker: plain, as a stream, with tools, with errors, and cut.

use bailiwick_tests::{
    admin::Admin,
    calls::Application,
    eventually,
    installation::{Installation, Region},
};
use serde_json::{Value, json};

const REGION: &str = "eu-central-1";
/// How the simulated provider answers.
const WAYS: [&str; 6] = ["echo", "tools", "truncated", "garbage", "status-429", "status-400"];
const SAID: &str = "one two three";

/// Who calls, and whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dialect {
    OpenAi,
    Anthropic,
}

impl Dialect {
    fn path(self) -> &'static str {
        match self {
            Self::OpenAi => "/chat/completions",
            Self::Anthropic => "/messages",
        }
    }

    fn provider(self) -> &'static str {
        match self {
            Self::OpenAi => "openai",
            Self::Anthropic => "anthropic",
        }
    }

    /// The text, or the tool's arguments, of a whole answer.
    fn answered(self, body: &Value) -> (Option<String>, Option<Value>) {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        match self {
            Self::OpenAi => {
                let message = &body["choices"][0]["message"];
                let arguments = message["tool_calls"][0]["function"]["arguments"].as_str();
                (text(&message["content"]), arguments.map(|text| serde_json::from_str(text).expect("JSON")))
            }
            Self::Anthropic => {
                let block = &body["content"][0];
                (text(&block["text"]), Some(block["input"].clone()).filter(|input| !input.is_null()))
            }
        }
    }

    /// The text of a stream's pieces, or the tool's arguments.
    fn streamed(self, body: &str) -> String {
        let events = body.lines().filter_map(|line| line.strip_prefix("data: "));
        let values = events.filter_map(|data| serde_json::from_str::<Value>(data).ok());
        let piece = |value: Value| {
            let delta = match self {
                Self::OpenAi => value["choices"][0]["delta"].clone(),
                Self::Anthropic => value["delta"].clone(),
            };
            let places = ["/content", "/tool_calls/0/function/arguments", "/text", "/partial_json"];
            places.iter().find_map(|place| delta.pointer(place)?.as_str().map(str::to_owned))
        };
        values.filter_map(piece).collect()
    }

    fn ended(self, body: &str) -> bool {
        body.trim_end().ends_with(match self {
            Self::OpenAi => "data: [DONE]",
            Self::Anthropic => r#"data: {"type":"message_stop"}"#,
        })
    }
}

struct Case {
    application: Application,
    caller: Dialect,
    provider: Dialect,
}

impl Case {
    async fn call(&self, way: &str, stream: bool) -> reqwest::Response {
        let mut body = json!({
            "model": format!("{}-{way}", self.provider.provider()),
            "max_tokens": 99,
            "stream": stream,
            "messages": [{"role": "user", "content": SAID}],
        });
        if way == "tools" {
            let schema = json!({"type": "object", "properties": {"query": {"type": "string"}}});
            body["tools"] = match self.caller {
                Dialect::OpenAi => {
                    json!([{"type": "function", "function": {"name": "look_up", "parameters": schema}}])
                }
                Dialect::Anthropic => json!([{"name": "look_up", "input_schema": schema}]),
            };
        }
        self.application.post(self.caller.path(), &body).await.expect("an answer")
    }

    fn is_error(&self, body: &Value) {
        assert!(body["error"]["message"].is_string() && body["error"]["type"].is_string(), "{body}");
        assert_eq!(body["type"] == "error", self.caller == Dialect::Anthropic, "{body}");
    }
}

async fn prepared(installation: &Installation) -> (Admin, Region) {
    let region = installation.region(REGION).clone();
    let admin = Admin::of(REGION, &region);
    let credential = admin.new_credential(&region.organization, "key").await;
    let mut revision = 0;
    for provider in [Dialect::OpenAi, Dialect::Anthropic] {
        for way in WAYS {
            let (kind, upstream) = (provider.provider(), format!("simulated-{way}"));
            let (name, endpoint) = (format!("{kind}-{way}"), &installation.provider);
            revision =
                admin.new_model_of(kind, &region.organization, &name, endpoint, &upstream, &credential).await;
        }
    }
    admin.applied(revision).await;
    (admin, region)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_caller_is_answered_in_its_dialect_by_every_provider() {
    let installation = Installation::start();
    let (admin, region) = prepared(&installation).await;
    let before = admin.total(&region.organization).await;
    let (mut calls, mut completion) = (0, 0);
    for caller in [Dialect::OpenAi, Dialect::Anthropic] {
        for provider in [Dialect::OpenAi, Dialect::Anthropic] {
            let case = Case { application: Application::of(&region), caller, provider };
            let what = format!("{caller:?} → {provider:?}");

            let answer: Value = case.call("echo", false).await.json().await.expect("JSON");
            assert_eq!(caller.answered(&answer).0.as_deref(), Some(SAID), "{what}: {answer}");
            let answer = case.call("echo", true).await.text().await.expect("whole");
            assert_eq!(caller.streamed(&answer), SAID, "{what}: {answer}");
            assert!(caller.ended(&answer), "{what}: {answer}");

            let answer: Value = case.call("tools", false).await.json().await.expect("JSON");
            assert_eq!(caller.answered(&answer).1, Some(json!({"query": SAID})), "{what}: {answer}");
            let answer = case.call("tools", true).await.text().await.expect("whole");
            assert!(caller.streamed(&answer).contains(SAID), "{what}: {answer}");
            completion += 4 * 3;

            for stream in [false, true] {
                for (way, status) in [("status-429", 429), ("status-400", 400), ("garbage", 502)] {
                    let answer = case.call(way, stream).await;
                    assert_eq!(answer.status().as_u16(), status, "{what} {way} {stream}");
                    assert!(answer.headers().contains_key("x-bailiwick-request-id"));
                    case.is_error(&answer.json().await.expect("JSON"));
                }
            }

            let answer = case.call("truncated", false).await;
            assert_eq!(answer.status(), 502, "{what}");
            case.is_error(&answer.json().await.expect("JSON"));
            assert!(
                case.call("truncated", true).await.text().await.is_err(),
                "{what}: a part is not the whole"
            );
            calls += 12;
        }
    }
    let total = eventually("all calls are metered", || async {
        let total = admin.total(&region.organization).await;
        (total.calls >= before.calls + calls).then_some(total)
    })
    .await;
    assert_eq!(total.calls, before.calls + calls);
    // What was cut is counted as well, as far as it had come.
    assert!(total.completion_tokens >= before.completion_tokens + completion);
}

#[tokio::test(flavor = "multi_thread")]
async fn r6_a_key_of_another_region_is_sent_home_in_the_callers_dialect() {
    let installation = Installation::start();
    let (here, other) = (installation.region(REGION), installation.region("us-east-1"));
    let body = json!({"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": SAID}]});
    for path in ["/messages", "/messages/count_tokens"] {
        let http = Application::of(here).http;
        let request = http.post(format!("{}{path}", here.base_url)).header("x-api-key", &other.api_key);
        let answer = request.json(&body).send().await.expect("an answer");
        assert_eq!(answer.status(), 421);
        let home = answer.headers()["x-bailiwick-home-endpoint"].to_str().expect("text").to_owned();
        assert_eq!(format!("{}/v1", home.trim_end_matches('/')), other.base_url);
        let told: Value = answer.json().await.expect("JSON");
        assert_eq!((&told["type"], &told["error"]["code"]), (&json!("error"), &json!("wrong_region")));
        assert!(told["request_id"].as_str().is_some_and(|id| id.starts_with("req_")), "{told}");
    }
}
