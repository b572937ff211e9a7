//! The two verifiers. Both check the chain to this region's roots alone, then the name: exactly one URI, this trust domain, an
//! admitted role. Host names are not checked: processes are found by address, and known by role.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bailiwick_domain::guard::Guard;
use bailiwick_domain::key::CaFingerprint;
use bailiwick_domain::spiffe::{ProcessRole, TrustDomain};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::verify_tls13_signature;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, PeerIncompatible,
    RootCertStore, SignatureScheme,
};

use super::Identity;
use super::peer::{Leaf, NameRefused, admit_root, sha256};
use super::revocation::Revocations;
use super::tls::{self, NO_INTERMEDIATES};

/// Which names are accepted once the chain is good.
#[derive(Debug)]
struct Admitted {
    trust_domain: TrustDomain,
    roles: Vec<ProcessRole>,
    /// Empty for a process that has no identity yet, and so knows nothing of its region.
    revocations: Revocations,
}

impl Admitted {
    fn by(identity: &Identity, roles: &[ProcessRole]) -> Self {
        let (trust_domain, revocations) = (identity.trust_domain().clone(), identity.revocations().clone());
        Self { trust_domain, roles: roles.to_vec(), revocations }
    }

    fn check(&self, leaf: &CertificateDer<'_>) -> Result<(), Error> {
        let leaf = Leaf::read(leaf).map_err(refused)?;
        leaf.admit(&self.trust_domain, &self.roles).map_err(refused)?;
        if self.revocations.refuse_leaf(&leaf) {
            tracing::warn!(spiffe_id = %leaf.spiffe_id, "a revoked certificate was presented");
            // As the library's own error: the other end then hears the alert `certificate_revoked` (RFC 8446, section 6.2), and knows why.
            return Err(CertificateError::Revoked.into());
        }
        Ok(())
    }

    /// The chain's error, or, where the certificate claims to be of another region, one that says so: an operator who mixes up two
    /// regions reads which, not only "unknown issuer". Refused either way.
    fn explain(&self, chain: Error, leaf: &CertificateDer<'_>) -> Error {
        match Leaf::read(leaf) {
            Ok(leaf) if leaf.is_foreign(&self.trust_domain) => {
                refused(NameRefused::foreign(&leaf.spiffe_id, &self.trust_domain))
            }
            _ => chain,
        }
    }
}

/// A failed handshake's error with our own reason in plain words, where we were the ones who refused.
pub(super) fn in_plain_words(error: io::Error) -> io::Error {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    if matches!(inner, Some(Error::InvalidCertificate(CertificateError::Revoked))) {
        return io::Error::new(error.kind(), "the certificate is revoked");
    }
    let reason = inner.and_then(|inner| match inner {
        Error::InvalidCertificate(CertificateError::Other(OtherError(ours))) => {
            ours.downcast_ref::<NameRefused>()
        }
        _ => None,
    });
    match reason {
        Some(reason) => io::Error::new(error.kind(), reason.clone()),
        None => error,
    }
}

fn refused(reason: NameRefused) -> Error {
    Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(reason))))
}

/// What a server asks of its callers.
#[derive(Debug)]
pub(super) struct Callers {
    identity: Identity,
    admitted: Admitted,
}

impl Callers {
    pub(super) fn new(identity: Identity, roles: &[ProcessRole]) -> Self {
        let admitted = Admitted::by(&identity, roles);
        Self { identity, admitted }
    }
}

impl ClientCertVerifier for Callers {
    fn client_auth_mandatory(&self) -> bool {
        Guard::CallerCertificate.stands()
    }

    /// No hints: naming the region's roots would only tell strangers about them.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        _behind_it: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if Guard::CallerChain.stands() {
            let current = self.identity.current();
            let at = judged_at(Guard::CallerTime, leaf, now);
            let verified = current.clients.verify_client_cert(leaf, NO_INTERMEDIATES, at);
            verified.map_err(|error| self.admitted.explain(error, leaf))?;
        }
        self.admitted.check(leaf)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &tls::provider().signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        tls::provider().signature_verification_algorithms.supported_schemes()
    }
}

/// How long after its end a certificate still lets its holder ask for a new one. A region whose control plane was away for longer than certificates
/// live comes back by itself within this time; afterwards its processes need join tokens.
///
/// What a thief of an old key gains by it is bounded: it must be the key of the newest certificate of a present member, it opens nothing but the one
/// method that certifies this member's own name, and a revocation ends it.
pub const RECOVERY_GRACE: Duration = Duration::from_secs(7 * 24 * 3600);

/// What the enrollment listener asks of a caller that presents a certificate: all that [`Callers`] ask, but it may have expired.
#[derive(Debug)]
pub(super) struct Returners(Callers);

impl Returners {
    pub(super) fn new(identity: Identity) -> Self {
        Self(Callers::new(identity, &[ProcessRole::Worker, ProcessRole::Router]))
    }
}

impl ClientCertVerifier for Returners {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn client_auth_mandatory(&self) -> bool {
        false
    }

    /// Within the grace, the chain is verified as it was in the leaf's last second.
    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let expires = Leaf::read(leaf).map_err(refused)?.expires.as_micros();
        let expires = u64::try_from(expires / 1_000_000).unwrap_or(0);
        let at = if now.as_secs() <= expires.saturating_add(RECOVERY_GRACE.as_secs()) {
            now.as_secs().min(expires)
        } else {
            now.as_secs()
        };
        self.0.verify_client_cert(leaf, intermediates, UnixTime::since_unix_epoch(Duration::from_secs(at)))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

/// Where a client's trust comes from.
#[derive(Debug)]
enum Trust {
    /// The root that came with its own certificate.
    Root(Identity),
    /// The root with this fingerprint, which the server must send along.
    Pinned(CaFingerprint),
}

/// What a client asks of the server that it dialled.
#[derive(Debug)]
pub(super) struct Server {
    trust: Trust,
    admitted: Admitted,
}

impl Server {
    pub(super) fn of_identity(identity: Identity, role: ProcessRole) -> Self {
        let admitted = Admitted::by(&identity, &[role]);
        Self { trust: Trust::Root(identity), admitted }
    }

    pub(super) fn pinned(fingerprint: CaFingerprint, trust_domain: TrustDomain) -> Self {
        let roles = vec![ProcessRole::ControlPlane];
        let admitted = Admitted { trust_domain, roles, revocations: Revocations::default() };
        Self { trust: Trust::Pinned(fingerprint), admitted }
    }

    fn verify_chain(
        &self,
        leaf: &CertificateDer<'_>,
        behind_it: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        match &self.trust {
            Trust::Root(identity) => tls::verify_server_chain(leaf, &identity.current().roots, now),
            Trust::Pinned(fingerprint) => {
                let root = behind_it
                    .iter()
                    .find(|certificate| sha256(certificate) == fingerprint.0)
                    .ok_or(Error::InvalidCertificate(CertificateError::UnknownIssuer))?;
                admit_root(root, &self.admitted.trust_domain)
                    .map_err(|_problem| Error::InvalidCertificate(CertificateError::UnknownIssuer))?;
                let mut roots = RootCertStore::empty();
                roots.add(root.clone().into_owned())?;
                tls::verify_server_chain(leaf, &roots, now)
            }
        }
    }
}

impl ServerCertVerifier for Server {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if !Guard::ServerCertificate.stands() {
            return Ok(ServerCertVerified::assertion());
        }
        let at = judged_at(Guard::ServerTime, leaf, now);
        self.verify_chain(leaf, intermediates, at).map_err(|error| self.admitted.explain(error, leaf))?;
        self.admitted.check(leaf)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &tls::provider().signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        tls::provider().signature_verification_algorithms.supported_schemes()
    }
}

/// The time that a chain is verified for: now. Without its guard, when the leaf became valid, so that its time alone is not judged.
fn judged_at(guard: Guard, leaf: &CertificateDer<'_>, now: UnixTime) -> UnixTime {
    match Leaf::read(leaf) {
        Ok(leaf) if !guard.stands() => {
            UnixTime::since_unix_epoch(Duration::from_millis(leaf.issued.as_millis()))
        }
        _ => now,
    }
}

/// Never asked: only TLS 1.3 is offered.
fn tls12() -> Error {
    Error::PeerIncompatible(PeerIncompatible::Tls12NotOffered)
}
