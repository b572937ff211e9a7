//! Keys whose time has passed are revoked for good. Workers refuse them from the moment itself; this makes the store agree, and takes them out of
//! the configuration.

use std::sync::Arc;

use bailiwick_domain::time::Clock;

use crate::{
    ports::{
        coordination::Coordination,
        store::{Store, StoreError},
        vault::Vault,
    },
    process_audit::{self, ProcessAuditError},
    records::{ApiKeyRecord, Chain, ChangedResource},
};

/// Keys that are read at once.
const BATCH: u32 = 500;

/// Revokes expired keys. Idempotent: what one run leaves, the next one finds.
pub struct Expiry {
    /// Where the keys are.
    pub store: Arc<dyn Store>,
    /// Seals the audit records.
    pub vault: Arc<dyn Vault>,
    /// Told of each revocation.
    pub coordination: Arc<dyn Coordination>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Whom the audit records name.
    pub actor: String,
}

impl Expiry {
    /// Revokes what has expired by now; gives how many. A key that cannot be revoked is passed over, and keeps the others from nothing.
    ///
    /// # Errors
    /// The first failure, after everything else was tried.
    pub async fn run_once(&self) -> Result<u64, ProcessAuditError> {
        let mut revoked = 0;
        loop {
            let expired = self.store.key_expired_list(self.clock.now(), BATCH).await?;
            let mut failure = None;
            for key in &expired {
                match self.revoke(key).await {
                    Ok(()) => revoked += 1,
                    Err(error) => failure = failure.or(Some(error)),
                }
            }
            match failure {
                Some(error) => return Err(error),
                None if expired.len() < BATCH as usize => return Ok(revoked),
                None => {}
            }
        }
    }

    async fn revoke(&self, key: &ApiKeyRecord) -> Result<(), ProcessAuditError> {
        let (now, chain) = (self.clock.now(), Chain::Organization(key.organization));
        let subject = key.id.to_string();
        let (store, vault) = (self.store.as_ref(), self.vault.as_ref());
        let audit =
            process_audit::draft(store, vault, chain, now, &self.actor, "key.expire", subject).await?;
        let mut transaction = self.store.begin().await?;
        match transaction.key_revoke(key.id, now).await {
            // Gone with its organization meanwhile.
            Err(StoreError::NotFound) => return Ok(()),
            done => done?,
        }
        match transaction.commit(audit, &[ChangedResource::ApiKey(key.id)]).await {
            Ok(revision) => self.coordination.publish(revision),
            // The same.
            Err(StoreError::NotFound) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }
}
