//! The provider that is called: it answers from bytes that were made before, on a thread for each core. A mark in the prompt says how.

use std::{
    io::{self, Write as _},
    net::SocketAddr,
    rc::Rc,
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
    task::LocalSet,
};
use tokio_rustls::TlsAcceptor;

use crate::{
    http::{head_of, length_of},
    secure,
};

/// A stream that is over at once.
pub const SHORT: &str = "@short";
/// A stream of a chunk every two milliseconds, for as long as it is read.
pub const PACED: &str = "@paced";
/// A stream that begins, and goes on no more.
pub const IDLE: &str = "@idle";

/// What each answer says that it used.
pub const PROMPT_TOKENS: u64 = 181;
/// The same of what was written.
pub const COMPLETION_TOKENS: u64 = 80;

/// Chunks of a short stream.
const SHORT_CHUNKS: usize = 20;
/// Between two chunks of a paced stream.
pub const PACE: Duration = Duration::from_millis(2);
const STREAM_HEAD: &[u8] =
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
const LARGEST_REQUEST: usize = 64 << 10;

/// Serves until it is killed; over TLS and HTTP/2 too, where that is asked for.
pub fn serve(address: SocketAddr, secure: Option<(SocketAddr, TlsAcceptor)>) -> io::Result<()> {
    bailiwick_runtime::resources::take_descriptors();
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let on_one = || {
        let secure = secure.clone();
        thread::spawn(move || core(address, secure))
    };
    let threads: Vec<_> = (0..cores).map(|_| on_one()).collect();
    threads.into_iter().try_for_each(|thread| thread.join().expect("it does not panic"))
}

fn core(address: SocketAddr, secure: Option<(SocketAddr, TlsAcceptor)>) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async {
        let listener = listen(address)?;
        let answers = Rc::new(Answers::new());
        if let Some((address, acceptor)) = secure {
            tokio::task::spawn_local(secure::serve(listen(address)?, acceptor, answers.body.clone()));
        }
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let answers = Rc::clone(&answers);
            tokio::task::spawn_local(async move {
                // Who has gone is gone.
                let _ = connection(stream, &answers).await;
            });
        }
    })
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseport(true)?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(4096)
}

struct Answers {
    body: Bytes,
    whole: Vec<u8>,
    short: Vec<u8>,
}

impl Answers {
    fn new() -> Self {
        let text = "word ".repeat(80);
        let body = serde_json::json!({
            "id": "chatcmpl-bench", "object": "chat.completion", "created": 1_700_000_000, "model": "bench",
            "choices": [{"index": 0, "message": {"role": "assistant", "content": text, "refusal": null}, "logprobs": null, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": PROMPT_TOKENS, "completion_tokens": COMPLETION_TOKENS, "total_tokens": PROMPT_TOKENS + COMPLETION_TOKENS},
        })
        .to_string();
        let whole = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut short = STREAM_HEAD.to_vec();
        (0..SHORT_CHUNKS).for_each(|_| chunk(&mut short, &delta("word ")));
        chunk(
            &mut short,
            "data: {\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,\"model\":\"bench\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n",
        );
        chunk(&mut short, "data: [DONE]\n\n");
        short.extend_from_slice(b"0\r\n\r\n");
        Self { body: body.into(), whole: whole.into_bytes(), short }
    }
}

/// A chunk of a stream, with this content.
pub fn delta(content: &str) -> String {
    format!(
        "data: {{\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,\"model\":\"bench\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{content}\"}},\"finish_reason\":null}}]}}\n\n"
    )
}

fn chunk(bytes: &mut Vec<u8>, event: &str) {
    let _ = write!(bytes, "{:x}\r\n{event}\r\n", event.len());
}

async fn connection(mut stream: TcpStream, answers: &Answers) -> io::Result<()> {
    let mut buffer = vec![0; 4 << 10];
    let mut filled = 0;
    loop {
        let request = loop {
            if let Some(head) = head_of(&buffer[..filled]) {
                let whole = head + length_of(&buffer[..head]).unwrap_or(0);
                if filled >= whole {
                    break whole;
                }
            }
            if filled == buffer.len() {
                if filled >= LARGEST_REQUEST {
                    return Err(io::ErrorKind::InvalidData.into());
                }
                buffer.resize(2 * filled, 0);
            }
            match stream.read(&mut buffer[filled..]).await? {
                0 => return Ok(()),
                more => filled += more,
            }
        };
        let is = |mark: &str| buffer[..request].windows(mark.len()).any(|window| window == mark.as_bytes());
        // Marks stand in streams alone, and few requests are streams.
        let streams = is("\"stream\":true");
        if streams && is(PACED) {
            return paced(&mut stream).await;
        }
        if streams && is(IDLE) {
            buffer = Vec::new();
            return idle(&mut stream, &mut buffer).await;
        }
        stream.write_all(if streams { &answers.short } else { &answers.whole }).await?;
        buffer.copy_within(request..filled, 0);
        filled -= request;
    }
}

/// Each chunk says when it was sent: nanoseconds since the epoch, in twenty digits.
async fn paced(stream: &mut TcpStream) -> io::Result<()> {
    stream.write_all(STREAM_HEAD).await?;
    let mut pace = tokio::time::interval(PACE);
    loop {
        pace.tick().await;
        let mut bytes = Vec::with_capacity(300);
        chunk(&mut bytes, &delta(&format!("{:020}", now_nanos())));
        stream.write_all(&bytes).await?;
    }
}

/// Of one machine, so both ends have the same clock.
pub fn now_nanos() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    u64::try_from(since.as_nanos()).expect("before 2554")
}

async fn idle(stream: &mut TcpStream, rest: &mut Vec<u8>) -> io::Result<()> {
    let mut bytes = STREAM_HEAD.to_vec();
    chunk(&mut bytes, &delta("word "));
    stream.write_all(&bytes).await?;
    // Until the other end has enough.
    while stream.read_buf(rest).await? > 0 {
        rest.clear();
    }
    Ok(())
}
