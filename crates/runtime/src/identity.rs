//! Who a process is, and whom it talks to: mutual TLS inside one region.
//!
//! A region has one self-signed root (two, while it changes from one to the other), and every process of it a short-lived certificate with exactly one URI name,
//! `spiffe://<region>.<installation>/<role>/<name>`. Both ends of every connection check chain, trust domain and role, so a
//! process of one region cannot talk to a process of another (invariant R3): the handshake fails.
//!
//! Outside of that stands [`PublicAcceptor`]: what a router presents to callers, who have no certificate.
//!
//! Start reading at [`Identity`] (what a process holds), then [`Acceptor`] and [`Connector`] (the two ends of a connection) and
//! [`Peer`] (the proof that the other end was verified). Certificates are looked up at each handshake, so a renewed
//! one is used at once and no open connection is dropped.
//!
//! A certificate that the region has revoked ([`Revocations`]) is refused as an expired one is, and a connection that it opened ends.
//!
//! Never here: a trust store with a root of another trust domain, session resumption (a resumed session is not verified again), a role
//! or a name taken from anything but a verified certificate.

mod acceptor;
mod client_stream;
mod connector;
mod csr;
mod files;
mod material;
mod peer;
mod public;
mod revocation;
mod tls;
mod verify;

#[cfg(test)]
pub(crate) mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use bailiwick_domain::key::CaFingerprint;
use bailiwick_domain::spiffe::{SpiffeId, TrustDomain};
use bailiwick_domain::time::Timestamp;
use rustls::pki_types::CertificateDer;
use tokio::sync::watch;

pub(crate) use acceptor::HANDSHAKE_TIMEOUT;
pub use acceptor::{Acceptor, EnrollmentAcceptor, Newcomer, Returning, TokenAcceptor, Visitor};
pub use client_stream::ClientStream;
pub use connector::{Connector, Dial, PinnedConnector};
pub use csr::{CsrError, CsrPem, PrivateKeyPem, new_key_and_csr};
pub use material::{IdentityError, Material, root_fingerprint};
pub use peer::{Peer, VerifiedPeer};
pub use public::{CertificateFiles, PublicAcceptor};
pub use revocation::{MAX_REVOCATIONS, Revocation, Revocations};

pub use verify::RECOVERY_GRACE;

use material::Current;

/// How often [`Identity::watch_files`] looks at its files.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// What this process presents and trusts: its certificate chain, its key, and its region's root. Cheap to clone; all clones
/// see a replacement.
#[derive(Clone)]
pub struct Identity {
    shared: Arc<Shared>,
}

struct Shared {
    trust_domain: TrustDomain,
    /// Where the files are; `None` for an identity that lives in memory only.
    directory: Option<PathBuf>,
    current: ArcSwap<Current>,
    /// For callers who know only another root of the region than that of the current certificate.
    standby: ArcSwapOption<Current>,
    /// The root that the region issues under now, as far as is known.
    issuing: watch::Sender<Option<[u8; 32]>>,
    changes: watch::Sender<Timestamp>,
    /// Whose certificates are refused, whatever this process presents itself.
    revocations: Revocations,
    /// Fingerprint of the certificate of this process that its control plane has revoked.
    disowned: watch::Sender<Option<[u8; 32]>>,
}

impl Identity {
    /// Reads `ca.pem`, `cert.pem` and `key.pem` from a directory.
    ///
    /// An expired certificate loads (see [`Identity::expires`]): whoever presents it is refused by the other end.
    ///
    /// # Errors
    /// A file is missing or malformed, the key is readable by others than its owner and group or belongs to another certificate, the
    /// certificate does not chain to the root, or names another trust domain than `trust_domain`.
    pub fn load_dir(directory: &Path, trust_domain: TrustDomain) -> Result<Self, IdentityError> {
        let current = Current::check(&files::read(directory)?, &trust_domain)?;
        Ok(Self::with(trust_domain, Some(directory.to_owned()), current))
    }

    /// Whether a directory holds an identity already, or its process must enroll first.
    pub fn exists(directory: &Path) -> bool {
        files::exist(directory)
    }

    /// Writes a first identity into a directory (created when missing, mode 0700) and loads it.
    ///
    /// # Errors
    /// As [`Identity::load_dir`], before anything is written; or the directory cannot be written.
    pub fn establish(
        directory: &Path,
        trust_domain: TrustDomain,
        material: &Material,
    ) -> Result<Self, IdentityError> {
        let current = Current::check(material, &trust_domain)?;
        files::write(directory, material)?;
        Ok(Self::with(trust_domain, Some(directory.to_owned()), current))
    }

    /// An identity that is never written to a disk.
    ///
    /// # Errors
    /// As [`Identity::load_dir`], without the files.
    pub fn in_memory(trust_domain: TrustDomain, material: &Material) -> Result<Self, IdentityError> {
        let current = Current::check(material, &trust_domain)?;
        Ok(Self::with(trust_domain, None, current))
    }

    fn with(trust_domain: TrustDomain, directory: Option<PathBuf>, current: Current) -> Self {
        let changes = watch::Sender::new(current.expires);
        let current = ArcSwap::from_pointee(current);
        let shared = Shared {
            trust_domain,
            directory,
            current,
            standby: ArcSwapOption::empty(),
            issuing: watch::Sender::new(None),
            changes,
            revocations: Revocations::default(),
            disowned: watch::Sender::new(None),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Replaces certificate, key and root: on disk first (all three or none, also after a crash), then in memory. New handshakes
    /// use the new ones at once; open connections live on.
    ///
    /// # Errors
    /// As [`Identity::establish`]; the present identity then stays.
    pub fn replace(&self, material: &Material) -> Result<(), IdentityError> {
        let new = Current::check(material, &self.shared.trust_domain)?;
        if let Some(directory) = &self.shared.directory {
            files::write(directory, material)?;
        }
        self.swap(new);
        Ok(())
    }

    /// Follows the files of this identity, which an operator or a certificate manager may replace, until `stopped` resolves. What
    /// cannot be loaded is logged and tried again when it changes; the present identity stays. Idle for one in memory.
    pub async fn watch_files(&self, stopped: impl Future<Output = ()>) {
        let Some(directory) = self.shared.directory.clone() else {
            return stopped.await;
        };
        tokio::select! {
            () = self.follow(&directory) => {}
            () = stopped => {}
        }
    }

    async fn follow(&self, directory: &Path) {
        // Nothing is taken as seen: the files may have changed since they were loaded.
        let mut seen = None;
        let mut refused: Option<String> = None;
        loop {
            tokio::time::sleep(POLL_INTERVAL).await;
            let now = Some(files::changed_at(directory));
            if now == seen && refused.is_none() {
                continue;
            }
            seen = now;
            refused = self.reload(directory).err().map(|error| error.to_string()).inspect(|reason| {
                // Once per reason: a set of files that is half written is seen again a second later.
                if refused.as_ref() != Some(reason) {
                    tracing::warn!(%reason, directory = %directory.display(), "identity files refused, the present ones stay");
                }
            });
        }
    }

    fn reload(&self, directory: &Path) -> Result<(), IdentityError> {
        let new = Current::check(&files::read(directory)?, &self.shared.trust_domain)?;
        if new.fingerprint != self.fingerprint() || new.trusted != self.current().trusted {
            self.swap(new);
        }
        Ok(())
    }

    fn swap(&self, new: Current) {
        let expires = new.expires;
        tracing::info!(spiffe_id = %new.spiffe_id, expires_micros = expires.as_micros(), "identity replaced");
        self.shared.current.store(Arc::new(new));
        self.shared.changes.send_replace(expires);
    }

    /// The trust domain of this process, the only one that it talks to.
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.shared.trust_domain
    }

    /// The name in the present certificate.
    pub fn spiffe_id(&self) -> SpiffeId {
        self.current().spiffe_id.clone()
    }

    /// When the present certificate became valid.
    pub fn issued(&self) -> Timestamp {
        self.current().issued
    }

    /// When the present certificate expires.
    pub fn expires(&self) -> Timestamp {
        self.current().expires
    }

    /// SHA-256 of the present leaf certificate's DER.
    pub fn fingerprint(&self) -> [u8; 32] {
        self.current().fingerprint
    }

    /// Trusts these roots from now on, one or two, and no others: on disk first, then in memory. The caller knows them from a connection that a present root
    /// authenticates. Says whether that was a change.
    ///
    /// # Errors
    /// One is not of this trust domain, or this identity's own certificate was issued under none of them; the present ones then stay.
    pub fn trust(&self, roots_pem: &str) -> Result<bool, IdentityError> {
        let material = Material { root_pem: roots_pem.to_owned(), ..self.current().material.clone() };
        let new = Current::check(&material, &self.shared.trust_domain)?;
        if new.trusted == self.current().trusted {
            return Ok(false);
        }
        self.replace(&material)?;
        Ok(true)
    }

    /// The roots that are trusted, PEM.
    pub fn roots_pem(&self) -> String {
        self.current().material.root_pem.clone()
    }

    /// SHA-256 of the DER of each root that is trusted.
    pub fn trusted_roots(&self) -> Vec<CaFingerprint> {
        self.current().trusted.iter().map(|root| CaFingerprint(*root)).collect()
    }

    /// A second certificate, for callers who know only the root that it was issued under. `None`: no more.
    ///
    /// # Errors
    /// As [`Identity::in_memory`].
    pub fn stand_by(&self, material: Option<&Material>) -> Result<(), IdentityError> {
        let standby = material.map(|material| Current::check(material, &self.shared.trust_domain));
        self.shared.standby.store(standby.transpose()?.map(Arc::new));
        Ok(())
    }

    fn standby(&self) -> Option<Arc<Current>> {
        self.shared.standby.load_full()
    }

    /// The region issues certificates under this root now.
    pub fn set_issuing(&self, root: CaFingerprint) {
        self.shared.issuing.send_if_modified(|issuing| issuing.replace(root.0) != Some(root.0));
    }

    /// Whether the region has issued under another root since than that of the present certificate: then another one is due.
    pub fn is_superseded(&self) -> bool {
        self.shared.issuing.borrow().is_some_and(|issuing| issuing != self.root_fingerprint().0)
    }

    /// Resolves once it is.
    pub async fn superseded(&self) {
        let mut issuing = self.shared.issuing.subscribe();
        let is_another =
            |issuing: &Option<[u8; 32]>| issuing.is_some_and(|issuing| issuing != self.root_fingerprint().0);
        if issuing.wait_for(is_another).await.is_err() {
            // The sender lives as long as `self` does.
            std::future::pending::<()>().await;
        }
    }

    /// SHA-256 of the DER of the root that the present certificate was issued under, as join tokens carry it.
    pub fn root_fingerprint(&self) -> CaFingerprint {
        CaFingerprint(self.current().root_fingerprint.0)
    }

    /// The certificates of the region that are refused. All acceptors and connectors of this identity ask it.
    pub fn revocations(&self) -> &Revocations {
        &self.shared.revocations
    }

    /// The control plane says that the present certificate is revoked. There is no way back but another certificate: the files are deleted, so that
    /// the next start joins anew, with a join token, or not at all.
    pub fn disown(&self) {
        let fingerprint = self.fingerprint();
        let first = self.shared.disowned.send_if_modified(|disowned| {
            let first = *disowned != Some(fingerprint);
            *disowned = Some(fingerprint);
            first
        });
        if !first {
            return;
        }
        tracing::error!(
            spiffe_id = %self.spiffe_id(),
            "the region has revoked this process's certificate: to join again it needs a new join token"
        );
        if let Some(directory) = &self.shared.directory
            && let Err(error) = files::remove(directory)
        {
            tracing::error!(%error, "the revoked certificate's files cannot be deleted: delete them");
        }
    }

    /// Whether the present certificate is revoked.
    pub fn is_disowned(&self) -> bool {
        *self.shared.disowned.borrow() == Some(self.fingerprint())
    }

    /// Resolves once the present certificate is revoked.
    pub async fn disowned(&self) {
        let mut disowned = self.shared.disowned.subscribe();
        if disowned.wait_for(|disowned| *disowned == Some(self.fingerprint())).await.is_err() {
            // The sender lives as long as `self` does.
            std::future::pending::<()>().await;
        }
    }

    /// Changes with each replacement; the value is the expiry of the present certificate.
    pub fn changes(&self) -> watch::Receiver<Timestamp> {
        self.shared.changes.subscribe()
    }

    fn current(&self) -> arc_swap::Guard<Arc<Current>> {
        self.shared.current.load()
    }
}

/// SHA-256 of a certificate's DER, by which reports name it.
pub fn fingerprint(certificate: &CertificateDer<'_>) -> [u8; 32] {
    peer::sha256(certificate)
}

/// Opaque: a process's key is never printed.
impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Identity({})", self.current().spiffe_id)
    }
}
