//! Usage that names an organization which is not this region's to serve: refused, and said so in the region's audit chain (R5).

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bailiwick_domain::{
    spiffe::SpiffeId,
    time::{Clock, Timestamp},
};

use crate::{
    ports::{store::Store, vault::Vault},
    process_audit::{self, ProcessAuditError},
    records::Chain,
};

/// A reporter is recorded at most once in this time: a worker that errs, errs with every event, and must not fill the chain.
const INTERVAL: Duration = Duration::from_secs(10);
/// Of the organization's text, as many characters are recorded: it comes from outside.
const MAX_SUBJECT: usize = 64;

/// Records refusals.
pub struct UsageRefusals {
    store: Arc<dyn Store>,
    vault: Arc<dyn Vault>,
    clock: Arc<dyn Clock>,
    recorded: Mutex<HashMap<String, Timestamp>>,
}

impl UsageRefusals {
    /// Refusals that go to the region's chain in `store`.
    pub fn new(store: Arc<dyn Store>, vault: Arc<dyn Vault>, clock: Arc<dyn Clock>) -> Self {
        Self { store, vault, clock, recorded: Mutex::default() }
    }

    /// Records that `reporter` sent usage of `organization`, unless it was recorded a moment ago. True when a record was written.
    ///
    /// # Errors
    /// The store or the vault refuses: the batch must not be acknowledged then.
    pub async fn record(&self, reporter: &SpiffeId, organization: &str) -> Result<bool, ProcessAuditError> {
        let (now, actor) = (self.clock.now(), reporter.to_string());
        if !self.due(&actor, now) {
            return Ok(false);
        }
        let printable = organization.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '_');
        let subject: String = printable.take(MAX_SUBJECT).collect();
        let written = async {
            let draft = process_audit::draft(
                self.store.as_ref(),
                self.vault.as_ref(),
                Chain::Region,
                now,
                &actor,
                "usage.refuse",
                subject,
            );
            let draft = draft.await?;
            self.store.begin().await?.commit(draft, &[]).await?;
            Ok(true)
        };
        let written: Result<bool, ProcessAuditError> = written.await;
        if written.is_err() {
            self.recorded.lock().unwrap_or_else(PoisonError::into_inner).remove(&actor);
        }
        written
    }

    fn due(&self, reporter: &str, now: Timestamp) -> bool {
        let mut recorded = self.recorded.lock().unwrap_or_else(PoisonError::into_inner);
        if recorded.get(reporter).is_some_and(|last| now.saturating_since(*last) < INTERVAL) {
            return false;
        }
        recorded.insert(reporter.to_owned(), now);
        true
    }
}
