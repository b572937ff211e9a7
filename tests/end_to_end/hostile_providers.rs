//! Providers that send what is no answer, nothing, or a byte at a time: each harms its own caller alone, who is told so, and nothing of it stays.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use bailiwick_tests::{
    admin::Admin,
    calls::{Application, refusal},
    eventually,
    installation::Installation,
    process::{memory_bytes, runs},
    provider::{Heard, Provider},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};

const REGION: &str = "eu-central-1";
const INVALID: (u16, &str) = (502, "provider_invalid_response");
const LATE: (u16, &str) = (504, "provider_timeout");
/// What a provider may do, and what its caller is told.
const WAYS: [(&str, (u16, &str)); 12] = [
    ("no-http", INVALID),
    ("no-bytes", INVALID),
    ("status-line", INVALID),
    ("broken-chunks", INVALID),
    ("huge-headers", INVALID),
    ("endless-head", INVALID),
    ("two-lengths", INVALID),
    ("no-json", INVALID),
    ("status-line-and-wait", LATE),
    ("head-and-wait", LATE),
    ("nothing", LATE),
    ("byte-a-second", LATE),
];
/// What a worker may have grown by: the dictionary of its tokenizer, which is loaded when something has to be estimated for the first time (70 MiB and more), and buffers of as many calls, in pieces of
/// some megabytes, as its allocator takes them. What an endless head alone brings in the time that it has is a multiple of that.
const SLACK_BYTES: u64 = 144 << 20;
/// Calls of each kind at once.
const CALLS: usize = 3;

/// Connections that are open, by what they do.
type Open = Arc<Mutex<BTreeMap<String, i32>>>;

async fn misbehave(mut stream: TcpStream, open: Open) {
    let Some(heard) = Heard::next(&mut stream).await else { return };
    let way = heard.model();
    *open.lock().expect("lock").entry(way.clone()).or_default() += 1;
    send(&mut stream, &way).await;
    drop(stream);
    *open.lock().expect("lock").entry(way).or_default() -= 1;
}

/// Does what the name says, and then lets go, or waits until the worker does.
async fn send(stream: &mut TcpStream, way: &str) {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";
    let waits = match way {
        "no-http" => put(stream, "\u{1}\u{2}these are no answers\r\n\r\n").await,
        "no-bytes" => return,
        "status-line" => {
            put(stream, "HTTP/1.1 200 OK\r\n").await;
            return;
        }
        "broken-chunks" => put(stream, &format!("{head}transfer-encoding: chunked\r\n\r\nzz\r\n{{}}")).await,
        "huge-headers" => put(stream, &format!("{head}x-large: {}\r\n\r\n{{}}", "x".repeat(1 << 20))).await,
        "endless-head" => {
            while put(stream, "x-more: and more, and more, and more\r\n").await {}
            false
        }
        "two-lengths" => {
            put(stream, &format!("{head}content-length: 2\r\ncontent-length: 7\r\n\r\n{{}}")).await
        }
        // Its end is told, so the connection is as good as before: the worker would keep it.
        "no-json" => {
            put(stream, &format!("{head}connection: close\r\ncontent-length: 6\r\n\r\n<html>")).await
        }
        "status-line-and-wait" => put(stream, "HTTP/1.1 200 OK\r\n").await,
        "head-and-wait" => put(stream, &format!("{head}content-length: 99\r\n\r\n{{\"a\":")).await,
        "byte-a-second" => {
            let mut second = tokio::time::interval(Duration::from_secs(1));
            for byte in head.chars().cycle() {
                second.tick().await;
                if !put(stream, &byte.to_string()).await {
                    return;
                }
            }
            false
        }
        _ => true,
    };
    // The worker closes what has brought no answer.
    if waits {
        let _ = stream.read_u8().await;
    }
}

async fn put(stream: &mut TcpStream, text: &str) -> bool {
    stream.write_all(text.as_bytes()).await.is_ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_sends_no_answer_harms_its_own_caller_alone() {
    let bounds = [
        ("BAILIWICK_WORKER_UPSTREAM__FIRST_BYTE_TIMEOUT_MS", "4000"),
        ("BAILIWICK_WORKER_UPSTREAM__IDLE_TIMEOUT_MS", "4000"),
    ];
    let installation = Installation::start_with(&bounds);
    let region = installation.region(REGION);
    let open = Open::default();
    let address = SocketAddr::from((installation.outside, installation.spare_port));
    let provider = Provider::start(address, {
        let open = Arc::clone(&open);
        move |stream| misbehave(stream, Arc::clone(&open))
    })
    .await;
    let admin = Admin::of(REGION, region);
    let credential = admin.new_credential(&region.organization, "key").await;
    let mut revision = 0;
    for (way, _) in WAYS {
        let endpoint = format!("{}/v1", provider.url);
        revision = admin.new_model(&region.organization, way, &endpoint, way, &credential).await;
    }
    admin.applied(revision).await;
    let before = admin.total(&region.organization).await;
    let workers = || region.processes.workers.iter().map(|worker| worker.pid);
    let memory: Vec<u64> = workers().map(memory_bytes).collect();

    let application = Application::of(region);
    let mut harmed = JoinSet::new();
    for (way, told) in WAYS {
        for stream in [false, true].into_iter().cycle().take(CALLS) {
            let application = application.clone();
            harmed.spawn(async move {
                let answer = application.chat(way, "hello", stream).await.expect("an answer");
                let refused = refusal(answer).await;
                assert_eq!((refused.status.as_u16(), &*refused.code), told, "{way}, stream: {stream}");
            });
        }
    }
    // While they wait, others are served.
    let mut served = 0;
    while !harmed.is_empty() {
        let answer = application.chat(&region.model, "hello", served % 2 == 0).await.expect("an answer");
        assert_eq!(answer.status(), 200);
        answer.bytes().await.expect("whole");
        served += 1;
        while let Some(ended) = harmed.try_join_next() {
            ended.expect("it was told what is documented");
        }
    }
    assert!(served > 20, "{served} calls were served meanwhile");

    let all = || open.lock().expect("lock").clone();
    assert_eq!(all().len(), WAYS.len());
    eventually(&format!("no connection is left: {:?}", all()), || async {
        all().values().all(|open| *open == 0).then_some(())
    })
    .await;
    let calls = before.calls + u64::try_from(served + WAYS.len() * CALLS).expect("small");
    eventually("each call is metered once", || async {
        (admin.total(&region.organization).await.calls == calls).then_some(())
    })
    .await;
    for (pid, before) in workers().zip(memory) {
        assert!(runs(pid));
        let after = memory_bytes(pid);
        println!("worker: {} KiB more", after.saturating_sub(before) / 1024);
        assert!(after < before + SLACK_BYTES, "{before} bytes grew to {after}");
    }
}
