//! A connection's life: handshake, requests one after the other, end.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bailiwick_domain::address::ClientAddress;
use futures_util::FutureExt;
use http::header::CONNECTION;
use http::{HeaderValue, Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use pin_project_lite::pin_project;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::body::Tracked;
use super::io::{ConnectionIo, Stream};
use super::preface::{self, PrefaceError};
use super::registry::{Command, ConnectionState, Phase};
use super::{ConnectionInfo, HttpLimits, PARSER_HEADERS, Service, Transport, TrustedHops, panicked};
use crate::identity::{HANDSHAKE_TIMEOUT, Peer};

/// What hyper may buffer of a request before somebody reads it. Above the largest head, so that our limit is the one that is met.
const BUFFER_BYTES: usize = 256 * 1024;

/// The parser's settings, made once per core.
pub(super) fn parser(limits: &HttpLimits) -> http1::Builder {
    let mut parser = http1::Builder::new();
    let header_bytes = limits.header_bytes.max(8192);
    parser
        // A caller that closes its side has left: its upstream call is cancelled.
        .half_close(false)
        .keep_alive(true)
        // Kept by the registry, without a timer per request.
        .header_read_timeout(None)
        .max_header_size(header_bytes)
        .max_buf_size(BUFFER_BYTES.max(header_bytes.saturating_mul(2)));
    if limits.headers != PARSER_HEADERS {
        parser.max_headers(limits.headers);
    }
    parser
}

/// Serves one connection to its end.
pub(super) async fn serve<S: Service>(
    stream: TcpStream,
    remote: SocketAddr,
    entrance: Entrance,
    parser: Rc<http1::Builder>,
    service: Rc<S>,
    state: Rc<ConnectionState>,
) {
    let Some((stream, peer, announced)) = entrance.pass(stream, remote).await else { return };
    if let Some(peer) = &peer {
        state.opened_by(peer.clone());
    }
    let info = Rc::new(ConnectionInfo { peer, remote, announced });
    let answering = Rc::clone(&state);
    let service = service_fn(move |request: Request<Incoming>| {
        answer(Rc::clone(&service), request, Rc::clone(&info), Rc::clone(&answering))
    });
    let connection = parser.serve_connection(ConnectionIo::new(stream, Rc::clone(&state)), service);
    Told { connection, state, finishing: false }.await;
}

/// What a connection passes before its first request.
#[derive(Clone)]
pub(super) struct Entrance {
    pub(super) transport: Transport,
    pub(super) preface_from: Option<TrustedHops>,
}

impl Entrance {
    /// `None`: it was not let in.
    async fn pass(
        &self,
        mut stream: TcpStream,
        remote: SocketAddr,
    ) -> Option<(Stream, Option<Peer>, Option<ClientAddress>)> {
        let mut announced = None;
        if self.preface_from.as_ref().is_some_and(|hops| hops.trust(remote.ip().into())) {
            announced = match timeout(HANDSHAKE_TIMEOUT, preface::read(&mut stream)).await {
                Ok(Ok(announced)) => announced,
                Ok(Err(PrefaceError::Unused)) => return None,
                Ok(Err(error)) => {
                    // A machine of the operator's own, and no caller's: whoever mends it has to know which.
                    tracing::warn!(hop = %remote.ip(), %error, "a connection was refused");
                    return None;
                }
                Err(_late) => {
                    tracing::warn!(hop = %remote.ip(), "a trusted hop said nothing in time");
                    return None;
                }
            };
        }
        match secure(stream, &self.transport).await {
            Ok((stream, peer)) => Some((stream, peer, announced)),
            Err(error) => {
                // An address inside the region is a machine's; one outside is somebody's, and is written nowhere.
                let remote = matches!(self.transport, Transport::Mutual(_)).then_some(remote);
                tracing::warn!(remote = remote.map(tracing::field::display), %error, "a caller's handshake was refused");
                None
            }
        }
    }
}

async fn secure(stream: TcpStream, transport: &Transport) -> io::Result<(Stream, Option<Peer>)> {
    Ok(match transport {
        Transport::Plain => (Stream::Plain(stream), None),
        Transport::Public(acceptor) => (Stream::Tls(Box::new(acceptor.accept(stream).await?.0)), None),
        Transport::Mutual(acceptor) => {
            let (stream, peer) = acceptor.accept(stream).await?;
            (Stream::Tls(Box::new(stream)), Some(peer))
        }
    })
}

/// One request: noted in the connection's state, and guarded against panics.
async fn answer<S: Service>(
    service: Rc<S>,
    request: Request<Incoming>,
    info: Rc<ConnectionInfo>,
    state: Rc<ConnectionState>,
) -> Result<Response<Tracked>, Infallible> {
    state.request_begins(!request.body().is_end_stream());
    let called = async { service.call(request, &info).await };
    // What a panic leaves behind is dropped with the call; a service keeps nothing half changed across an await.
    let mut response = AssertUnwindSafe(called).catch_unwind().await.unwrap_or_else(|_panic| panicked());
    if state.is_finishing() {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response.map(|body| Tracked::new(body, state)))
}

pin_project! {
    /// A hyper connection that obeys the registry.
    struct Told<C> {
        #[pin]
        connection: C,
        state: Rc<ConnectionState>,
        finishing: bool,
    }
}

/// What hyper's connections can be told; a trait because their type cannot be named here.
trait Finish: Future {
    fn finish(self: Pin<&mut Self>);
}

impl<S, B> Finish for http1::Connection<ConnectionIo, S>
where
    S: hyper::service::HttpService<Incoming, ResBody = B>,
    S::Error: Into<super::BoxError>,
    B: Body<Error: Into<super::BoxError>> + 'static,
{
    fn finish(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

impl<C: Finish> Future for Told<C> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        let command = this.state.command(cx.waker());
        if command == Command::Close {
            return Poll::Ready(());
        }
        // How it ended interests nobody: callers come and go, and bytes that are not HTTP were answered.
        if this.connection.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        // A caller whose first request is on its way gets an answer first; the registry bounds the wait.
        if command == Command::Finish && !*this.finishing && this.state.phase() != Phase::Head {
            *this.finishing = true;
            this.connection.as_mut().finish();
            return this.connection.poll(cx).map(drop);
        }
        this.state.rests();
        Poll::Pending
    }
}
