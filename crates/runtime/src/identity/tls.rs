//! The TLS settings that all ends share: one provider, TLS 1.3 only, no resumption, certificates looked up at each handshake.

use std::sync::{Arc, OnceLock};

use bailiwick_domain::guard::Guard;
use bailiwick_domain::key::CaFingerprint;
use rustls::client::danger::ServerCertVerifier;
use rustls::client::{ResolvesClientCert, Resumption, verify_server_cert_signed_by_trust_anchor};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ClientHello, NoServerSessionStorage, ParsedCertificate, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore, ServerConfig, SignatureScheme};

use super::Identity;
use super::material::Current;

/// Named explicitly to every builder: a process-wide default would depend on which crate of the graph came first.
///
/// Of all signatures, only those are verified that a region's authority makes and certifies: ECDSA on P-256 with SHA-256. A certificate with another kind of key was not
/// issued by it as it is.
pub(super) fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    let ours = || {
        let every = rustls::crypto::aws_lc_rs::default_provider();
        let signature_verification_algorithms = issued(every.signature_verification_algorithms);
        Arc::new(CryptoProvider { signature_verification_algorithms, ..every })
    };
    Arc::clone(PROVIDER.get_or_init(ours))
}

/// Without it, none: then nobody is admitted.
fn issued(every: WebPkiSupportedAlgorithms) -> WebPkiSupportedAlgorithms {
    let p256 = every.mapping.iter().find(|(scheme, _)| *scheme == SignatureScheme::ECDSA_NISTP256_SHA256);
    match p256 {
        // The first is the one of TLS 1.3, where the scheme says the curve (RFC 8446, section 4.2.3).
        Some(known @ (_, algorithms)) => WebPkiSupportedAlgorithms {
            all: algorithms.get(..1).unwrap_or_default(),
            mapping: std::slice::from_ref(known),
        },
        None => WebPkiSupportedAlgorithms { all: &[], mapping: &[] },
    }
}

/// A server that presents `identity`, and asks for client certificates as `verifier` says.
pub(super) fn server_config(
    verifier: Arc<dyn ClientCertVerifier>,
    resolver: Arc<dyn ResolvesServerCert>,
) -> Result<ServerConfig, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(resolver);
    // A resumed session is not verified again: neither tickets nor a session cache, on either side.
    if Guard::FullHandshake.stands() {
        config.send_tls13_tickets = 0;
        config.session_storage = Arc::new(NoServerSessionStorage {});
    }
    Ok(config)
}

/// A client that presents `client_certificate` if there is one, and verifies the server as `verifier` says.
pub(super) fn client_config(
    verifier: Arc<dyn ServerCertVerifier>,
    client_certificate: Option<Arc<dyn ResolvesClientCert>>,
) -> Result<ClientConfig, rustls::Error> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .dangerous() // no danger: our verifier checks more than the default one, see `verify`
        .with_custom_certificate_verifier(verifier);
    let mut config = match client_certificate {
        Some(resolver) => builder.with_client_cert_resolver(resolver),
        None => builder.with_no_client_auth(),
    };
    config.resumption = Resumption::disabled();
    // Ours are found by address, and their names are no host names. What is sent in the place of one is a hint, see `hint`.
    config.enable_sni = true;
    Ok(config)
}

/// No authority stands between a region's root and its leaves. What a peer sends behind its leaf leads nowhere, also if the root has signed it: the library does not
/// look at a root's own limit to the length of a path.
pub(super) const NO_INTERMEDIATES: &[CertificateDer<'static>] = &[];

pub(super) fn verify_server_chain(
    leaf: &CertificateDer<'_>,
    roots: &RootCertStore,
    now: UnixTime,
) -> Result<(), rustls::Error> {
    let parsed = ParsedCertificate::try_from(leaf)?;
    let algorithms = provider().signature_verification_algorithms.all;
    verify_server_cert_signed_by_trust_anchor(&parsed, roots, NO_INTERMEDIATES, now, algorithms)
}

/// Stands in the place of a server's name (RFC 6066, section 3): the root by which the client will verify. While a region changes from one root to another,
/// a server that holds a certificate of each presents the one that the client can verify. It is no more than a hint, and says of the root
/// what the server's certificate says anyway.
pub(super) fn hint(root: &CaFingerprint) -> String {
    let digits: String = root.to_string().chars().filter(char::is_ascii_hexdigit).take(HINT_DIGITS).collect();
    format!("{digits}.root.bailiwick.invalid")
}

/// Hexadecimal digits of a root's fingerprint in a [`hint`]: enough to tell two from each other.
const HINT_DIGITS: usize = 32;

/// The identity's certificate of this moment; with the root behind it where the other end knows only a fingerprint.
#[derive(Debug)]
pub(super) struct Presented {
    pub(super) identity: Identity,
    pub(super) with_root: bool,
}

impl Presented {
    fn certified(&self) -> Arc<CertifiedKey> {
        self.chosen(&self.identity.current())
    }

    fn chosen(&self, current: &Current) -> Arc<CertifiedKey> {
        Arc::clone(if self.with_root { &current.certified_with_root } else { &current.certified })
    }
}

impl ResolvesServerCert for Presented {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let standby = self.identity.standby();
        let wanted = standby.as_deref().filter(|standby| {
            hello.server_name().is_some_and(|name| name == hint(&standby.root_fingerprint))
        });
        Some(wanted.map_or_else(|| self.certified(), |standby| self.chosen(standby)))
    }
}

impl ResolvesClientCert for Presented {
    fn resolve(&self, _root_hints: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.certified())
    }

    fn has_certs(&self) -> bool {
        true
    }
}
