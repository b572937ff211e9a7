//! Leadership, revisions and membership between the replicas of one region's control plane.
//!
//! Nothing depends on coordination for correctness, only for promptness and for choosing who runs the periodic
//! jobs: the truth about the revision is the row in the store.

use async_trait::async_trait;
use tokio::sync::watch;

use crate::records::Revision;

/// Tells replicas of new revisions and elects who runs a periodic job.
#[async_trait]
pub trait Coordination: Send + Sync {
    /// Names the implementation for people, e.g. `in-process`.
    fn kind(&self) -> &'static str;

    /// Says that `revision` has been committed. Never blocks; an older revision than one already heard is ignored.
    fn publish(&self, revision: Revision);

    /// The newest revision heard of. A receiver that lags sees only the newest, which is enough: changes
    /// are read from the store.
    fn revisions(&self) -> watch::Receiver<Revision>;

    /// Waits until this replica may run `job`, and holds it until the guard is dropped.
    async fn lead(&self, job: &'static str) -> Leadership;
}

/// Held by the one replica that runs a job. Dropping it lets another take over.
pub struct Leadership(Box<dyn Send + Sync>);

impl Leadership {
    /// Wraps whatever an implementation holds while it leads.
    pub fn new(guard: impl Send + Sync + 'static) -> Self {
        Self(Box::new(guard))
    }
}

impl std::fmt::Debug for Leadership {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let _ = &self.0;
        f.write_str("Leadership")
    }
}
