//! Providers that speak TLS and HTTP/2, with a certificate that a worker is told to trust.

use std::{
    convert::Infallible,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context;
use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::{Request, Response, body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

/// Streams of one connection at once: what a usual server allows.
const MOST_STREAMS: u32 = 128;
/// What tells a worker whom to trust.
pub const CA_FILE: &str = "BAILIWICK_WORKER_UPSTREAM__CA_FILE";

/// The body of an answer.
pub type Body = UnsyncBoxBody<Bytes, Infallible>;

/// A provider's certificate and key: PEM files in a folder.
pub struct Material<'a>(pub &'a Path);

impl Material<'_> {
    /// Makes them, for an address.
    ///
    /// # Errors
    /// They cannot be written.
    pub fn make(&self, address: IpAddr) -> anyhow::Result<()> {
        let made = rcgen::generate_simple_self_signed(vec![address.to_string()])?;
        std::fs::write(self.authority(), made.cert.pem())?;
        std::fs::write(self.key(), made.signing_key.serialize_pem())?;
        Ok(())
    }

    /// Whom a worker has to trust.
    pub fn authority(&self) -> PathBuf {
        self.0.join("provider.pem")
    }

    fn key(&self) -> PathBuf {
        self.0.join("provider-key.pem")
    }

    /// What serves with them.
    ///
    /// # Errors
    /// They were not made.
    pub fn acceptor(&self) -> anyhow::Result<TlsAcceptor> {
        let certificate = CertificateDer::from_pem_file(self.authority()).context("certificate")?;
        let key = PrivateKeyDer::from_pem_file(self.key()).context("key")?;
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()));
        let config = config.with_safe_default_protocol_versions()?.with_no_client_auth();
        let mut config = config.with_single_cert(vec![certificate], key)?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

/// Serves a connection to its end.
pub async fn serve<A, F>(stream: TcpStream, acceptor: TlsAcceptor, answer: A)
where
    A: Fn(Request<Incoming>) -> F + Send + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let Ok(stream) = acceptor.accept(stream).await else { return };
    let mut server = http2::Builder::new(TokioExecutor::new());
    server.max_concurrent_streams(MOST_STREAMS);
    let serve = service_fn(|request| {
        let answered = answer(request);
        async move { Ok::<_, Infallible>(answered.await) }
    });
    // Who has gone is gone.
    let _ = server.serve_connection(TokioIo::new(stream), serve).await;
}
