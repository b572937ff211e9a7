//! Dials a provider. R7 is kept here for the last time: [`outbound::dial`] judges the address that is really dialled, by the proof that came with the place.

use std::io;

use bailiwick_domain::egress::{AdmittedAddress, AdmittedHost};
use bailiwick_runtime::{
    outbound::{self, DialError, Resolver},
    serving::ApiError,
    socket::Socket,
};
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;

use crate::{error, metrics::UpstreamFailure, placement::Place};

const HTTP1: &[u8] = b"http/1.1";
const HTTP2: &[u8] = b"h2";

/// A connection to a provider.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// Why a provider cannot be reached. Nothing was sent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    /// Its address lies outside the region's egress policy.
    #[error("its address lies outside the region's egress policy")]
    Egress,
    /// Not resolved, refused, or TLS failed.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// It took too long.
    #[error("connecting took too long")]
    Late,
    /// One connection after the other was open, and took no call.
    #[error("it takes no calls on the connections that it opens")]
    Undone,
}

impl From<DialError> for ConnectError {
    fn from(failed: DialError) -> Self {
        match failed {
            DialError::Egress(_) => Self::Egress,
            DialError::Resolve(error) => Self::Io(io::Error::other(error)),
            DialError::Io(error) => Self::Io(error),
        }
    }
}

impl ConnectError {
    pub(crate) fn class(&self) -> UpstreamFailure {
        match self {
            Self::Egress => UpstreamFailure::Egress,
            Self::Io(_) | Self::Undone => UpstreamFailure::Unreachable,
            Self::Late => UpstreamFailure::TimedOut,
        }
    }
}

impl From<ConnectError> for ApiError {
    fn from(refused: ConnectError) -> Self {
        match refused {
            ConnectError::Egress => error::egress_refused(),
            ConnectError::Io(_) | ConnectError::Undone => error::provider_unreachable(),
            ConnectError::Late => error::provider_timeout(),
        }
    }
}

/// What a provider is offered to speak (ALPN, RFC 7301).
#[derive(Clone, Copy)]
pub(super) enum Offer {
    Http1,
    /// HTTP/2, and HTTP/1.1 where it is not spoken.
    Either,
}

/// What it chose.
#[derive(Clone, Copy)]
pub(super) enum Spoken {
    Http1,
    Http2,
}

/// What connections are made with. All cores share it.
#[derive(Clone)]
pub(crate) struct Dialler {
    resolver: Resolver,
    http1: TlsConnector,
    /// `None`: HTTP/2 is spoken to nobody.
    either: Option<TlsConnector>,
}

impl Dialler {
    /// `trusted`: authorities that providers' certificates may come from, beside those that the public trusts.
    pub(crate) fn new(
        resolver: Resolver,
        trusted: &[CertificateDer<'_>],
        http2: bool,
    ) -> Result<Self, rustls::Error> {
        let http1 = outbound::public_tls(&[HTTP1], trusted)?;
        let either = http2.then(|| outbound::public_tls(&[HTTP2, HTTP1], trusted)).transpose()?;
        Ok(Self { resolver, http1, either })
    }

    pub(super) fn speaks_http2(&self) -> bool {
        self.either.is_some()
    }

    /// Connects to a place; to which address, and what is spoken there, too.
    pub(super) async fn dial(
        &self,
        place: &Place<'_>,
        offer: Offer,
    ) -> Result<(Box<dyn Stream>, AdmittedAddress, Spoken), ConnectError> {
        let endpoint = &place.deployment().prepared;
        let tls = match offer {
            Offer::Http1 => &self.http1,
            Offer::Either => self.either.as_ref().unwrap_or(&self.http1),
        };
        self.connect(place.host(), endpoint.port, endpoint.is_tls.then_some(tls)).await
    }

    /// Connects to a host that the policy admits, to speak HTTP/1.1.
    pub(crate) async fn reach(
        &self,
        host: &AdmittedHost<'_>,
        port: u16,
        is_tls: bool,
    ) -> Result<(Box<dyn Stream>, AdmittedAddress), ConnectError> {
        let (stream, address, _) = self.connect(host, port, is_tls.then_some(&self.http1)).await?;
        Ok((stream, address))
    }

    async fn connect(
        &self,
        host: &AdmittedHost<'_>,
        port: u16,
        tls: Option<&TlsConnector>,
    ) -> Result<(Box<dyn Stream>, AdmittedAddress, Spoken), ConnectError> {
        let (stream, address) = outbound::dial(&self.resolver, host, port).await?;
        let stream = Socket::from(stream);
        let Some(tls) = tls else { return Ok((Box::new(stream), address, Spoken::Http1)) };
        let name = ServerName::try_from(host.host().to_string()).map_err(io::Error::other)?;
        let stream = tls.connect(name, stream).await?;
        let is_http2 = stream.get_ref().1.alpn_protocol() == Some(HTTP2);
        Ok((Box::new(stream), address, if is_http2 { Spoken::Http2 } else { Spoken::Http1 }))
    }
}
