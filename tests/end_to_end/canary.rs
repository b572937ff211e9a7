//! R8: what is said is in no file, log, metric or table afterwards. Nor is a secret.

use std::path::Path;

use bailiwick_tests::{
    admin::Admin,
    calls::Application,
    eventually,
    installation::{Installation, REGIONS},
};
use serde_json::json;

const PROMPT: &str = "canaryprompt7f3a";
const SECRET: &str = "canarysecret91bc";

#[tokio::test(flavor = "multi_thread")]
async fn r8_canaries_in_prompts_answers_errors_and_secrets_are_found_nowhere() {
    // The most talkative logs that there are.
    let installation = Installation::start_with(&[
        ("BAILIWICK_CONTROL_PLANE_TELEMETRY__LOG", "trace"),
        ("BAILIWICK_WORKER_TELEMETRY__LOG", "trace"),
        ("BAILIWICK_ROUTER_TELEMETRY__LOG", "trace"),
    ]);
    let mut metrics = String::new();
    for name in REGIONS {
        let region = installation.region(name);
        let calls = speak(name, &installation).await;
        let admin = Admin::of(name, region);
        eventually("all calls are metered", || async {
            (admin.total(&region.organization).await.calls >= calls).then_some(())
        })
        .await;
        for process in region.processes.all() {
            metrics += &reqwest::get(&process.metrics).await.expect("metrics").text().await.expect("metrics");
        }
    }
    installation.stop();
    assert!(!metrics.contains("canary"), "in a metric");
    let mut searched = 0;
    search(installation.folder(), &mut searched);
    assert!(searched > 30, "only {searched} files were searched");
}

/// Says canaries in every way; gives how many calls were metered.
async fn speak(name: &str, installation: &Installation) -> u64 {
    let region = installation.region(name);
    let admin = Admin::of(name, region);
    let credential = admin.new_credential(&region.organization, SECRET).await;
    let mut revision = 0;
    for model in ["echo", "status-500", "truncated", "garbage"] {
        let upstream = format!("simulated-{model}");
        revision = admin
            .new_model(&region.organization, model, &installation.provider, &upstream, &credential)
            .await;
    }
    admin.applied(revision).await;
    let application = Application::of(region);
    let before = admin.total(&region.organization).await.calls;
    for stream in [false, true] {
        let answer =
            application.chat("echo", PROMPT, stream).await.expect("answer").text().await.expect("text");
        assert!(answer.contains(PROMPT), "the echo proves that the canary went there and back: {answer}");
        for model in ["status-500", "truncated", "garbage"] {
            let _ = application.chat(model, PROMPT, stream).await.expect("answer").text().await;
        }
    }
    let _ = application
        .post("/embeddings", &json!({"model": "echo", "input": [PROMPT]}))
        .await
        .expect("answer")
        .text()
        .await;
    // Refused ones too: unknown models, malformed bodies, canaries in headers and queries.
    let _ = application.chat(PROMPT, PROMPT, false).await.expect("answer").text().await;
    let request = application.http.post(format!("{}/chat/completions?{PROMPT}=1", application.base_url));
    let request = request
        .bearer_auth(&application.key)
        .header("x-note", PROMPT)
        .header("content-type", "application/json");
    let _ = request.body(format!("{{\"model\": \"{PROMPT}")).send().await.expect("answer").text().await;
    before + 9
}

/// Every byte of every file.
fn search(folder: &Path, searched: &mut usize) {
    for entry in std::fs::read_dir(folder).expect("folder") {
        let path = entry.expect("entry").path();
        if path.is_dir() {
            search(&path, searched);
            continue;
        }
        let bytes = std::fs::read(&path).expect("file");
        for canary in [PROMPT, SECRET] {
            let found = bytes.windows(canary.len()).any(|window| window == canary.as_bytes());
            assert!(!found, "{canary} stands in {}", path.display());
        }
        *searched += 1;
    }
}
