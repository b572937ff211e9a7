//! The change of the region's certificate authority from one root to another, with an overlap in which both are trusted.
//!
//! Three steps, each one transaction with its audit record; whatever stops in between goes on from where the store says that it is:
//! a second root is made, sealed, and trusted by all ([`AuthorityStage::Distributing`]); when every connected process trusts it, certificates are issued under it
//! ([`AuthorityStage::Issuing`]); when nobody needs the first one any more, that is destroyed ([`AuthorityStage::Settled`]).

use std::{collections::HashSet, sync::Arc};

use bailiwick_domain::{key::CaFingerprint, permission::Permission, spiffe::ProcessRole, time::Timestamp};
use secrecy::ExposeSecret as _;

use crate::{
    bootstrap::{ca_certificate, ca_key, secret},
    caller::Caller,
    control_plane::ControlPlane,
    error::UseCaseError,
    ports::{
        store::{Store, StoreError, Transaction},
        vault::{CertificateAuthority, KeyScope, Sealed, Vault},
    },
    records::{AuthorityStage, Chain, HeldCertificate, RootSlot, TrustRecord},
    sealing::Keys,
    trust::{Trust, TrustingProcess},
};

/// Changes the authority of one region.
#[derive(Clone)]
pub struct AuthorityChange {
    /// Where roots are kept.
    pub store: Arc<dyn Store>,
    /// Seals them.
    pub vault: Arc<dyn Vault>,
    /// Makes them.
    pub authority: Arc<dyn CertificateAuthority>,
    /// Who is connected, and what they trust.
    pub trust: Arc<Trust>,
}

/// How far a change is, and what it waits for.
#[derive(Clone, Debug)]
pub struct AuthorityStatus {
    /// The stage.
    pub stage: AuthorityStage,
    /// The root that issues.
    pub issuing: CaFingerprint,
    /// The other one.
    pub standby: Option<CaFingerprint>,
    /// Connected processes that do not trust both roots yet.
    pub unaware: Vec<TrustingProcess>,
    /// Who still needs the root that issues no more.
    pub remaining: Vec<HeldCertificate>,
}

impl ControlPlane {
    /// How far a change of the authority is.
    ///
    /// # Errors
    /// The caller may not.
    pub async fn authority_status(&self, caller: &Caller) -> Result<AuthorityStatus, UseCaseError> {
        caller.permit_region(Permission::RegionRead)?;
        self.authority_change().status(self.now()).await
    }

    /// Begins a change, unless one is under way. `force`: takes the step that the one under way waits for, whoever is shut out by it.
    ///
    /// # Errors
    /// The caller may not.
    pub async fn authority_rotate(
        &self,
        caller: &Caller,
        force: bool,
    ) -> Result<AuthorityStatus, UseCaseError> {
        let permit = caller.permit_region(Permission::RegionWrite)?;
        let (change, now) = (self.authority_change(), self.now());
        let actor = permit.actor().to_string();
        match change.store.trust_fetch().await? {
            TrustRecord { stage: AuthorityStage::Settled, issuing, .. } => {
                change.begin(&actor, issuing, now).await?;
            }
            _ if force => {
                change.advance(&actor, true, now).await?;
            }
            _ => {}
        }
        change.status(now).await
    }

    fn authority_change(&self) -> AuthorityChange {
        AuthorityChange {
            store: Arc::clone(&self.parts.store),
            vault: Arc::clone(&self.parts.vault),
            authority: Arc::clone(&self.parts.authority),
            trust: Arc::clone(&self.parts.trust),
        }
    }
}

impl AuthorityChange {
    /// Takes the next step of a change that is under way, when it is due or `force` says so. Says whether it did.
    ///
    /// # Errors
    /// The store or the vault refuses; nothing has happened then.
    pub async fn advance(&self, actor: &str, force: bool, now: Timestamp) -> Result<bool, UseCaseError> {
        let stored = self.store.trust_fetch().await?;
        if stored.stage == AuthorityStage::Settled {
            return Ok(false);
        }
        // What is in memory may be of the stage before: then there is nothing to judge by yet.
        if self.trust.state().is_none_or(|state| state.version != stored.version) {
            return Ok(false);
        }
        let status = self.status(now).await?;
        match stored.stage {
            AuthorityStage::Distributing if force || status.unaware.is_empty() => {
                self.issue_under_the_second(actor, stored.issuing, now).await?;
            }
            AuthorityStage::Issuing if force || status.remaining.is_empty() => {
                self.retire_the_first(actor, stored.issuing, now).await?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    async fn begin(&self, actor: &str, issuing: RootSlot, now: Timestamp) -> Result<(), UseCaseError> {
        let root = self.authority.new_root(now)?;
        let keys = self.keys().await?;
        let slot = issuing.other();
        let key = keys.seal(secret(ca_key(slot)), root.key_pem.expose_secret().as_bytes())?;
        let mut transaction = self.store.begin().await?;
        let stages = (AuthorityStage::Settled, AuthorityStage::Distributing);
        if !self.step(transaction.as_mut(), stages, issuing, now).await? {
            return Ok(());
        }
        transaction.region_secret_insert(ca_key(slot), &key).await?;
        transaction.region_secret_insert(ca_certificate(slot), &Sealed(root.root_pem.into_bytes())).await?;
        self.commit(transaction, &keys, actor, "authority.distribute", now).await
    }

    async fn issue_under_the_second(
        &self,
        actor: &str,
        first: RootSlot,
        now: Timestamp,
    ) -> Result<(), UseCaseError> {
        let keys = self.keys().await?;
        let mut transaction = self.store.begin().await?;
        let stages = (AuthorityStage::Distributing, AuthorityStage::Issuing);
        if !self.step(transaction.as_mut(), stages, first.other(), now).await? {
            return Ok(());
        }
        self.commit(transaction, &keys, actor, "authority.issue", now).await
    }

    async fn retire_the_first(
        &self,
        actor: &str,
        issuing: RootSlot,
        now: Timestamp,
    ) -> Result<(), UseCaseError> {
        let keys = self.keys().await?;
        let mut transaction = self.store.begin().await?;
        let stages = (AuthorityStage::Issuing, AuthorityStage::Settled);
        if !self.step(transaction.as_mut(), stages, issuing, now).await? {
            return Ok(());
        }
        transaction.region_secret_delete(ca_key(issuing.other())).await?;
        transaction.region_secret_delete(ca_certificate(issuing.other())).await?;
        self.commit(transaction, &keys, actor, "authority.retire", now).await
    }

    /// False where another replica was faster.
    async fn step(
        &self,
        transaction: &mut dyn Transaction,
        (from, to): (AuthorityStage, AuthorityStage),
        issuing: RootSlot,
        now: Timestamp,
    ) -> Result<bool, UseCaseError> {
        match transaction.authority_step(from, to, issuing, now).await {
            Err(StoreError::Conflict(_)) => Ok(false),
            stepped => Ok(stepped.map(|_version| true)?),
        }
    }

    async fn commit(
        &self,
        transaction: Box<dyn Transaction>,
        keys: &Keys,
        actor: &str,
        action: &'static str,
        now: Timestamp,
    ) -> Result<(), UseCaseError> {
        let subject = crate::audit::chain_name(Chain::Region);
        let audit = keys.audit(Chain::Region, now, actor, action, subject)?;
        transaction.commit(audit, &[]).await?;
        self.trust.note_change();
        tracing::warn!(action, "the change of the region's certificate authority goes on");
        Ok(())
    }

    async fn keys(&self) -> Result<Keys, UseCaseError> {
        Keys::of(self.store.as_ref(), self.vault.as_ref(), KeyScope::Region).await
    }

    /// How far it is.
    async fn status(&self, now: Timestamp) -> Result<AuthorityStatus, UseCaseError> {
        let stage = self.stage_in_effect(&self.store.trust_fetch().await?);
        let issuing = self.authority.fingerprint();
        let standby = self.authority.standby().map(|root| root.fingerprint());
        let (mut unaware, mut remaining) = (Vec::new(), Vec::new());
        if let Some(standby) = standby {
            let knows = |process: &TrustingProcess| {
                process.trusted.contains(&standby) && process.trusted.contains(&issuing)
            };
            unaware = self.trust.processes().into_iter().filter(|process| !knows(process)).collect();
            remaining = remaining_of(self.store.held_certificates(now).await?, issuing);
        }
        if stage == AuthorityStage::Distributing {
            remaining.clear();
        }
        Ok(AuthorityStatus { stage, issuing, standby, unaware, remaining })
    }

    /// The stage that this control plane acts by. It issues under the second root a moment after the store says so; until then nobody who holds a certificate of the
    /// first one would seem to need another.
    fn stage_in_effect(&self, stored: &TrustRecord) -> AuthorityStage {
        let current = self.trust.state().is_some_and(|state| state.version == stored.version);
        match stored.stage {
            AuthorityStage::Issuing if !current => AuthorityStage::Distributing,
            stage => stage,
        }
    }
}

/// Who needs another root than `issuing`. A worker or router is one process: it has done with the old certificate when it has a new one. Of people and services nobody
/// knows how many copies of a certificate there are: theirs have to end, or to be given up by force.
fn remaining_of(held: Vec<HeldCertificate>, issuing: CaFingerprint) -> Vec<HeldCertificate> {
    let renewed: HashSet<(ProcessRole, String)> = held
        .iter()
        .filter(|row| row.root == issuing)
        .filter(|row| matches!(row.role, ProcessRole::Worker | ProcessRole::Router))
        .map(|row| (row.role, row.name.clone()))
        .collect();
    held.into_iter()
        .filter(|row| row.root != issuing && !renewed.contains(&(row.role, row.name.clone())))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_have_done_with_a_root_when_they_have_renewed_and_people_when_theirs_has_ended() {
        let (old, new) = (CaFingerprint([1; 32]), CaFingerprint([2; 32]));
        let row = |root, role, name: &str| HeldCertificate {
            root,
            role,
            name: name.to_owned(),
            expires_at: Timestamp::default(),
        };
        let held = vec![
            row(old, ProcessRole::Worker, "one"),
            row(new, ProcessRole::Worker, "one"),
            row(old, ProcessRole::Worker, "two"),
            row(old, ProcessRole::Router, "one"),
            row(old, ProcessRole::Operator, "alice"),
            row(new, ProcessRole::Operator, "alice"),
            row(new, ProcessRole::Service, "billing"),
        ];
        let left: Vec<_> = remaining_of(held, new).into_iter().map(|row| (row.role, row.name)).collect();
        let expected = [
            (ProcessRole::Worker, "two".to_owned()),
            (ProcessRole::Router, "one".to_owned()),
            (ProcessRole::Operator, "alice".to_owned()),
        ];
        assert_eq!(left, expected);
    }
}
