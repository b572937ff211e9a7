//! One stream of the configuration log.

use std::time::{Duration, Instant};

use bailiwick_proto::{
    digest::Shards,
    worker::v1::{
        self as wire, SubscribeRequest, SubscribeResponse, subscribe_request, subscribe_response::Message,
    },
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use super::{Subscriber, SubscriptionError, log_refused};
use crate::snapshot::{Refused, Snapshot};

/// The protocol version that is spoken here.
const PROTOCOL: u32 = 1;
/// Acknowledgements and refusals that wait for the connection.
const QUEUE: usize = 1024;
/// Bookmarks come every few seconds; after this long without a word the control plane is taken for gone.
const SILENCE: Duration = Duration::from_secs(30);

/// How a session ends in order.
#[derive(Debug)]
pub(super) enum End {
    /// What is held cannot be resumed from.
    TakeSnapshot,
    /// The server stops: come back after `after` and a random part of `jitter`.
    Drained { after: Duration, jitter: Duration },
}

/// One stream, and what was said on it.
pub(super) struct Session<'a> {
    subscriber: &'a mut Subscriber,
    /// Digests of the last bookmark that had any.
    told: Option<Shards>,
}

impl<'a> Session<'a> {
    pub(super) fn new(subscriber: &'a mut Subscriber) -> Self {
        Self { subscriber, told: None }
    }

    /// Runs it to its end. `ask_for_everything` says hello as if nothing were held.
    pub(super) async fn run(mut self, ask_for_everything: bool) -> Result<End, SubscriptionError> {
        let (up, requests) = mpsc::channel(QUEUE);
        say(&up, subscribe_request::Message::Hello(self.hello(ask_for_everything)));
        let mut down = self.subscriber.subscribe.subscribe(ReceiverStream::new(requests)).await?.into_inner();

        let Message::Welcome(welcome) = next(&mut down).await? else {
            return Err(SubscriptionError::Protocol("a stream begins with a welcome"));
        };
        if self.welcomed(&welcome, ask_for_everything)? {
            return Ok(End::TakeSnapshot);
        }
        let untold = std::mem::take(&mut self.subscriber.untold);
        self.tell_refused(&up, &untold);
        loop {
            match next(&mut down).await? {
                Message::Batch(batch) => self.batch(&up, batch)?,
                Message::ShardRepair(repair) => self.repair(&up, repair)?,
                Message::Bookmark(bookmark) => self.bookmark(&up, &bookmark)?,
                Message::Drain(drain) => {
                    let after = Duration::from_millis(drain.after_millis);
                    return Ok(End::Drained { after, jitter: Duration::from_millis(drain.jitter_millis) });
                }
                Message::Welcome(_) => return Err(SubscriptionError::Protocol("a second welcome")),
            }
        }
    }

    fn hello(&self, ask_for_everything: bool) -> wire::Hello {
        let held = self.subscriber.handle.load();
        let nothing = ask_for_everything || held.epoch.is_empty();
        let about = self.subscriber.about.clone();
        wire::Hello {
            region: self.subscriber.jurisdiction.region().name.to_string(),
            build: about.build,
            protocol_min: PROTOCOL,
            protocol_max: PROTOCOL,
            epoch: if nothing { String::new() } else { held.epoch.to_string() },
            revision: if nothing { 0 } else { held.revision },
            shard_digests: if nothing { Vec::new() } else { held.shards().to_wire() },
            advertise_address: about.advertise_address,
            boot_id: about.boot_id,
        }
    }

    /// Whether a snapshot is to be taken.
    fn welcomed(
        &self,
        welcome: &wire::Welcome,
        asked_for_everything: bool,
    ) -> Result<bool, SubscriptionError> {
        if welcome.protocol != PROTOCOL {
            return Err(SubscriptionError::Protocol("another version than was offered"));
        }
        let held = self.subscriber.handle.load();
        let same_epoch = *welcome.epoch == *held.epoch;
        if same_epoch && welcome.revision < held.revision {
            return Err(SubscriptionError::Older { offered: welcome.revision, applied: held.revision });
        }
        if !welcome.take_snapshot && (asked_for_everything || !same_epoch) {
            return Err(SubscriptionError::Protocol("resumed what was not held"));
        }
        Ok(welcome.take_snapshot)
    }

    fn batch(
        &self,
        up: &mpsc::Sender<SubscribeRequest>,
        batch: wire::Batch,
    ) -> Result<(), SubscriptionError> {
        let held = self.subscriber.handle.load();
        self.continues(&held, batch.from)?;
        if batch.to < batch.from {
            return Err(SubscriptionError::Protocol("a batch that leads backwards"));
        }
        let (next, refused) = held.after(&self.subscriber.jurisdiction, batch);
        self.applied(up, next, &refused);
        Ok(())
    }

    fn repair(
        &self,
        up: &mpsc::Sender<SubscribeRequest>,
        repair: wire::ShardRepair,
    ) -> Result<(), SubscriptionError> {
        let held = self.subscriber.handle.load();
        self.continues(&held, repair.revision)?;
        tracing::warn!(
            shard = repair.shard,
            revision = repair.revision,
            "a shard of the configuration differed and is repaired"
        );
        let (next, refused) = held.repaired(&self.subscriber.jurisdiction, repair);
        self.applied(up, next, &refused);
        Ok(())
    }

    /// The lease is renewed only by a bookmark that agrees: otherwise a revocation may be missing.
    fn bookmark(
        &mut self,
        up: &mpsc::Sender<SubscribeRequest>,
        bookmark: &wire::Bookmark,
    ) -> Result<(), SubscriptionError> {
        let now = Instant::now();
        let held = self.subscriber.handle.load_full();
        self.continues(&held, bookmark.revision)?;
        if !bookmark.shard_digests.is_empty() {
            let told = Shards::from_wire(&bookmark.shard_digests);
            self.told = Some(told.ok_or(SubscriptionError::Protocol("a bookmark without 256 digests"))?);
        }
        let told =
            self.told.as_ref().ok_or(SubscriptionError::Protocol("a first bookmark without digests"))?;
        if told != held.shards() {
            return Err(SubscriptionError::Drift { shards: told.differing(held.shards()).len() });
        }
        held.lease().renew(now, Duration::from_millis(bookmark.lease_millis));
        acknowledge(up, held.revision);
        self.subscriber.agreed();
        Ok(())
    }

    fn continues(&self, held: &Snapshot, offered: u64) -> Result<(), SubscriptionError> {
        if offered == held.revision {
            Ok(())
        } else {
            Err(SubscriptionError::Gap { applied: held.revision, offered })
        }
    }

    fn applied(&self, up: &mpsc::Sender<SubscribeRequest>, next: Snapshot, refused: &[Refused]) {
        let revision = next.revision;
        self.subscriber.handle.store(next);
        refused.iter().for_each(log_refused);
        self.tell_refused(up, refused);
        acknowledge(up, revision);
    }

    fn tell_refused(&self, up: &mpsc::Sender<SubscribeRequest>, refused: &[Refused]) {
        let revision = self.subscriber.handle.load().revision;
        for refused in refused {
            let (resource, reason) = (Some(refused.resource.clone()), refused.reason.clone());
            say(up, subscribe_request::Message::Refusal(wire::Refusal { revision, resource, reason }));
        }
    }
}

fn acknowledge(up: &mpsc::Sender<SubscribeRequest>, revision: u64) {
    say(up, subscribe_request::Message::Acknowledgement(wire::Acknowledgement { revision }));
}

/// Never waits: a server that does not read must not keep a revocation from being applied. What does not fit the queue is left out; the
/// next acknowledgement covers it.
fn say(up: &mpsc::Sender<SubscribeRequest>, message: subscribe_request::Message) {
    let _full_or_closed = up.try_send(SubscribeRequest { message: Some(message) });
}

async fn next(down: &mut Streaming<SubscribeResponse>) -> Result<Message, SubscriptionError> {
    loop {
        let message = tokio::time::timeout(SILENCE, down.message()).await;
        let message = message.map_err(|_late| SubscriptionError::Silence)??;
        // Without content it is a message of a later version.
        if let Some(message) = message.ok_or(SubscriptionError::Ended)?.message {
            return Ok(message);
        }
    }
}
