//! A steady load for a while: no error, usage exact, memory flat. `BAILIWICK_SOAK_SECONDS` and `BAILIWICK_SOAK_RATE` make it an hour, and more of it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use bailiwick_tests::{
    admin::Admin,
    calls::{Application, request_id},
    eventually,
    installation::{Installation, Region},
    process::memory_bytes,
};
use serde_json::{Value, json};
use tokio::{
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval},
};

const REGION: &str = "eu-central-1";
const SECONDS: u64 = 10;
/// Calls a second: what a build without optimization does on a machine that has other things to do.
const RATE: u64 = 40;
/// Up to here each usage event is looked at; beyond, their sums.
const MOST_EVENTS: usize = 20_000;
/// What memory may grow by after the first third.
const SLACK_BYTES: u64 = 12 << 20;

/// Tokens of each call that was answered, by request id.
type Served = Arc<Mutex<BTreeMap<String, (u64, u64)>>>;

fn said(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

/// One of three: a chat, the same as a stream, and messages that are translated.
async fn call(application: &Application, model: &str, turn: u64) -> (String, (u64, u64)) {
    let words =
        "one two three four".split(' ').cycle().take(1 + turn as usize % 9).collect::<Vec<_>>().join(" ");
    let messages = json!([{"role": "user", "content": words}]);
    let (path, body, names) = match turn % 3 {
        0 => (
            "/chat/completions",
            json!({"model": model, "messages": messages}),
            ["prompt_tokens", "completion_tokens"],
        ),
        1 => (
            "/chat/completions",
            json!({"model": model, "messages": messages, "stream": true, "stream_options": {"include_usage": true}}),
            ["prompt_tokens", "completion_tokens"],
        ),
        _ => (
            "/messages",
            json!({"model": model, "messages": messages, "max_tokens": 99}),
            ["input_tokens", "output_tokens"],
        ),
    };
    let answer = application.post(path, &body).await.expect("an answer");
    let id = request_id(&answer);
    assert_eq!(answer.status(), 200, "{path}");
    let text = answer.text().await.expect("whole");
    let told = |text: &str| {
        let usage = serde_json::from_str::<Value>(text).ok()?["usage"].clone();
        Some((usage[names[0]].as_u64()?, usage[names[1]].as_u64()?))
    };
    let tokens = text.lines().filter_map(|line| told(line.trim_start_matches("data: "))).next_back();
    (id, tokens.unwrap_or_else(|| panic!("no usage in {text}")))
}

/// Sends at a fixed rate, whatever becomes of what was sent before; gives the memory of the workers after a third of the time.
async fn load(region: &Region, seconds: u64, rate: u64, served: &Served) -> Vec<u64> {
    let mut tick = interval(Duration::from_micros(1_000_000 / rate));
    tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let (application, mut calls) = (Application::of(region), JoinSet::new());
    let (begun, mut warm) = (Instant::now(), None);
    for turn in 0..seconds * rate {
        tick.tick().await;
        let (application, model, served) = (application.clone(), region.model.clone(), Arc::clone(served));
        calls.spawn(async move {
            let (id, tokens) = call(&application, &model, turn).await;
            assert!(served.lock().expect("lock").insert(id, tokens).is_none(), "an id is given once");
        });
        while let Some(ended) = calls.try_join_next() {
            ended.expect("no error");
        }
        if warm.is_none() && begun.elapsed() > Duration::from_secs(seconds) / 3 {
            warm = Some(memory(region));
        }
    }
    while let Some(ended) = calls.join_next().await {
        ended.expect("no error");
    }
    warm.expect("it took that long")
}

fn memory(region: &Region) -> Vec<u64> {
    let pids = region.processes.workers.iter().chain([&region.processes.router]).map(|process| process.pid);
    pids.map(memory_bytes).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn r10_a_steady_load_sees_no_error_is_metered_exactly_and_takes_no_more_memory() {
    let (seconds, rate) = (said("BAILIWICK_SOAK_SECONDS", SECONDS), said("BAILIWICK_SOAK_RATE", RATE));
    let installation = Installation::start();
    let region = installation.region(REGION);
    let admin = Admin::of(REGION, region);
    let before = eventually("the first call is metered", || async {
        Some(admin.total(&region.organization).await).filter(|total| total.calls >= 1)
    })
    .await;
    let served = Served::default();
    let warm = load(region, seconds, rate, &served).await;
    let after = memory(region);
    let served = std::mem::take(&mut *served.lock().expect("lock"));
    assert_eq!(served.len() as u64, seconds * rate);

    let sums = served.values().fold((0, 0), |sums, tokens| (sums.0 + tokens.0, sums.1 + tokens.1));
    let calls = before.calls + served.len() as u64;
    let total = eventually("every call is metered", || async {
        Some(admin.total(&region.organization).await).filter(|total| total.calls >= calls)
    })
    .await;
    assert_eq!(total.calls, calls, "none twice");
    assert_eq!(total.prompt_tokens - before.prompt_tokens, sums.0);
    assert_eq!(total.completion_tokens - before.completion_tokens, sums.1);
    if served.len() <= MOST_EVENTS {
        crate::crash::assert_exact(&admin, &region.organization, &served).await;
    }
    for ((warm, after), name) in warm.into_iter().zip(after).zip(["worker-1", "worker-2", "router"]) {
        println!(
            "{name}: {} KiB after a third of {seconds} s at {rate}/s, {} KiB at its end",
            warm >> 10,
            after >> 10
        );
        assert!(after < warm + SLACK_BYTES, "{name}: {warm} bytes grew to {after}");
    }
}
