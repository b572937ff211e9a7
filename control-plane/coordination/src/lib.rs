//! Coordination between the replicas of one region's control plane: [`InProcess`], for a region with one replica.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, PoisonError},
};

use async_trait::async_trait;
use bailiwick_core::{
    ports::coordination::{Coordination, Leadership},
    records::Revision,
};
use tokio::sync::{Mutex, watch};

/// Coordination within one process: revisions through a channel, leadership through a lock for each job.
pub struct InProcess {
    revisions: watch::Sender<Revision>,
    jobs: std::sync::Mutex<HashMap<&'static str, Arc<Mutex<()>>>>,
}

impl InProcess {
    /// Coordination that begins at the store's revision.
    pub fn new(revision: Revision) -> Self {
        Self { revisions: watch::Sender::new(revision), jobs: std::sync::Mutex::default() }
    }
}

#[async_trait]
impl Coordination for InProcess {
    fn kind(&self) -> &'static str {
        "in-process"
    }

    fn publish(&self, revision: Revision) {
        self.revisions.send_if_modified(|known| {
            let newer = revision > *known;
            *known = revision.max(*known);
            newer
        });
    }

    fn revisions(&self) -> watch::Receiver<Revision> {
        self.revisions.subscribe()
    }

    async fn lead(&self, job: &'static str) -> Leadership {
        let lock = {
            let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(jobs.entry(job).or_default())
        };
        Leadership::new(lock.lock_owned().await)
    }
}

impl fmt::Debug for InProcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InProcess({:?})", *self.revisions.borrow())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_older_revision_than_one_already_heard_is_ignored() {
        let coordination = InProcess::new(Revision(5));
        let mut revisions = coordination.revisions();
        coordination.publish(Revision(4));
        assert!(!revisions.has_changed().expect("open"));
        coordination.publish(Revision(6));
        revisions.changed().await.expect("open");
        assert_eq!(*revisions.borrow(), Revision(6));
    }

    #[tokio::test]
    async fn one_leads_a_job_until_it_lets_go() {
        let coordination = Arc::new(InProcess::new(Revision(0)));
        let first = coordination.lead("expiry").await;
        let _other_job = coordination.lead("renewal").await;
        let mut second = std::pin::pin!(coordination.lead("expiry"));
        let waits = futures_poll(second.as_mut()).await;
        assert!(waits);
        drop(first);
        second.await;
    }

    /// Whether the future is still pending after one poll.
    async fn futures_poll<F: Future>(mut future: std::pin::Pin<&mut F>) -> bool {
        std::future::poll_fn(|context| std::task::Poll::Ready(future.as_mut().poll(context).is_pending()))
            .await
    }
}
