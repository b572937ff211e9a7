//! The server's end of a connection.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bailiwick_domain::spiffe::{ProcessRole, SpiffeId};
use bailiwick_domain::time::Timestamp;
use rustls::ServerConfig;
use rustls::server::WebPkiClientVerifier;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::peer::Leaf;
use super::revocation::Revocations;
use super::tls::{self, Presented};
use super::verify::{Callers, Returners, in_plain_words};
use super::{Identity, Peer};
use crate::socket::Socket;

/// How long a handshake may take.
pub(crate) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Accepts mutual TLS from processes of this region in the given roles. Cheap to clone.
#[derive(Clone)]
pub struct Acceptor {
    config: Arc<ServerConfig>,
    revocations: Revocations,
}

impl Acceptor {
    /// An acceptor that presents `identity` and admits peers of its trust domain in one of `roles`; none are admitted when it
    /// is empty.
    ///
    /// # Errors
    /// The TLS library refuses its settings, which means that it was built without TLS 1.3.
    pub fn new(identity: Identity, roles: &[ProcessRole]) -> Result<Self, rustls::Error> {
        let verifier = Arc::new(Callers::new(identity.clone(), roles));
        let revocations = identity.revocations().clone();
        let presented = Arc::new(Presented { identity, with_root: false });
        Ok(Self { config: Arc::new(tls::server_config(verifier, presented)?), revocations })
    }

    /// The same, speaking one application protocol (ALPN): `h2` or `http/1.1`. A caller that offers only others is refused, so a
    /// connection meant for one kind of listener is never understood by another.
    pub(crate) fn speaking(&self, protocol: &[u8]) -> Self {
        Self { config: speaking(&self.config, protocol), revocations: self.revocations.clone() }
    }

    /// Shakes hands, within 10 seconds. Whoever keeps the connection ends it when the peer's certificate does, see [`Peer::forfeited`].
    ///
    /// # Errors
    /// The peer has no certificate or a revoked one, is of another region, in a role that is not admitted, or not in time; the message names the
    /// reason and no secret.
    pub async fn accept(&self, stream: TcpStream) -> io::Result<(TlsStream<Socket>, Peer)> {
        let (stream, remote) = accept(&self.config, stream).await?;
        let chain = stream.get_ref().1.peer_certificates();
        let peer = Peer::verified(chain, remote, &self.revocations).map_err(io::Error::other)?;
        Ok((stream, peer))
    }
}

/// Accepts TLS from callers that have no certificate yet, or none that is good any more: the enrollment listener. It sends its root along, so that a
/// caller with the root's fingerprint (in its join token) can verify it. Cheap to clone.
#[derive(Clone)]
pub struct EnrollmentAcceptor {
    config: Arc<ServerConfig>,
}

/// Who comes to the enrollment listener. No [`Peer`]: nothing but enrollment may take it for one.
#[derive(Debug, Clone)]
pub struct Newcomer {
    /// The address at the other end.
    pub remote: SocketAddr,
    /// What it was, where it has proved that.
    pub returning: Option<Returning>,
}

/// A worker or router of this region whose certificate may have expired, by at most [`RECOVERY_GRACE`]. The handshake has proved that it holds the
/// certificate's key, and that the certificate is not revoked.
#[derive(Debug, Clone)]
pub struct Returning {
    /// Its name.
    pub spiffe: SpiffeId,
    /// When its certificate expires, or did.
    pub expires: Timestamp,
}

impl EnrollmentAcceptor {
    /// An acceptor that presents `identity`, and asks for a certificate without insisting on one.
    ///
    /// # Errors
    /// As [`Acceptor::new`].
    pub fn new(identity: Identity) -> Result<Self, rustls::Error> {
        let verifier = Arc::new(Returners::new(identity.clone()));
        let presented = Arc::new(Presented { identity, with_root: true });
        Ok(Self { config: Arc::new(tls::server_config(verifier, presented)?) })
    }

    /// As [`Acceptor::speaking`].
    pub(crate) fn speaking(&self, protocol: &[u8]) -> Self {
        Self { config: speaking(&self.config, protocol) }
    }

    /// Shakes hands, within 10 seconds.
    ///
    /// # Errors
    /// The handshake fails or takes too long; a certificate was presented, and it is not one of a worker or router that may return.
    pub async fn accept(&self, stream: TcpStream) -> io::Result<(TlsStream<Socket>, Newcomer)> {
        let (stream, remote) = accept(&self.config, stream).await?;
        let presented = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
        let returning = presented.map(Leaf::read).transpose().map_err(io::Error::other)?;
        let returning = returning.map(|leaf| Returning { spiffe: leaf.spiffe_id, expires: leaf.expires });
        Ok((stream, Newcomer { remote, returning }))
    }
}

/// Accepts TLS from callers who have no certificate and need none: they prove who they are by what each request carries. A certificate is not even asked
/// for, so none can count. It sends its root along, as the enrollment listener does. Cheap to clone.
#[derive(Clone)]
pub struct TokenAcceptor {
    config: Arc<ServerConfig>,
}

/// Who comes to the listener for tokens. No [`Peer`]: the connection says nothing of its caller.
#[derive(Debug, Clone, Copy)]
pub struct Visitor {
    /// The address at the other end.
    pub remote: SocketAddr,
}

impl TokenAcceptor {
    /// An acceptor that presents `identity`.
    ///
    /// # Errors
    /// As [`Acceptor::new`].
    pub fn new(identity: Identity) -> Result<Self, rustls::Error> {
        let presented = Arc::new(Presented { identity, with_root: true });
        let nobody = WebPkiClientVerifier::no_client_auth();
        Ok(Self { config: Arc::new(tls::server_config(nobody, presented)?) })
    }

    /// As [`Acceptor::speaking`].
    pub(crate) fn speaking(&self, protocol: &[u8]) -> Self {
        Self { config: speaking(&self.config, protocol) }
    }

    /// Shakes hands, within 10 seconds.
    ///
    /// # Errors
    /// The handshake fails or takes too long.
    pub async fn accept(&self, stream: TcpStream) -> io::Result<(TlsStream<Socket>, Visitor)> {
        let (stream, remote) = accept(&self.config, stream).await?;
        Ok((stream, Visitor { remote }))
    }
}

/// Opaque: its identity holds a key.
impl std::fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Acceptor")
    }
}

fn speaking(config: &ServerConfig, protocol: &[u8]) -> Arc<ServerConfig> {
    let mut config = config.clone();
    config.alpn_protocols = vec![protocol.to_vec()];
    Arc::new(config)
}

pub(super) async fn accept(
    config: &Arc<ServerConfig>,
    stream: TcpStream,
) -> io::Result<(TlsStream<Socket>, SocketAddr)> {
    stream.set_nodelay(true)?;
    let remote = stream.peer_addr()?;
    let handshake = TlsAcceptor::from(Arc::clone(config)).accept(stream.into());
    let stream = tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake).await.map_err(|_elapsed| late())?;
    Ok((stream.map_err(in_plain_words)?, remote))
}

pub(super) fn late() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the TLS handshake took too long")
}
