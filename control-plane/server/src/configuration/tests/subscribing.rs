//! A stream from welcome to good-bye.

use std::{sync::Arc, time::Duration};

use bailiwick_proto::{
    config::v1::ResourceKind,
    status,
    worker::v1::{self as wire, subscribe_request, subscribe_response::Message},
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::{
    super::{
        Log,
        metrics::LogMetrics,
        state::State,
        subscription::{Subscription, Terms},
    },
    world::{Attending, Notes, Worker, change, gone, key, put, state},
};
use bailiwick_core::records::Revision;

struct Stream {
    up: mpsc::Sender<Result<wire::SubscribeRequest, Status>>,
    down: mpsc::Receiver<Result<wire::SubscribeResponse, Status>>,
    drain: CancellationToken,
    removed: CancellationToken,
    notes: Notes,
    task: tokio::task::JoinSet<()>,
}

fn subscribe(log: &Log, worker: Option<&Worker>, queue: usize) -> Stream {
    let (up, incoming) = mpsc::channel(8);
    let (outgoing, down) = mpsc::channel(queue);
    let (drain, removed, notes) = (CancellationToken::new(), CancellationToken::new(), Notes::default());
    let attending = Attending { notes: notes.clone(), removed: removed.clone() };
    let terms = Terms { lease: Duration::from_secs(3600), bookmark: Duration::from_secs(2) };
    let subscription = Subscription::new(log.subscribe(), outgoing, attending, terms, LogMetrics::default());
    let mut task = tokio::task::JoinSet::new();
    let held = worker.map(Worker::held);
    task.spawn(subscription.run(held, ReceiverStream::new(incoming), drain.clone()));
    Stream { up, down, drain, removed, notes, task }
}

impl Stream {
    async fn next(&mut self) -> Message {
        self.down.recv().await.expect("open").expect("no error").message.expect("known")
    }

    /// Everything up to the next bookmark, applied.
    async fn follow(&mut self, worker: &mut Worker) -> wire::Bookmark {
        loop {
            match self.next().await {
                Message::Welcome(welcome) => assert!(!welcome.take_snapshot),
                Message::Batch(batch) => worker.apply(batch),
                Message::ShardRepair(repair) => {
                    assert_eq!(repair.revision, worker.revision);
                    worker.repair(u8::try_from(repair.shard).expect("a shard"), repair.resources);
                }
                Message::Bookmark(bookmark) => {
                    assert_eq!(bookmark.revision, worker.revision, "a bookmark tells of what was sent");
                    return bookmark;
                }
                Message::Drain(_) => panic!("nobody stops"),
            }
        }
    }

    async fn say(&self, message: subscribe_request::Message) {
        self.up.send(Ok(wire::SubscribeRequest { message: Some(message) })).await.expect("heard");
    }

    async fn end(mut self) -> Option<Status> {
        let mut last = None;
        while let Some(message) = self.down.recv().await {
            last = message.err();
        }
        self.task.join_all().await;
        last
    }
}

#[tokio::test(start_paused = true)]
async fn a_worker_is_welcomed_brought_up_to_date_and_bookmarked_at_once() {
    let log = Log::new(state(3));
    let mut worker = log.read(Worker::with);
    log.apply(change(10, 11, vec![gone(ResourceKind::ApiKey, "key_1")]));
    worker.remove(ResourceKind::ApiKey.into(), "key_2");
    let mut stream = subscribe(&log, Some(&worker), 16);
    let bookmark = stream.follow(&mut worker).await;
    assert_eq!((bookmark.revision, bookmark.lease_millis), (11, 3_600_000));
    assert_eq!(bookmark.shard_digests, worker.digests.to_wire());
    // Nothing changed: the next bookmark comes by the clock and says nothing twice.
    let idle = stream.follow(&mut worker).await;
    assert_eq!((idle.revision, idle.shard_digests.len()), (11, 0));
}

#[tokio::test]
async fn r12_a_revocation_is_sent_at_once_and_not_with_the_next_bookmark() {
    let log = Log::new(state(3));
    let mut worker = log.read(Worker::with);
    let mut stream = subscribe(&log, Some(&worker), 16);
    stream.follow(&mut worker).await;
    let revoked = std::time::Instant::now();
    log.apply(change(10, 11, vec![gone(ResourceKind::ApiKey, "key_1")]));
    let Message::Batch(batch) = stream.next().await else { panic!("a batch comes first") };
    assert!(revoked.elapsed() < Duration::from_millis(500), "{:?}", revoked.elapsed());
    worker.apply(batch);
    assert!(!worker.holds(ResourceKind::ApiKey, "key_1"));
}

#[tokio::test]
async fn a_worker_that_holds_nothing_is_told_to_take_a_snapshot() {
    let log = Log::new(state(1));
    let mut stream = subscribe(&log, None, 16);
    let Message::Welcome(welcome) = stream.next().await else { panic!("the welcome comes first") };
    assert!(welcome.take_snapshot);
    assert!(stream.end().await.is_none());
}

#[tokio::test]
async fn a_slow_worker_sees_every_step_once_and_holds_up_nobody() {
    let log = Arc::new(Log::new(state(3)));
    let mut worker = log.read(Worker::with);
    let mut stream = subscribe(&log, Some(&worker), 1);
    for revision in 10..200 {
        // The log never waits for the stream, which holds one message.
        log.apply(change(revision, revision + 1, vec![put(key("key_0", &format!("org_{revision}")))]));
    }
    while worker.revision < 200 {
        stream.follow(&mut worker).await;
    }
    assert_eq!(worker.digests, log.read(|state| state.resources.digests().clone()));
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_takes_nothing_is_cut_off() {
    let log = Log::new(state(3));
    let worker = log.read(Worker::with);
    let stream = subscribe(&log, Some(&worker), 1);
    // Nothing is read: the clock moves on by itself until the stream has given up.
    let mut task = stream.task;
    task.join_next().await.expect("one task").expect("no panic");
}

#[tokio::test]
async fn a_restored_store_ends_the_stream_and_the_next_one_begins_with_a_snapshot() {
    let log = Log::new(state(3));
    let mut worker = log.read(Worker::with);
    let mut stream = subscribe(&log, Some(&worker), 16);
    stream.follow(&mut worker).await;
    let restored = state(2);
    log.replace(State::new("01JD0W6KQ4V6J5T6T9N2X8Y3ZZ", Revision(10), restored.resources));
    assert!(stream.end().await.is_none());
    let mut stream = subscribe(&log, Some(&worker), 16);
    let Message::Welcome(welcome) = stream.next().await else { panic!("the welcome comes first") };
    assert!(welcome.take_snapshot);
}

#[tokio::test]
async fn what_a_worker_says_is_noted() {
    let log = Log::new(state(1));
    let mut worker = log.read(Worker::with);
    let mut stream = subscribe(&log, Some(&worker), 16);
    stream.follow(&mut worker).await;
    stream.say(subscribe_request::Message::Acknowledgement(wire::Acknowledgement { revision: 10 })).await;
    let resource = bailiwick_proto::config::v1::ResourceId { id: "key_0".into(), ..Default::default() };
    let reason = "x".repeat(10_000);
    let refusal = wire::Refusal { revision: 10, resource: Some(resource), reason };
    stream.say(subscribe_request::Message::Refusal(refusal)).await;
    let notes = stream.notes.clone();
    stream.say(subscribe_request::Message::Hello(wire::Hello::default())).await;
    let status = stream.end().await.expect("a second hello is refused");
    assert_eq!(status.code(), tonic::Code::InvalidArgument);
    let notes = notes.0.lock().expect("unpoisoned");
    assert_eq!(notes.acknowledged, Some(Revision(10)));
    assert_eq!(notes.refused.first().map(|(id, reason)| (id.as_str(), reason.len())), Some(("key_0", 512)));
}

#[tokio::test]
async fn a_stopping_server_says_so_and_a_removed_worker_hears_why() {
    let log = Log::new(state(1));
    let mut worker = log.read(Worker::with);
    let mut stream = subscribe(&log, Some(&worker), 16);
    stream.follow(&mut worker).await;
    stream.drain.cancel();
    assert!(matches!(stream.next().await, Message::Drain(_)));
    assert!(stream.end().await.is_none());

    let mut stream = subscribe(&log, Some(&worker), 16);
    stream.follow(&mut worker).await;
    stream.removed.cancel();
    let status = stream.end().await.expect("a reason");
    assert_eq!(status::reason_of(&status).as_deref(), Some("worker_removed"));
}
