//! Dials a provider. R7 is kept here for the last time: the address that is really dialled is the one that was judged.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use bailiwick_domain::{egress::EgressPolicy, guard::Guard};
use bailiwick_runtime::serving::ApiError;
use rustls::{ClientConfig, RootCertStore, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, lookup_host},
};
use tokio_rustls::TlsConnector;

use crate::{error, metrics::UpstreamFailure, snapshot::PreparedEndpoint};

/// Addresses of one name that are tried.
const MOST_ADDRESSES: usize = 8;

/// A connection to a provider.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin {}
impl<T: AsyncRead + AsyncWrite + Unpin> Stream for T {}

/// Why a provider cannot be reached. Nothing was sent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    /// Host or address lie outside the region's egress policy.
    #[error("its address lies outside the region's egress policy")]
    Egress,
    /// Not resolved, refused, or TLS failed.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// It took too long.
    #[error("connecting took too long")]
    Late,
}

impl ConnectError {
    pub(crate) fn class(&self) -> UpstreamFailure {
        match self {
            Self::Egress => UpstreamFailure::Egress,
            Self::Io(_) => UpstreamFailure::Unreachable,
            Self::Late => UpstreamFailure::TimedOut,
        }
    }
}

impl From<ConnectError> for ApiError {
    fn from(refused: ConnectError) -> Self {
        match refused {
            ConnectError::Egress => error::egress_refused(),
            ConnectError::Io(_) => error::provider_unreachable(),
            ConnectError::Late => error::provider_timeout(),
        }
    }
}

/// Trusts the roots that browsers trust, as Mozilla lists them.
pub(crate) fn tls() -> Result<TlsConnector, rustls::Error> {
    let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Resolves, judges each address, and connects to the first that answers; which one that was.
pub(super) async fn connect(
    endpoint: &PreparedEndpoint,
    egress: &EgressPolicy,
    tls: &TlsConnector,
) -> Result<(Box<dyn Stream>, IpAddr), ConnectError> {
    egress.allow_host(&endpoint.host).map_err(|_| ConnectError::Egress)?;
    let resolved: Vec<SocketAddr> = match endpoint.host.parse() {
        Ok(literal) => vec![SocketAddr::new(literal, endpoint.port)],
        Err(_) => lookup_host((&*endpoint.host, endpoint.port)).await?.take(MOST_ADDRESSES).collect(),
    };
    let is_admitted =
        |address: &SocketAddr| egress.allow_address(address.ip()).is_ok() || !Guard::EgressAtConnect.stands();
    let admitted: Vec<SocketAddr> = resolved.into_iter().filter(is_admitted).collect();
    let mut failure = ConnectError::Egress;
    for address in admitted {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok((secure(stream, endpoint, tls).await?, address.ip())),
            Err(error) => failure = error.into(),
        }
    }
    Err(failure)
}

async fn secure(
    stream: TcpStream,
    endpoint: &PreparedEndpoint,
    tls: &TlsConnector,
) -> Result<Box<dyn Stream>, ConnectError> {
    // Small chunks of a stream would wait for each other's acknowledgement otherwise.
    stream.set_nodelay(true)?;
    if !endpoint.is_tls {
        return Ok(Box::new(stream));
    }
    let name = ServerName::try_from(endpoint.host.to_string()).map_err(io::Error::other)?;
    Ok(Box::new(tls.connect(name, stream).await?))
}

#[cfg(test)]
mod tests {
    use bailiwick_domain::provider::Endpoint;
    use tokio::net::TcpListener;

    use super::*;

    fn policy(hosts: &[&str], ranges: &[&str]) -> EgressPolicy {
        EgressPolicy {
            hosts: hosts.iter().map(|host| host.parse().expect("pattern")).collect(),
            private_ranges: ranges.iter().map(|range| range.parse().expect("range")).collect(),
        }
    }

    async fn dial(url: &str, policy: &EgressPolicy) -> Result<(Box<dyn Stream>, IpAddr), ConnectError> {
        let endpoint: Endpoint = url.parse().expect("endpoint");
        connect(&PreparedEndpoint::of(&endpoint).expect("prepared"), policy, &tls().expect("tls")).await
    }

    #[tokio::test]
    async fn r7_the_resolved_address_is_judged_whatever_the_name_says() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("listener");
        let port = listener.local_addr().expect("address").port();
        let (name, literal) = (format!("http://localhost:{port}"), format!("http://127.0.0.1:{port}"));
        for url in [&name, &literal] {
            let closed = dial(url, &policy(&["*"], &[])).await;
            assert!(matches!(closed, Err(ConnectError::Egress)), "{url}");
            let open = dial(url, &policy(&["*"], &["127.0.0.0/8", "::1/128"])).await;
            assert!(open.is_ok(), "{url}");
            let elsewhere = dial(url, &policy(&["api.openai.com"], &["127.0.0.0/8"])).await;
            assert!(matches!(elsewhere, Err(ConnectError::Egress)), "{url}");
        }
    }
}
