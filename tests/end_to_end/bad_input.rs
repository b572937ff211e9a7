//! Bad input gets a clear answer in OpenAI's shape; no process ends.

use bailiwick_tests::{
    admin::Admin,
    calls::{Application, Refusal, refusal},
    installation::Installation,
    process::runs,
};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE};
use serde_json::{Value, json};

const REGION: &str = "eu-central-1";

/// An installation with models that make the provider misbehave.
async fn misbehaving() -> (Installation, Application) {
    let installation = Installation::start();
    let region = installation.region(REGION);
    let admin = Admin::of(REGION, region);
    let credential = admin.new_credential(&region.organization, "key").await;
    let mut revision = 0;
    for model in ["truncated", "garbage", "redirect", "status-500", "status-429", "status-401"] {
        let upstream = format!("simulated-{model}");
        revision = admin
            .new_model(&region.organization, model, &installation.provider, &upstream, &credential)
            .await;
    }
    admin.applied(revision).await;
    let application = Application::of(region);
    (installation, application)
}

async fn posted(application: &Application, content_type: &str, body: impl Into<reqwest::Body>) -> Refusal {
    let url = format!("{}/chat/completions", application.base_url);
    let request = application
        .http
        .post(url)
        .bearer_auth(&application.key)
        .header(CONTENT_TYPE, content_type)
        .body(body);
    refusal(request.send().await.expect("an answer, not a reset")).await
}

fn is(refused: &Refusal, status: u16, code: &str) {
    assert_eq!((refused.status.as_u16(), refused.code.as_str()), (status, code), "{}", refused.message);
    assert!(!refused.message.contains("canary"), "{}", refused.message);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_bad_input_gets_a_clear_answer_and_nothing_ends() {
    let (installation, application) = misbehaving().await;
    let json_type = "application/json";
    is(&posted(&application, json_type, "{\"model\": canary").await, 400, "invalid_json");
    is(&posted(&application, json_type, "").await, 400, "invalid_json");
    is(&posted(&application, json_type, "{\"messages\": \"canary\"}").await, 400, "invalid_request");
    is(&posted(&application, "text/plain", "{\"model\": \"canary\"}").await, 415, "unsupported_media_type");
    is(&posted(&application, json_type, vec![b' '; 100_000_000]).await, 413, "request_too_large");
    let body = json!({"model": "no-such-canary", "messages": []}).to_string();
    is(&posted(&application, json_type, body).await, 404, "model_not_found");
    keys_and_paths(&application).await;
    header_bomb(&application).await;
    provider(&application).await;
    for process in installation.region(REGION).processes.all() {
        assert!(runs(process.pid), "{} ended", process.name);
    }
    let region = installation.region(REGION);
    assert_eq!(application.chat(&region.model, "still here", false).await.expect("answer").status(), 200);
}

async fn keys_and_paths(application: &Application) {
    let url = format!("{}/models", application.base_url);
    is(&refusal(application.http.get(&url).send().await.expect("answer")).await, 401, "missing_api_key");
    let half = &application.key[..40];
    is(
        &refusal(application.http.get(&url).bearer_auth(half).send().await.expect("answer")).await,
        401,
        "invalid_api_key",
    );
    let other =
        application.http.get(format!("{}/nothing", application.base_url)).bearer_auth(&application.key);
    is(&refusal(other.send().await.expect("answer")).await, 404, "not_found");
    let wrong = application
        .http
        .get(format!("{}/chat/completions", application.base_url))
        .bearer_auth(&application.key);
    is(&refusal(wrong.send().await.expect("answer")).await, 405, "method_not_allowed");
}

async fn header_bomb(application: &Application) {
    for (count, size) in [(1, 100_000), (200, 10), (1, 2_000_000)] {
        let mut request = application.http.get(format!("{}/models", application.base_url));
        for index in 0..count {
            request = request.header(format!("x-bomb-{index}"), "x".repeat(size));
        }
        let answer = request.header(AUTHORIZATION, format!("Bearer {}", application.key)).send().await;
        let refused = refusal(answer.expect("an answer, not a reset")).await;
        assert_eq!(refused.status, 431, "{count} headers of {size} bytes");
    }
}

async fn provider(application: &Application) {
    let ask = |model: &'static str| async move {
        refusal(application.chat(model, "canary", false).await.expect("answer")).await
    };
    is(&ask("truncated").await, 502, "provider_invalid_response");
    is(&ask("garbage").await, 502, "provider_invalid_response");
    is(&ask("redirect").await, 502, "provider_invalid_response");
    is(&ask("status-401").await, 502, "provider_credential_refused");
    // The provider's own errors pass through as they came.
    let answer = application.chat("status-429", "x", false).await.expect("answer");
    assert_eq!(answer.status(), 429);
    let body: Value = answer.json().await.expect("the provider's body");
    assert_eq!(body["error"]["code"], "simulated");
    assert_eq!(application.chat("status-500", "x", false).await.expect("answer").status(), 500);
    // A stream that the provider cuts ends with an error event, and then breaks: nobody takes a part for the whole.
    let mut stream = application.chat("truncated", "x", true).await.expect("answer");
    assert_eq!(stream.status(), 200);
    let mut text = String::new();
    let broken = loop {
        match stream.chunk().await {
            Ok(Some(piece)) => text.push_str(&String::from_utf8_lossy(&piece)),
            Ok(None) => break false,
            Err(_) => break true,
        }
    };
    assert!(text.contains("provider_invalid_response") && !text.contains("[DONE]"), "{text}");
    assert!(broken, "the body must not end as if it were whole");
}
