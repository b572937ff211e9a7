//! A provider that does on its connections what a test says, also what no HTTP server would: it is a listener, and the test writes the bytes.

use std::{net::SocketAddr, sync::Arc};

use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

/// A request as it came.
pub struct Heard {
    /// The path, with its query.
    pub path: String,
    /// The head, in lower case.
    pub head: String,
    /// The body.
    pub body: Vec<u8>,
}

impl Heard {
    /// Reads the next request; `None` when the caller has gone.
    pub async fn next(stream: &mut (impl AsyncRead + Unpin)) -> Option<Self> {
        let mut bytes = Vec::new();
        let end = loop {
            if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
            let more = stream.read_buf(&mut bytes).await.ok()?;
            (more > 0).then_some(())?;
        };
        let body = bytes.split_off(end);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let path = text.split(' ').nth(1)?.to_owned();
        let mut heard = Self { path, head: text.to_ascii_lowercase(), body };
        let length = heard.head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
        while heard.body.len() < length.unwrap_or(0) {
            let more = stream.read_buf(&mut heard.body).await.ok()?;
            (more > 0).then_some(())?;
        }
        Some(heard)
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The model that is asked for, by the body or, with some, by the path.
    pub fn model(&self) -> String {
        let named = self.json()["model"].as_str().map(str::to_owned);
        let in_path = || {
            let after = ["/models/", "/model/", "/deployments/"];
            let rest = after.iter().find_map(|place| self.path.split_once(place))?.1;
            rest.split(['/', ':', '?']).next().map(str::to_owned)
        };
        named.or_else(in_path).unwrap_or_default()
    }
}

/// A listener whose connections are a test's. Closed on drop, and all connections with it.
pub struct Provider {
    /// Base URL, without a path.
    pub url: String,
    _serving: JoinSet<()>,
}

impl Provider {
    /// Listens; `serve` has each connection until it returns.
    pub async fn start<F, S>(address: SocketAddr, serve: F) -> Self
    where
        F: Fn(TcpStream) -> S + Send + Sync + 'static,
        S: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind(address).await.expect("a free port");
        let (serve, mut serving) = (Arc::new(serve), JoinSet::new());
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let _ = stream.set_nodelay(true);
                connections.spawn(serve(stream));
                while connections.try_join_next().is_some() {}
            }
        });
        Self { url: format!("http://{address}"), _serving: serving }
    }
}
