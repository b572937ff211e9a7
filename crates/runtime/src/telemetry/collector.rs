//! The way to the collector of spans: the address that its name resolves to is judged each time that it is dialled (R7).

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint, Uri};
use tower::service_fn;

use crate::configuration::{Collector, ResolverSection, TelemetrySection};
use crate::outbound::{self, DialError, Resolver, ResolverError};

/// For name resolution, TCP and TLS together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Why the collector is not reached.
#[derive(Debug, thiserror::Error)]
pub enum ReachError {
    /// Its address lies outside the policy, its name has none, or nobody answers there.
    #[error("the collector of telemetry is not reached: {0}")]
    Dial(#[from] DialError),
    /// It took too long.
    #[error("the collector of telemetry does not answer")]
    Late,
    /// TLS cannot be set up, or failed.
    #[error("the collector of telemetry is not reached over TLS: {0}")]
    Tls(#[from] io::Error),
    /// Names cannot be resolved at all.
    #[error(transparent)]
    Resolver(#[from] ResolverError),
}

/// Connects to the collector that the configuration names, and lets go of it; false when it names none. For whoever checks a configuration.
///
/// # Errors
/// See [`ReachError`].
pub async fn reach(telemetry: &TelemetrySection, resolver: &ResolverSection) -> Result<bool, ReachError> {
    let Some(collector) = &telemetry.collector else { return Ok(false) };
    Way::to(collector, Resolver::new(resolver)?)?.go().await?;
    Ok(true)
}

/// The same for a process that has no runtime yet.
///
/// # Errors
/// See [`ReachError`].
pub fn reach_once(telemetry: &TelemetrySection, resolver: &ResolverSection) -> Result<bool, ReachError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(reach(telemetry, resolver))
}

/// A channel that dials at first use, and again whenever it broke.
pub(super) fn channel(collector: &Collector, resolver: Resolver) -> Result<Channel, ReachError> {
    // TLS is ours: tonic sees a stream that is secure already. The address in the URI is only what the header says.
    let host = collector.host().host();
    let authority = if host.contains(':') {
        format!("[{host}]:{}", collector.port())
    } else {
        format!("{host}:{}", collector.port())
    };
    let uri = Uri::builder().scheme("http").authority(authority).path_and_query("/").build();
    let uri = uri.map_err(io::Error::other)?;
    let way = Arc::new(Way::to(collector, resolver)?);
    Ok(Endpoint::from(uri).connect_with_connector_lazy(service_fn(move |_uri: Uri| {
        let way = Arc::clone(&way);
        async move { way.go_and_tell().await.map(TokioIo::new).map_err(io::Error::other) }
    })))
}

struct Way {
    collector: Collector,
    resolver: Resolver,
    tls: Option<TlsConnector>,
    /// Whether it was told that nobody is reached: once is enough.
    told: AtomicBool,
}

impl Way {
    fn to(collector: &Collector, resolver: Resolver) -> Result<Self, ReachError> {
        let tls = if collector.is_tls() {
            Some(outbound::public_tls(&[b"h2"], &[]).map_err(io::Error::other)?)
        } else {
            None
        };
        Ok(Self { collector: collector.clone(), resolver, tls, told: AtomicBool::new(false) })
    }

    async fn go(&self) -> Result<Box<dyn Stream>, ReachError> {
        timeout(CONNECT_TIMEOUT, self.connect()).await.unwrap_or(Err(ReachError::Late))
    }

    async fn connect(&self) -> Result<Box<dyn Stream>, ReachError> {
        let host = self.collector.host();
        let (stream, _address) = outbound::dial(&self.resolver, host, self.collector.port()).await?;
        let Some(tls) = &self.tls else { return Ok(Box::new(stream)) };
        let name = ServerName::try_from(host.host().to_string()).map_err(io::Error::other)?;
        Ok(Box::new(tls.connect(name, stream).await?))
    }

    /// Spans that are lost would be lost in silence otherwise.
    async fn go_and_tell(&self) -> Result<Box<dyn Stream>, ReachError> {
        let reached = self.go().await;
        let failed = reached.is_err();
        if let (Err(error), false) = (&reached, self.told.swap(failed, Ordering::Relaxed)) {
            tracing::warn!(%error, "spans are not sent");
        }
        reached
    }
}
