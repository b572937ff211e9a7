//! The keys that sign the region's bearer tokens: made with the region, sealed under its data key, and each followed by another before it is old.
//!
//! The newest signs; the one before it verifies for as long as a token of it can live, and is destroyed then.

use std::{sync::Arc, time::Duration};

use bailiwick_domain::{
    id::TokenKeyId,
    jurisdiction::{Jurisdiction, Local},
    time::{Clock, Timestamp},
};
use zeroize::Zeroizing;

use crate::{
    error::UseCaseError,
    ports::{
        store::{Store, StoreError},
        token::TokenSigner,
        vault::{KeyScope, SealContext, Vault},
    },
    records::{Chain, TokenKeyRecord},
    sealing::Keys,
    token::LONGEST_LIFETIME,
};

/// How long a key signs.
const SIGNS_FOR: Duration = Duration::from_secs(30 * 24 * 3600);
/// How long a key verifies after another one has taken its place: longer than its last token lives, also by a clock that is behind.
pub const OVERLAP: Duration = LONGEST_LIFETIME.saturating_add(Duration::from_secs(300));

/// Makes and destroys keys of one region. Idempotent: what one run leaves, the next one does.
pub struct TokenKeys {
    /// Where they are.
    pub store: Arc<dyn Store>,
    /// Seals them.
    pub vault: Arc<dyn Vault>,
    /// Makes them.
    pub signer: Arc<dyn TokenSigner>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// The region.
    pub jurisdiction: Jurisdiction,
    /// Whom the audit records name.
    pub actor: String,
}

impl TokenKeys {
    /// Makes a key where there is none or the newest is old, and destroys those that nothing good can be signed with any more.
    ///
    /// # Errors
    /// The store or the vault refuses; what was done until then is done and recorded.
    pub async fn tend(&self) -> Result<(), UseCaseError> {
        let (now, keys) = (self.clock.now(), self.store.token_key_list().await?);
        match keys.last() {
            Some(newest) if now < newest.created_at.saturating_add(SIGNS_FOR) => {}
            _ => self.make(now).await?,
        }
        for (key, follower) in keys.iter().zip(keys.iter().skip(1)) {
            if now >= follower.created_at.saturating_add(OVERLAP) {
                self.destroy(key.id, now).await?;
            }
        }
        Ok(())
    }

    /// The key that signs now, opened, for whatever it shall sign; recorded. In builds for development alone.
    ///
    /// # Errors
    /// There is none; the store or the vault refuses.
    #[cfg(debug_assertions)]
    pub async fn lend(&self) -> Result<Zeroizing<Vec<u8>>, UseCaseError> {
        let newest = self.store.token_key_list().await?.pop();
        let newest = newest.ok_or_else(|| UseCaseError::Internal("the region has no token key".into()))?;
        let keys = Keys::of(self.store.as_ref(), self.vault.as_ref(), KeyScope::Region).await?;
        let key = opened(&keys, &newest)
            .ok_or_else(|| UseCaseError::Internal("the region's token key does not open".into()))?;
        let (now, name) = (self.clock.now(), newest.id.to_string());
        let audit = keys.audit(Chain::Region, now, &self.actor, "token_key.lend", name)?;
        self.store.begin().await?.commit(audit, &[]).await?;
        Ok(key)
    }

    async fn make(&self, now: Timestamp) -> Result<(), UseCaseError> {
        let keys = Keys::of(self.store.as_ref(), self.vault.as_ref(), KeyScope::Region).await?;
        let id: Local<TokenKeyId> = self.jurisdiction.mint_random(now);
        let name = id.to_string();
        let sealed = keys.seal(place(&name), &self.signer.new_key()?)?;
        let audit = keys.audit(Chain::Region, now, &self.actor, "token_key.create", name)?;
        let mut transaction = self.store.begin().await?;
        transaction.token_key_insert(&TokenKeyRecord { id, sealed, created_at: now }).await?;
        transaction.commit(audit, &[]).await?;
        Ok(())
    }

    async fn destroy(&self, id: Local<TokenKeyId>, now: Timestamp) -> Result<(), UseCaseError> {
        let keys = Keys::of(self.store.as_ref(), self.vault.as_ref(), KeyScope::Region).await?;
        let audit = keys.audit(Chain::Region, now, &self.actor, "token_key.destroy", id.to_string())?;
        let mut transaction = self.store.begin().await?;
        match transaction.token_key_delete(id).await {
            // Another replica was faster.
            Err(StoreError::NotFound) => return Ok(()),
            done => done?,
        }
        transaction.commit(audit, &[]).await?;
        Ok(())
    }
}

/// The private key of a row, opened.
pub(crate) fn opened(keys: &Keys, row: &TokenKeyRecord) -> Option<Zeroizing<Vec<u8>>> {
    keys.open(place(&row.id.to_string()), &row.sealed)
}

fn place(id: &str) -> SealContext<'_> {
    SealContext { table: "token_keys", column: "sealed", row: id }
}
