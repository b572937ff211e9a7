//! Many streams at once, and callers that take their time: what a worker holds stays small, and whoever is slow slows down its provider alone.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use bailiwick_runtime::resources::take_descriptors;
use bailiwick_tests::{
    admin::Admin,
    calls::{Application, Caller},
    eventually,
    installation::{Installation, Process, Region},
    process::{memory_bytes, runs, terminate},
    provider::{Heard, Provider},
};
use tokio::{io::AsyncWriteExt, task::JoinSet};

const REGION: &str = "eu-central-1";
const KIB: u64 = 1024;
/// `BAILIWICK_STREAMS` says more: 10000 is what one worker shall carry.
const STREAMS: usize = 1000;
/// What one stream may cost a worker.
const LARGEST_STREAM_BYTES: u64 = 100 * KIB;
/// Streams that are opened side by side.
const OPENING: usize = 64;

/// Leaves a region with one worker, which its router knows.
pub(super) async fn one_worker(region: &Region) -> &Process {
    let [worker, other] = &region.processes.workers[..] else { panic!("two workers") };
    terminate(other.pid);
    eventually("it has ended", || async { (!runs(other.pid)).then_some(()) }).await;
    let application = Application::of(region);
    eventually("the router has forgotten it", || async {
        let answers = (0..8).map(|_| application.chat(&region.model, "hello", false));
        let answers = futures_util::future::join_all(answers).await;
        answers.iter().all(|answer| answer.as_ref().is_ok_and(|a| a.status().is_success())).then_some(())
    })
    .await;
    worker
}

async fn model(region: &Region, name: &str, endpoint: &str, upstream: &str) -> Admin {
    let admin = Admin::of(REGION, region);
    let credential = admin.new_credential(&region.organization, "key").await;
    let revision = admin.new_model(&region.organization, name, endpoint, upstream, &credential).await;
    eventually("the worker has applied it", || async {
        admin.workers().await.iter().any(|worker| worker.applied_revision >= revision).then_some(())
    })
    .await;
    admin
}

/// As many as were asked for, and no more than this machine lets one process have: a stream takes two descriptors of the worker.
fn wanted() -> usize {
    let asked = std::env::var("BAILIWICK_STREAMS").map_or(STREAMS, |text| text.parse().expect("a number"));
    let most = take_descriptors().map_or(usize::MAX, |most| usize::try_from(most / 2 - 100).expect("small"));
    if most < asked {
        println!("this machine lets a process have descriptors for {most} streams, not for {asked}");
    }
    asked.min(most)
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_slow_streams_are_carried_side_by_side_in_little_memory() {
    let streams = wanted();
    let installation = Installation::start();
    let region = installation.region(REGION);
    let admin = model(region, "held", &installation.provider, "simulated-held").await;
    let worker = one_worker(region).await;
    let before = [worker.pid, region.processes.router.pid].map(memory_bytes);

    let (mut opening, mut open) = (JoinSet::new(), Vec::new());
    for started in 0..streams {
        if started >= OPENING {
            open.push(opening.join_next().await.expect("one is opening").expect("it is open"));
        }
        let (base_url, key) = (region.base_url.clone(), region.api_key.clone());
        opening.spawn(async move { Caller::begun(&base_url, &key, "held", "word ").await });
    }
    open.extend(opening.join_all().await);
    assert_eq!(open.len(), streams, "all of them at once");
    let grown = [worker.pid, region.processes.router.pid].map(memory_bytes);
    let [of_worker, of_router] =
        [0, 1].map(|at| grown[at].saturating_sub(before[at]) / u64::try_from(streams).expect("small"));
    println!(
        "{streams} streams: {} KiB each in the worker ({} MiB in all), {} KiB in the router",
        of_worker / KIB,
        grown[0] >> 20,
        of_router / KIB
    );
    assert!(of_worker < LARGEST_STREAM_BYTES, "{of_worker} bytes a stream");
    assert!(grown[0] < 1 << 30, "{} bytes", grown[0]);

    let mut reading = JoinSet::new();
    for mut caller in open {
        reading.spawn(async move { caller.read_to("data: [DONE]\n\n").await.expect("not cut") });
    }
    let release = installation.provider.replace("/v1", "/simulated/release");
    reqwest::Client::new().post(release).send().await.expect("released");
    assert!(reading.join_all().await.into_iter().all(|whole| whole), "every stream is whole");
    eventually("every stream is metered once", || async {
        let events = admin.events(&region.organization).await;
        let held = events.iter().filter(|event| event.stream && event.end == "completed").count();
        (held == streams).then_some(())
    })
    .await;
    assert!(runs(worker.pid));
}

/// A provider that sends as fast as it is read, and counts what it got rid of.
async fn torrent(address: SocketAddr, sent: Arc<AtomicU64>) -> Provider {
    const TORRENT_BYTES: u64 = 100 << 20;
    let piece = format!(
        "data: {}\n\n",
        serde_json::json!({"choices": [{"index": 0, "delta": {"content": "x".repeat(8 << 10)}}]})
    );
    Provider::start(address, move |mut stream| {
        let (sent, piece) = (Arc::clone(&sent), piece.clone());
        async move {
            let Some(_) = Heard::next(&mut stream).await else { return };
            let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
            let mut more = stream.write_all(head.as_bytes()).await.is_ok();
            while more && sent.load(Relaxed) < TORRENT_BYTES {
                more = stream.write_all(piece.as_bytes()).await.is_ok();
                sent.fetch_add(piece.len() as u64, Relaxed);
            }
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_slows_its_provider_down_and_takes_no_memory() {
    /// What kernels keep between provider, worker, router and caller: each of six buffers grows to some megabytes.
    const UNDER_WAY_BYTES: u64 = 40 << 20;
    /// The allocator takes memory for each core in pieces of some megabytes; what passes is a multiple of this.
    const SLACK_BYTES: u64 = 16 << 20;
    let installation = Installation::start();
    let region = installation.region(REGION);
    let sent = Arc::new(AtomicU64::new(0));
    let address = SocketAddr::from((installation.outside, installation.spare_port));
    let provider = torrent(address, Arc::clone(&sent)).await;
    model(region, "torrent", &format!("{}/v1", provider.url), "m").await;
    let worker = one_worker(region).await;
    let processes = [worker.pid, region.processes.router.pid];
    let before = processes.map(memory_bytes);

    let caller = Caller::with_buffer(&region.base_url, &region.api_key, "torrent", Some(16 << 10)).await;
    let mut caller = caller.expect("connected");
    assert!(caller.read_to("xxxx").await.expect("a stream"));
    let stands = |within: Duration| {
        let sent = &sent;
        async move {
            let seen = sent.load(Relaxed);
            tokio::time::sleep(within).await;
            (sent.load(Relaxed) == seen).then_some(seen)
        }
    };
    let first = eventually("the provider has to wait", || stands(Duration::from_millis(500))).await;
    assert!(first < UNDER_WAY_BYTES, "{first} bytes were taken from the provider, and nobody wanted them");

    // A kilobyte a second, for some seconds.
    let mut second = tokio::time::interval(Duration::from_secs(1));
    for _ in 0..8 {
        second.tick().await;
        assert!(caller.read(KIB as usize).await.expect("the stream goes on") > 0);
        caller.forget();
    }
    let after = processes.map(memory_bytes);
    for (before, after) in before.into_iter().zip(after) {
        println!(
            "{} KiB more while {} MiB wait",
            after.saturating_sub(before) / KIB,
            sent.load(Relaxed) >> 20
        );
        assert!(after < before + SLACK_BYTES, "{before} bytes grew to {after}");
    }
    // Others are served meanwhile, and whoever reads on gets more.
    let answer = Application::of(region).chat(&region.model, "hello", false).await.expect("an answer");
    assert_eq!(answer.status(), 200);
    let taken = sent.load(Relaxed);
    while sent.load(Relaxed) == taken {
        let read = tokio::time::timeout(Duration::from_secs(30), caller.read(64 << 10)).await;
        assert!(read.expect("the provider sends on").expect("not cut") > 0);
        caller.forget();
    }
}
