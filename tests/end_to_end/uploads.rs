//! Files on their way to a provider, through a router and a worker: as they are, as slowly as the provider takes them, and in no memory.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use bailiwick_tests::{
    admin::Admin, calls::Application, eventually, installation::Installation, process::memory_bytes,
    provider::Provider,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::watch,
    task::JoinSet,
};

const REGION: &str = "eu-central-1";
const MIB: u64 = 1 << 20;
/// What OpenAI takes, nearly.
const FILE_BYTES: usize = 24 << 20;
const FILES: u64 = 12;
/// What the provider takes of each at first: more than a worker holds.
const BEGINNING_BYTES: u64 = 256 << 10;
/// What kernels keep between caller, router, worker and provider, of one file.
const UNDER_WAY_BYTES: u64 = 20 * MIB;
/// What passes at once, and what allocators keep for each core, is much less than what waits.
const SLACK_BYTES: u64 = FILES * FILE_BYTES as u64 / 3;
const ANSWER: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 62\r\n\r\n\
                      {\"text\":\"hello\",\"usage\":{\"type\":\"duration\",\"seconds\":90    }}\n";

/// Reads a beginning, then nothing until it may, and then the rest; counts what it got.
async fn provider(address: SocketAddr, got: Arc<AtomicU64>, may_read: watch::Receiver<bool>) -> Provider {
    Provider::start(address, move |mut stream| {
        let (got, mut may_read) = (Arc::clone(&got), may_read.clone());
        async move {
            let (mut buffer, mut tail, mut seen) = (vec![0; 256 << 10], Vec::new(), 0);
            loop {
                let Some(read) = stream.read(&mut buffer).await.ok().filter(|read| *read > 0) else { return };
                seen += read as u64;
                got.fetch_add(read as u64, Relaxed);
                tail.extend_from_slice(&buffer[..read]);
                if tail.ends_with(b"--XX--\r\n") {
                    let _may_be_gone = stream.write_all(ANSWER.as_bytes()).await;
                    tail.clear();
                }
                tail.drain(..tail.len().saturating_sub(64));
                // The test may be over.
                if seen > BEGINNING_BYTES && may_read.wait_for(|may| *may).await.is_err() {
                    return;
                }
            }
        }
    })
    .await
}

fn form() -> Vec<u8> {
    let head = "--XX\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nslow\r\n\
                --XX\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.mp3\"\r\n\r\n";
    [head.as_bytes(), &vec![b'\r'; FILE_BYTES], b"\r\n--XX--\r\n"].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn files_wait_for_a_slow_provider_with_their_callers_and_not_in_a_workers_memory() {
    let installation = Installation::start();
    let region = installation.region(REGION);
    let (got, (reads, may_read)) = (Arc::new(AtomicU64::new(0)), watch::channel(false));
    let address = SocketAddr::from((installation.outside, installation.spare_port));
    let provider = provider(address, Arc::clone(&got), may_read).await;
    let admin = Admin::of(REGION, region);
    let credential = admin.new_credential(&region.organization, "key").await;
    let endpoint = format!("{}/v1", provider.url);
    let revision = admin.new_model(&region.organization, "slow", &endpoint, "slower", &credential).await;
    admin.applied(revision).await;
    let processes: Vec<i32> = [region.processes.router.pid]
        .into_iter()
        .chain(region.processes.workers.iter().map(|worker| worker.pid))
        .collect();
    let before: Vec<u64> = processes.iter().map(|pid| memory_bytes(*pid)).collect();

    let (application, form) = (Application::of(region), bytes::Bytes::from(form()));
    let mut callers = JoinSet::new();
    for _ in 0..FILES {
        let request = application.http.post(format!("{}/audio/transcriptions", application.base_url));
        let request = request.bearer_auth(&application.key).body(form.clone());
        let request = request.header("content-type", "multipart/form-data; boundary=XX");
        callers.spawn(async move { request.send().await.expect("an answer").status().as_u16() });
    }
    eventually("all of them have begun to arrive", || async {
        (got.load(Relaxed) > FILES * BEGINNING_BYTES).then_some(())
    })
    .await;
    assert!(got.load(Relaxed) < FILES * UNDER_WAY_BYTES, "the provider takes no more");
    for (pid, before) in processes.iter().zip(&before) {
        let after = memory_bytes(*pid);
        println!("{} MiB more while {FILES} files of 24 MiB wait", after.saturating_sub(*before) / MIB);
        assert!(after < before + SLACK_BYTES, "{before} bytes grew to {after}");
    }
    // Others are served meanwhile.
    assert_eq!(application.chat(&region.model, "hello", false).await.expect("an answer").status(), 200);
    reads.send_replace(true);
    let answered = callers.join_all().await;
    assert!(answered.iter().all(|status| *status == 200), "{answered:?}");
    for (pid, before) in processes.iter().zip(&before) {
        let after = memory_bytes(*pid);
        println!("{} MiB more when they have passed", after.saturating_sub(*before) / MIB);
        assert!(after < before + SLACK_BYTES, "{before} bytes grew to {after}");
    }
    eventually("each is metered once", || async {
        let events = admin.events(&region.organization).await;
        let passed = events.iter().filter(|event| event.audio_millis == 90_000).count() as u64;
        (passed == FILES).then_some(())
    })
    .await;
}
