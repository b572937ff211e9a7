//! The client's end of a verified connection.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use rustls::{AlertDescription, Error};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::{Identity, Peer};
use crate::socket::Socket;

/// A connection that was dialled, and whoever answered.
///
/// With TLS 1.3 a server looks at the client's certificate after the client is done with the handshake, so what it thinks of it comes as an
/// alert in the place of the first bytes. The alert is encrypted and authenticated by the server's own certificate: when it is the
/// control plane that says `certificate_revoked`, this process's identity notes it.
#[derive(Debug)]
pub struct ClientStream {
    stream: TlsStream<Socket>,
    peer: Peer,
    /// Whose certificate the server may say is revoked; `None` where its word does not count.
    presented: Option<Identity>,
}

impl ClientStream {
    pub(super) fn new(stream: TlsStream<Socket>, peer: Peer, presented: Option<Identity>) -> Self {
        Self { stream, peer, presented }
    }

    /// Who answered.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// The connection beneath.
    pub fn tcp(&self) -> &TcpStream {
        self.stream.get_ref().0.tcp()
    }

    fn hear(&self, read: &Poll<io::Result<()>>) {
        let Poll::Ready(Err(error)) = read else { return };
        let alert = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
        if let (Some(Error::AlertReceived(AlertDescription::CertificateRevoked)), Some(identity)) =
            (alert, &self.presented)
        {
            identity.disown();
        }
    }
}

impl AsyncRead for ClientStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.hear(&read);
        read
    }
}

impl AsyncWrite for ClientStream {
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
