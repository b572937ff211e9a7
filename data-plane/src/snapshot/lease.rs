//! How long a worker may serve without hearing from its control plane (R12).

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

/// Counted from each bookmark by the monotonic clock, so that nobody's wall clock can stretch it. Shared by all snapshots: a bookmark
/// renews it without a new one.
#[derive(Debug)]
pub(crate) struct Lease {
    origin: Instant,
    /// Milliseconds after `origin` at which it runs out.
    ends_millis: AtomicU64,
}

impl Default for Lease {
    /// One that has run out.
    fn default() -> Self {
        Self { origin: Instant::now(), ends_millis: AtomicU64::new(0) }
    }
}

impl Lease {
    /// Renews it: it runs out `lease` after `now`.
    pub(super) fn renew(&self, now: Instant, lease: Duration) {
        let ends = now.saturating_duration_since(self.origin).saturating_add(lease);
        self.ends_millis.store(u64::try_from(ends.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Whether it has not run out.
    pub(crate) fn fresh_at(&self, now: Instant) -> bool {
        !self.left(now).is_zero()
    }

    /// How long until it runs out; zero when it has.
    pub(crate) fn left(&self, now: Instant) -> Duration {
        let ends = Duration::from_millis(self.ends_millis.load(Ordering::Relaxed));
        ends.saturating_sub(now.saturating_duration_since(self.origin))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_runs_out_unless_it_is_renewed() {
        let lease = Lease::default();
        let start = lease.origin;
        assert!(!lease.fresh_at(start), "nobody lent anything yet");
        lease.renew(start, Duration::from_secs(10));
        assert!(lease.fresh_at(start + Duration::from_millis(9_999)));
        assert!(!lease.fresh_at(start + Duration::from_secs(10)));
        lease.renew(start + Duration::from_secs(20), Duration::from_secs(10));
        assert_eq!(lease.left(start + Duration::from_secs(21)), Duration::from_secs(9));
        lease.renew(start, Duration::MAX);
        assert!(lease.fresh_at(start + Duration::from_secs(1 << 40)));
    }
}
