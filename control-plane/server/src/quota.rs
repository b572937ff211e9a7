//! Lends the region's limits to its workers. One task ([`desk`]) owns the allocator, which decides everything; this only carries: what workers say to it, what it stores, and what it
//! answers once that is stored.
//!
//! **Queues.** What is said waits in one queue of [`QUEUED`]; when it is full, the streams that would add to it are not read on, and their workers wait. Each stream has room for [`ANSWERS`]
//! answers; a worker that reads slower loses its stream, comes again, and is told everything anew. The desk takes all that waits at once, and stores it in one transaction.
//!
//! What must never happen here: an answer before its rows are stored; a worker that speaks in another one's name, or settles what another one was lent.

mod desk;
mod metrics;
mod streams;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use async_trait::async_trait;
use bailiwick_core::ports::quota::LimitUse;
use bailiwick_domain::{id::OrganizationId, jurisdiction::Local};
use bailiwick_proto::{status::Refusal, worker::v1::ExchangeResponse};
use bailiwick_quota::{allocator::AccountUse, protocol::FromHolder};
use tokio::sync::{mpsc, oneshot};
use tonic::{Code, Status};

pub(crate) use self::{desk::Desk, metrics::QuotaMetrics};

/// Messages that wait for the desk.
const QUEUED: usize = 1024;
/// Answers that wait for a worker.
pub(crate) const ANSWERS: usize = 64;
/// When somebody is likely to be in office again.
const RETRY: std::time::Duration = std::time::Duration::from_secs(1);

/// Names one stream of a worker within this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct StreamId(u64);

/// Where a stream's answers go.
pub(crate) type Answers = mpsc::Sender<Result<ExchangeResponse, Status>>;

/// What the desk hears.
#[derive(Debug)]
enum Heard {
    /// A worker's stream stands. Its earlier one, if there is one, ends.
    Opened { stream: StreamId, worker: String, answers: Answers },
    /// A worker says something.
    Said { stream: StreamId, message: FromHolder },
    /// A stream has ended.
    Closed { stream: StreamId },
    /// Somebody asks how an organization's limits stand.
    Asked { organization: OrganizationId, answer: oneshot::Sender<Vec<AccountUse>> },
}

/// Where messages for the desk are handed in. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Quota {
    queue: mpsc::Sender<Heard>,
    streams: Arc<AtomicU64>,
}

impl Quota {
    /// The way in, and what waits behind it.
    fn new() -> (Self, mpsc::Receiver<Heard>) {
        let (queue, heard) = mpsc::channel(QUEUED);
        (Self { queue, streams: Arc::default() }, heard)
    }

    /// A stream of this worker stands. Waits while the queue is full.
    pub(crate) async fn open(&self, worker: &str, answers: Answers) -> Result<StreamId, Refusal> {
        let stream = StreamId(self.streams.fetch_add(1, Ordering::Relaxed));
        self.hand_in(Heard::Opened { stream, worker: worker.to_owned(), answers }).await?;
        Ok(stream)
    }

    /// Waits while the queue is full.
    pub(crate) async fn say(&self, stream: StreamId, message: FromHolder) -> Result<(), Refusal> {
        self.hand_in(Heard::Said { stream, message }).await
    }

    pub(crate) async fn close(&self, stream: StreamId) {
        // Nobody is there any more to whom it would matter.
        let _ = self.hand_in(Heard::Closed { stream }).await;
    }

    async fn hand_in(&self, heard: Heard) -> Result<(), Refusal> {
        self.queue.send(heard).await.map_err(|_| stopping())
    }
}

#[async_trait]
impl LimitUse for Quota {
    async fn of(&self, organization: Local<OrganizationId>) -> Option<Vec<AccountUse>> {
        let (answer, answered) = oneshot::channel();
        self.hand_in(Heard::Asked { organization: organization.into_inner(), answer }).await.ok()?;
        answered.await.ok()
    }
}

fn stopping() -> Refusal {
    Refusal::new(Code::Unavailable, "stopping", "the control plane is stopping: try again").retry_after(RETRY)
}

fn nobody_in_office() -> Refusal {
    Refusal::new(
        Code::Unavailable,
        "no_quota_office",
        "this control plane lends no limits at the moment, and what is lent already lives on: try again",
    )
    .retry_after(RETRY)
}

#[cfg(test)]
mod tests;
