//! Dials a provider. R7 is kept here for the last time: [`outbound::dial`] judges the address that is really dialled, by the proof that came with the place.

use std::io;

use bailiwick_domain::egress::{AdmittedAddress, AdmittedHost};
use bailiwick_runtime::{
    outbound::{self, DialError, Resolver},
    serving::ApiError,
};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;

use crate::{error, metrics::UpstreamFailure, placement::Place};

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

/// What connections are made with. All cores share it.
#[derive(Clone)]
pub(crate) struct Dialler {
    resolver: Resolver,
    tls: TlsConnector,
}

impl Dialler {
    pub(crate) fn new(resolver: Resolver) -> Result<Self, rustls::Error> {
        Ok(Self { resolver, tls: outbound::public_tls(b"http/1.1")? })
    }

    /// Connects to a place; to which address, too.
    pub(super) async fn dial(
        &self,
        place: &Place,
    ) -> Result<(Box<dyn Stream>, AdmittedAddress), ConnectError> {
        let endpoint = &place.deployment().prepared;
        self.reach(place.host(), endpoint.port, endpoint.is_tls).await
    }

    /// Connects to a host that the policy admits.
    pub(crate) async fn reach(
        &self,
        host: &AdmittedHost,
        port: u16,
        is_tls: bool,
    ) -> Result<(Box<dyn Stream>, AdmittedAddress), ConnectError> {
        let (stream, address) = outbound::dial(&self.resolver, host, port).await?;
        if !is_tls {
            return Ok((Box::new(stream), address));
        }
        let name = ServerName::try_from(host.host().to_string()).map_err(io::Error::other)?;
        Ok((Box::new(self.tls.connect(name, stream).await?), address))
    }
}
