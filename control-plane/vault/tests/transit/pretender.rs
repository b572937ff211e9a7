//! A server that is no Vault: it gives every request the same bytes, or none.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

pub(crate) struct Pretender {
    address: SocketAddr,
    asked: Arc<AtomicU32>,
    _serving: JoinSet<()>,
}

impl Pretender {
    /// `headers` end with a line end each.
    pub(crate) async fn answering(status: &str, headers: &str, body: &str) -> Self {
        let length = body.len();
        let head =
            format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n");
        Self::start(Some((head + body).into_bytes())).await
    }

    pub(crate) async fn silent() -> Self {
        Self::start(None).await
    }

    async fn start(answer: Option<Vec<u8>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let (address, asked) = (listener.local_addr().expect("an address"), Arc::<AtomicU32>::default());
        let mut serving = JoinSet::new();
        let counted = Arc::clone(&asked);
        serving.spawn(async move {
            let mut open = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                open.spawn(serve(stream, answer.clone(), Arc::clone(&counted)));
            }
        });
        Self { address, asked, _serving: serving }
    }

    pub(crate) fn address(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Requests that came.
    pub(crate) fn asked(&self) -> u32 {
        self.asked.load(Ordering::Relaxed)
    }
}

async fn serve(mut stream: TcpStream, answer: Option<Vec<u8>>, asked: Arc<AtomicU32>) {
    let mut head = Vec::new();
    // The request's body is short and comes with its head, or right behind it.
    while !head.ends_with(b"}") {
        match stream.read_buf(&mut head).await {
            Ok(read) if read > 0 => {}
            _ => return,
        }
    }
    asked.fetch_add(1, Ordering::Relaxed);
    match answer {
        Some(answer) => drop(stream.write_all(&answer).await),
        None => std::future::pending().await,
    }
}
