//! Credentials that are more than a key in a header, on the whole way: providers that really check what they are shown.

mod google;
mod sigv4;
mod tokens;

use std::net::SocketAddr;

use bailiwick_proto::admin::v1::{CreateDeploymentRequest, CreateModelRequest};
use bailiwick_tests::{
    admin::{Admin, fresh},
    calls::Application,
    installation::{Installation, Region},
    provider::{Heard, Provider},
};
use serde_json::json;
use tokio::{io::AsyncWriteExt, net::TcpStream};

const REGION: &str = "eu-central-1";
const MODEL: &str = "secured";

/// What a provider answers to what it heard: a status and JSON.
type Answer = (u16, String);

/// A provider that answers as this says.
async fn provider<F>(installation: &Installation, answer: F) -> Provider
where
    F: Fn(&Heard) -> Answer + Clone + Send + Sync + 'static,
{
    let address = SocketAddr::from((installation.outside, installation.spare_port));
    Provider::start(address, move |stream| talk(stream, answer.clone())).await
}

async fn talk(mut stream: TcpStream, answer: impl Fn(&Heard) -> Answer) {
    while let Some(heard) = Heard::next(&mut stream).await {
        let (status, body) = answer(&heard);
        let head = format!(
            "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        if stream.write_all((head + &body).as_bytes()).await.is_err() {
            return;
        }
    }
}

fn header<'a>(heard: &'a Heard, name: &str) -> &'a str {
    let lines = heard.head.lines().filter_map(|line| line.split_once(": "));
    lines.filter(|(known, _)| *known == name).map(|(_, value)| value.trim()).next().unwrap_or_default()
}

/// As chat completions are answered.
fn chat() -> String {
    json!({
        "id": "c", "object": "chat.completion", "created": 1, "model": "m",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "hello"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12},
    })
    .to_string()
}

/// An organization with one model at one deployment.
struct Tenant {
    admin: Admin,
    organization: String,
    application: Application,
}

impl Tenant {
    async fn new(region: &Region) -> Self {
        let admin = Admin::of(REGION, region);
        let organization = admin.new_organization(REGION).await;
        let (_, key) = admin.new_key(&organization).await;
        Self { admin, organization, application: Application::new(&region.base_url, &key) }
    }

    /// The model [`MODEL`] or another, at a provider of this kind. Applied when it returns.
    async fn model(&self, name: &str, deployment: CreateDeploymentRequest) {
        let new = CreateDeploymentRequest {
            idempotency_key: fresh(),
            organization_id: self.organization.clone(),
            ..deployment
        };
        let made = self.admin.models().create_deployment(new).await.expect("deployment").into_inner();
        let new = CreateModelRequest {
            idempotency_key: fresh(),
            organization_id: self.organization.clone(),
            name: name.to_owned(),
            deployment_ids: vec![made.deployment.expect("told").id],
            ..Default::default()
        };
        let made = self.admin.models().create_model(new).await.expect("model").into_inner();
        self.admin.applied(made.change.expect("told").revision).await;
    }

    async fn credential(&self, secret: &str) -> String {
        self.admin.new_credential(&self.organization, secret).await
    }

    async fn call(&self, model: &str) -> reqwest::Response {
        self.application.chat(model, "hello", false).await.expect("an answer")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn azure_is_called_by_the_version_that_each_deployment_names() {
    let installation = Installation::start();
    let azure = provider(&installation, |heard| {
        let known = [
            "/openai/deployments/gpt/chat/completions?api-version=2024-10-21",
            "/openai/deployments/gpt/chat/completions?api-version=2025-04-01-preview",
            "/openai/v1/chat/completions",
        ];
        let is_shown = header(heard, "api-key") == "azure-key" && header(heard, "authorization").is_empty();
        match known.iter().position(|path| *path == heard.path) {
            Some(place) if is_shown => (200, chat().replace("hello", &format!("at {place}"))),
            _ => (404, r#"{"error":{"message":"no such path","code":"404"}}"#.to_owned()),
        }
    })
    .await;
    let tenant = Tenant::new(installation.region(REGION)).await;
    let credential = tenant.credential("azure-key").await;
    for (place, version) in ["", "2025-04-01-preview", "v1"].into_iter().enumerate() {
        let name = format!("azure-{place}");
        let deployment = CreateDeploymentRequest {
            provider: "azure_openai".to_owned(),
            endpoint: format!("{}/openai", azure.url),
            upstream_model: "gpt".to_owned(),
            credential_id: credential.clone(),
            api_version: version.to_owned(),
            ..Default::default()
        };
        tenant.model(&name, deployment).await;
        let answer: serde_json::Value = tenant.call(&name).await.json().await.expect("JSON");
        assert_eq!(answer["choices"][0]["message"]["content"], format!("at {place}"), "{answer}");
    }
}
