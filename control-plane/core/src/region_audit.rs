//! Audit records of the region's own chain, made by its processes rather than by callers of the admin API.

use bailiwick_domain::time::Timestamp;

use crate::{
    audit,
    ports::{
        store::{Store, StoreError},
        vault::{DataKey, KeyScope, SealContext, Vault, VaultError},
    },
    records::{AuditDraft, Chain},
};

/// A record of the region's chain, its actor sealed under the region's newest data key.
///
/// # Errors
/// The store or the vault refuses.
pub(crate) async fn draft(
    store: &dyn Store,
    vault: &dyn Vault,
    at: Timestamp,
    actor: &str,
    action: &'static str,
    subject: String,
) -> Result<AuditDraft, RegionAuditError> {
    let keys = store.data_keys_fetch(KeyScope::Region).await?;
    let newest = keys.last().ok_or(RegionAuditError::NoKey)?;
    let key = vault.unlock(newest).await?;
    Ok(seal(key.as_ref(), at, actor, action, subject)?)
}

/// The same with a data key that is at hand.
pub(crate) fn seal(
    key: &dyn DataKey,
    at: Timestamp,
    actor: &str,
    action: &'static str,
    subject: String,
) -> Result<AuditDraft, VaultError> {
    let chain = Chain::Region;
    let row = audit::chain_name(chain);
    let place = SealContext { table: "audit_records", column: "actor", row: &row };
    Ok(AuditDraft { chain, at, actor: key.seal(place, actor.as_bytes())?, action, subject })
}

/// Why a record cannot be made; what it was for must not happen then (R11).
#[derive(Debug, thiserror::Error)]
pub enum RegionAuditError {
    /// The region was not initialized.
    #[error("the region has no data key")]
    NoKey,
    /// The store refuses.
    #[error("the store refused")]
    Store(#[from] StoreError),
    /// The vault refuses.
    #[error("the vault refused")]
    Vault(#[from] VaultError),
}
