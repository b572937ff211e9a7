//! Destroys what deleted organizations leave.
//!
//! Their data keys went with the deletion, in its transaction: from then on nobody can read what was sealed. This removes the rows too, in batches,
//! each a transaction of its own, so that nothing waits long for them and a process that is killed leaves nothing to repair: the next run finds what
//! is left. In the end stands a certificate: a record in the region's audit chain.
//!
//! What stays: the organization's own row without its names, its audit chain, whose actors nobody can read any more, and hourly sums of its usage.

use std::{sync::Arc, time::Duration};

use bailiwick_domain::{
    id::OrganizationId,
    jurisdiction::Local,
    permission::Permission,
    time::{Clock, Timestamp},
};

use crate::{
    backup::date,
    caller::Caller,
    control_plane::ControlPlane,
    error::UseCaseError,
    ports::{
        store::{Store, StoreError},
        vault::Vault,
    },
    process_audit::{self, ProcessAuditError},
    records::{Chain, DestructionRecord},
};

/// Rows that are destroyed at once.
const BATCH: u32 = 500;
/// Organizations that are looked at in one run.
const ORGANIZATIONS: u32 = 100;
/// Between the moment from which no usage is taken any more and the destruction of what was taken: longer than any transaction lasts that began
/// before it. An event that is stored after its first row was destroyed would count twice (R10).
const SETTLING: Duration = Duration::from_secs(300);
/// What the certificate is in the audit chain.
pub const CERTIFICATE: &str = "organization.destroyed";

/// Destroys rows. Idempotent: what one run leaves, the next one finds.
pub struct Destruction {
    /// Where the rows are.
    pub store: Arc<dyn Store>,
    /// Seals the certificates.
    pub vault: Arc<dyn Vault>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Whom the certificates name.
    pub actor: String,
    /// How long after its deletion usage of an organization is still accounted.
    pub late_usage: Duration,
}

impl Destruction {
    /// Destroys what can be destroyed now; gives how many certificates were written.
    ///
    /// # Errors
    /// The store or the vault refuses; what was destroyed until then is destroyed and counted.
    pub async fn run_once(&self) -> Result<u64, ProcessAuditError> {
        let mut finished = 0;
        for record in self.store.destruction_unfinished(ORGANIZATIONS).await? {
            finished += u64::from(self.go_on(&record).await?);
        }
        Ok(finished)
    }

    /// True: it is finished now.
    async fn go_on(&self, record: &DestructionRecord) -> Result<bool, ProcessAuditError> {
        let (id, now) = (record.organization, self.clock.now());
        // Nothing new comes: an organization's chain takes no record once it is deleted, and without a record there is no change.
        while self.store.destruction_step(id, false, BATCH).await? > 0 {}
        let Some(closed) = record.usage_closed_at else {
            if now >= record.deleted_at.saturating_add(self.late_usage) {
                self.store.destruction_close_usage(id, now).await?;
            }
            return Ok(false);
        };
        if now < closed.saturating_add(SETTLING) {
            return Ok(false);
        }
        while self.store.destruction_step(id, true, BATCH).await? > 0 {}
        self.certify(id, now).await
    }

    async fn certify(&self, id: Local<OrganizationId>, now: Timestamp) -> Result<bool, ProcessAuditError> {
        let Some(record) = self.store.destruction_fetch(id).await? else { return Ok(false) };
        let (store, vault) = (self.store.as_ref(), self.vault.as_ref());
        let subject = statement(&record);
        let audit =
            process_audit::draft(store, vault, Chain::Region, now, &self.actor, CERTIFICATE, subject).await?;
        let mut transaction = self.store.begin().await?;
        match transaction.destruction_finish(id, now).await {
            // Another replica was faster.
            Err(StoreError::NotFound) => return Ok(false),
            done => done?,
        }
        transaction.commit(audit, &[]).await?;
        Ok(true)
    }
}

/// What the certificate says: whose, what was destroyed, what is kept, and until when its keys may be found in backups.
fn statement(record: &DestructionRecord) -> String {
    let rows: Vec<_> =
        record.destroyed.iter().map(|(table, destroyed)| format!("{table}={destroyed}")).collect();
    let rows = if rows.is_empty() { "nothing".to_owned() } else { rows.join(" ") };
    let until = record.keys_in_backups_until.map_or("none".to_owned(), date);
    format!(
        "{} destroyed: {rows}; kept: audit_records usage_hourly; keys in backups until: {until}",
        record.organization
    )
}

impl ControlPlane {
    /// How far the destruction of a deleted organization is.
    ///
    /// # Errors
    /// There is no such organization, or it is not deleted; the caller may not.
    pub async fn destruction(
        &self,
        caller: &Caller,
        id: Local<OrganizationId>,
    ) -> Result<DestructionRecord, UseCaseError> {
        caller.asks(Permission::OrganizationRead)?.within(id, "the organization")?;
        self.organization_known(id).await?;
        let found = self.store().destruction_fetch(id).await?;
        found.ok_or_else(|| {
            UseCaseError::refused(
                "not_deleted",
                "the organization is not deleted: nothing of it is destroyed",
            )
        })
    }
}

#[cfg(test)]
mod tests;
