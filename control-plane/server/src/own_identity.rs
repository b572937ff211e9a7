//! The control plane's own certificate: issued by its own authority at start, and again at half of its life.

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use bailiwick_core::ports::vault::{CertificateAuthority, Validity};
use bailiwick_domain::{
    spiffe::SpiffeId,
    time::{Clock, Timestamp},
};
use bailiwick_runtime::identity::{Identity, Material, new_key_and_csr};

use crate::settings::IdentitySection;

/// Keeps an identity fresh.
#[derive(Clone)]
pub(crate) struct OwnIdentity {
    pub(crate) identity: Identity,
    authority: Arc<dyn CertificateAuthority>,
    clock: Arc<dyn Clock>,
    spiffe: SpiffeId,
    lifetime: Duration,
}

impl OwnIdentity {
    /// Takes what is in the folder where it still serves, and issues anew where not.
    pub(crate) fn establish(
        section: &IdentitySection,
        spiffe: SpiffeId,
        authority: Arc<dyn CertificateAuthority>,
        clock: Arc<dyn Clock>,
    ) -> anyhow::Result<Self> {
        let kept = Identity::exists(&section.dir)
            .then(|| Identity::load_dir(&section.dir, spiffe.trust_domain.clone()))
            .and_then(|loaded| {
                loaded.inspect_err(|error| tracing::warn!(%error, "the certificate is replaced")).ok()
            })
            .filter(|identity| serves(identity, &spiffe, authority.as_ref(), clock.now()));
        let identity = match kept {
            Some(identity) => identity,
            None => {
                let material = issue(authority.as_ref(), &spiffe, clock.now(), section.certificate_lifetime)?;
                Identity::establish(&section.dir, spiffe.trust_domain.clone(), &material)?
            }
        };
        Ok(Self { identity, authority, clock, spiffe, lifetime: section.certificate_lifetime })
    }

    /// Takes over a change of the authority's roots: trusts them, has a certificate of the one that issues, and another one for callers who know only the other root.
    pub(crate) fn follow_authority(&self) -> anyhow::Result<()> {
        self.renew_when_due()?;
        self.identity.trust(&self.authority.roots_pem())?;
        self.stand_by(self.clock.now())
    }

    /// How often its age is looked at.
    pub(crate) fn look_interval(&self) -> Duration {
        Duration::from_secs(60).min(self.lifetime / 10)
    }

    /// Issues a new certificate once half of the present one's life has passed. Idempotent.
    pub(crate) fn renew_when_due(&self) -> anyhow::Result<()> {
        let now = self.clock.now();
        if serves(&self.identity, &self.spiffe, self.authority.as_ref(), now) {
            return Ok(());
        }
        let material = issue(self.authority.as_ref(), &self.spiffe, now, self.lifetime)?;
        self.identity.replace(&material)?;
        self.stand_by(now)
    }

    fn stand_by(&self, now: Timestamp) -> anyhow::Result<()> {
        let standby = self.authority.standby();
        let standby =
            standby.map(|root| issue(root.as_ref(), &self.spiffe, now, self.lifetime)).transpose()?;
        Ok(self.identity.stand_by(standby.as_ref())?)
    }
}

/// Signs a certificate over a fresh key.
pub(crate) fn issue(
    authority: &dyn CertificateAuthority,
    to: &SpiffeId,
    now: Timestamp,
    lifetime: Duration,
) -> anyhow::Result<Material> {
    let (key, csr) = new_key_and_csr()?;
    let issued = authority
        .issue(&csr.0, to, Validity::starting(now, lifetime))
        .context("a certificate cannot be issued")?;
    Ok(Material { root_pem: authority.roots_pem(), certificate_pem: issued.certificate_pem, key_pem: key.0 })
}

/// Of this authority, of this name, and in the first half of its life.
fn serves(
    identity: &Identity,
    spiffe: &SpiffeId,
    authority: &dyn CertificateAuthority,
    now: Timestamp,
) -> bool {
    let half = identity.expires().saturating_since(identity.issued()) / 2;
    identity.root_fingerprint() == authority.fingerprint()
        && identity.spiffe_id() == *spiffe
        && now < identity.issued().saturating_add(half)
}
