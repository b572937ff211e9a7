//! How processes come and go.

mod routing;

use bailiwick_tests::{
    admin::Admin,
    calls::Application,
    eventually,
    installation::Installation,
    process::{runs, terminate},
};

const REGION: &str = "us-east-1";

/// An application that reads a slow stream; gives the text, or where it broke.
async fn read_slowly(application: Application, model: &'static str) -> Result<String, reqwest::Error> {
    let mut answer = application.chat(model, "x", true).await?;
    let mut text = String::new();
    while let Some(piece) = answer.chunk().await? {
        text.push_str(&String::from_utf8_lossy(&piece));
    }
    Ok(text)
}

async fn slow_model(installation: &Installation) -> Admin {
    let region = installation.region(REGION);
    let admin = Admin::of(REGION, region);
    let credential = admin.new_credential(&region.organization, "key").await;
    let revision = admin
        .new_model(&region.organization, "slow", &installation.provider, "simulated-slow", &credential)
        .await;
    admin.applied(revision).await;
    admin
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_told_to_end_finishes_its_streams_and_sends_its_usage() {
    let installation = Installation::start_with(&[("BAILIWICK_WORKER_DRAIN__TIMEOUT_SECONDS", "60")]);
    let admin = slow_model(&installation).await;
    let region = installation.region(REGION);
    let before = admin.total(&region.organization).await.calls;
    let stream = tokio::spawn(read_slowly(Application::of(region), "slow"));
    let serving = eventually("a worker serves the stream", || async {
        for worker in &region.processes.workers {
            let metrics = reqwest::get(&worker.metrics).await.ok()?.text().await.ok()?;
            let open = metrics
                .lines()
                .filter(|line| !line.starts_with('#'))
                .find_map(|line| line.split_once("calls_open ").map(|(_, value)| value.to_owned()));
            if open.is_some_and(|open| open.trim() != "0") {
                return Some(worker.clone());
            }
        }
        None
    })
    .await;
    terminate(serving.pid);
    let text = stream.await.expect("task").expect("the stream is finished");
    assert!(
        text.ends_with("data: [DONE]\n\n") && text.contains("word599"),
        "cut off at {} bytes: {text:.400}",
        text.len()
    );
    eventually("the worker ends", || async { (!runs(serving.pid)).then_some(()) }).await;
    eventually("its usage has come", || async {
        (admin.total(&region.organization).await.calls == before + 1).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_who_leaves_is_metered_with_what_had_passed() {
    let installation = Installation::start();
    let admin = slow_model(&installation).await;
    let region = installation.region(REGION);
    let mut answer = Application::of(region).chat("slow", "x", true).await.expect("answer");
    let mut passed = 0;
    while passed < 2000 {
        passed += answer.chunk().await.expect("piece").expect("more comes").len();
    }
    drop(answer);
    let event = eventually("the call is metered", || async {
        admin.events(&region.organization).await.into_iter().find(|event| event.end == "caller_left")
    })
    .await;
    assert_eq!(event.source, "estimated");
    assert!((1..599).contains(&event.completion_tokens), "{}", event.completion_tokens);
    // The provider was told: it has not finished the call.
    let served: serde_json::Value = reqwest::get(installation.provider.replace("/v1", "/simulated/served"))
        .await
        .expect("served")
        .json()
        .await
        .expect("json");
    assert!(served["started"].as_u64() > served["completed"].as_u64(), "{served}");
}
