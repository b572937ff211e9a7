//! The proof that the other end of a connection was verified, and what a certificate says about its holder.

use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::Arc;

use bailiwick_domain::guard::Guard;
use bailiwick_domain::spiffe::{ProcessRole, SpiffeId, TrustDomain};
use bailiwick_domain::time::{Clock, SystemClock, Timestamp};
use rustls::pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::revocation::Revocations;

/// The verified other end of a connection. Only a completed handshake makes one, and nothing can change it afterwards; so a function
/// that takes a `Peer` knows that chain, trust domain, role and revocation were checked. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Peer {
    verified: Arc<VerifiedPeer>,
    revocations: Revocations,
}

/// What a [`Peer`] says.
#[derive(Debug)]
#[non_exhaustive]
pub struct VerifiedPeer {
    /// Its name: trust domain, role and process.
    pub spiffe: SpiffeId,
    /// SHA-256 of its leaf certificate's DER.
    pub fingerprint: [u8; 32],
    /// When its certificate became valid.
    pub issued: Timestamp,
    /// When its certificate expires.
    pub expires: Timestamp,
    /// The address at the other end of the connection.
    pub remote: SocketAddr,
}

impl Peer {
    /// The caller must have taken the certificates from a connection whose handshake is complete.
    pub(super) fn verified(
        chain: Option<&[CertificateDer<'_>]>,
        remote: SocketAddr,
        revocations: &Revocations,
    ) -> Result<Self, NameRefused> {
        let leaf = chain.and_then(<[_]>::first).ok_or(NameRefused::NoCertificate)?;
        let leaf = Leaf::read(leaf)?;
        let verified = VerifiedPeer {
            spiffe: leaf.spiffe_id,
            fingerprint: leaf.fingerprint,
            issued: leaf.issued,
            expires: leaf.expires,
            remote,
        };
        Ok(Self { verified: Arc::new(verified), revocations: revocations.clone() })
    }

    /// Whether its certificate was revoked after the handshake.
    pub fn is_revoked(&self) -> bool {
        self.revocations.refuse(&self.spiffe, self.issued)
    }

    /// Resolves once its certificate is revoked.
    pub async fn revoked(&self) {
        self.revocations.refused(&self.spiffe, self.issued).await;
    }

    /// Resolves once its certificate has expired or is revoked: a peer is as good as what it presented.
    pub async fn forfeited(&self) {
        tokio::select! {
            () = self.revoked() => {}
            () = tokio::time::sleep(self.expires.saturating_since(SystemClock.now())) => {}
        }
    }
}

impl Deref for Peer {
    type Target = VerifiedPeer;

    fn deref(&self) -> &VerifiedPeer {
        &self.verified
    }
}

/// Why the name in a certificate is not accepted. Carries only names that parsed, so it is safe to log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameRefused {
    /// The other end presented nothing.
    #[error("no certificate was presented")]
    NoCertificate,
    /// Not an X.509 certificate that can be read.
    #[error("the certificate cannot be read")]
    Unreadable,
    /// SPIFFE wants exactly one URI name.
    #[error("the certificate must have exactly one URI name, found {found}")]
    NotOneUri {
        /// How many URI names there are.
        found: usize,
    },
    /// The URI name is not `spiffe://<region>.<installation>/<role>/<name>`.
    #[error("the certificate's URI name is not a SPIFFE id of this system")]
    NotSpiffe,
    /// It belongs to another region or installation.
    #[error(
        "the certificate claims {claimed}, which belongs to another trust domain; here is {ours}: connect to a process of the region that issued it"
    )]
    ForeignTrustDomain {
        /// What the certificate claims.
        claimed: String,
        /// The trust domain of this process.
        ours: String,
    },
    /// It is of this region, but in a role that is not admitted here.
    #[error("the certificate's role {found} is not admitted here, expected {admitted}")]
    Role {
        /// Its role.
        found: String,
        /// The admitted roles.
        admitted: String,
    },
}

impl NameRefused {
    pub(super) fn foreign(claimed: &SpiffeId, ours: &TrustDomain) -> Self {
        Self::ForeignTrustDomain { claimed: claimed.to_string(), ours: ours.to_string() }
    }
}

/// What a leaf certificate says; not verified.
pub(super) struct Leaf {
    pub(super) spiffe_id: SpiffeId,
    pub(super) fingerprint: [u8; 32],
    pub(super) issued: Timestamp,
    pub(super) expires: Timestamp,
}

impl Leaf {
    pub(super) fn read(der: &CertificateDer<'_>) -> Result<Self, NameRefused> {
        let (rest, certificate) = X509Certificate::from_der(der).map_err(|_error| NameRefused::Unreadable)?;
        if !rest.is_empty() {
            return Err(NameRefused::Unreadable);
        }
        let seconds = |time: x509_parser::time::ASN1Time| {
            Timestamp::from_micros(time.timestamp().saturating_mul(1_000_000))
        };
        Ok(Self {
            spiffe_id: one_uri(&certificate)?.parse().map_err(|_error| NameRefused::NotSpiffe)?,
            fingerprint: sha256(der),
            issued: seconds(certificate.validity().not_before),
            expires: seconds(certificate.validity().not_after),
        })
    }

    /// Whether it names another trust domain.
    pub(super) fn is_foreign(&self, ours: &TrustDomain) -> bool {
        self.spiffe_id.trust_domain != *ours && Guard::TrustDomain.stands()
    }

    /// Whether it is of this trust domain, and in one of these roles.
    pub(super) fn admit(&self, ours: &TrustDomain, roles: &[ProcessRole]) -> Result<(), NameRefused> {
        if self.is_foreign(ours) {
            return Err(NameRefused::foreign(&self.spiffe_id, ours));
        }
        if roles.contains(&self.spiffe_id.role) || !Guard::Role.stands() {
            return Ok(());
        }
        let admitted: Vec<String> = roles.iter().map(ToString::to_string).collect();
        Err(NameRefused::Role { found: self.spiffe_id.role.to_string(), admitted: admitted.join(", ") })
    }
}

/// The one URI name. Counted by a parser that also counts names which webpki would skip as invalid.
fn one_uri<'a>(certificate: &'a X509Certificate<'a>) -> Result<&'a str, NameRefused> {
    let names = certificate.subject_alternative_name().map_err(|_error| NameRefused::Unreadable)?;
    let uris: Vec<&str> = names
        .iter()
        .flat_map(|extension| &extension.value.general_names)
        .filter_map(|name| match name {
            GeneralName::URI(uri) => Some(*uri),
            _ => None,
        })
        .collect();
    match uris.as_slice() {
        [uri] => Ok(uri),
        other => Err(NameRefused::NotOneUri { found: other.len() }),
    }
}

/// Whether a root certificate says of itself that it is this trust domain's root, and nothing else: its one URI name is `spiffe://<trust domain>`. What is trusted
/// besides has come over a connection that a present root authenticates, or from this process's own files.
pub(super) fn admit_root(der: &CertificateDer<'_>, ours: &TrustDomain) -> Result<(), &'static str> {
    let (rest, root) = X509Certificate::from_der(der).map_err(|_error| "it cannot be read")?;
    if !rest.is_empty() {
        return Err("it cannot be read");
    }
    if !root.is_ca() {
        return Err("it is no certificate of an authority");
    }
    let name = one_uri(&root).map_err(|_error| "it must have exactly one URI name")?;
    if name == format!("spiffe://{ours}") { Ok(()) } else { Err("its name is another one") }
}

pub(super) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    let mut fingerprint = [0; 32];
    fingerprint.copy_from_slice(digest.as_ref());
    fingerprint
}
