//! The client's end of a connection.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bailiwick_domain::key::CaFingerprint;
use bailiwick_domain::spiffe::{ProcessRole, TrustDomain};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::acceptor::{HANDSHAKE_TIMEOUT, late};
use super::revocation::Revocations;
use super::tls::{self, Presented};
use super::verify::{Server, in_plain_words};
use super::{ClientStream, Identity, Peer};
use crate::socket::Socket;

/// How long a TCP connection may take to open.
const DIAL_TIMEOUT: Duration = Duration::from_secs(5);

/// Dials an address and verifies who answers. Implemented by [`Connector`] and [`PinnedConnector`].
pub trait Dial: Clone + Send + Sync + 'static {
    /// Opens a TCP connection (within 5 seconds) with `TCP_NODELAY` and shakes hands (within 10).
    ///
    /// # Errors
    /// Nobody listens, or whoever answers is not whom this connector expects.
    fn connect(&self, address: SocketAddr) -> impl Future<Output = io::Result<ClientStream>> + Send;

    /// The same, speaking one application protocol (ALPN).
    #[must_use]
    fn speaking(&self, protocol: &[u8]) -> Self;
}

/// Dials processes of this region in one role, with mutual TLS. Cheap to clone.
#[derive(Clone)]
pub struct Connector {
    config: Arc<ClientConfig>,
    identity: Identity,
    expected: ProcessRole,
}

impl Connector {
    /// A connector that presents `identity` and wants a peer of its trust domain in the role `expected`.
    ///
    /// # Errors
    /// The TLS library refuses its settings, which means that it was built without TLS 1.3.
    pub fn new(identity: Identity, expected: ProcessRole) -> Result<Self, rustls::Error> {
        let verifier = Arc::new(Server::of_identity(identity.clone(), expected));
        let presented = Arc::new(Presented { identity: identity.clone(), with_root: false });
        Ok(Self { config: Arc::new(tls::client_config(verifier, Some(presented))?), identity, expected })
    }

    /// What is presented.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// See [`Dial::connect`].
    ///
    /// # Errors
    /// As there. With TLS 1.3 the client is done before the server has looked at its certificate, so a refusal of *this* process
    /// shows at the first read.
    pub async fn connect(&self, address: SocketAddr) -> io::Result<ClientStream> {
        let root = self.identity.root_fingerprint();
        let stream = connect(&self.config, address, &root).await?;
        let peer = verified(&stream, address, self.identity.revocations())?;
        // Of all that a process dials, only its control plane knows whose certificates are revoked.
        let counts = self.expected == ProcessRole::ControlPlane;
        Ok(ClientStream::new(stream, peer, counts.then(|| self.identity.clone())))
    }
}

impl Dial for Connector {
    async fn connect(&self, address: SocketAddr) -> io::Result<ClientStream> {
        Self::connect(self, address).await
    }

    fn speaking(&self, protocol: &[u8]) -> Self {
        let (identity, expected) = (self.identity.clone(), self.expected);
        Self { config: speaking(&self.config, protocol), identity, expected }
    }
}

/// Dials the enrollment listener of a region's control plane: trusts only the root whose fingerprint the join token
/// carries, and presents no certificate, because its process has none yet.
#[derive(Clone)]
pub struct PinnedConnector {
    config: Arc<ClientConfig>,
    root: CaFingerprint,
}

impl PinnedConnector {
    /// A connector that wants a control plane of `trust_domain` under the root with this fingerprint.
    ///
    /// # Errors
    /// As [`Connector::new`].
    pub fn new(fingerprint: CaFingerprint, trust_domain: TrustDomain) -> Result<Self, rustls::Error> {
        let verifier = Arc::new(Server::pinned(fingerprint, trust_domain));
        Ok(Self { config: Arc::new(tls::client_config(verifier, None)?), root: fingerprint })
    }

    /// See [`Dial::connect`].
    ///
    /// # Errors
    /// As there.
    pub async fn connect(&self, address: SocketAddr) -> io::Result<ClientStream> {
        let stream = connect(&self.config, address, &self.root).await?;
        let peer = verified(&stream, address, &Revocations::default())?;
        Ok(ClientStream::new(stream, peer, None))
    }
}

impl Dial for PinnedConnector {
    async fn connect(&self, address: SocketAddr) -> io::Result<ClientStream> {
        Self::connect(self, address).await
    }

    fn speaking(&self, protocol: &[u8]) -> Self {
        Self { config: speaking(&self.config, protocol), root: self.root }
    }
}

fn verified(stream: &TlsStream<Socket>, address: SocketAddr, revocations: &Revocations) -> io::Result<Peer> {
    let chain = stream.get_ref().1.peer_certificates();
    Peer::verified(chain, address, revocations).map_err(io::Error::other)
}

fn speaking(config: &ClientConfig, protocol: &[u8]) -> Arc<ClientConfig> {
    let mut config = config.clone();
    config.alpn_protocols = vec![protocol.to_vec()];
    Arc::new(config)
}

async fn connect(
    config: &Arc<ClientConfig>,
    address: SocketAddr,
    root: &CaFingerprint,
) -> io::Result<TlsStream<Socket>> {
    let stream =
        tokio::time::timeout(DIAL_TIMEOUT, TcpStream::connect(address)).await.map_err(|_elapsed| {
            io::Error::new(
                io::ErrorKind::TimedOut,
                format!("no answer from {address} in {} s", DIAL_TIMEOUT.as_secs()),
            )
        })??;
    stream.set_nodelay(true)?;
    // Not checked: the verifier looks at the SPIFFE id.
    let name = ServerName::try_from(tls::hint(root)).map_err(io::Error::other)?;
    let handshake = TlsConnector::from(Arc::clone(config)).connect(name, Socket::from(stream));
    tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake)
        .await
        .map_err(|_elapsed| late())?
        .map_err(in_plain_words)
}
