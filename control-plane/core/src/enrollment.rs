//! How workers and routers get their certificates.
//!
//! Role and name come from the join token, later from the certificate that is renewed; never from the request. The
//! order is: check, sign, then consume the token and store the process in one transaction, and answer only after
//! the commit. So of two callers with one token exactly one gets a certificate, and no certificate exists that the store does not
//! know.

use std::{sync::Arc, time::Duration};

use bailiwick_domain::{
    guard::Guard,
    id::WorkerId,
    jurisdiction::{ForeignRegion, Jurisdiction, Local},
    key::{JoinToken, KeyFormatError, Pepper},
    spiffe::{ProcessRole, SpiffeId, TrustDomain},
    time::{Clock, Timestamp},
};

use crate::{
    ports::{
        store::{Store, StoreError},
        vault::{CertificateAuthority, IssuedCertificate, Validity, Vault, VaultError},
    },
    process_audit::{self, ProcessAuditError},
    records::{AuditDraft, Chain, HeldCertificate, JoinTokenRecord, WorkerRecord},
};

/// How long a process's certificate is valid, at most and by default.
pub const CERTIFICATE_LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// How long a certificate that is issued by hand may be valid: people and services have no way to renew theirs, processes have.
pub fn longest_lifetime(role: ProcessRole) -> Duration {
    match role {
        ProcessRole::Operator | ProcessRole::Service => Duration::from_secs(365 * 24 * 3600),
        ProcessRole::ControlPlane | ProcessRole::Worker | ProcessRole::Router => CERTIFICATE_LIFETIME,
    }
}

/// How far ahead a certificate that is issued by hand may begin. A revocation refuses what has begun by then: what begins later is beyond its reach, and must
/// not be far away.
const LONGEST_LEAD: Duration = Duration::from_secs(5 * 60);
/// How long ago it may have begun. Certificates cannot tell every time, and nobody needs an older one.
const LONGEST_AGO: Duration = Duration::from_secs(365 * 24 * 3600);

/// For how long a certificate that is issued by hand shall be good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Period {
    /// From now on.
    Lasting(Duration),
    /// From one time to another, which may both be over: an operator sees with such a certificate that monitoring notices it.
    Between(Validity),
}

impl Period {
    /// As it is written into a certificate of this role. The error says why there is none.
    fn validity(self, role: ProcessRole, now: Timestamp, root_ends: Timestamp) -> Result<Validity, String> {
        let (lifetime, validity) = match self {
            Self::Lasting(lifetime) => (lifetime, Validity::starting(now, lifetime)),
            Self::Between(chosen) => (chosen.until.saturating_since(chosen.from), chosen),
        };
        if lifetime < Duration::from_secs(1) {
            return Err("a certificate has to end after it begins, by a second at least".to_owned());
        }
        let longest = longest_lifetime(role);
        if lifetime > longest {
            let minutes = longest.as_secs() / 60;
            return Err(format!("a certificate of a {role} may live {minutes} minutes at most"));
        }
        if validity.from > now.saturating_add(LONGEST_LEAD) {
            return Err("a certificate may begin 5 minutes from now at most".to_owned());
        }
        if validity.from < now.saturating_sub(LONGEST_AGO) {
            return Err("a certificate may have begun a year ago at most".to_owned());
        }
        if matches!(self, Self::Between(_)) && validity.until > root_ends {
            return Err("the certificate would outlive the region's root".to_owned());
        }
        Ok(validity)
    }
}

/// Certifies the processes of one region.
pub struct Enrollment {
    /// Where join tokens and workers are kept.
    pub store: Arc<dyn Store>,
    /// Seals the audit records.
    pub vault: Arc<dyn Vault>,
    /// Signs.
    pub authority: Arc<dyn CertificateAuthority>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// The region.
    pub jurisdiction: Jurisdiction,
    /// The region's trust domain.
    pub trust_domain: TrustDomain,
    /// Join tokens are stored under it.
    pub pepper: Pepper,
    /// How long the certificates of workers and routers are valid; at most [`CERTIFICATE_LIFETIME`].
    pub certificate_lifetime: Duration,
}

/// A certificate, and whose it is.
#[derive(Clone, Debug)]
pub struct Enrolled {
    /// The process in the store.
    pub worker: Local<WorkerId>,
    /// Its name in the certificate.
    pub spiffe: SpiffeId,
    /// The leaf, PEM.
    pub certificate_pem: String,
    /// The region's roots, PEM.
    pub root_pem: String,
    /// End of the leaf's validity.
    pub expires_at: Timestamp,
}

impl Enrollment {
    /// Exchanges a join token for a certificate over the public key of a PKCS #10 request.
    ///
    /// # Errors
    /// [`EnrollmentError::InvalidToken`] for an unknown, used, expired or wrong token, not told apart.
    pub async fn enroll(&self, token: &str, csr_pem: &str) -> Result<Enrolled, EnrollmentError> {
        let token = JoinToken::parse(token).map_err(EnrollmentError::MalformedToken)?;
        let id = self.jurisdiction.admit_at(Guard::EnrollmentRegion, token.id());
        let id = id.map_err(EnrollmentError::Foreign)?;
        let (now, digest) = (self.clock.now(), token.digest(&self.pepper));
        let known = self.store.join_token_fetch(*id).await?;
        let is_it = |row: &JoinTokenRecord| row.digest == digest || !Guard::JoinTokenDigest.stands();
        let is_unused = |row: &JoinTokenRecord| row.used_at.is_none() || !Guard::JoinTokenUse.stands();
        let usable = |row: &JoinTokenRecord| is_it(row) && is_unused(row) && row.expires_at > now;
        let offered = known.filter(usable).ok_or(EnrollmentError::InvalidToken)?;

        let spiffe = self.named(offered.role, &offered.name)?;
        let issued = self.issue(csr_pem, &spiffe, now, self.certificate_lifetime).await?;
        let minted = self.jurisdiction.mint_random(now);
        let audit = self.audit(now, &spiffe, "worker.enroll", &spiffe).await?;

        let mut transaction = self.store.begin().await?;
        let consumed = match transaction.join_token_consume(*id, &offered.digest, now).await {
            Err(StoreError::NotFound) => return Err(EnrollmentError::InvalidToken),
            consumed => consumed?,
        };
        // What was signed is what the token says, also when the row was changed in between.
        if (consumed.role, consumed.name.as_str()) != (spiffe.role, spiffe.name()) {
            return Err(EnrollmentError::InvalidToken);
        }
        let row = WorkerRecord {
            id: minted,
            role: spiffe.role,
            name: spiffe.name().to_owned(),
            enrolled_at: now,
            certificate_expires_at: issued.expires_at,
            last_seen_at: None,
        };
        let worker = transaction.worker_upsert(&row).await?;
        transaction.certificate_note(&held(&spiffe, &issued)).await?;
        transaction.commit(audit, &[]).await?;
        Ok(self.enrolled(worker, spiffe, issued))
    }

    /// A new certificate for the process that presents `peer`, its verified name.
    ///
    /// # Errors
    /// [`EnrollmentError::Removed`] when the region knows no such worker or router (any more).
    pub async fn renew(&self, peer: &SpiffeId, csr_pem: &str) -> Result<Enrolled, EnrollmentError> {
        let worker = self.member(peer).await?;
        self.certify_again(worker.id, peer, csr_pem, "worker.renew").await
    }

    /// A new certificate for a member whose present one, which expires at `expires` (whole seconds), may have expired. The caller has proved its key.
    ///
    /// # Errors
    /// As [`Self::renew`]; [`EnrollmentError::Superseded`] when the member was given another one since: then this is not the member's, or no more.
    pub async fn recover(
        &self,
        peer: &SpiffeId,
        expires: Timestamp,
        csr_pem: &str,
    ) -> Result<Enrolled, EnrollmentError> {
        let worker = self.member(peer).await?;
        let seconds = |at: Timestamp| at.as_micros().div_euclid(1_000_000);
        if seconds(worker.certificate_expires_at) != seconds(expires) {
            return Err(EnrollmentError::Superseded);
        }
        self.certify_again(worker.id, peer, csr_pem, "worker.recover").await
    }

    async fn certify_again(
        &self,
        worker: Local<WorkerId>,
        peer: &SpiffeId,
        csr_pem: &str,
        action: &'static str,
    ) -> Result<Enrolled, EnrollmentError> {
        let now = self.clock.now();
        let issued = self.issue(csr_pem, peer, now, self.certificate_lifetime).await?;
        let audit = self.audit(now, peer, action, peer).await?;
        let mut transaction = self.store.begin().await?;
        match transaction.worker_set_certificate(worker, issued.expires_at).await {
            Err(StoreError::NotFound) => return Err(EnrollmentError::Removed),
            set => set?,
        }
        transaction.certificate_note(&held(peer, &issued)).await?;
        transaction.commit(audit, &[]).await?;
        Ok(self.enrolled(worker, peer.clone(), issued))
    }

    /// A certificate of any role, as whoever may read the master key gives it out on the control plane's own machine. It makes nobody a member of the region:
    /// a worker or router of this name is answered only when it has enrolled.
    ///
    /// # Errors
    /// The period is not one that the role may have, see [`longest_lifetime`]; or a revocation of the holder refuses what begins then.
    pub async fn certify(
        &self,
        actor: &SpiffeId,
        holder: &SpiffeId,
        csr_pem: &str,
        period: Period,
    ) -> Result<IssuedCertificate, EnrollmentError> {
        let now = self.clock.now();
        let wanted = period.validity(holder.role, now, self.authority.expires_at());
        let wanted = wanted.map_err(EnrollmentError::InvalidRequest)?;
        let validity = self.unrevoked(holder, wanted).await?;
        if matches!(period, Period::Between(_)) && validity != wanted {
            let problem = format!("{holder} is revoked: a certificate has to begin after that");
            return Err(EnrollmentError::InvalidRequest(problem));
        }
        let issued = self.authority.issue(csr_pem, holder, validity).map_err(unusable)?;
        let audit = self.audit(now, actor, "certificate.issue", holder).await?;
        let mut transaction = self.store.begin().await?;
        transaction.certificate_note(&held(holder, &issued)).await?;
        transaction.commit(audit, &[]).await?;
        Ok(issued)
    }

    /// The worker or router that holds this verified name. A certificate outlives its worker's removal by up to a day, so every
    /// stream asks this when it opens.
    ///
    /// # Errors
    /// [`EnrollmentError::Removed`] when there is none (any more).
    pub async fn member(&self, peer: &SpiffeId) -> Result<WorkerRecord, EnrollmentError> {
        if !matches!(peer.role, ProcessRole::Worker | ProcessRole::Router)
            || peer.trust_domain != self.trust_domain
        {
            return Err(EnrollmentError::Removed);
        }
        let found = self.store.worker_fetch_by_name(peer.role, peer.name()).await?;
        found.ok_or(EnrollmentError::Removed)
    }

    fn named(&self, role: ProcessRole, name: &str) -> Result<SpiffeId, EnrollmentError> {
        let joins = matches!(role, ProcessRole::Worker | ProcessRole::Router);
        let spiffe = SpiffeId::new(self.trust_domain.clone(), role, name).ok().filter(|_| joins);
        spiffe.ok_or(EnrollmentError::InvalidToken)
    }

    /// A certificate for `lifetime` from now on.
    async fn issue(
        &self,
        csr: &str,
        to: &SpiffeId,
        now: Timestamp,
        lifetime: Duration,
    ) -> Result<IssuedCertificate, EnrollmentError> {
        let validity = self.unrevoked(to, Validity::starting(now, lifetime)).await?;
        self.authority.issue(csr, to, validity).map_err(unusable)
    }

    /// What no revocation of its holder refuses. Where one comes at the same time, it does: the certificate was asked for under the old name.
    async fn unrevoked(&self, to: &SpiffeId, validity: Validity) -> Result<Validity, EnrollmentError> {
        let revoked = self.store.revocation_fetch(to.role, to.name()).await?;
        Ok(revoked.map_or(validity, |revoked| validity.after(revoked.issued_until)))
    }

    async fn audit(
        &self,
        at: Timestamp,
        actor: &SpiffeId,
        action: &'static str,
        subject: &SpiffeId,
    ) -> Result<AuditDraft, ProcessAuditError> {
        let (actor, subject) = (actor.to_string(), subject.to_string());
        process_audit::draft(
            self.store.as_ref(),
            self.vault.as_ref(),
            Chain::Region,
            at,
            &actor,
            action,
            subject,
        )
        .await
    }

    fn enrolled(&self, worker: Local<WorkerId>, spiffe: SpiffeId, issued: IssuedCertificate) -> Enrolled {
        Enrolled {
            worker,
            spiffe,
            certificate_pem: issued.certificate_pem,
            root_pem: self.authority.roots_pem(),
            expires_at: issued.expires_at,
        }
    }
}

fn held(holder: &SpiffeId, issued: &IssuedCertificate) -> HeldCertificate {
    HeldCertificate {
        root: issued.root,
        role: holder.role,
        name: holder.name().to_owned(),
        expires_at: issued.expires_at,
    }
}

fn unusable(error: VaultError) -> EnrollmentError {
    match error {
        VaultError::Certificate(problem) => EnrollmentError::InvalidRequest(problem),
        other => EnrollmentError::Vault(other),
    }
}

/// Why a process gets no certificate.
#[derive(Debug, thiserror::Error)]
pub enum EnrollmentError {
    /// Not even the shape of a join token.
    #[error("the join token is malformed: {0}")]
    MalformedToken(KeyFormatError),
    /// A join token of another region.
    #[error(transparent)]
    Foreign(ForeignRegion),
    /// Unknown, used, expired or wrong.
    #[error("the join token is not valid: unknown, used or expired")]
    InvalidToken,
    /// The certificate request is unusable.
    #[error("the certificate request is unusable: {0}")]
    InvalidRequest(String),
    /// The region knows no such worker or router.
    #[error("no worker or router of this name is a member of the region")]
    Removed,
    /// The member has a newer certificate than the one presented.
    #[error("the member was given a newer certificate: this one lets nobody in any more")]
    Superseded,
    /// The store refuses.
    #[error("the store refused")]
    Store(#[from] StoreError),
    /// The vault refuses.
    #[error("the vault refused")]
    Vault(#[source] VaultError),
    /// The audit record cannot be made.
    #[error("the audit record cannot be made")]
    Audit(#[from] ProcessAuditError),
}
