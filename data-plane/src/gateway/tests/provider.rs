//! A provider that sends bytes as told, over plain TCP, so that it can be as wrong as it likes.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

/// What follows when the bytes of an answer have been sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// The connection serves on.
    Keep,
    /// It is closed.
    Close,
    /// It is closed from here, and waited on until the other end closes it too.
    Leave,
    /// Nothing, until the other end closes it.
    Wait,
}

/// Pieces, each of which is sent alone, and what follows.
pub(super) type Script = (Vec<Vec<u8>>, Then);

#[derive(Default)]
struct State {
    scripts: Mutex<VecDeque<Script>>,
    heard: Mutex<Vec<(String, String)>>,
    dialled: AtomicUsize,
    left: AtomicUsize,
}

/// Plays its scripts in order, the last one for ever.
pub(super) struct Provider {
    pub(super) address: SocketAddr,
    state: Arc<State>,
    _serving: JoinSet<()>,
}

impl Provider {
    pub(super) async fn start(scripts: impl IntoIterator<Item = Script>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let state =
            Arc::new(State { scripts: Mutex::new(scripts.into_iter().collect()), ..State::default() });
        let address = listener.local_addr().unwrap();
        let mut serving = JoinSet::new();
        let shared = Arc::clone(&state);
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                stream.set_nodelay(true).unwrap();
                shared.dialled.fetch_add(1, Ordering::SeqCst);
                connections.spawn(talk(stream, Arc::clone(&shared)));
            }
        });
        Self { address, state, _serving: serving }
    }

    /// Heads and bodies of the requests that came.
    pub(super) fn heard(&self) -> Vec<(String, String)> {
        self.state.heard.lock().unwrap().clone()
    }

    /// Connections that were made.
    pub(super) fn dialled(&self) -> usize {
        self.state.dialled.load(Ordering::SeqCst)
    }

    /// Connections that the other end closed while they were waited on.
    pub(super) fn left(&self) -> usize {
        self.state.left.load(Ordering::SeqCst)
    }
}

async fn talk(mut stream: TcpStream, state: Arc<State>) {
    while let Some(request) = hear(&mut stream).await {
        state.heard.lock().unwrap().push(request);
        let (pieces, then) = {
            let mut scripts = state.scripts.lock().unwrap();
            if scripts.len() > 1 { scripts.pop_front() } else { scripts.front().cloned() }.unwrap()
        };
        for piece in pieces {
            if stream.write_all(&piece).await.is_err() {
                break;
            }
            tokio::task::yield_now().await;
        }
        match then {
            Then::Keep => {}
            Then::Close => return,
            Then::Leave | Then::Wait => {
                if then == Then::Leave {
                    stream.shutdown().await.unwrap();
                }
                let _ended = stream.read(&mut [0; 16]).await;
                state.left.fetch_add(1, Ordering::SeqCst);
                return;
            }
        }
    }
}

async fn hear(stream: &mut TcpStream) -> Option<(String, String)> {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
            if body.len() >= length.unwrap_or(0_usize) {
                return Some((head.to_owned(), body.to_owned()));
            }
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}

/// A script whose answer has this in its head, too.
pub(super) fn with_header(script: Script, header: &str) -> Script {
    let (pieces, then) = script;
    let text = String::from_utf8(pieces.concat()).unwrap().replacen("\r\n", &format!("\r\n{header}\r\n"), 1);
    (vec![text.into_bytes()], then)
}

/// A whole answer.
pub(super) fn json(status: u16, body: &str) -> Script {
    let head = format!(
        "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\n",
        body.len()
    );
    (
        vec![
            format!("{head}set-cookie: a=b\r\nopenai-organization: org-secret\r\nx-kept: yes\r\n\r\n{body}")
                .into(),
        ],
        Then::Keep,
    )
}

/// A chunked stream of events; without its last chunk unless it is kept.
pub(super) fn events(pieces: &[&str], then: Then) -> Script {
    let head =
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n".to_owned();
    let chunks = pieces.iter().map(|piece| format!("{:x}\r\n{piece}\r\n", piece.len()));
    let end = (then == Then::Keep).then(|| "0\r\n\r\n".to_owned());
    (std::iter::once(head).chain(chunks).chain(end).map(String::into_bytes).collect(), then)
}
