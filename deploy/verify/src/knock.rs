//! TLS to a listener as somebody speaks it who cares for no rule: any certificate is presented, any server's is taken. So it is the listener that
//! has to refuse.

use std::{io, sync::Arc, time::Duration};

use rustls::{
    AlertDescription, ClientConfig, DigitallySignedStruct, HandshakeKind, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, aws_lc_rs::default_provider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::badge::Badge;

/// For each step of a connection.
const TIMEOUT: Duration = Duration::from_secs(10);
/// A listener that refuses a certificate says so before anything is asked of it; one that has said nothing for so long has taken it.
const PATIENCE: Duration = Duration::from_secs(1);

/// What a listener speaks, behind TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speaks {
    Grpc,
    Http,
}

/// How a listener answers a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Knock {
    /// It goes on to listen to requests.
    Admitted,
    /// It refuses, with this alert (RFC 8446, section 6.2).
    Alert(AlertDescription),
    /// The connection ended in another way.
    Ended(String),
    /// Nobody listens.
    Nobody(String),
}

impl std::fmt::Display for Knock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Admitted => f.write_str("the handshake was admitted"),
            Self::Alert(alert) => write!(f, "TLS alert {alert:?}"),
            Self::Ended(how) => write!(f, "the connection ended without an alert: {how}"),
            Self::Nobody(why) => write!(f, "nobody listens: {why}"),
        }
    }
}

/// Presents a certificate, or none.
pub(crate) async fn knock(address: &str, badge: Option<&Badge>, speaks: Speaks) -> Knock {
    knock_for(address, None, badge, speaks).await
}

/// The same, asking for another server's name (SNI, RFC 6066, section 3).
pub(crate) async fn knock_for(
    address: &str,
    sni: Option<&str>,
    badge: Option<&Badge>,
    speaks: Speaks,
) -> Knock {
    match dial(address, sni, badge, alpn(speaks)).await {
        Ok(mut stream) => first_word(&mut stream, speaks).await,
        Err(Dialled::Nobody(why)) => Knock::Nobody(why),
        Err(Dialled::Refused(error)) => refusal(&error),
    }
}

/// Comes twice, as a client that resumes its session when it can (RFC 8446, section 2.2). Gives what the second handshake was. The error says why that is
/// not known.
pub(crate) async fn come_again(
    address: &str,
    badge: &Badge,
    speaks: Speaks,
) -> Result<HandshakeKind, String> {
    // One configuration: it keeps the tickets.
    let config = Arc::new(config(Some(badge), alpn(speaks)).map_err(|error| error.to_string())?);
    let mut first = shake(address, None, Arc::clone(&config)).await.map_err(|error| error.to_string())?;
    // Tickets come before anything else (section 4.6.1): whoever has read something has them.
    match first_word(&mut first, speaks).await {
        Knock::Admitted => {}
        refused => return Err(format!("the first connection is not admitted: {refused}")),
    }
    let second = shake(address, None, config).await.map_err(|error| error.to_string())?;
    second.get_ref().1.handshake_kind().ok_or_else(|| "the second handshake is not over".to_owned())
}

fn alpn(speaks: Speaks) -> &'static [u8] {
    match speaks {
        Speaks::Grpc => b"h2",
        Speaks::Http => b"http/1.1",
    }
}

/// What comes of a connection that stands.
async fn first_word(stream: &mut TlsStream<TcpStream>, speaks: Speaks) -> Knock {
    // An HTTP/2 server speaks first (RFC 9113, section 3.4). An HTTP/1.1 server has to be asked.
    let mut byte = [0_u8; 1];
    if speaks == Speaks::Http {
        match timeout(PATIENCE, stream.read(&mut byte)).await {
            Ok(read) => return after(read),
            Err(_elapsed) => {
                let request = b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n";
                if let Err(error) = stream.write_all(request).await {
                    return refusal(&error);
                }
            }
        }
    }
    match timeout(TIMEOUT, stream.read(&mut byte)).await {
        Ok(read) => after(read),
        Err(_elapsed) => Knock::Ended("silence".to_owned()),
    }
}

fn after(read: io::Result<usize>) -> Knock {
    match read {
        Ok(0) => Knock::Ended("closed".to_owned()),
        Ok(_) => Knock::Admitted,
        Err(error) => refusal(&error),
    }
}

fn refusal(error: &io::Error) -> Knock {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::AlertReceived(alert)) => Knock::Alert(*alert),
        _ => Knock::Ended(error.to_string()),
    }
}

/// Why there is no connection.
pub(crate) enum Dialled {
    /// No TCP connection.
    Nobody(String),
    /// No handshake.
    Refused(io::Error),
}

impl std::fmt::Display for Dialled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Nobody(why) => f.write_str(why),
            Self::Refused(error) => error.fmt(f),
        }
    }
}

/// A TCP connection, without delay.
pub(crate) async fn tcp(address: &str) -> Result<TcpStream, Dialled> {
    let nobody = |why: String| Dialled::Nobody(format!("{address}: {why}"));
    let stream = timeout(TIMEOUT, TcpStream::connect(address)).await;
    let stream = stream.map_err(|_elapsed| nobody("no answer".to_owned()))?;
    let stream = stream.map_err(|error| nobody(error.to_string()))?;
    stream.set_nodelay(true).map_err(|error| nobody(error.to_string()))?;
    Ok(stream)
}

/// A TLS connection with any certificate to any server. `sni` is sent as the server's name.
pub(crate) async fn dial(
    address: &str,
    sni: Option<&str>,
    badge: Option<&Badge>,
    alpn: &[u8],
) -> Result<TlsStream<TcpStream>, Dialled> {
    let config = config(badge, alpn).map_err(|error| Dialled::Refused(io::Error::other(error)))?;
    shake(address, sni, Arc::new(config)).await
}

async fn shake(
    address: &str,
    sni: Option<&str>,
    config: Arc<ClientConfig>,
) -> Result<TlsStream<TcpStream>, Dialled> {
    let stream = tcp(address).await?;
    let ip = stream.peer_addr().map_err(Dialled::Refused)?.ip();
    let name = sni.and_then(|name| ServerName::try_from(name.to_owned()).ok());
    let name = name.unwrap_or_else(|| ServerName::IpAddress(ip.into()));
    match timeout(TIMEOUT, TlsConnector::from(config).connect(name, stream)).await {
        Ok(shaken) => shaken.map_err(Dialled::Refused),
        Err(_elapsed) => Err(Dialled::Refused(io::Error::other("the handshake took too long"))),
    }
}

fn config(badge: Option<&Badge>, alpn: &[u8]) -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody(provider)));
    let mut config = match badge {
        Some(badge) => builder.with_client_auth_cert(badge.chain.clone(), badge.key.clone_key())?,
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![alpn.to_vec()];
    Ok(config)
}

/// Takes any server. An attacker has no reason to refuse one, and nothing is sent to it that was not made for this run.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _leaf: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, leaf, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, leaf, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
