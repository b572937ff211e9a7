//! What a router presents to callers from outside: certificates of public names, which an operator or a certificate manager puts into files.
//!
//! The name that the caller asks for (SNI, RFC 6066) picks the certificate. A caller that asks for a name which none of them has is refused
//! in the handshake, before a byte of its request was read; one that asks for none, as by an address, gets the first.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::client::verify_server_name;
use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use zeroize::Zeroizing;

use super::acceptor;
use super::files::refuse_permissive;
use super::material::{IdentityError, certificates, malformed};
use super::tls::provider;
use crate::socket::Socket;

/// How often the files are looked at.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// Where a certificate lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// PEM: the leaf first, then intermediates.
    pub certificate: PathBuf,
    /// PEM: the leaf's private key. Others than its owner and group may not read it.
    pub key: PathBuf,
}

/// Accepts TLS 1.2 and 1.3 from callers of whom no certificate is asked. Cheap to clone; all clones see new certificates at once.
#[derive(Clone)]
pub struct PublicAcceptor {
    config: Arc<ServerConfig>,
    presented: Arc<Presented>,
}

/// The certificates of this moment.
#[derive(Debug)]
struct Presented {
    files: Vec<CertificateFiles>,
    certified: ArcSwap<Vec<Arc<CertifiedKey>>>,
}

impl PublicAcceptor {
    /// Reads the certificates.
    ///
    /// # Errors
    /// There are none, a file is missing or malformed, or a key belongs to another certificate or is readable by others.
    pub fn load(files: Vec<CertificateFiles>) -> Result<Self, IdentityError> {
        let certified = ArcSwap::from_pointee(read_all(&files)?);
        let presented = Arc::new(Presented { files, certified });
        let failed = |error: rustls::Error| malformed("the public certificate", &error);
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(failed)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&presented) as Arc<dyn ResolvesServerCert>);
        // Nobody is identified by the handshake, so a resumed one skips no check. Tickets rather than a cache: cores share nothing.
        config.ticketer = Ticketer::new().map_err(failed)?;
        // Callers that offer HTTP/2 as well get HTTP/1.1.
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { config: Arc::new(config), presented })
    }

    /// Shakes hands, within 10 seconds.
    ///
    /// # Errors
    /// The caller speaks no TLS, asks for a name that no certificate has, or takes too long.
    pub async fn accept(&self, stream: TcpStream) -> io::Result<(TlsStream<Socket>, SocketAddr)> {
        acceptor::accept(&self.config, stream).await
    }

    /// Follows the files until `stopped` resolves: a renewed certificate is presented within a second or two. What cannot be loaded is logged and
    /// tried again; the present certificates stay.
    pub async fn watch_files(&self, stopped: impl Future<Output = ()>) {
        tokio::select! {
            () = self.follow() => {}
            () = stopped => {}
        }
    }

    async fn follow(&self) {
        let mut loaded = None;
        let mut refused: Option<String> = None;
        loop {
            let now = Some(self.presented.changed_at());
            if now != loaded {
                match read_all(&self.presented.files) {
                    Ok(new) => {
                        self.presented.certified.store(Arc::new(new));
                        (loaded, refused) = (now, None);
                    }
                    // Once per reason: files that are half written are seen again a second later.
                    Err(error) => {
                        let reason = error.to_string();
                        if refused.as_ref() != Some(&reason) {
                            tracing::warn!(%reason, "public certificate refused, the present one stays");
                        }
                        refused = Some(reason);
                    }
                }
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }
}

impl Presented {
    /// When each file last changed, as far as it can be told.
    fn changed_at(&self) -> Vec<Option<SystemTime>> {
        let paths = self.files.iter().flat_map(|files| [&files.certificate, &files.key]);
        paths.map(|path| fs::metadata(path).and_then(|file| file.modified()).ok()).collect()
    }
}

impl ResolvesServerCert for Presented {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let certified = self.certified.load();
        let Some(name) = hello.server_name() else { return certified.first().cloned() };
        let name = ServerName::try_from(name).ok()?;
        certified.iter().find(|certified| is_for(certified, &name)).cloned()
    }
}

fn is_for(certified: &CertifiedKey, name: &ServerName<'_>) -> bool {
    let leaf = certified.end_entity_cert().and_then(ParsedCertificate::try_from);
    leaf.is_ok_and(|leaf| verify_server_name(&leaf, name).is_ok())
}

fn read_all(files: &[CertificateFiles]) -> Result<Vec<Arc<CertifiedKey>>, IdentityError> {
    if files.is_empty() {
        return Err(malformed("the public certificate", &"none is named"));
    }
    files.iter().map(|files| read(files).map(Arc::new)).collect()
}

fn read(files: &CertificateFiles) -> Result<CertifiedKey, IdentityError> {
    refuse_permissive(&files.key)?;
    let chain = certificates("the public certificate", &text(&files.certificate)?)?;
    let key = PrivateKeyDer::from_pem_slice(text(&files.key)?.as_bytes())
        .map_err(|error| malformed("the public certificate's key", &error))?;
    let signing_key = provider()
        .key_provider
        .load_private_key(key)
        .map_err(|error| malformed("the public certificate's key", &error))?;
    let certified = CertifiedKey::new(chain, signing_key);
    certified.keys_match().map_err(|_mismatch| IdentityError::KeyMismatch)?;
    Ok(certified)
}

fn text(path: &Path) -> Result<Zeroizing<String>, IdentityError> {
    let failed = |source| IdentityError::File { action: "read", path: path.to_owned(), source };
    fs::read_to_string(path).map(Zeroizing::new).map_err(failed)
}

/// Opaque: a key is never printed.
impl std::fmt::Debug for PublicAcceptor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PublicAcceptor({} certificates)", self.presented.certified.load().len())
    }
}
