//! Sealed fields of one scope: the data keys that open them, and the newest that seals.

use std::sync::Arc;

use crate::{
    error::UseCaseError,
    ports::{
        store::Store,
        vault::{DataKey, KeyScope, SealContext, Sealed, Vault, VaultError},
    },
    process_audit,
    records::{AuditDraft, Chain},
};
use bailiwick_domain::time::Timestamp;
use zeroize::Zeroizing;

/// The unlocked data keys of a scope, oldest first.
pub struct Keys(Vec<Arc<dyn DataKey>>);

impl Keys {
    /// Unlocks a scope's data keys. There are none once they were destroyed.
    pub(crate) async fn of(
        store: &dyn Store,
        vault: &dyn Vault,
        scope: KeyScope,
    ) -> Result<Self, UseCaseError> {
        let mut keys = Vec::new();
        for wrapped in store.data_keys_fetch(scope).await? {
            keys.push(vault.unlock(&wrapped).await?);
        }
        Ok(Self(keys))
    }

    /// A scope whose only key was just made.
    pub(crate) fn one(key: Arc<dyn DataKey>) -> Self {
        Self(vec![key])
    }

    /// Keys that were unlocked, oldest first.
    pub(crate) fn many(keys: Vec<Arc<dyn DataKey>>) -> Self {
        Self(keys)
    }

    /// Whether a value is sealed by the key that seals now.
    pub(crate) fn newest_opens(&self, place: SealContext<'_>, sealed: &Sealed) -> bool {
        self.0.last().is_some_and(|key| key.open(place, sealed).is_ok())
    }

    /// The value, sealed by the key that seals now. `None`: it does not open.
    pub(crate) fn reseal(
        &self,
        place: SealContext<'_>,
        sealed: &Sealed,
    ) -> Result<Option<Sealed>, VaultError> {
        let opened = self.0.iter().rev().find_map(|key| key.open(place, sealed).ok());
        let (Some(opened), Some(newest)) = (opened, self.0.last()) else { return Ok(None) };
        newest.seal(place, &opened).map(Some)
    }

    /// Whether a value opens in its place under any of them.
    pub(crate) fn opens(&self, place: SealContext<'_>, sealed: &Sealed) -> bool {
        self.0.iter().rev().any(|key| key.open(place, sealed).is_ok())
    }

    /// Seals under the newest key.
    ///
    /// # Errors
    /// The keys were destroyed: nothing of this scope can be written any more.
    pub(crate) fn seal(&self, place: SealContext<'_>, plaintext: &[u8]) -> Result<Sealed, UseCaseError> {
        let newest = self.0.last().ok_or(UseCaseError::NotFound { what: "the organization" })?;
        Ok(newest.seal(place, plaintext)?)
    }

    /// Opens a text field. `None` when its keys are gone, or the value is damaged: what cannot be read is shown as empty, and the
    /// rest of the row still serves.
    pub(crate) fn open_text(&self, place: SealContext<'_>, sealed: &Sealed) -> Option<String> {
        let opened = self.0.iter().rev().find_map(|key| key.open(place, sealed).ok())?;
        String::from_utf8(opened.to_vec()).ok()
    }

    /// Opens bytes. `None` when its keys are gone, or the value is damaged.
    pub(crate) fn open(&self, place: SealContext<'_>, sealed: &Sealed) -> Option<Zeroizing<Vec<u8>>> {
        self.0.iter().rev().find_map(|key| key.open(place, sealed).ok())
    }

    /// An audit record, its actor sealed.
    pub(crate) fn audit(
        &self,
        chain: Chain,
        at: Timestamp,
        actor: &str,
        action: &'static str,
        subject: String,
    ) -> Result<AuditDraft, UseCaseError> {
        let newest = self.0.last().ok_or(UseCaseError::NotFound { what: "the organization" })?;
        Ok(process_audit::seal(newest.as_ref(), chain, at, actor, action, subject)?)
    }
}

/// The scope that seals the actors of a chain.
pub(crate) fn scope_of(chain: Chain) -> KeyScope {
    match chain {
        Chain::Region => KeyScope::Region,
        Chain::Organization(id) => KeyScope::Organization(id),
    }
}
