//! The same provider over TLS and HTTP/2, for what can speak that to it: a stream of a worker's takes no connection of its own then.

use std::{
    convert::Infallible,
    io,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    Request, Response,
    body::{Frame, Incoming},
    header::CONTENT_TYPE,
    rt::Executor,
    server::conn::http2,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::provider::{IDLE, PACE, PACED, delta, now_nanos};

/// Streams of one connection at once: what a usual server allows.
const MOST_STREAMS: u32 = 128;
/// Between two pieces of a stream that is slow.
const SLOW: Duration = Duration::from_secs(2);

type Body = UnsyncBoxBody<Bytes, Infallible>;

/// Its certificate and key: PEM files in a folder.
pub struct Material<'a>(pub &'a Path);

impl Material<'_> {
    /// Makes them, for the address.
    pub fn make(&self, address: IpAddr) -> anyhow::Result<()> {
        let made = rcgen::generate_simple_self_signed(vec![address.to_string()])?;
        std::fs::write(self.authority(), made.cert.pem())?;
        std::fs::write(self.key(), made.signing_key.serialize_pem())?;
        Ok(())
    }

    fn key(&self) -> PathBuf {
        self.0.join("provider-key.pem")
    }

    /// Whom a worker has to trust.
    pub fn authority(&self) -> PathBuf {
        self.0.join("provider.pem")
    }

    /// What serves with them.
    pub fn acceptor(&self) -> anyhow::Result<TlsAcceptor> {
        let certificate = CertificateDer::from_pem_file(self.authority()).context("certificate")?;
        let key = PrivateKeyDer::from_pem_file(self.key()).context("key")?;
        let mut config =
            ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certificate], key)?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

#[derive(Clone, Copy)]
struct OnThisCore;

impl<F: Future<Output = ()> + 'static> Executor<F> for OnThisCore {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}

/// Serves for as long as it is polled.
pub async fn serve(listener: TcpListener, acceptor: TlsAcceptor, whole: Bytes) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let (acceptor, whole) = (acceptor.clone(), whole.clone());
        tokio::task::spawn_local(async move {
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let serve = service_fn(|request| answer(request, whole.clone()));
            let mut server = http2::Builder::new(OnThisCore);
            server.max_concurrent_streams(MOST_STREAMS);
            // Who has gone is gone.
            let _ = server.serve_connection(TokioIo::new(stream), serve).await;
        });
    }
}

async fn answer(request: Request<Incoming>, whole: Bytes) -> hyper::Result<Response<Body>> {
    let body = request.into_body().collect().await?.to_bytes();
    let is = |mark: &str| body.windows(mark.len()).any(|window| window == mark.as_bytes());
    let streams = is("\"stream\":true");
    let (kind, body) = match () {
        () if streams && is(PACED) => ("text/event-stream", paced(PACE)),
        () if streams && is(IDLE) => ("text/event-stream", paced(SLOW)),
        () => ("application/json", Full::new(whole).boxed_unsync()),
    };
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(kind));
    Ok(response)
}

/// A piece at once, and then one in so much time, for as long as it is read. Each says when it was sent.
fn paced(pace: Duration) -> Body {
    let pieces = stream::unfold(tokio::time::interval(pace), |mut pace| async move {
        pace.tick().await;
        let piece = Bytes::from(delta(&format!("{:020}", now_nanos())));
        Some((Ok(Frame::data(piece)), pace))
    });
    StreamBody::new(pieces.boxed()).boxed_unsync()
}
