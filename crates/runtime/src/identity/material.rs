//! What an identity is made of, and the checks that it passes before it is used.

use std::path::PathBuf;
use std::sync::Arc;

use bailiwick_domain::key::CaFingerprint;
use bailiwick_domain::spiffe::{SpiffeId, TrustDomain};
use bailiwick_domain::time::Timestamp;
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::sign::CertifiedKey;
use secrecy::{ExposeSecret, SecretString};

use super::peer::{Leaf, NameRefused, sha256};
use super::tls;

/// A certificate chain, its key and the root that it chains to, as PEM text. `Debug` shows no key.
#[derive(Debug, Clone)]
pub struct Material {
    /// Exactly one certificate: the region's self-signed root.
    pub root_pem: String,
    /// The leaf first, then intermediates if there are any; never the root.
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
    /// The root's file must hold one certificate.
    #[error("the trust store must hold exactly one root certificate, found {found}")]
    NotOneRoot {
        /// How many there are.
        found: usize,
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
    pub(super) root_fingerprint: CaFingerprint,
    pub(super) certified: Arc<CertifiedKey>,
    /// The same with the root at the end of the chain, for callers that know only the root's fingerprint.
    pub(super) certified_with_root: Arc<CertifiedKey>,
    pub(super) roots: Arc<RootCertStore>,
    pub(super) clients: Arc<dyn ClientCertVerifier>,
}

impl Current {
    pub(super) fn check(material: &Material, trust_domain: &TrustDomain) -> Result<Self, IdentityError> {
        let root = one_root(&material.root_pem)?;
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

        let mut store = RootCertStore::empty();
        store.add(root.clone()).map_err(IdentityError::Chain)?;
        let roots = Arc::new(store);
        let clients = WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), provider)
            .build()
            .map_err(|error| malformed("the root certificate", &error))?;
        chains_to(&clients, &roots, &chain, leaf.issued)?;

        let mut chain_with_root = chain;
        let fingerprint = leaf.fingerprint;
        chain_with_root.push(root.clone());
        Ok(Self {
            spiffe_id: leaf.spiffe_id,
            issued: leaf.issued,
            expires: leaf.expires,
            fingerprint,
            root_fingerprint: CaFingerprint(sha256(&root)),
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
    let Some((leaf, intermediates)) = chain.split_first() else {
        return Err(malformed("the certificate", &"no certificate in it"));
    };
    let seconds = u64::try_from(issued.as_micros() / 1_000_000).unwrap_or(0);
    let at = UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
    // A certificate may be restricted to one end of a connection by its extended key usage.
    let as_client = clients.verify_client_cert(leaf, intermediates, at).map(|_verified| ());
    as_client
        .or_else(|_not_a_client| tls::verify_server_chain(leaf, intermediates, roots, at))
        .map_err(IdentityError::Chain)
}

fn one_root(pem: &str) -> Result<CertificateDer<'static>, IdentityError> {
    let mut roots = certificates("the root certificate", pem)?;
    match (roots.pop(), roots.len()) {
        (Some(root), 0) => Ok(root),
        (_, others) => Err(IdentityError::NotOneRoot { found: others + 1 }),
    }
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
