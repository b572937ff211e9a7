//! What a worker's stream tells the fleet, and what ends a stream from outside.

use std::{sync::Arc, time::Duration};

use bailiwick_core::{
    enrollment::{Enrollment, EnrollmentError},
    fleet::Membership,
    records::Revision,
};
use bailiwick_domain::{spiffe::SpiffeId, time::Clock};
use futures_util::{FutureExt as _, StreamExt as _, future::BoxFuture, stream, stream::BoxStream};
use tonic::Status;

use crate::configuration::subscription::{self, Attendance};

/// How often an open stream asks the store whether its process is still a member: also a removal that another replica did ends it.
const CHECK_INTERVAL: Duration = Duration::from_secs(2);

/// Whether a connected process is still a member of the region. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Standing {
    pub(crate) enrollment: Arc<Enrollment>,
    pub(crate) spiffe: SpiffeId,
}

impl Standing {
    /// Resolves once the region does not know the process any more. A store that is away says nothing about it.
    async fn lost(self) {
        loop {
            tokio::time::sleep(CHECK_INTERVAL).await;
            if let Err(EnrollmentError::Removed) = self.enrollment.member(&self.spiffe).await {
                return;
            }
        }
    }

    /// The stream, until the process was removed; then it ends with `worker_removed`.
    pub(crate) fn guard<T: Send + 'static>(
        self,
        answers: BoxStream<'static, Result<T, Status>>,
    ) -> BoxStream<'static, Result<T, Status>> {
        let lost = Box::pin(self.lost());
        let next = |guarded: Option<(BoxStream<'static, Result<T, Status>>, _)>| async move {
            let (mut answers, mut lost) = guarded?;
            tokio::select! {
                () = &mut lost => Some((Err(subscription::removed().into()), None)),
                answer = answers.next() => Some((answer?, Some((answers, lost)))),
            }
        };
        stream::unfold(Some((answers, lost)), next).boxed()
    }
}

/// A worker's configuration stream, as the fleet sees it.
pub(crate) struct WorkerAttendance {
    membership: Membership,
    /// Lives as long as the stream: a question that began anew with every message would never be asked.
    lost: BoxFuture<'static, ()>,
    clock: Arc<dyn Clock>,
}

impl WorkerAttendance {
    pub(crate) fn new(membership: Membership, standing: Standing, clock: Arc<dyn Clock>) -> Self {
        Self { membership, lost: standing.lost().boxed(), clock }
    }
}

impl Attendance for WorkerAttendance {
    fn leased(&mut self, lease: Duration) {
        let now = self.clock.now();
        self.membership.leased(now.saturating_add(lease), now);
    }

    fn acknowledged(&mut self, revision: Revision) {
        self.membership.acknowledged(revision, self.clock.now());
    }

    fn refused(&mut self, revision: Revision, resource: &str, reason: &str) {
        let worker = self.membership.id();
        tracing::warn!(%worker, revision = revision.0, resource, reason, "a worker refused a resource");
        self.membership.refused(format!("{resource} at revision {}: {reason}", revision.0), self.clock.now());
    }

    async fn removed(&mut self) {
        tokio::select! {
            () = self.membership.removed() => {}
            () = &mut self.lost => {}
        }
    }
}
