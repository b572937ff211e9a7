//! Listeners where nobody may ever be sent, and a provider that sends callers there.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

/// What the redirecting provider reads of a request before it answers.
const READ_BYTES: usize = 16 << 10;

/// Where the egress policy lets nobody be dialled: another loopback address than the provider's own.
pub(super) const FORBIDDEN: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

/// A listener that counts who connects. Dropped, it is gone.
pub(in crate::attacks) struct Trap {
    pub(in crate::attacks) address: SocketAddr,
    caught: Arc<AtomicUsize>,
    _listening: JoinSet<()>,
}

impl Trap {
    /// Closes each connection at once.
    pub(in crate::attacks) async fn set(address: SocketAddr) -> Result<Self, String> {
        Self::answering(address, None).await
    }

    /// Answers whatever is asked with a redirect.
    pub(super) async fn redirecting(at: IpAddr, to: &Self) -> Result<Self, String> {
        let location = format!("http://{}/v1/chat/completions", to.address);
        let answer = format!(
            "HTTP/1.1 307 Temporary Redirect\r\nlocation: {location}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        );
        Self::answering(SocketAddr::new(at, 0), Some(answer.into())).await
    }

    async fn answering(address: SocketAddr, answer: Option<Arc<str>>) -> Result<Self, String> {
        let listener = TcpListener::bind(address).await.map_err(|error| format!("{address}: {error}"))?;
        let address = listener.local_addr().map_err(|error| error.to_string())?;
        let caught = Arc::<AtomicUsize>::default();
        let count = Arc::clone(&caught);
        let mut listening = JoinSet::new();
        listening.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::Relaxed);
                if let Some(answer) = &answer {
                    // Who hangs up is not waited for.
                    let _ended = respond(stream, answer).await;
                }
            }
        });
        Ok(Self { address, caught, _listening: listening })
    }

    /// Connections so far.
    pub(in crate::attacks) fn caught(&self) -> usize {
        self.caught.load(Ordering::Relaxed)
    }
}

async fn respond(mut stream: TcpStream, answer: &str) -> std::io::Result<()> {
    let mut request = Vec::with_capacity(READ_BYTES);
    // The head, and what comes with it: the answer is the same whatever the body says.
    while !request.windows(4).any(|end| end == b"\r\n\r\n") && request.len() < READ_BYTES {
        if stream.read_buf(&mut request).await? == 0 {
            return Ok(());
        }
    }
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}
