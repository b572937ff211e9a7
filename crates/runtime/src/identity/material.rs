//! What an identity is made of, and the checks that it passes before it is used.

use std::path::PathBuf;
use std::sync::Arc;

use bailiwick_domain::key::CaFingerprint;
use bailiwick_domain::spiffe::{SpiffeId, TrustDomain};
use bailiwick_domain::time::Timestamp;
use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::sign::CertifiedKey;
use secrecy::{ExposeSecret, SecretString};

use super::peer::{Leaf, NameRefused, admit_root, sha256};
use super::tls::{self, NO_INTERMEDIATES};

/// A certificate chain, its key and the roots that are trusted, as PEM text. `Debug` shows no key.
#[derive(Debug, Clone)]
pub struct Material {
    /// The region's self-signed root; two while the region changes from one to the other.
    pub root_pem: String,
    /// The leaf, which a root has signed itself. What follows it is sent along, and nobody looks at it.
    pub certificate_pem: String,
    /// The leaf's private key, PKCS #8.
    pub key_pem: SecretString,
}

/// Why an identity cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// A file cannot be read or written.
    #[error("cannot {action} {}", path.display())]
    File {
        /// What was tried: "read", "write", …
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The private key's file admits others than its owner and group.
    #[error("{} has mode {mode:04o}: a private key must not be accessible to others, nor writable by its group; chmod 0600", path.display())]
    Permissive {
        /// The key file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A PEM text does not hold what it should.
    #[error("{what} is not readable: {problem}")]
    Malformed {
        /// Which of the three.
        what: &'static str,
        /// What is wrong with it; never its content.
        problem: String,
    },
    /// The roots' file must hold one certificate, or two.
    #[error(
        "the trust store must hold one root certificate, or two while the region changes them; found {found}"
    )]
    Roots {
        /// How many there are.
        found: usize,
    },
    /// A root that does not say that it is this trust domain's, and nothing else's.
    #[error("a root certificate is not one of {expected}: {problem}")]
    ForeignRoot {
        /// This trust domain.
        expected: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The key belongs to another certificate.
    #[error("the private key does not belong to the certificate")]
    KeyMismatch,
    /// The certificate was not issued under the root.
    #[error("the certificate does not chain to the root: {0}")]
    Chain(rustls::Error),
    /// The certificate's name is not one of this trust domain.
    #[error("the certificate's name is refused: {0}")]
    Name(#[from] NameRefused),
}

/// A checked identity in the form that handshakes need.
pub(super) struct Current {
    pub(super) spiffe_id: SpiffeId,
    pub(super) issued: Timestamp,
    pub(super) expires: Timestamp,
    pub(super) fingerprint: [u8; 32],
    /// The root that the leaf chains to.
    pub(super) root_fingerprint: CaFingerprint,
    /// Everything that is trusted: one or two.
    pub(super) trusted: Vec<[u8; 32]>,
    /// What all of this was made of.
    pub(super) material: Material,
    pub(super) certified: Arc<CertifiedKey>,
    /// The same with the root at the end of the chain, for callers that know only the root's fingerprint.
    pub(super) certified_with_root: Arc<CertifiedKey>,
    pub(super) roots: Arc<RootCertStore>,
    pub(super) clients: Arc<dyn ClientCertVerifier>,
}

impl Current {
    pub(super) fn check(material: &Material, trust_domain: &TrustDomain) -> Result<Self, IdentityError> {
        let chain = certificates("the certificate", &material.certificate_pem)?;
        let key = PrivateKeyDer::from_pem_slice(material.key_pem.expose_secret().as_bytes())
            .map_err(|error| malformed("the private key", &error))?;

        let provider = tls::provider();
        let signing_key = provider
            .key_provider
            .load_private_key(key)
            .map_err(|error| malformed("the private key", &error))?;
        let certified = CertifiedKey::new(chain.clone(), Arc::clone(&signing_key));
        certified.keys_match().map_err(|_mismatch| IdentityError::KeyMismatch)?;

        let leaf_der = chain.first().ok_or_else(|| malformed("the certificate", &"no certificate in it"))?;
        let leaf = Leaf::read(leaf_der)?;
        if leaf.spiffe_id.trust_domain != *trust_domain {
            return Err(NameRefused::foreign(&leaf.spiffe_id, trust_domain).into());
        }

        let trusted = trusted_roots(&material.root_pem, trust_domain)?;
        let (roots, clients) = verifier_of(&trusted, &provider)?;
        let root = issuer_of(&chain, &trusted, leaf.issued)?;

        let mut chain_with_root = chain;
        let fingerprint = leaf.fingerprint;
        chain_with_root.push(root.clone());
        Ok(Self {
            spiffe_id: leaf.spiffe_id,
            issued: leaf.issued,
            expires: leaf.expires,
            fingerprint,
            root_fingerprint: CaFingerprint(sha256(&root)),
            trusted: trusted.iter().map(|root| sha256(root)).collect(),
            material: material.clone(),
            certified: Arc::new(certified),
            certified_with_root: Arc::new(CertifiedKey::new(chain_with_root, signing_key)),
            roots,
            clients,
        })
    }
}

/// Whether the chain leads to the root, at the moment when the leaf became valid: an expired certificate still says who it was for.
fn chains_to(
    clients: &Arc<dyn ClientCertVerifier>,
    roots: &RootCertStore,
    chain: &[CertificateDer<'static>],
    issued: Timestamp,
) -> Result<(), IdentityError> {
    let Some(leaf) = chain.first() else {
        return Err(malformed("the certificate", &"no certificate in it"));
    };
    let seconds = u64::try_from(issued.as_micros() / 1_000_000).unwrap_or(0);
    let at = UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
    // A certificate may be restricted to one end of a connection by its extended key usage.
    let as_client = clients.verify_client_cert(leaf, NO_INTERMEDIATES, at).map(|_verified| ());
    as_client.or_else(|_not_a_client| tls::verify_server_chain(leaf, roots, at)).map_err(IdentityError::Chain)
}

type ClientVerifier = (Arc<RootCertStore>, Arc<dyn ClientCertVerifier>);

fn verifier_of(
    roots: &[CertificateDer<'static>],
    provider: &Arc<CryptoProvider>,
) -> Result<ClientVerifier, IdentityError> {
    let mut store = RootCertStore::empty();
    for root in roots {
        store.add(root.clone()).map_err(IdentityError::Chain)?;
    }
    let store = Arc::new(store);
    let clients = WebPkiClientVerifier::builder_with_provider(Arc::clone(&store), Arc::clone(provider))
        .build()
        .map_err(|error| malformed("the root certificate", &error))?;
    Ok((store, clients))
}

/// The root that the chain leads to, of those that are trusted.
fn issuer_of(
    chain: &[CertificateDer<'static>],
    trusted: &[CertificateDer<'static>],
    issued: Timestamp,
) -> Result<CertificateDer<'static>, IdentityError> {
    let mut refused = IdentityError::Roots { found: 0 };
    for root in trusted {
        let (store, clients) = verifier_of(std::slice::from_ref(root), &tls::provider())?;
        match chains_to(&clients, &store, chain, issued) {
            Ok(()) => return Ok(root.clone()),
            Err(error) => refused = error,
        }
    }
    Err(refused)
}

/// One root, or two; each of this trust domain.
fn trusted_roots(
    pem: &str,
    trust_domain: &TrustDomain,
) -> Result<Vec<CertificateDer<'static>>, IdentityError> {
    let roots = certificates("the root certificate", pem)?;
    if roots.len() > 2 {
        return Err(IdentityError::Roots { found: roots.len() });
    }
    for root in &roots {
        admit_root(root, trust_domain)
            .map_err(|problem| IdentityError::ForeignRoot { expected: trust_domain.to_string(), problem })?;
    }
    Ok(roots)
}

pub(super) fn certificates(
    what: &'static str,
    pem: &str,
) -> Result<Vec<CertificateDer<'static>>, IdentityError> {
    let found: Vec<_> = CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|error| malformed(what, &error))?;
    if found.is_empty() { Err(malformed(what, &"no PEM certificate in it")) } else { Ok(found) }
}

pub(super) fn malformed(what: &'static str, problem: &dyn std::fmt::Display) -> IdentityError {
    IdentityError::Malformed { what, problem: problem.to_string() }
}

/// The fingerprint of the first root in a `ca.pem`, for whoever holds no certificate and still has to know a region's control plane.
///
/// # Errors
/// There is no certificate in it, or it is the root of another trust domain.
pub fn root_fingerprint(pem: &str, trust_domain: &TrustDomain) -> Result<CaFingerprint, IdentityError> {
    let roots = trusted_roots(pem, trust_domain)?;
    let first = roots.first().ok_or_else(|| malformed("the root certificate", &"it is missing"))?;
    Ok(CaFingerprint(sha256(first)))
}
