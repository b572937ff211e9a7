//! Certificates that live for seconds instead of a day.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bailiwick_domain::time::{Clock, SystemClock};
use bailiwick_tests::{
    calls::Application,
    eventually,
    installation::{Installation, Process},
    process::{Owned, kill_hard},
};

const REGION: &str = "us-west-1";
/// The shortest life that can be chosen.
const LIFE: (&str, &str) = ("BAILIWICK_CONTROL_PLANE_IDENTITY__CERTIFICATE_LIFETIME_SECONDS", "20");

async fn text(url: &str) -> String {
    match reqwest::get(url).await {
        Ok(answer) => answer.text().await.unwrap_or_default(),
        Err(_) => String::new(),
    }
}

/// When a process's certificate expires, in seconds since the epoch.
async fn expires(process: &Process) -> Option<i64> {
    let metrics = text(&process.metrics).await;
    let line = metrics
        .lines()
        .find_map(|line| line.strip_prefix("bailiwick_certificate_expires_timestamp_seconds "));
    line?.trim().parse().ok()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "certificates of 20 seconds leave no room for a machine that is busy with something else: run it alone, cargo test -p bailiwick-tests --test end_to_end certificates -- --ignored"]
async fn certificates_are_renewed_under_load_without_a_failed_call() {
    let installation = Installation::start_with(&[LIFE]);
    let region = installation.region(REGION);
    let first = expires(&region.processes.router).await.expect("a metric");
    let stop = Arc::new(AtomicBool::new(false));
    let (good, bad) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let mut callers = tokio::task::JoinSet::new();
    for streams in [false, true, false, true] {
        let (application, model, stop) = (Application::of(region), region.model.clone(), Arc::clone(&stop));
        let (good, bad) = (Arc::clone(&good), Arc::clone(&bad));
        callers.spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                let whole = async {
                    let answer = application.chat(&model, "hello", streams).await.ok()?;
                    let served = answer.status() == 200;
                    answer.text().await.ok().filter(|_| served)
                };
                if whole.await.is_some() { &good } else { &bad }.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    // Every process has had its second renewal: the certificates that the first connections were opened with have expired by then.
    let began = Instant::now();
    for process in region.processes.workers.iter().chain([&region.processes.router]) {
        while expires(process).await.expect("a metric") < first + 25 {
            assert!(began.elapsed() < Duration::from_secs(60), "{} is not renewed", process.name);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    let beyond = first + 5 - now_seconds();
    tokio::time::sleep(Duration::from_secs(u64::try_from(beyond).unwrap_or(0))).await;
    stop.store(true, Ordering::Relaxed);
    while callers.join_next().await.is_some() {}
    let (good, bad) = (good.load(Ordering::Relaxed), bad.load(Ordering::Relaxed));
    println!("{good} calls in {} s, {bad} failed", began.elapsed().as_secs());
    assert_eq!(bad, 0, "of {good} calls");
    assert!(good > 100, "{good} calls");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_outlives_its_certificate_says_so_and_recovers_by_itself() {
    let installation = Installation::start_with(&[LIFE]);
    let region = installation.region(REGION);
    let application = Application::of(region);
    kill_hard(region.processes.control_plane.pid);
    for process in region.processes.workers.iter().chain([&region.processes.router]) {
        eventually("it says that its certificate has expired", || async {
            text(&process.readyz()).await.contains("the certificate has expired").then_some(())
        })
        .await;
    }
    // A certificate is good to the end of its last second (RFC 5280, section 4.1.2.5).
    eventually("no call reaches a worker any more", || async {
        let answer = application.chat(&region.model, "hello", false).await.ok()?;
        (answer.status() == 503).then_some(())
    })
    .await;

    let again = &region.processes.control_plane;
    let _control_plane = Owned::start_with(&again.command, &again.log.with_extension("again.log"), &[LIFE]);
    for process in region.processes.workers.iter().chain([&region.processes.router]) {
        eventually("it has recovered", || async {
            text(&process.readyz()).await.contains("\"ready\":true,\"conditions\"").then_some(())
        })
        .await;
    }
    eventually("calls are served", || async {
        let answer = application.chat(&region.model, "hello", false).await.ok()?;
        (answer.status() == 200).then_some(())
    })
    .await;
}

fn now_seconds() -> i64 {
    SystemClock.now().as_micros() / 1_000_000
}
