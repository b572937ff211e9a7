//! Audit records of what the region's processes do by themselves, rather than for a caller of the admin API.

use bailiwick_domain::time::Timestamp;

use crate::{
    audit,
    ports::{
        store::{Store, StoreError},
        vault::{DataKey, KeyScope, SealContext, Vault, VaultError},
    },
    records::{AuditDraft, Chain},
};

/// A record of a chain, its actor sealed under the newest data key of whom the chain belongs to.
///
/// # Errors
/// The store or the vault refuses.
pub(crate) async fn draft(
    store: &dyn Store,
    vault: &dyn Vault,
    chain: Chain,
    at: Timestamp,
    actor: &str,
    action: &'static str,
    subject: String,
) -> Result<AuditDraft, ProcessAuditError> {
    let scope = match chain {
        Chain::Region => KeyScope::Region,
        Chain::Organization(id) => KeyScope::Organization(id),
    };
    let keys = store.data_keys_fetch(scope).await?;
    let newest = keys.last().ok_or(ProcessAuditError::NoKey)?;
    let key = vault.unlock(newest).await?;
    Ok(seal(key.as_ref(), chain, at, actor, action, subject)?)
}

/// The same with a data key that is at hand.
pub(crate) fn seal(
    key: &dyn DataKey,
    chain: Chain,
    at: Timestamp,
    actor: &str,
    action: &'static str,
    subject: String,
) -> Result<AuditDraft, VaultError> {
    let row = audit::chain_name(chain);
    let place = SealContext { table: "audit_records", column: "actor", row: &row };
    Ok(AuditDraft { chain, at, actor: key.seal(place, actor.as_bytes())?, action, subject })
}

/// Why a record cannot be made; what it was for must not happen then (R11).
#[derive(Debug, thiserror::Error)]
pub enum ProcessAuditError {
    /// The region was not initialized, or the organization's keys were destroyed.
    #[error("there is no data key to seal the record with")]
    NoKey,
    /// The store refuses.
    #[error("the store refused")]
    Store(#[from] StoreError),
    /// The vault refuses.
    #[error("the vault refused")]
    Vault(#[from] VaultError),
}
