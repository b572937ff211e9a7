//! R8: what is said is in no file, log, metric, span or table afterwards. Nor is a secret.
//!
//! [`speech`] says it in every way that there is; here it is searched for in every place that there is. Guards that fail prove themselves as well: a step that
//! panics with all that it holds in its message.

mod speech;

use std::time::Duration;

use bailiwick_tests::{
    admin::Admin,
    calls::{Application, refusal},
    canary::Canaries,
    collector::Collector,
    eventually,
    installation::{Installation, Process, REGIONS},
    process::runs,
};

use speech::{Said, Voice};

/// In prompts, answers and everything else that tenants and providers say.
const CONTENT: &str = "canarycontent7f3a";
/// In a provider's credential.
const SECRET: &str = "canarysecret91bc";

/// The most talkative logs that there are, and spans to the collector.
fn talkative(collector: &Collector) -> Vec<(String, String)> {
    let mut environment = Vec::new();
    for process in ["CONTROL_PLANE", "WORKER", "ROUTER"] {
        let variable = |name: &str| format!("BAILIWICK_{process}_TELEMETRY__{name}");
        environment.push((variable("LOG"), "trace".to_owned()));
        environment.push((variable("OTLP_ENDPOINT"), format!("http://{}", collector.address)));
    }
    environment
}

fn start(environment: &[(String, String)]) -> Installation {
    let environment: Vec<(&str, &str)> =
        environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    Installation::start_with(&environment)
}

async fn metrics(process: &Process) -> String {
    let answer = reqwest::get(&process.metrics).await.expect("metrics");
    answer.text().await.expect("metrics")
}

#[tokio::test(flavor = "multi_thread")]
async fn r8_what_is_said_anywhere_is_found_nowhere() {
    let collector = Collector::start().await;
    let installation = start(&talkative(&collector));
    let mut canaries = vec![CONTENT.to_owned(), SECRET.to_owned()];
    let mut shown = Vec::new();
    let mut calls = 0;
    for name in REGIONS {
        let region = installation.region(name);
        let admin = Admin::of(name, region);
        let before = admin.total(&region.organization).await.calls;
        let Said { metered, key } = Voice::of(name, &installation, CONTENT, SECRET).await.speak().await;
        canaries.push(key);
        calls += metered;
        eventually("all calls are metered", || async {
            (admin.total(&region.organization).await.calls >= before + metered).then_some(())
        })
        .await;
        // Every column that the API shows, and every record of what was done.
        for event in admin.events(&region.organization).await {
            shown.extend(format!("{event:?}\n").into_bytes());
        }
        for process in region.processes.all() {
            shown.extend(metrics(process).await.into_bytes());
            shown
                .extend(reqwest::get(process.readyz()).await.expect("readyz").bytes().await.expect("readyz"));
        }
    }
    // Spans are sent in batches; what is left is sent at the end.
    installation.stop();
    let spans = collector.spans();
    let of = |name: &str| spans.iter().filter(|span| span.name == name).count() as u64;
    assert!(of("call") >= calls && of("route") >= calls, "{} of {calls} calls have a span", of("call"));

    let canaries: Vec<&str> = canaries.iter().map(String::as_str).collect();
    let canaries = Canaries::new(&canaries);
    canaries.assert_absent("metrics, readiness, usage", &shown);
    canaries.assert_absent("the exported spans", &collector.bytes());
    let files = canaries.assert_absent_below(installation.folder());
    // Stores, journals, certificates, configurations and logs of twelve processes.
    for ending in [".db", ".log", ".pem", ".toml"] {
        let count = files.iter().filter(|file| file.to_string_lossy().ends_with(ending)).count();
        assert!(count >= 3, "{count} files end in {ending}");
    }
    assert!(files.len() > 30, "only {} files were searched", files.len());
}

/// Each step that has content in its hands, and how its caller sees the failure.
#[tokio::test(flavor = "multi_thread")]
async fn r8_a_step_that_panics_with_content_in_its_hands_tells_nobody() {
    const STEPS: [&str; 4] = ["route", "permit", "answer", "stream"];
    let provoking = |step: &str| format!("{CONTENT}at{step}");
    let collector = Collector::start().await;
    let mut environment = talkative(&collector);
    let faults: Vec<String> = STEPS.iter().map(|step| format!("{step}:{}", provoking(step))).collect();
    environment.push(("BAILIWICK_FAULT".to_owned(), faults.join(",")));
    let installation = start(&environment);
    let region = installation.region("eu-central-1");
    let _models = Voice::of("eu-central-1", &installation, CONTENT, SECRET).await;
    let application = Application::of(region);
    for step in STEPS {
        let text = provoking(step);
        match step {
            // The head's target is all that a router has in its hands.
            "route" => {
                let url = format!("{}/models?{text}=1", application.base_url);
                let request = application.http.get(url).bearer_auth(&application.key);
                failed(request.send().await.expect("an answer")).await;
            }
            // The answer has begun: it breaks off, so that nobody takes a part for the whole. Or its head was not sent yet.
            "stream" => {
                let answer = application.chat("echo", &text, true).await.expect("a head");
                if answer.status() == 200 {
                    assert!(answer.text().await.is_err());
                } else {
                    assert_eq!(refusal(answer).await.code, "worker_lost");
                }
            }
            _ => failed(application.chat("echo", &text, false).await.expect("an answer")).await,
        }
        // Nobody else notices.
        let again = application.chat("echo", CONTENT, false).await.expect("an answer");
        assert_eq!(again.status(), 200, "after a panic in {step}");
        for process in region.processes.all() {
            assert!(runs(process.pid), "{} ended with {step}", process.name);
        }
    }
    installation.stop();
    let read = |process: &Process| std::fs::read_to_string(&process.log).expect("a log");
    let logs: String = region.processes.all().map(read).collect();
    let told: Vec<&str> = logs.lines().filter(|line| line.contains("a thread or task panicked")).collect();
    assert_eq!(told.len(), STEPS.len(), "the log names each place, once: {told:#?}");
    assert!(told.iter().all(|line| line.contains("fault.rs") && line.contains("line")), "{told:#?}");
    let canaries = Canaries::new(&[CONTENT, SECRET]);
    canaries.assert_absent("the exported spans", &collector.bytes());
    canaries.assert_absent_below(installation.folder());
}

async fn failed(answer: reqwest::Response) {
    let refused = refusal(answer).await;
    assert_eq!((refused.status.as_u16(), refused.code.as_str()), (500, "internal_error"));
    assert!(!refused.message.contains("canary"), "{}", refused.message);
}

/// What root can read of a worker that has nothing under way any more. Nothing wipes freed memory, so this is measured and not promised: it fails only when
/// a worker keeps what was said, which is more than its buffers can.
#[tokio::test(flavor = "multi_thread")]
async fn r8_a_worker_keeps_nothing_of_what_was_said_but_what_its_buffers_have_not_overwritten() {
    const CALLS: usize = 400;
    let installation = Installation::start();
    let region = installation.region("eu-central-1");
    let voice = Voice::of("eu-central-1", &installation, CONTENT, SECRET).await;
    let application = Application::of(region);
    // Each call says it a thousand times: what were kept of one in four would be seen.
    let text = [CONTENT; 1000].join(" ");
    for _ in 0..CALLS {
        let answer = application.chat("echo", &text, false).await.expect("an answer");
        assert!(answer.text().await.expect("text").contains(CONTENT));
    }
    drop((voice, application));
    let canaries = Canaries::new(&[CONTENT]);
    let mut left = 0;
    for worker in &region.processes.workers {
        let dump = installation.folder().join("dump");
        let made =
            tokio::process::Command::new("gcore").arg("-o").arg(&dump).arg(worker.pid.to_string()).output();
        let made = tokio::time::timeout(Duration::from_secs(120), made).await.expect("in time");
        let made = made.expect("gcore is there: ./tests/run installs it");
        assert!(made.status.success(), "root can: {}", String::from_utf8_lossy(&made.stderr));
        let dump = dump.with_extension(worker.pid.to_string());
        left += canaries.count(&std::fs::read(&dump).expect("a dump"));
        std::fs::remove_file(dump).expect("removed");
    }
    let said = CALLS * 1000;
    println!("{left} of {said} canaries stand in freed memory of two workers");
    assert!(left < said / 4, "{left} of {said} canaries are left");
}
