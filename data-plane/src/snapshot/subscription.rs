//! The subscription to the region's configuration log, and its recovery.
//!
//! One session is one stream: hello, welcome, then batches without gaps and bookmarks. Whatever is odd (a gap, a digest that differs, silence)
//! ends the session; the next hello says what is held, and the control plane resumes, repairs or asks for a snapshot to be taken.
//! Meanwhile the worker serves what it has (R9).

mod session;

use std::time::Duration;

use bailiwick_domain::jurisdiction::Jurisdiction;
use bailiwick_proto::{
    status,
    worker::v1::{SnapshotRequest, configuration_service_client::ConfigurationServiceClient},
};
use bailiwick_runtime::backoff::{Backoff, random_part};
use tokio::sync::watch;
use tonic::{Status, transport::Channel};

use self::session::{End, Session};
use super::{
    Refused, SnapshotHandle,
    transfer::{Transfer, TransferError},
};

/// A chunk holds up to 4 MiB of payload.
const MAX_CHUNK_MESSAGE_BYTES: usize = 8 * 1024 * 1024;
/// A repair holds a whole shard: 1/256 of the region.
const MAX_STREAM_MESSAGE_BYTES: usize = 32 * 1024 * 1024;
/// Between two chunks.
const CHUNK_TIMEOUT: Duration = Duration::from_secs(30);
/// Of a snapshot's refusals, as many are logged and told one by one.
const MAX_UNTOLD: usize = 256;
/// After so many sessions that ended in drift, repairing is given up: the next hello asks for everything.
const MAX_DRIFTS: u32 = 3;

/// What the worker says of itself.
#[derive(Clone, Debug)]
pub(crate) struct About {
    /// Build, such as `0.1.0`.
    pub(crate) build: String,
    /// Where routers reach it, `host:port`.
    pub(crate) advertise_address: String,
    /// A ULID, new at every start.
    pub(crate) boot_id: String,
}

/// Why a session or a transfer ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SubscriptionError {
    /// The control plane is gone, or refuses.
    #[error("the control plane answered: {}", .0.message())]
    Refused(#[source] Status),
    /// It breaks the contract.
    #[error("the control plane broke the protocol: {0}")]
    Protocol(&'static str),
    /// Something is missing between what is applied and what came.
    #[error("revision {applied} is applied, and what came begins at {offered}")]
    Gap {
        /// What is applied.
        applied: u64,
        /// Where the message begins.
        offered: u64,
    },
    /// What is held is not what the control plane has.
    #[error("{shards} shards differ from the control plane's")]
    Drift {
        /// How many.
        shards: usize,
    },
    /// R12: a revocation could come undone.
    #[error("the control plane is at revision {offered}, behind {applied}, which is applied")]
    Older {
        /// The control plane's revision.
        offered: u64,
        /// What is applied.
        applied: u64,
    },
    /// It stops, or begins a new epoch.
    #[error("the control plane ended the stream")]
    Ended,
    /// No bookmark in time.
    #[error("the control plane fell silent")]
    Silence,
    /// A snapshot that is none.
    #[error(transparent)]
    Transfer(#[from] TransferError),
    /// A task of this process failed.
    #[error("unpacking a snapshot failed")]
    Unpacking,
}

impl From<Status> for SubscriptionError {
    fn from(status: Status) -> Self {
        Self::Refused(status)
    }
}

/// Keeps a snapshot fresh.
pub(crate) struct Subscriber {
    jurisdiction: Jurisdiction,
    about: About,
    subscribe: ConfigurationServiceClient<Channel>,
    /// On a connection of its own: a revocation never queues behind it.
    transfer: ConfigurationServiceClient<Channel>,
    handle: SnapshotHandle,
    ready: watch::Sender<bool>,
    backoff: Backoff,
    drifts: u32,
    transfers_since_bookmark: u32,
    /// The reason why nothing is subscribed, as it was logged last.
    trouble: Option<String>,
    /// What the last snapshot held that could not be applied: told to the control plane with the next session.
    untold: Vec<Refused>,
}

impl Subscriber {
    /// A subscriber that keeps `handle` fresh. The two channels must be connections of their own.
    pub(crate) fn new(
        jurisdiction: Jurisdiction,
        about: About,
        subscribe: Channel,
        transfer: Channel,
        handle: SnapshotHandle,
    ) -> Self {
        let subscribe =
            ConfigurationServiceClient::new(subscribe).max_decoding_message_size(MAX_STREAM_MESSAGE_BYTES);
        let transfer =
            ConfigurationServiceClient::new(transfer).max_decoding_message_size(MAX_CHUNK_MESSAGE_BYTES);
        Self {
            jurisdiction,
            about,
            subscribe,
            transfer,
            handle,
            ready: watch::Sender::new(false),
            backoff: Backoff::default(),
            drifts: 0,
            transfers_since_bookmark: 0,
            trouble: None,
            untold: Vec::new(),
        }
    }

    /// True from the first bookmark on.
    pub(crate) fn ready(&self) -> watch::Receiver<bool> {
        self.ready.subscribe()
    }

    /// Subscribes, again and again. To be dropped when it shall end.
    pub(crate) async fn run(mut self) {
        loop {
            let outcome = self.attend().await;
            let pause = outcome.unwrap_or_else(|error| self.pause_after(&error));
            tokio::time::sleep(pause).await;
        }
    }

    /// One session, and the snapshot that it may ask for. Answers how long to wait before the next.
    async fn attend(&mut self) -> Result<Duration, SubscriptionError> {
        let ask_for_everything = self.drifts >= MAX_DRIFTS;
        match Session::new(self).run(ask_for_everything).await? {
            End::Drained { after, jitter } => Ok(after.saturating_add(random_part(jitter))),
            End::TakeSnapshot => {
                self.take_snapshot().await?;
                self.transfers_since_bookmark = self.transfers_since_bookmark.saturating_add(1);
                // Once at once; again and again, with care.
                Ok(if self.transfers_since_bookmark > 1 { self.backoff.next_wait() } else { Duration::ZERO })
            }
        }
    }

    fn pause_after(&mut self, error: &SubscriptionError) -> Duration {
        if matches!(error, SubscriptionError::Drift { .. }) {
            self.drifts = self.drifts.saturating_add(1);
        }
        let reason = Some(error.to_string());
        // Once per reason: an outage of an hour is one line.
        if reason != self.trouble {
            let revision = self.handle.load().revision();
            tracing::warn!(reason, revision, "not subscribed to the configuration; serving what is held");
            self.trouble = reason;
        }
        let wanted = match error {
            SubscriptionError::Refused(refusal) => status::retry_after_of(refusal),
            _ => None,
        };
        self.backoff.next_wait().max(wanted.unwrap_or_default())
    }

    /// Takes all configuration at once, and swaps it in.
    async fn take_snapshot(&mut self) -> Result<(), SubscriptionError> {
        let request = SnapshotRequest { region: self.jurisdiction.region().name.to_string() };
        let mut chunks = self.transfer.snapshot(request).await?.into_inner();
        let mut transfer = Transfer::new(self.jurisdiction.clone(), &self.handle.load());
        while !transfer.is_complete() {
            let chunk = tokio::time::timeout(CHUNK_TIMEOUT, chunks.message()).await;
            let Some(chunk) = chunk.map_err(|_late| SubscriptionError::Silence)?? else { break };
            // Off this thread: everything else that it does goes on.
            let unpacking = tokio::task::spawn_blocking(move || transfer.add(&chunk).map(|()| transfer));
            transfer = unpacking.await.map_err(|_panicked| SubscriptionError::Unpacking)??;
        }
        let (snapshot, refused) = transfer.finish()?;
        tracing::info!(
            revision = snapshot.revision(),
            refused = refused.len(),
            "took a snapshot of the configuration"
        );
        refused.iter().take(MAX_UNTOLD).for_each(log_refused);
        self.handle.store(snapshot);
        self.untold = refused;
        self.untold.truncate(MAX_UNTOLD);
        self.drifts = 0;
        Ok(())
    }

    /// A bookmark agreed with what is held.
    fn agreed(&mut self) {
        self.backoff.reset();
        self.drifts = 0;
        self.transfers_since_bookmark = 0;
        let first = !self.ready.send_replace(true);
        if self.trouble.take().is_some() || first {
            let revision = self.handle.load().revision();
            tracing::info!(revision, "subscribed to the configuration, which is complete");
        }
    }
}

fn log_refused(refused: &Refused) {
    let (kind, id, reason) = (refused.resource.kind(), &refused.resource.id, &refused.reason);
    tracing::warn!(?kind, id, reason, "a resource was refused; its last good state stays");
}

#[cfg(test)]
mod tests;
