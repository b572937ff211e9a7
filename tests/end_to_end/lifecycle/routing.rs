//! Between a router and its workers: what becomes of a call when a worker says nothing, has gone, or is shut out.

use bailiwick_tests::{
    admin::Admin,
    calls::{Application, Caller, Refusal, refusal},
    eventually,
    installation::{Installation, Process, Region},
    process::{Owned, go_on, kill_hard, runs, stop},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{membership::bailiwick, streams::one_worker};

const REGION: &str = "eu-central-1";

async fn ask(region: &Region) -> reqwest::Response {
    let application = Application::of(region);
    application.chat(&region.model, "hello", false).await.expect("an answer")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_says_nothing_in_time_is_answered_for() {
    let environment =
        [("BAILIWICK_ROUTER_SERVE__RESPONSE_TIMEOUT_MS", "3000"), ("BAILIWICK_ROUTER_SERVE__CORES", "1")];
    let installation = Installation::start_with(&environment);
    let region = installation.region(REGION);
    let worker = one_worker(region).await;
    stop(worker.pid);
    let Refusal { status, code, .. } = refusal(ask(region).await).await;
    go_on(worker.pid);
    assert_eq!((status.as_u16(), code.as_str()), (504, "worker_timeout"));
    eventually("it is called again", || async { (ask(region).await.status() == 200).then_some(()) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_a_worker_has_closed_cost_no_call() {
    let installation = Installation::start();
    let region = installation.region(REGION);
    let worker = one_worker(region).await;
    let side_by_side = || async {
        let calls = (0..16).map(|_| ask(region));
        futures_util::future::join_all(calls).await.iter().all(|answer| answer.status() == 200)
    };
    assert!(side_by_side().await);
    kill_hard(worker.pid);
    eventually("it has ended", || async { (!runs(worker.pid)).then_some(()) }).await;
    let _again = Owned::start(&worker.command, &worker.log);
    let is_up = || async { reqwest::get(worker.readyz()).await.ok()?.error_for_status().ok().map(drop) };
    eventually("it serves again", is_up).await;
    assert!(side_by_side().await, "each of them was still open when it was last used");
}

/// A call whose body is none: what the router says of it.
async fn break_off(region: &Region) -> String {
    let address = region.base_url.trim_start_matches("http://").trim_end_matches("/v1");
    let mut stream = TcpStream::connect(address).await.expect("connected");
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{{\"mod\r\nZZ\r\n",
        region.api_key
    );
    stream.write_all(head.as_bytes()).await.expect("sent");
    let mut answer = Vec::new();
    let _ended = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_whose_body_breaks_off_shuts_out_no_worker() {
    let installation = Installation::start();
    let region = installation.region(REGION);
    for _ in 0..4 {
        let answer = break_off(region).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400 "), "{answer}");
    }
    let metrics = reqwest::get(&region.processes.router.metrics).await.expect("metrics");
    let metrics = metrics.text().await.expect("metrics");
    let ejections =
        metrics.lines().filter(|line| !line.starts_with('#') && line.contains("worker_failures_total"));
    let ejections: Vec<&str> = ejections.collect();
    assert!(!ejections.is_empty() && ejections.iter().all(|line| line.ends_with(" 0")), "{ejections:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn r3_a_router_hangs_up_on_a_revoked_worker_in_the_middle_of_an_answer() {
    let installation = Installation::start();
    let region = installation.region(REGION);
    let admin = Admin::of(REGION, region);
    let credential = admin.new_credential(&region.organization, "key").await;
    let endpoint = &installation.provider;
    let revision =
        admin.new_model(&region.organization, "slow", endpoint, "simulated-slow", &credential).await;
    admin.applied(revision).await;
    let worker: &Process = one_worker(region).await;
    let mut caller =
        Caller::stream(&region.base_url, &region.api_key, "slow").await.expect("the router is there");
    assert!(caller.read_to("word1").await.expect("it is served"));
    let id = admin.workers().await.into_iter().find(|row| row.name == worker.name).expect("enrolled").id;
    // It cannot end by itself what it has begun, as one that was broken into would not.
    stop(worker.pid);
    let (done, said) = bailiwick(&installation, &["worker", "revoke", &id, "--yes"]).await;
    assert!(done, "{said}");
    let ended = async { while caller.read(4096).await.is_ok_and(|length| length > 0) {} };
    let cut_off = tokio::time::timeout(std::time::Duration::from_secs(30), ended).await;
    go_on(worker.pid);
    cut_off.expect("the router hangs up");
    let text = String::from_utf8_lossy(&caller.received).into_owned();
    assert!(!text.contains("[DONE]"), "it was served to its end");
}
