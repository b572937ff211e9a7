//! One worker's subscription: welcome, then every step in order, bookmarks between them, and a good-bye before the server stops.
//!
//! It reads the log from a cursor of its own, so a worker that does not come along delays only itself; when the history no
//! longer reaches back to the cursor, or a message cannot be sent in time, the stream ends and the worker resumes.

use std::{future::Future, sync::Arc, time::Duration};

use bailiwick_core::records::Revision;
use bailiwick_proto::{
    digest::Shards,
    status::Refusal,
    worker::v1::{self as wire, subscribe_request, subscribe_response::Message},
};
use futures_util::{Stream, StreamExt as _};
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};

use super::{
    entry::Entry,
    metrics::LogMetrics,
    resources::Shard,
    state::{Held, Resume, State},
};

/// The protocol version that is spoken here.
pub(crate) const PROTOCOL: u32 = 1;
/// Messages between this task and the connection.
pub(crate) const QUEUE: usize = 16;
/// How long the connection may take to take a message off the full queue.
const STALL: Duration = Duration::from_secs(15);
/// A worker that was told to go comes back after this, and a random part of the jitter.
const DRAIN_AFTER: Duration = Duration::from_millis(100);
const DRAIN_JITTER: Duration = Duration::from_secs(2);
/// Of a refusal's reason, as many characters are kept.
const MAX_REASON: usize = 512;

/// What every subscription is promised.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    /// How long a worker may serve after each bookmark.
    pub(crate) lease: Duration,
    /// Time between bookmarks.
    pub(crate) bookmark: Duration,
}

/// Hears what a worker says on its stream.
pub(crate) trait Attendance: Send {
    /// The worker may serve until the lease from now ends.
    fn leased(&mut self, lease: Duration);
    /// Everything up to here is applied.
    fn acknowledged(&mut self, revision: Revision);
    /// One resource is not.
    fn refused(&mut self, revision: Revision, resource: &str, reason: &str);
    /// Resolves when the worker was removed. May be dropped and called again.
    fn removed(&mut self) -> impl Future<Output = ()> + Send;
}

/// What goes down the stream.
pub(crate) type Outgoing = mpsc::Sender<Result<wire::SubscribeResponse, Status>>;

/// One worker's stream.
pub(crate) struct Subscription<A> {
    state: watch::Receiver<State>,
    outgoing: Outgoing,
    attendance: A,
    terms: Terms,
    metrics: LogMetrics,
    epoch: Arc<str>,
    /// What the worker has been sent.
    cursor: Revision,
    /// Digests of the last bookmark.
    told: Option<Shards>,
}

/// Why a stream ends.
enum End {
    /// The worker went, or nothing more is to be said.
    Over,
    /// With this status.
    Because(Refusal),
}

impl<A: Attendance> Subscription<A> {
    pub(crate) fn new(
        state: watch::Receiver<State>,
        outgoing: Outgoing,
        attendance: A,
        terms: Terms,
        metrics: LogMetrics,
    ) -> Self {
        let (epoch, cursor) = {
            let now = state.borrow();
            (Arc::clone(&now.epoch), now.revision)
        };
        Self { state, outgoing, attendance, terms, metrics, epoch, cursor, told: None }
    }

    /// Serves the stream to its end. `held` is what the worker's hello says that it holds; `None`: nothing.
    pub(crate) async fn run<I>(mut self, held: Option<Held>, mut incoming: I, drain: CancellationToken)
    where
        I: Stream<Item = Result<wire::SubscribeRequest, Status>> + Send + Unpin,
    {
        self.metrics.subscribers.inc();
        let end = self.serve(held, &mut incoming, &drain).await;
        self.metrics.subscribers.dec();
        if let Err(End::Because(refusal)) = end {
            // Where the queue is full nobody reads; the end of the stream says enough then.
            let _ = self.outgoing.try_send(Err(refusal.into()));
        }
    }

    async fn serve<I>(
        &mut self,
        held: Option<Held>,
        incoming: &mut I,
        drain: &CancellationToken,
    ) -> Result<(), End>
    where
        I: Stream<Item = Result<wire::SubscribeRequest, Status>> + Send + Unpin,
    {
        self.welcome(held).await?;
        let mut bookmarks =
            tokio::time::interval_at(Instant::now() + self.terms.bookmark, self.terms.bookmark);
        loop {
            tokio::select! {
                () = drain.cancelled() => return self.send(drain_message()).await,
                () = self.attendance.removed() => return Err(End::Because(removed())),
                changed = self.state.changed() => {
                    changed.map_err(|_| End::Over)?;
                    self.push().await?;
                }
                _ = bookmarks.tick() => self.bookmark().await?,
                message = incoming.next() => self.hear(message)?,
            }
        }
    }

    /// Says where the worker stands and brings it up to date. Ends the stream when it has to take a snapshot first.
    async fn welcome(&mut self, held: Option<Held>) -> Result<(), End> {
        let resume = {
            let now = self.state.borrow_and_update();
            self.epoch = Arc::clone(&now.epoch);
            self.cursor = now.revision;
            held.as_ref().map_or(Resume::TakeSnapshot, |held| now.resume(held))
        };
        let newest = self.cursor;
        let take_snapshot = matches!(resume, Resume::TakeSnapshot);
        self.send(Message::Welcome(wire::Welcome {
            epoch: self.epoch.to_string(),
            revision: newest.0,
            protocol: PROTOCOL,
            take_snapshot,
            lease_millis: millis(self.terms.lease),
        }))
        .await?;
        let (Resume::Steps(steps, repairs), Some(held)) = (resume, held) else {
            return Err(End::Over);
        };
        self.cursor = held.revision;
        for step in steps {
            self.send(Message::Batch(step.to_wire(self.cursor))).await?;
            self.cursor = step.to;
        }
        for (shard, entries) in repairs {
            self.metrics.repairs.inc();
            tracing::warn!(shard, revision = newest.0, "a worker's shard differs and is repaired");
            self.send(repair(newest, shard, &entries)).await?;
        }
        self.bookmark().await
    }

    /// Sends what came since the cursor.
    async fn push(&mut self) -> Result<(), End> {
        let steps = {
            let now = self.state.borrow_and_update();
            if now.epoch != self.epoch {
                return Err(End::Over);
            }
            now.history.since(self.cursor, now.revision)
        };
        let Some(steps) = steps else {
            return Err(self.fell_behind());
        };
        for step in steps {
            self.send(Message::Batch(step.to_wire(self.cursor))).await?;
            self.cursor = step.to;
        }
        Ok(())
    }

    /// Renews the lease. A bookmark tells of one revision only, so whatever lies before it goes first.
    async fn bookmark(&mut self) -> Result<(), End> {
        let digests = loop {
            self.push().await?;
            let now = self.state.borrow();
            if now.revision == self.cursor && now.epoch == self.epoch {
                break now.resources.digests().clone();
            }
        };
        let changed = self.told.as_ref() != Some(&digests);
        let shard_digests = if changed { digests.to_wire() } else { Vec::new() };
        self.send(Message::Bookmark(wire::Bookmark {
            revision: self.cursor.0,
            lease_millis: millis(self.terms.lease),
            shard_digests,
        }))
        .await?;
        self.told = Some(digests);
        self.attendance.leased(self.terms.lease);
        Ok(())
    }

    fn hear(&mut self, message: Option<Result<wire::SubscribeRequest, Status>>) -> Result<(), End> {
        use subscribe_request::Message as Said;
        let Some(Ok(message)) = message else {
            return Err(End::Over);
        };
        match message.message {
            Some(Said::Acknowledgement(said)) => self.attendance.acknowledged(Revision(said.revision)),
            Some(Said::Refusal(said)) => {
                self.metrics.refusals.inc();
                let resource = said.resource.unwrap_or_default().id;
                let reason: String = said.reason.chars().take(MAX_REASON).collect();
                self.attendance.refused(Revision(said.revision), &resource, &reason);
            }
            Some(Said::Hello(_)) => {
                let again = Refusal::invalid("hello", "comes first on a stream, and once");
                return Err(End::Because(again));
            }
            // A message of a later version.
            None => {}
        }
        Ok(())
    }

    async fn send(&mut self, message: Message) -> Result<(), End> {
        let message = wire::SubscribeResponse { message: Some(message) };
        match tokio::time::timeout(STALL, self.outgoing.send(Ok(message))).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_gone)) => Err(End::Over),
            Err(_stalled) => Err(self.fell_behind()),
        }
    }

    fn fell_behind(&self) -> End {
        self.metrics.slow_subscribers.inc();
        End::Because(Refusal::new(
            Code::ResourceExhausted,
            "subscriber_behind",
            "fell behind: subscribe again",
        ))
    }
}

/// The worker was removed from the region.
pub(crate) fn removed() -> Refusal {
    Refusal::new(
        Code::PermissionDenied,
        "worker_removed",
        "this worker was removed from the region: enroll it anew",
    )
}

fn drain_message() -> Message {
    Message::Drain(wire::Drain { after_millis: millis(DRAIN_AFTER), jitter_millis: millis(DRAIN_JITTER) })
}

fn repair(revision: Revision, shard: u8, entries: &Shard) -> Message {
    let resources = entries.values().map(|entry: &Arc<Entry>| entry.to_wire()).collect();
    Message::ShardRepair(wire::ShardRepair { revision: revision.0, shard: shard.into(), resources })
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
