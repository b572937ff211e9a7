//! A listener's connections, after their handshakes.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::Stream;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, FuturesUnordered, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

use super::HTTP2;
use crate::identity::{Acceptor, EnrollmentAcceptor, Newcomer, Peer, TokenAcceptor, Visitor};
use crate::socket::Socket;

/// Handshakes that may be under way at once on a listener; further callers wait in the kernel's queue. Each takes 10 s at most.
const HANDSHAKES: usize = 1024;

/// How long to wait when the system has no more file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What a listener does with a connection before requests are read from it. `Info` is what handlers find in their request's extensions.
pub trait Handshake: Clone + Send + Sync + 'static {
    /// What is known of the caller: a [`Peer`], a [`Newcomer`], or a [`Visitor`].
    type Info: Clone + Send + Sync + 'static;

    /// Resolves when the caller's right to its connection ends.
    fn ends(info: Self::Info) -> impl Future<Output = ()> + Send + 'static;

    /// The same, speaking HTTP/2 only.
    #[must_use]
    fn for_grpc(&self) -> Self;

    /// Shakes hands.
    fn shake(
        &self,
        stream: TcpStream,
    ) -> impl Future<Output = io::Result<(TlsStream<Socket>, Self::Info)>> + Send;
}

impl Handshake for Acceptor {
    type Info = Peer;

    async fn ends(peer: Peer) {
        peer.forfeited().await;
    }

    fn for_grpc(&self) -> Self {
        self.speaking(HTTP2)
    }

    async fn shake(&self, stream: TcpStream) -> io::Result<(TlsStream<Socket>, Peer)> {
        self.accept(stream).await
    }
}

impl Handshake for EnrollmentAcceptor {
    type Info = Newcomer;

    async fn ends(_newcomer: Newcomer) {
        std::future::pending().await
    }

    fn for_grpc(&self) -> Self {
        self.speaking(HTTP2)
    }

    async fn shake(&self, stream: TcpStream) -> io::Result<(TlsStream<Socket>, Newcomer)> {
        self.accept(stream).await
    }
}

impl Handshake for TokenAcceptor {
    type Info = Visitor;

    async fn ends(_visitor: Visitor) {
        std::future::pending().await
    }

    fn for_grpc(&self) -> Self {
        self.speaking(HTTP2)
    }

    async fn shake(&self, stream: TcpStream) -> io::Result<(TlsStream<Socket>, Visitor)> {
        self.accept(stream).await
    }
}

/// The connections of `listener` whose handshake succeeded, for `Server::serve_with_incoming`. Handshakes run side by side, so
/// a slow caller holds up nobody; one that is refused is logged with its reason and its connection closed.
pub fn incoming<H: Handshake>(
    listener: TcpListener,
    acceptor: &H,
) -> impl Stream<Item = io::Result<GrpcConnection<H::Info>>> + Send + 'static {
    let arrivals = Arrivals { listener, acceptor: acceptor.for_grpc(), handshakes: FuturesUnordered::new() };
    stream::unfold(arrivals, |mut arrivals| async {
        let connection = arrivals.next().await;
        Some((Ok(connection), arrivals))
    })
}

struct Arrivals<H: Handshake> {
    listener: TcpListener,
    acceptor: H,
    handshakes: FuturesUnordered<BoxFuture<'static, Option<GrpcConnection<H::Info>>>>,
}

impl<H: Handshake> Arrivals<H> {
    async fn next(&mut self) -> GrpcConnection<H::Info> {
        loop {
            tokio::select! {
                accepted = self.listener.accept(), if self.handshakes.len() < HANDSHAKES => match accepted {
                    Ok((stream, remote)) => {
                        self.handshakes.push(Box::pin(shake(self.acceptor.clone(), stream, remote)));
                    }
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept a connection");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
                Some(done) = self.handshakes.next() => if let Some(connection) = done {
                    return connection;
                },
            }
        }
    }
}

async fn shake<H: Handshake>(
    acceptor: H,
    stream: TcpStream,
    remote: SocketAddr,
) -> Option<GrpcConnection<H::Info>> {
    match acceptor.shake(stream).await {
        Ok((stream, info)) => {
            let end = Box::pin(H::ends(info.clone()));
            Some(GrpcConnection { stream, info, end })
        }
        Err(error) => {
            tracing::warn!(%remote, %error, "a caller's handshake was refused");
            None
        }
    }
}

/// A connection whose handshake is done. Handlers find `Info` in their request's extensions.
///
/// It ends when the caller's certificate expires or is revoked, as if the caller had closed it: a stream that lasts for weeks would otherwise
/// outlive the right to have it. Callers dial again, with the certificate that they have renewed by then.
pub struct GrpcConnection<Info> {
    stream: TlsStream<Socket>,
    info: Info,
    end: BoxFuture<'static, ()>,
}

impl<Info: Clone + Send + Sync + 'static> Connected for GrpcConnection<Info> {
    type ConnectInfo = Info;

    fn connect_info(&self) -> Info {
        self.info.clone()
    }
}

impl<Info: Unpin> AsyncRead for GrpcConnection<Info> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.end.as_mut().poll(cx).is_ready() {
            // Asked again, it is over still.
            self.end = Box::pin(std::future::ready(()));
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<Info: Unpin> AsyncWrite for GrpcConnection<Info> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
