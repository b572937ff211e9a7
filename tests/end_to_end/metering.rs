//! What calls used and cost, for each way in which they end, at a provider whose every answer is known.

mod provider;

use std::process::Command;

use bailiwick_proto::{
    admin::v1::{
        self as wire, CreateDeploymentRequest, CreateModelRequest, ListContractPricesRequest,
        ListDeploymentsRequest, SetContractPriceRequest, UsageEvent,
    },
    config::v1::Price,
};
use bailiwick_tests::{
    admin::{Admin, fresh},
    calls::{Application, request_id},
    eventually,
    installation::{Installation, Region},
    process::binary,
};
use futures_util::StreamExt as _;
use serde_json::{Value, json};

use self::provider::{Provider, TIMES, WORDS};

const HOME: &str = "eu-central-1";

/// $1 in, $10 out, $0.10 read, $1.25 written, per million; $0.04 an image; $0.006 a minute.
fn price() -> Price {
    Price {
        input_nanos_usd_per_million: 1_000_000_000,
        output_nanos_usd_per_million: 10_000_000_000,
        cached_input_nanos_usd_per_million: Some(100_000_000),
        cache_write_nanos_usd_per_million: Some(1_250_000_000),
        image_nanos_usd: Some(40_000_000),
        audio_nanos_usd_per_minute: Some(6_000_000),
    }
}

struct Scene {
    _provider: Provider,
    admin: Admin,
    region: Region,
    application: Application,
    endpoint: String,
    credential: String,
}

impl Scene {
    async fn of(installation: &Installation) -> Self {
        let provider = Provider::start(installation.outside).await;
        let region = installation.region(HOME).clone();
        let admin = Admin::of(HOME, &region);
        let credential = admin.new_credential(&region.organization, "key").await;
        let endpoint = format!("http://{}/v1", provider.address);
        let application = Application::of(&region);
        Self { _provider: provider, admin, region, application, endpoint, credential }
    }

    /// A model of the same name here and at the provider.
    async fn model(&self, provider: &str, name: &str, price: Option<Price>) -> u64 {
        let organization_id = self.region.organization.clone();
        let request = CreateDeploymentRequest {
            idempotency_key: fresh(),
            organization_id: organization_id.clone(),
            provider: provider.to_owned(),
            endpoint: self.endpoint.clone(),
            upstream_model: name.to_owned(),
            credential_id: self.credential.clone(),
            api_version: String::new(),
            price,
        };
        let made = self.admin.models().create_deployment(request).await.expect("deployment").into_inner();
        let request = CreateModelRequest {
            idempotency_key: fresh(),
            organization_id,
            name: name.to_owned(),
            deployment_ids: vec![made.deployment.expect("deployment").id],
            ..Default::default()
        };
        let made = self.admin.models().create_model(request).await.expect("model").into_inner();
        made.change.expect("change").revision
    }

    async fn models(&self, provider: &str, names: &[&str], price: Option<Price>) {
        let mut revision = 0;
        for name in names {
            revision = self.model(provider, name, price).await;
        }
        self.admin.applied(revision).await;
    }

    /// What the call of this name cost, once it is known.
    async fn event(&self, id: &str) -> UsageEvent {
        eventually("the call is metered", || async {
            self.admin
                .events(&self.region.organization)
                .await
                .into_iter()
                .find(|event| event.request_id == id)
        })
        .await
    }

    /// Calls, reads the answer whole, and tells what it cost.
    async fn metered(&self, path: &str, body: &Value) -> UsageEvent {
        let answer = self.application.post(path, body).await.expect("an answer");
        let id = request_id(&answer);
        assert_eq!(answer.status(), 200, "{path} {body}");
        answer.bytes().await.expect("whole");
        self.event(&id).await
    }

    /// Reads a stream as far as it comes, and leaves; tells what that cost.
    async fn left(&self, model: &str) -> UsageEvent {
        let answer = self.application.post("/chat/completions", &chat(model, true)).await.expect("an answer");
        let id = request_id(&answer);
        let (mut stream, mut read) = (answer.bytes_stream(), String::new());
        while read.matches("data: ").count() < WORDS.len() * TIMES {
            let piece = stream.next().await.expect("more").expect("a piece");
            read.push_str(std::str::from_utf8(&piece).expect("text"));
        }
        drop(stream);
        self.event(&id).await
    }

    /// A transcription of a file, which stands before the model or behind it.
    async fn transcribed(&self, model: &str, file_first: bool) -> UsageEvent {
        let part = |head: &str, value: &str| {
            format!("--B\r\nContent-Disposition: form-data; {head}\r\n\r\n{value}\r\n")
        };
        let file = part("name=\"file\"; filename=\"speech.mp3\"", &"\u{1f3a4}".repeat(20_000));
        let model = part("name=\"model\"", model);
        let body = if file_first { file + &model } else { model + &file };
        let request =
            self.application.http.post(format!("{}/audio/transcriptions", self.application.base_url));
        let request = request.bearer_auth(&self.application.key);
        let request =
            request.header("content-type", "multipart/form-data; boundary=B").body(body + "--B--\r\n");
        let answer = request.send().await.expect("an answer");
        let id = request_id(&answer);
        assert_eq!(answer.status(), 200);
        answer.bytes().await.expect("whole");
        self.event(&id).await
    }
}

fn chat(model: &str, stream: bool) -> Value {
    json!({"model": model, "stream": stream, "messages": [{"role": "user", "content": "What do regions share?"}]})
}

fn counted(event: &UsageEvent) -> [u64; 6] {
    [
        event.prompt_tokens,
        event.cached_prompt_tokens,
        event.cache_write_tokens,
        event.cache_write_hour_tokens,
        event.completion_tokens,
        event.reasoning_tokens,
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn what_providers_tell_is_counted_and_charged_to_the_nano_dollar() {
    let installation = Installation::start();
    let scene = Scene::of(&installation).await;
    scene.models("openai_compatible", &["told", "images-by-token", "images-by-piece"], Some(price())).await;
    scene.models("openai_compatible", &["by-second", "by-token", "subtitles"], Some(price())).await;
    scene.models("anthropic", &["claude"], Some(price())).await;

    for stream in [false, true] {
        let event = scene.metered("/chat/completions", &chat("told", stream)).await;
        assert_eq!(counted(&event), [1000, 400, 100, 0, 200, 150], "{event:?}");
        assert_eq!(
            (event.source.as_str(), event.end.as_str(), event.priced),
            ("provider_final", "completed", true)
        );
        assert_eq!(event.cost_nanos_usd, 500 * 1000 + 400 * 100 + 100 * 1250 + 200 * 10_000);
    }

    // Anthropic's prompt tokens leave out cached ones; ours have them, and an hour's cost more than five minutes'.
    let asked = json!({"model": "claude", "max_tokens": 9, "messages": [{"role": "user", "content": "a"}]});
    for path in ["/messages", "/chat/completions"] {
        let event = scene.metered(path, &asked).await;
        assert_eq!(counted(&event), [1000, 300, 600, 200, 50, 0], "{path} {event:?}");
        assert_eq!(event.cost_nanos_usd, 100 * 1000 + 300 * 100 + 400 * 1250 + 200 * 2000 + 50 * 10_000);
    }

    let event =
        scene.metered("/images/generations", &json!({"model": "images-by-piece", "prompt": "a"})).await;
    assert_eq!((event.images, event.prompt_tokens, event.completion_tokens), (2, 0, 0));
    assert_eq!(
        (event.cost_nanos_usd, event.priced, event.source.as_str()),
        (80_000_000, true, "provider_final")
    );
    let event =
        scene.metered("/images/generations", &json!({"model": "images-by-token", "prompt": "a"})).await;
    assert_eq!((event.images, event.prompt_tokens, event.completion_tokens), (2, 20, 4000));
    assert_eq!(event.cost_nanos_usd, 80_000_000 + 20 * 1000 + 4000 * 10_000);

    for file_first in [false, true] {
        let event = scene.transcribed("by-second", file_first).await;
        assert_eq!((event.audio_millis, event.cost_nanos_usd, event.priced), (90_000, 9_000_000, true));
        assert_eq!(
            (event.call_type.as_str(), event.source.as_str()),
            ("audio.transcriptions", "provider_final")
        );
        let event = scene.transcribed("by-token", file_first).await;
        assert_eq!((event.prompt_tokens, event.completion_tokens, event.audio_millis), (140, 45, 0));
        assert_eq!(event.cost_nanos_usd, 140 * 1000 + 45 * 10_000);
    }
    // How long it was, nothing tells: that is unknown, and not free.
    let event = scene.transcribed("subtitles", true).await;
    assert_eq!((event.priced, event.cost_nanos_usd, event.source.as_str()), (false, 0, "estimated"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_providers_do_not_tell_is_estimated_within_a_tenth() {
    let installation = Installation::start();
    let scene = Scene::of(&installation).await;
    scene.models("openai_compatible", &["cut", "silent"], Some(price())).await;
    // The words are one token each, and the prompt is 5 with 7 around it, as OpenAI counts.
    let said = (WORDS.len() * TIMES) as u64;
    let near = |event: &UsageEvent| {
        assert_eq!((event.source.as_str(), event.priced), ("estimated", true), "{event:?}");
        let cost = event.prompt_tokens * 1000 + event.completion_tokens * 10_000;
        assert_eq!(event.cost_nanos_usd, i64::try_from(cost).expect("small"));
        event.completion_tokens.abs_diff(said) * 10 <= said && event.prompt_tokens.abs_diff(12) <= 3
    };
    // A worker loads its tokenizer at the first call that needs it; what comes before is estimated by bytes.
    for stream in [false, true] {
        eventually("answers without usage are estimated well", || async {
            near(&scene.metered("/chat/completions", &chat("silent", stream)).await).then_some(())
        })
        .await;
    }
    eventually("callers who leave are charged for what came", || async {
        let event = scene.left("cut").await;
        assert_eq!((event.end.as_str(), event.status), ("caller_left", 200));
        near(&event).then_some(())
    })
    .await;

    let total = scene.admin.total(&scene.region.organization).await;
    assert!(total.estimated_calls >= 3 && total.unpriced_calls == 0, "{total:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_organizations_own_price_goes_before_the_regions_and_behind_the_deployments() {
    let installation = Installation::start();
    let scene = Scene::of(&installation).await;
    let organization = &scene.region.organization;
    // gpt-4o is in the catalogue, at $2.50 and $10; the other is nowhere.
    scene.models("openai", &["gpt-4o", "in-house"], None).await;
    scene.models("openai", &["own"], Some(price())).await;
    let set = async |model: &str, price: Option<Price>| {
        let request = SetContractPriceRequest {
            organization_id: organization.clone(),
            provider: "openai".to_owned(),
            upstream_model: model.to_owned(),
            price,
        };
        let set = scene.admin.prices().set_contract_price(request).await?.into_inner();
        assert_eq!(set.deployments, 1);
        scene.admin.applied(set.change.expect("change").revision).await;
        Ok::<_, tonic::Status>(())
    };
    let cost = async |model: &str| {
        let event = scene.metered("/chat/completions", &chat(model, false)).await;
        event.priced.then_some(event.cost_nanos_usd)
    };
    let agreed = |nanos| Price {
        input_nanos_usd_per_million: nanos,
        output_nanos_usd_per_million: nanos,
        ..Price::default()
    };
    let listed = cost("gpt-4o").await.expect("priced");
    assert!(listed > 0);
    assert_eq!(cost("in-house").await, None, "unknown is not free");
    for model in ["gpt-4o", "in-house", "own"] {
        set(model, Some(agreed(2_000_000_000))).await.expect("set");
    }
    assert_eq!(cost("gpt-4o").await, Some(1200 * 2000));
    assert_eq!(cost("in-house").await, Some(1200 * 2000));
    assert_eq!(cost("own").await, Some(500 * 1000 + 400 * 100 + 100 * 1250 + 200 * 10_000));
    set("gpt-4o", Some(agreed(0))).await.expect("set");
    assert_eq!(cost("gpt-4o").await, Some(0), "an agreed price of nothing is a price");
    for model in ["gpt-4o", "in-house"] {
        set(model, None).await.expect("removed");
    }
    assert_eq!((cost("gpt-4o").await, cost("in-house").await), (Some(listed), None));
    assert_eq!(set("gpt-4o", None).await.expect_err("gone").code(), tonic::Code::NotFound);

    let request = ListContractPricesRequest { organization_id: organization.clone(), page: None };
    let left = scene.admin.prices().list_contract_prices(request).await.expect("told").into_inner().prices;
    assert_eq!(left.iter().map(|price| price.upstream_model.as_str()).collect::<Vec<_>>(), ["own"]);
    let request =
        wire::ListAuditRecordsRequest { organization_id: organization.clone(), ..Default::default() };
    let mut records = Vec::new();
    let mut page = scene.admin.audit().list_audit_records(request).await.expect("told").into_inner();
    records.append(&mut page.records);
    let said = |action: &str| records.iter().filter(|record| record.action == action).count();
    assert_eq!((said("price.set"), said("price.remove")), (4, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_sees_what_has_no_price() {
    let installation = Installation::start();
    let scene = Scene::of(&installation).await;
    scene.models("openai_compatible", &["told"], None).await;
    let event = scene.metered("/chat/completions", &chat("told", false)).await;
    assert_eq!((event.priced, event.cost_nanos_usd, event.prompt_tokens), (false, 0, 1000));
    let total = scene.admin.total(&scene.region.organization).await;
    assert!(total.unpriced_calls >= 1, "{total:?}");

    let bailiwick = |arguments: &[&str]| {
        let output = Command::new(binary("bailiwick"))
            .args(["--region", HOME])
            .args(arguments)
            .env("BAILIWICK_LOCAL", installation.folder().join("local.json"))
            .output()
            .expect("bailiwick starts");
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
    };
    let organization = scene.region.organization.as_str();
    assert!(bailiwick(&["deployment", "list", "--org", organization]).contains("UNPRICED"));
    let events: Value =
        serde_json::from_str(&bailiwick(&["-o", "json", "usage", "events", "--org", organization]))
            .expect("JSON");
    let events = events.as_array().expect("a list");
    assert!(events.iter().any(|event| event["priced"] == false && event["cost_usd"].is_null()), "{events:?}");
    let check = bailiwick(&["check"]);
    assert!(check.contains("without a price"), "{check}");
    let request = ListDeploymentsRequest { organization_id: organization.to_owned(), page: None };
    let listed = scene.admin.models().list_deployments(request).await.expect("told").into_inner();
    assert!(listed.deployments.iter().any(|deployment| deployment.price_source.is_empty()));

    let shown = async |url: &str| reqwest::get(url).await.expect("metrics").text().await.expect("text");
    let mut workers = String::new();
    for worker in &scene.region.processes.workers {
        workers.push_str(&shown(&worker.metrics).await);
    }
    let counted = |text: &str, name: &str| {
        let lines = text.lines().filter(|line| line.contains(name) && !line.starts_with('#'));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum::<f64>()
    };
    assert!(counted(&workers, "usage_unpriced_calls") >= 1.0, "{workers}");
    let control_plane = shown(&scene.region.processes.control_plane.metrics).await;
    assert!(counted(&control_plane, "usage_events_unpriced") >= 1.0, "{control_plane}");
}
