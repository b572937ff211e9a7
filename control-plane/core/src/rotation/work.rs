//! The work of rotations: batch after batch, each a transaction with its record. What one run leaves, the next one finds, also in another process.

use std::{sync::Arc, time::Duration};

use bailiwick_domain::time::{Clock, Timestamp};

use super::chain_of;
use crate::{
    ports::{
        store::{Store, StoreError, Transaction},
        vault::{KeyScope, SealContext, Sealed, Vault, VaultError, WrappedDataKey},
    },
    process_audit::{self, ProcessAuditError},
    records::{RotationRecord, RotationSubject},
    sealed_columns::{PUBLIC_SECRETS, SEALED_COLUMNS, SealedColumn},
    sealing::Keys,
};

/// Sealed values that are read at once.
pub(super) const PAGE: u32 = 200;

/// How fast a rotation goes: a store, or a key management service, has others to serve too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Data keys or sealed values in a transaction, 1 to 1000.
    pub batch: u32,
    /// Between two of them.
    pub pause: Duration,
}

/// Does the work. Idempotent.
pub struct Rotations {
    /// Where keys and sealed values are.
    pub store: Arc<dyn Store>,
    /// Wraps and seals.
    pub vault: Arc<dyn Vault>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Whom the audit records name.
    pub actor: String,
    /// How fast.
    pub pace: Pace,
}

/// Why a rotation does not go on now. Trying again later goes on where it was.
#[derive(Debug, thiserror::Error)]
pub enum RotationError {
    /// The store refuses.
    #[error("the store refused")]
    Store(#[from] StoreError),
    /// The vault refuses.
    #[error("the vault refused")]
    Vault(#[from] VaultError),
    /// A record cannot be made.
    #[error("its record cannot be made")]
    Audit(#[from] ProcessAuditError),
    /// Its organization was deleted meanwhile: then it is over.
    #[error("the data keys are destroyed")]
    Destroyed,
    /// A value that no key of its scope opens.
    #[error(
        "a value of {table}.{column} does not open; `bailiwick-control-plane verify-store` names its row"
    )]
    DoesNotOpen {
        /// Its table.
        table: &'static str,
        /// Its column.
        column: &'static str,
    },
}

impl Rotations {
    /// Brings every rotation that is under way to its end; gives how many came there. `progress` is told after each batch.
    ///
    /// # Errors
    /// The first failure, after the others were tried.
    pub async fn run_once(
        &self,
        progress: impl Fn(&RotationRecord) + Send + Sync,
    ) -> Result<u64, RotationError> {
        let (mut finished, mut failure) = (0, None);
        for rotation in self.store.rotation_open_list().await? {
            match self.bring_to_end(rotation, &progress).await {
                Ok(true) => finished += 1,
                Ok(false) => {}
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        failure.map_or(Ok(finished), Err)
    }

    /// False: it waits for a master key that is not the present one.
    async fn bring_to_end(
        &self,
        mut rotation: RotationRecord,
        progress: &(impl Fn(&RotationRecord) + Send + Sync),
    ) -> Result<bool, RotationError> {
        match rotation.subject {
            RotationSubject::MasterKey if rotation.target != self.vault.master_key() => return Ok(false),
            RotationSubject::MasterKey => self.rewrap_all(&mut rotation, progress).await?,
            RotationSubject::DataKeys(scope) => match self.reseal_all(&mut rotation, scope, progress).await {
                Err(RotationError::Destroyed) => {}
                outcome => outcome?,
            },
        }
        self.finish(&mut rotation).await?;
        progress(&rotation);
        Ok(true)
    }

    async fn rewrap_all(
        &self,
        rotation: &mut RotationRecord,
        progress: &(impl Fn(&RotationRecord) + Send + Sync),
    ) -> Result<(), RotationError> {
        loop {
            let old = self.store.data_keys_of_others(&rotation.target, self.pace.batch).await?;
            if old.is_empty() {
                return Ok(());
            }
            let pairs = self.rewrapped(old).await?;
            let mut transaction = self.store.begin().await?;
            let mut done = 0;
            for (old, new) in &pairs {
                done += u64::from(transaction.data_key_rewrap(old, new).await?);
            }
            self.batch_done(rotation, transaction, done, "master_key.rewrap").await?;
            progress(rotation);
            tokio::time::sleep(self.pace.pause).await;
        }
    }

    /// Side by side: each may be two calls over a network, and the implementation bounds how many go at once.
    async fn rewrapped(
        &self,
        old: Vec<WrappedDataKey>,
    ) -> Result<Vec<(WrappedDataKey, WrappedDataKey)>, RotationError> {
        let rewrap = old.into_iter().map(|old| async move {
            let new = self.vault.rewrap(&old).await?;
            Ok::<_, RotationError>((old, new))
        });
        futures_util::future::try_join_all(rewrap).await
    }

    async fn reseal_all(
        &self,
        rotation: &mut RotationRecord,
        scope: KeyScope,
        progress: &(impl Fn(&RotationRecord) + Send + Sync),
    ) -> Result<(), RotationError> {
        let keys = self.keys(scope).await?;
        for column in columns_of(scope) {
            let mut after = String::new();
            loop {
                let page = self.store.sealed_page(column, scope, &after, PAGE.min(self.pace.batch)).await?;
                let (seen, Some(last)) = (length(&page), page.last().map(|(row, _)| row.clone())) else {
                    break;
                };
                after = last;
                self.reseal(rotation, &keys, column, page, seen).await?;
                progress(rotation);
                tokio::time::sleep(self.pace.pause).await;
            }
        }
        Ok(())
    }

    /// A value that was changed meanwhile was sealed by the newest key, and is left alone.
    async fn reseal(
        &self,
        rotation: &mut RotationRecord,
        keys: &Keys,
        column: &SealedColumn,
        page: Vec<(String, Sealed)>,
        seen: u64,
    ) -> Result<(), RotationError> {
        let mut anew = Vec::new();
        for (row, sealed) in page {
            let context = SealContext { table: column.table, column: column.bound_as, row: &row };
            let is_public = column.table == "region_secrets" && row.starts_with(PUBLIC_SECRETS);
            if is_public || keys.newest_opens(context, &sealed) {
                continue;
            }
            let resealed = keys.reseal(context, &sealed)?;
            let failed = RotationError::DoesNotOpen { table: column.table, column: column.column };
            anew.push((resealed.ok_or(failed)?, sealed, row));
        }
        let mut transaction = self.store.begin().await?;
        for (new, old, row) in &anew {
            transaction.sealed_replace(column, row, old, new).await?;
        }
        self.batch_done(rotation, transaction, seen, "data_keys.reseal").await
    }

    async fn keys(&self, scope: KeyScope) -> Result<Keys, RotationError> {
        let mut keys = Vec::new();
        for wrapped in self.store.data_keys_fetch(scope).await? {
            keys.push(self.vault.unlock(&wrapped).await?);
        }
        if keys.is_empty() { Err(RotationError::Destroyed) } else { Ok(Keys::many(keys)) }
    }

    async fn batch_done(
        &self,
        rotation: &mut RotationRecord,
        mut transaction: Box<dyn Transaction>,
        done: u64,
        action: &'static str,
    ) -> Result<(), RotationError> {
        // What was there when it began is an estimate: more may have come, or a run that was cut off be repeated.
        rotation.done = rotation.done.saturating_add(done);
        rotation.total = rotation.total.max(rotation.done);
        transaction.rotation_progress(rotation.id, rotation.done, None).await?;
        let subject = format!("{} {} of {}", rotation.id, rotation.done, rotation.total);
        self.commit(rotation, transaction, action, subject).await
    }

    async fn finish(&self, rotation: &mut RotationRecord) -> Result<(), RotationError> {
        let now: Timestamp = self.clock.now();
        let mut transaction = self.store.begin().await?;
        transaction.rotation_progress(rotation.id, rotation.done, Some(now)).await?;
        rotation.finished_at = Some(now);
        let action = match rotation.subject {
            RotationSubject::MasterKey => "master_key.rotated",
            RotationSubject::DataKeys(_) => "data_keys.rotated",
        };
        let subject = format!("{} to {}", rotation.id, rotation.target);
        match self.commit(rotation, transaction, action, subject.clone()).await {
            // An organization that was deleted meanwhile has no key to seal a record with.
            Err(RotationError::Audit(ProcessAuditError::NoKey)) => {
                let mut transaction = self.store.begin().await?;
                transaction.rotation_progress(rotation.id, rotation.done, Some(now)).await?;
                let chain = crate::records::Chain::Region;
                let audit = self.audit(chain, action, subject).await?;
                transaction.commit(audit, &[]).await?;
                Ok(())
            }
            outcome => outcome,
        }
    }

    async fn commit(
        &self,
        rotation: &RotationRecord,
        transaction: Box<dyn Transaction>,
        action: &'static str,
        subject: String,
    ) -> Result<(), RotationError> {
        let audit = self.audit(chain_of(rotation.subject), action, subject).await?;
        transaction.commit(audit, &[]).await?;
        Ok(())
    }

    async fn audit(
        &self,
        chain: crate::records::Chain,
        action: &'static str,
        subject: String,
    ) -> Result<crate::records::AuditDraft, RotationError> {
        let (store, vault) = (self.store.as_ref(), self.vault.as_ref());
        Ok(process_audit::draft(store, vault, chain, self.clock.now(), &self.actor, action, subject).await?)
    }
}

/// What a scope's keys seal, and may seal anew.
pub(super) fn columns_of(scope: KeyScope) -> impl Iterator<Item = &'static SealedColumn> {
    let is_region = scope == KeyScope::Region;
    SEALED_COLUMNS.iter().filter(move |column| !column.is_final && column.scope.is_none() == is_region)
}

pub(super) fn length<T>(page: &[T]) -> u64 {
    u64::try_from(page.len()).unwrap_or(u64::MAX)
}
