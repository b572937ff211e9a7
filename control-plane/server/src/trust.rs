//! Keeps this control plane's copy of what the region trusts at the store's newest version: its own listeners refuse who is revoked, and
//! the processes that follow are told.

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use bailiwick_core::{
    bootstrap,
    control_plane::Parts,
    ports::{
        store::Store,
        vault::{CertificateAuthority, Vault},
    },
    records::{AuthorityStage, RevokedCertificate, RootSlot, TrustRecord, TrustVersion},
    trust::{Trust, TrustState},
};
use bailiwick_domain::{
    spiffe::{SpiffeError, SpiffeId, TrustDomain},
    time::Clock,
};
use bailiwick_runtime::identity::Revocation;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::own_identity::OwnIdentity;

/// What another replica changed is heard of within this time.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// The one writer of [`Trust`].
pub(crate) struct TrustFollower {
    store: Arc<dyn Store>,
    authority: Arc<dyn CertificateAuthority>,
    clock: Arc<dyn Clock>,
    trust: Arc<Trust>,
    vault: Arc<dyn Vault>,
    /// Whose listeners refuse, and whose certificate is of the root that issues.
    own: OwnIdentity,
    applied: Option<(String, TrustVersion)>,
    /// Which roots the authority has: of this stage, the one in this place issuing.
    roots: Option<(AuthorityStage, RootSlot)>,
    /// Whether the last attempt failed: an outage is logged once.
    failing: bool,
}

impl TrustFollower {
    /// Reads it for the first time.
    pub(crate) async fn start(parts: &Parts, own: OwnIdentity) -> anyhow::Result<Self> {
        let mut follower = Self {
            store: Arc::clone(&parts.store),
            authority: Arc::clone(&parts.authority),
            clock: Arc::clone(&parts.clock),
            trust: Arc::clone(&parts.trust),
            vault: Arc::clone(&parts.vault),
            own,
            applied: None,
            roots: None,
            failing: false,
        };
        follower.refresh().await?;
        Ok(follower)
    }

    /// Follows the store until stopped.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut poll = tokio::time::interval(POLL_INTERVAL);
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let trust = Arc::clone(&self.trust);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = trust.changed() => {}
                _ = poll.tick() => {}
            }
            match self.refresh().await {
                Ok(()) => self.failing = false,
                Err(error) if !self.failing => {
                    self.failing = true;
                    tracing::warn!(error = %format_args!("{error:#}"), "whom the region trusts cannot be read; what was read last holds");
                }
                Err(_again) => {}
            }
        }
    }

    async fn refresh(&mut self) -> anyhow::Result<()> {
        let epoch = self.store.cluster_identity().await?.epoch;
        let version = self.store.trust_version().await?;
        if self.applied.as_ref() == Some(&(epoch.clone(), version)) {
            return Ok(());
        }
        let TrustRecord { version, stage, issuing, mut revoked } = self.store.trust_fetch().await?;
        let now = self.clock.now();
        revoked.retain(|row| row.expires_at > now);
        let domain = self.own.identity.trust_domain();
        let refused: Vec<Revocation> = revoked
            .iter()
            .map(|row| revocation(domain, row))
            .collect::<Result<_, _>>()
            .context("a revocation")?;
        if self.own.identity.revocations().learn(refused, now) {
            tracing::info!(version = version.0, revocations = revoked.len(), "certificates are revoked");
        }
        // After the revocations, because it takes longer.
        if self.roots.is_none_or(|roots| roots != (stage, issuing)) {
            let roots = bootstrap::open_roots(self.store.as_ref(), self.vault.as_ref()).await?;
            self.authority.adopt(&roots.issuing, roots.standby.as_ref())?;
            self.own.follow_authority().context("this control plane's own certificate")?;
            self.roots = Some((stage, issuing));
        }
        self.trust.publish(TrustState {
            epoch: epoch.clone(),
            version,
            roots_pem: self.authority.roots_pem(),
            issuing: self.authority.fingerprint(),
            revoked,
        });
        self.applied = Some((epoch, version));
        Ok(())
    }
}

fn revocation(domain: &TrustDomain, row: &RevokedCertificate) -> Result<Revocation, SpiffeError> {
    Ok(Revocation {
        holder: SpiffeId::new(domain.clone(), row.role, &row.name)?,
        issued_until: row.issued_until,
        expires: row.expires_at,
    })
}
