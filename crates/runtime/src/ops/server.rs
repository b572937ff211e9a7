//! The listener of [`Ops`].

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::Ops;

/// Scrapers and probes are few; whoever opens more connections waits.
const CONNECTIONS: usize = 64;
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";

/// Listens already, and answers once [`OpsServer::run`] is polled.
#[derive(Debug)]
pub struct OpsServer {
    ops: Ops,
    listener: TcpListener,
}

impl Ops {
    /// Opens the listener.
    ///
    /// # Errors
    /// The address is taken or not this machine's.
    pub async fn bind(&self, address: SocketAddr) -> std::io::Result<OpsServer> {
        Ok(OpsServer { ops: self.clone(), listener: TcpListener::bind(address).await? })
    }
}

impl OpsServer {
    /// Where it listens; the port that the system chose where it was asked for port 0.
    ///
    /// # Errors
    /// The system's.
    pub fn local_address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Answers until `stopped` resolves, also while the process drains, so that its end can be watched.
    pub async fn run(self, stopped: impl Future<Output = ()>) {
        let mut stopped = std::pin::pin!(stopped);
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                () = &mut stopped => return,
                accepted = self.listener.accept(), if connections.len() < CONNECTIONS => match accepted {
                    Ok((stream, _remote)) => {
                        connections.spawn(serve(self.ops.clone(), stream));
                    }
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept a connection for metrics");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                },
                Some(_ended) = connections.join_next() => {}
            }
        }
    }
}

async fn serve(ops: Ops, stream: TcpStream) {
    let _unimportant = stream.set_nodelay(true);
    let service = service_fn(move |request| {
        let response = answer(&ops, &request);
        async move { Ok::<_, Infallible>(response) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a connection for metrics broke");
    }
}

fn answer<B>(ops: &Ops, request: &Request<B>) -> Response<Full<Bytes>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response =
            reply(StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET is answered here\n".to_owned());
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    match request.uri().path() {
        "/metrics" => match ops.metrics() {
            Ok(metrics) => reply(StatusCode::OK, OPENMETRICS, metrics),
            Err(_format) => {
                reply(StatusCode::INTERNAL_SERVER_ERROR, TEXT, "metrics cannot be written\n".to_owned())
            }
        },
        "/healthz" => reply(StatusCode::OK, TEXT, "ok\n".to_owned()),
        "/readyz" => {
            let report = ops.readiness().report();
            let status = if report.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
            reply(status, JSON, serde_json::to_string(&report).unwrap_or_default())
        }
        _ => reply(StatusCode::NOT_FOUND, TEXT, "there are /metrics, /healthz and /readyz\n".to_owned()),
    }
}

fn reply(status: StatusCode, content_type: &'static str, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(text.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
