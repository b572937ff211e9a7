//! A provider that speaks HTTP/2 over TLS, and does with each stream what it is told.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use h2::{Reason, RecvStream, server::SendResponse};
use http::{Request, Response};
use rustls::{ServerConfig, crypto::aws_lc_rs::default_provider, pki_types::CertificateDer};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

const PIECE: usize = 16 << 10;
/// What is taken of a stream ahead of its caller.
const WINDOW: usize = 128 << 10;

/// What becomes of a stream.
#[derive(Clone, Copy, Debug)]
pub(super) enum Play {
    /// It is answered with this JSON.
    Answer(&'static str),
    /// It is answered when so many streams have come.
    Together(usize, &'static str),
    /// It begins with these events, and goes on no more.
    Begin(&'static str),
    /// It is answered with this type, and this text over and over, and is reset before its end as if that were all.
    Cut(&'static str, &'static str),
    /// It begins, and is sent as much as is taken.
    Endless,
    /// It is never answered.
    Silence,
    /// It is reset, as one that was not begun.
    Refuse,
    /// It is reset, as one that failed.
    Fail,
}

/// How it speaks.
#[derive(Clone, Copy, Debug)]
pub(super) enum Speech {
    Http2 {
        most: u32,
    },
    /// HTTP/1.1 alone: each connection is closed after its answer.
    Http1(&'static str),
    /// HTTP/2, but of the first connection nothing is ever heard.
    Hangs,
    /// HTTP/2, on a connection that is given up, with the first stream on it, as soon as that comes.
    Leaves,
}

#[derive(Default)]
struct State {
    plays: Mutex<VecDeque<Play>>,
    heard: Mutex<Vec<Request<()>>>,
    dialled: AtomicUsize,
    open: AtomicUsize,
    most_open: AtomicUsize,
    left: AtomicUsize,
    sent: AtomicUsize,
    starving: AtomicUsize,
    hanging: AtomicUsize,
    come: tokio::sync::Notify,
}

pub(super) struct Provider {
    pub(super) address: SocketAddr,
    pub(super) authority: CertificateDer<'static>,
    state: Arc<State>,
    _serving: JoinSet<()>,
}

impl Provider {
    /// Plays in order, the last one for ever.
    pub(super) async fn start(speech: Speech, plays: impl IntoIterator<Item = Play>) -> Self {
        let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
        let key = made.signing_key.serialize_der().try_into().unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()));
        let config = config.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
        let mut config = config.with_single_cert(vec![made.cert.der().clone()], key).unwrap();
        config.alpn_protocols = match speech {
            Speech::Http1(_) => vec![b"http/1.1".to_vec()],
            Speech::Http2 { .. } | Speech::Leaves | Speech::Hangs => {
                vec![b"h2".to_vec(), b"http/1.1".to_vec()]
            }
        };
        let (listener, acceptor) =
            (TcpListener::bind("127.0.0.1:0").await.unwrap(), TlsAcceptor::from(Arc::new(config)));
        let state = Arc::new(State { plays: Mutex::new(plays.into_iter().collect()), ..State::default() });
        let (address, shared, mut serving) =
            (listener.local_addr().unwrap(), Arc::clone(&state), JoinSet::new());
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, state) = (acceptor.clone(), Arc::clone(&shared));
                if matches!(speech, Speech::Hangs) && state.hanging.fetch_add(1, Ordering::SeqCst) == 0 {
                    connections.spawn(async move {
                        let _held = stream;
                        std::future::pending::<()>().await;
                    });
                    continue;
                }
                connections.spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    state.dialled.fetch_add(1, Ordering::SeqCst);
                    let speaks_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                    match speech {
                        Speech::Http2 { most } if speaks_http2 => talk(stream, most, state).await,
                        Speech::Leaves if speaks_http2 && state.dialled.load(Ordering::SeqCst) == 1 => {
                            leave(stream).await;
                        }
                        Speech::Leaves | Speech::Hangs if speaks_http2 => talk(stream, 100, state).await,
                        Speech::Http1(answer) => old(stream, answer).await,
                        _ => old(stream, super::super::ANSWER).await,
                    }
                });
            }
        });
        Self { address, authority: made.cert.der().clone(), state, _serving: serving }
    }

    pub(super) fn endpoint(&self) -> String {
        format!("https://{}/v1", self.address)
    }

    /// Connections that came to speak.
    pub(super) fn dialled(&self) -> usize {
        self.state.dialled.load(Ordering::SeqCst)
    }

    /// Heads of the streams that came.
    pub(super) fn heard(&self) -> Vec<Request<()>> {
        let heard = self.state.heard.lock().unwrap();
        let copy = |head: &Request<()>| {
            let mut copy = Request::new(());
            copy.uri_mut().clone_from(head.uri());
            copy.headers_mut().clone_from(head.headers());
            copy
        };
        heard.iter().map(copy).collect()
    }

    /// Streams of one connection that were open at once, at most.
    pub(super) fn most_open(&self) -> usize {
        self.state.most_open.load(Ordering::SeqCst)
    }

    /// Streams that the other end gave up.
    pub(super) fn left(&self) -> usize {
        self.state.left.load(Ordering::SeqCst)
    }

    /// Endless streams of which nothing is taken at the moment.
    pub(super) fn starving(&self) -> usize {
        self.state.starving.load(Ordering::SeqCst)
    }

    /// Bytes that were taken of endless streams.
    pub(super) fn sent(&self) -> usize {
        self.state.sent.load(Ordering::SeqCst)
    }
}

async fn talk(stream: TlsStream<TcpStream>, most: u32, state: Arc<State>) {
    let mut builder = h2::server::Builder::new();
    let Ok(mut connection) = builder.max_concurrent_streams(most).handshake::<_, Bytes>(stream).await else {
        return;
    };
    let (mut streams, here) = (JoinSet::new(), Arc::new(AtomicUsize::new(0)));
    while let Some(Ok((request, respond))) = connection.accept().await {
        let open = here.fetch_add(1, Ordering::SeqCst) + 1;
        state.most_open.fetch_max(open, Ordering::SeqCst);
        state.open.fetch_add(1, Ordering::SeqCst);
        let (state, here) = (Arc::clone(&state), Arc::clone(&here));
        streams.spawn(async move {
            play(request, respond, &state).await;
            here.fetch_sub(1, Ordering::SeqCst);
        });
    }
}

async fn play(request: Request<RecvStream>, mut respond: SendResponse<Bytes>, state: &State) {
    let (head, mut body) = request.into_parts();
    let play = {
        let mut plays = state.plays.lock().unwrap();
        if plays.len() > 1 { plays.pop_front() } else { plays.front().copied() }
    };
    state.heard.lock().unwrap().push(Request::from_parts(head, ()));
    state.come.notify_waiters();
    while let Some(Ok(bytes)) = body.data().await {
        body.flow_control().release_capacity(bytes.len()).unwrap();
    }
    let json = || Response::builder().header("content-type", "application/json").body(()).unwrap();
    let events = || Response::builder().header("content-type", "text/event-stream").body(()).unwrap();
    match play.unwrap() {
        Play::Answer(text) => {
            respond.send_response(json(), false).unwrap().send_data(text.into(), true).unwrap();
        }
        Play::Together(all, text) => {
            loop {
                let come = state.come.notified();
                if state.open.load(Ordering::SeqCst) >= all {
                    break;
                }
                come.await;
            }
            state.come.notify_waiters();
            respond.send_response(json(), false).unwrap().send_data(text.into(), true).unwrap();
        }
        Play::Begin(text) => {
            let mut sending = respond.send_response(events(), false).unwrap();
            sending.send_data(text.into(), false).unwrap();
            let _reason = std::future::poll_fn(|context| sending.poll_reset(context)).await;
            state.left.fetch_add(1, Ordering::SeqCst);
        }
        Play::Endless => {
            let mut sending = respond.send_response(events(), false).unwrap();
            loop {
                sending.reserve_capacity(PIECE);
                state.starving.fetch_add(1, Ordering::SeqCst);
                let room = std::future::poll_fn(|context| sending.poll_capacity(context)).await;
                state.starving.fetch_sub(1, Ordering::SeqCst);
                let Some(Ok(room)) = room else { break };
                state.sent.fetch_add(room, Ordering::SeqCst);
                sending.send_data(vec![b' '; room].into(), false).unwrap();
            }
            state.left.fetch_add(1, Ordering::SeqCst);
        }
        Play::Cut(kind, text) => {
            let head = Response::builder().header("content-type", kind).body(()).unwrap();
            let mut sending = respond.send_response(head, false).unwrap();
            sending.send_data(text.repeat(WINDOW.div_ceil(text.len())).into(), false).unwrap();
            // There is no room for more until some of it has been read.
            sending.reserve_capacity(1);
            let _room = std::future::poll_fn(|context| sending.poll_capacity(context)).await;
            sending.send_reset(Reason::NO_ERROR);
        }
        Play::Silence => {
            let _reason = std::future::poll_fn(|context| respond.poll_reset(context)).await;
            state.left.fetch_add(1, Ordering::SeqCst);
        }
        Play::Refuse => respond.send_reset(Reason::REFUSED_STREAM),
        Play::Fail => respond.send_reset(Reason::INTERNAL_ERROR),
    }
}

/// SETTINGS; and when the first HEADERS have come, GOAWAY with no stream as the last (RFC 9113, section 6.8), and the end.
async fn leave(mut stream: TlsStream<TcpStream>) {
    const HEADERS: u8 = 1;
    let mut buffer = vec![0; 64 << 10];
    let mut filled = 0;
    stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
    let mut at = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".len();
    loop {
        match stream.read(&mut buffer[filled..]).await {
            Ok(more) if more > 0 => filled += more,
            _ => return,
        }
        while filled >= at + 9 {
            let frame = &buffer[at..filled];
            if frame[3] == HEADERS {
                let goaway = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
                stream.write_all(&goaway).await.unwrap();
                let _gone = stream.shutdown().await;
                return;
            }
            at += 9 + usize::from(frame[0]) * 65_536 + usize::from(frame[1]) * 256 + usize::from(frame[2]);
        }
    }
}

/// One answer in HTTP/1.1, to whatever comes.
async fn old(mut stream: TlsStream<TcpStream>, answer: &str) {
    let mut buffer = vec![0; 64 << 10];
    let Ok(1..) = stream.read(&mut buffer).await else { return };
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        answer.len()
    );
    let _sent = stream.write_all((head + answer).as_bytes()).await;
    let _gone = stream.shutdown().await;
}
