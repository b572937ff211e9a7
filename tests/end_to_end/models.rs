//! Models with several deployments, and models that stand behind models: through router and workers, as an administrator sets them up.

use std::{
    net::SocketAddr,
    process::{Command, Output},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bailiwick_proto::admin::v1::CreateDeploymentRequest;
use bailiwick_tests::{
    admin::{Admin, fresh},
    calls::Application,
    eventually,
    installation::{Installation, Region},
    process::binary,
    provider::{Heard, Provider},
};
use reqwest::Response;
use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt as _, net::TcpStream, task::JoinSet};

const REGION: &str = "eu-central-1";
const ANSWER: &str =
    r#"{"choices":[{"message":{"content":"hello"}}],"usage":{"prompt_tokens":7,"completion_tokens":5}}"#;
const OUTAGE: &str = r#"{"error":{"message":"the canary sings","type":"server_error"}}"#;

/// What a provider does for now.
const WELL: usize = 0;
const DOWN: usize = 1;
const TOO_LONG: usize = 2;
const AGAINST_POLICY: usize = 3;

/// A provider that is well or not, as a test says.
struct Moody {
    state: Arc<State>,
    deployment: String,
    _provider: Provider,
}

#[derive(Default)]
struct State {
    mood: AtomicUsize,
    heard: AtomicUsize,
}

impl Moody {
    fn heard(&self) -> usize {
        self.state.heard.load(Ordering::SeqCst)
    }

    fn becomes(&self, mood: usize) {
        self.state.mood.store(mood, Ordering::SeqCst);
    }
}

async fn serve(mut stream: TcpStream, state: Arc<State>) {
    while let Some(heard) = Heard::next(&mut stream).await {
        state.heard.fetch_add(1, Ordering::SeqCst);
        let error = |message: &str, code: &str| {
            if heard.path.ends_with("/messages") {
                return json!({"type": "error", "error": {"type": "invalid_request_error", "message": message}});
            }
            json!({"error": {"message": message, "type": "invalid_request_error", "param": null, "code": code}})
        };
        let (status, body) = match state.mood.load(Ordering::SeqCst) {
            DOWN => (503, OUTAGE.to_owned()),
            TOO_LONG => (
                400,
                error("prompt is too long: 9 tokens > 8 maximum", "context_length_exceeded").to_string(),
            ),
            AGAINST_POLICY => {
                (400, error("blocked by content filtering policy", "content_policy_violation").to_string())
            }
            _ => (200, ANSWER.to_owned()),
        };
        let length = body.len();
        let answer = format!(
            "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
        );
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

struct World {
    installation: Installation,
    admin: Admin,
    region: Region,
    credential: String,
    application: Application,
}

impl World {
    async fn new() -> Self {
        let installation = Installation::start();
        let region = installation.region(REGION).clone();
        let admin = Admin::of(REGION, &region);
        let credential = admin.new_credential(&region.organization, "key").await;
        let application = Application::of(&region);
        Self { installation, admin, region, credential, application }
    }

    /// A provider on a port of its own, and a deployment at it.
    async fn provider(&self, number: u16, kind: &str) -> Moody {
        let state = Arc::new(State::default());
        let address = SocketAddr::from((self.installation.outside, self.installation.spare_port + number));
        let shared = Arc::clone(&state);
        let provider = Provider::start(address, move |stream| serve(stream, Arc::clone(&shared))).await;
        let request = CreateDeploymentRequest {
            idempotency_key: fresh(),
            organization_id: self.region.organization.clone(),
            provider: kind.to_owned(),
            endpoint: format!("{}/v1", provider.url),
            upstream_model: "m".to_owned(),
            credential_id: self.credential.clone(),
            price: Some(bailiwick_proto::config::v1::Price {
                input_nanos_usd_per_million: 1_000_000_000,
                output_nanos_usd_per_million: 1_000_000_000,
                ..Default::default()
            }),
            ..Default::default()
        };
        let made = self.admin.models().create_deployment(request).await.expect("deployment").into_inner();
        Moody { state, deployment: made.deployment.expect("told").id, _provider: provider }
    }

    fn try_command(&self, arguments: &[&str]) -> Output {
        Command::new(binary("bailiwick"))
            .args(["--region", REGION, "--output", "json"])
            .args(arguments)
            .env("BAILIWICK_LOCAL", self.installation.folder().join("local.json"))
            .output()
            .expect("bailiwick starts")
    }

    /// What the command prints, once workers have applied what it changed.
    async fn command(&self, arguments: &[&str]) -> Value {
        let output = self.try_command(arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {said}");
        let told: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        if let Some(revision) = told["revision"].as_u64() {
            self.admin.applied(revision).await;
        }
        told
    }

    async fn create(&self, name: &str, more: &[&str]) -> Value {
        let begin = ["model", "create", "--org", &self.region.organization, "--name", name];
        self.command(&[&begin, more].concat()).await
    }

    async fn call(&self, model: &str) -> Response {
        self.application.chat(model, "the canary sings", false).await.expect("an answer")
    }
}

fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    response.headers().get(name).map_or("", |value| value.to_str().expect("text"))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_one_deployment_costs_no_call_and_its_end_is_found_out() {
    let world = World::new().await;
    let (first, second) =
        (world.provider(0, "openai_compatible").await, world.provider(1, "openai_compatible").await);
    let deployments = [&first, &second].map(|provider| format!("{},weight=1", provider.deployment));
    let made =
        world.create("spread", &["--deployment", &deployments[0], "--deployment", &deployments[1]]).await;
    let ranked = [&first, &second].map(|provider| format!("{},order=0,weight=1", provider.deployment));
    assert_eq!((&made["deployments"], &made["strategy"]), (&json!(ranked), &json!("weighted")));

    first.becomes(DOWN);
    let mut calls = JoinSet::new();
    for _ in 0..8 {
        let application = world.application.clone();
        calls.spawn(async move {
            for _ in 0..50 {
                let answer = application.chat("spread", "hello", false).await.expect("an answer");
                assert_eq!(answer.status(), 200);
            }
        });
    }
    while let Some(ended) = calls.join_next().await {
        ended.expect("no call failed");
    }
    assert_eq!(second.heard(), 400);
    // Each core learns it for itself, by five failures and those that were under way; half of the calls without that.
    assert!((5..150).contains(&first.heard()), "{} calls reached what was down", first.heard());

    first.becomes(WELL);
    let answer = eventually("it is called again", || async {
        let answer = world.call("spread").await;
        (header(&answer, "x-bailiwick-deployment") == first.deployment).then_some(answer)
    })
    .await;
    let told =
        ["x-bailiwick-model", "x-bailiwick-attempts", "x-bailiwick-cost"].map(|name| header(&answer, name));
    assert_eq!(told, ["spread", "1", "0.000012"]);
    assert!(header(&answer, "server-timing").starts_with("bailiwick;dur="), "also through the router");

    for provider in [&first, &second] {
        provider.becomes(DOWN);
    }
    let answer = world.call("spread").await;
    assert_eq!((answer.status().as_u16(), answer.text().await.expect("whole").as_str()), (503, OUTAGE));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_model_refuses_goes_to_the_model_behind_it_and_is_metered_as_what_was_asked_for() {
    let world = World::new().await;
    let (small, large) =
        (world.provider(0, "openai_compatible").await, world.provider(1, "openai_compatible").await);
    let claude = world.provider(2, "anthropic").await;
    world.create("large", &["--deployment", &large.deployment]).await;
    let behind =
        ["--fallback", "large", "--context-window-fallback", "large", "--content-policy-fallback", "large"];
    let mut models = Vec::new();
    for (name, provider) in [("small", &small), ("claude", &claude)] {
        let made = world.create(name, &[&["--deployment", &provider.deployment], &behind[..]].concat()).await;
        models.push(made["id"].as_str().expect("an id").to_owned());
    }
    for mood in [TOO_LONG, AGAINST_POLICY, DOWN] {
        for (name, provider) in [("small", &small), ("claude", &claude)] {
            provider.becomes(mood);
            let answer = world.call(name).await;
            assert_eq!((answer.status().as_u16(), header(&answer, "x-bailiwick-model")), (200, "large"));
            assert_eq!(header(&answer, "x-bailiwick-deployment"), large.deployment);
        }
    }
    let events = eventually("each call is metered", || async {
        let events = world.command(&["usage", "events", "--org", &world.region.organization]).await;
        let events = events.as_array().expect("a list");
        let here: Vec<Value> =
            events.iter().filter(|event| event["deployment"] == json!(large.deployment)).cloned().collect();
        (here.len() == 6).then_some(here)
    })
    .await;
    for event in &events {
        assert!(models.iter().any(|model| event["model"] == json!(model)), "{event}");
        assert!(event["attempts"].as_u64() >= Some(2), "{event}");
    }

    // No circle, and nothing that others stand on is taken away.
    let list = world.command(&["model", "list", "--org", &world.region.organization]).await;
    let models = list.as_array().expect("a list");
    let large = models.iter().find(|model| model["name"] == "large").expect("listed");
    let id = large["id"].as_str().expect("an id");
    for (arguments, reason) in [
        (vec!["model", "update", id, "--fallback", "small"], "fallback_loop"),
        (vec!["model", "delete", id, "--yes"], "model_in_use"),
    ] {
        let refused = world.try_command(&arguments);
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && said.contains(reason), "{said}");
    }
}
