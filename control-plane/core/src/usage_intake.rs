//! Usage on its way into the store (R10): acknowledged only after the commit, and many workers' batches in one transaction.
//!
//! While one transaction runs, what arrives waits in a bounded queue; the next transaction takes all of it. So the
//! number of commits falls as the load rises, and a single batch on an idle store waits for nobody. Duplicates are the store's affair: it
//! keeps one event of each id.

pub mod refusal;

use std::sync::Arc;

use async_trait::async_trait;
use bailiwick_domain::{id::OrganizationId, jurisdiction::Local, usage::UsageEvent};
use tokio::sync::{mpsc, oneshot};

use crate::{
    ports::store::{Store, StoreError},
    records::UsageInserted,
};

/// Batches that wait; more of them hold their streams back.
const QUEUED_BATCHES: usize = 64;
/// Events in one transaction, as far as whole batches allow.
const GROUP_EVENTS: usize = 8_000;

/// What became of one batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// Events that were new. Exact over all batches of a transaction; which batch of it a duplicate is counted to is not.
    pub inserted: u32,
    /// Of each event that was not stored, its organization, which does not exist here.
    pub unknown_organization: Vec<OrganizationId>,
}

/// The one function of the store that the intake needs.
#[async_trait]
pub trait UsageSink: Send + Sync {
    /// See [`Store::usage_insert`].
    ///
    /// # Errors
    /// As there.
    async fn usage_insert(&self, events: &[Local<UsageEvent>]) -> Result<UsageInserted, StoreError>;
}

#[async_trait]
impl UsageSink for dyn Store {
    async fn usage_insert(&self, events: &[Local<UsageEvent>]) -> Result<UsageInserted, StoreError> {
        Store::usage_insert(self, events).await
    }
}

/// Where batches are handed in. Cheap to clone.
#[derive(Clone, Debug)]
pub struct UsageIntake {
    queue: mpsc::Sender<Submission>,
}

#[derive(Debug)]
struct Submission {
    events: Vec<Local<UsageEvent>>,
    stored: oneshot::Sender<Result<Stored, IntakeError>>,
}

impl UsageIntake {
    /// The intake, and the writer behind it, which somebody must run.
    pub fn new<S: UsageSink + ?Sized>(store: Arc<S>) -> (Self, UsageWriter<S>) {
        let (queue, submissions) = mpsc::channel(QUEUED_BATCHES);
        (Self { queue }, UsageWriter { store, submissions, together: Vec::new() })
    }

    /// Stores a batch; answers after the commit. Waits while the queue is full.
    ///
    /// # Errors
    /// [`IntakeError::Unavailable`]: nothing is known to be stored; send it again.
    pub async fn store(&self, events: Vec<Local<UsageEvent>>) -> Result<Stored, IntakeError> {
        let (stored, answer) = oneshot::channel();
        self.queue.send(Submission { events, stored }).await.map_err(|_| IntakeError::Stopped)?;
        answer.await.map_err(|_| IntakeError::Stopped)?
    }
}

/// Writes what was handed in.
pub struct UsageWriter<S: ?Sized> {
    store: Arc<S>,
    submissions: mpsc::Receiver<Submission>,
    /// Room for the events of several batches: it is large, and needed again at once.
    together: Vec<Local<UsageEvent>>,
}

impl<S: UsageSink + ?Sized> UsageWriter<S> {
    /// Writes until every [`UsageIntake`] is gone and the queue is empty.
    pub async fn run(mut self) {
        while let Some(first) = self.submissions.recv().await {
            let mut group = vec![first];
            let mut events = group.iter().map(|submission| submission.events.len()).sum::<usize>();
            while events < GROUP_EVENTS {
                let Ok(next) = self.submissions.try_recv() else { break };
                events += next.events.len();
                group.push(next);
            }
            self.write(group).await;
        }
    }

    async fn write(&mut self, group: Vec<Submission>) {
        let all = match group.as_slice() {
            [one] => &one.events,
            several => {
                self.together.clear();
                several.iter().for_each(|submission| self.together.extend_from_slice(&submission.events));
                &self.together
            }
        };
        match self.store.usage_insert(all).await {
            Ok(inserted) => answer(group, inserted.inserted, &inserted.unknown_organization),
            // One batch that the database refuses must not take the others with it.
            Err(error) if group.len() > 1 && !matches!(error, StoreError::Unavailable(_)) => {
                for submission in group {
                    Box::pin(self.write(vec![submission])).await;
                }
            }
            Err(error) => {
                let error = IntakeError::from(error);
                for submission in group {
                    // Nobody waits any more when the stream has ended: its worker sends again.
                    let _ = submission.stored.send(Err(error.clone()));
                }
            }
        }
    }
}

/// Gives each batch its part of the transaction's outcome.
fn answer(group: Vec<Submission>, inserted: u32, unknown: &[usize]) {
    let mut left = inserted;
    let mut start = 0;
    for submission in group {
        let range = start..start + submission.events.len();
        start = range.end;
        let here = unknown.iter().filter(|index| range.contains(index));
        let of = |index: &usize| submission.events.get(index - range.start).map(|event| event.organization);
        let unknown_organization: Vec<OrganizationId> = here.filter_map(of).collect();
        let storable = u32::try_from(range.len() - unknown_organization.len()).unwrap_or(u32::MAX);
        let inserted = storable.min(left);
        left -= inserted;
        let _ = submission.stored.send(Ok(Stored { inserted, unknown_organization }));
    }
}

/// Why a batch is not known to be stored.
#[derive(Clone, Debug, thiserror::Error)]
pub enum IntakeError {
    /// The store is away. Send again.
    #[error("the store is unavailable")]
    Unavailable(#[source] Arc<StoreError>),
    /// The store refuses this batch, and would again.
    #[error("the store refused")]
    Refused(#[source] Arc<StoreError>),
    /// This control plane stops. Send again.
    #[error("the control plane is stopping")]
    Stopped,
}

impl From<StoreError> for IntakeError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(_) => Self::Unavailable(Arc::new(error)),
            _ => Self::Refused(Arc::new(error)),
        }
    }
}

#[cfg(test)]
mod tests;
