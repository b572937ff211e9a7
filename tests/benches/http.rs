//! HTTP/1.1 as far as a load needs it: a request is bytes that were made once, and an answer is read to its end and not looked at. What measures shares the machine with
//! what is measured, so it does as little as it can.

use std::io;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// More than any head of an answer here, and than most answers.
const BUFFER_BYTES: usize = 32 << 10;

/// Where requests go.
#[derive(Clone)]
pub struct Target {
    /// `host:port`, plain HTTP.
    pub address: String,
    /// Bearer token.
    pub key: String,
    /// Public name of the model.
    pub model: String,
}

impl Target {
    /// A chat completion of about a kilobyte. `mark` tells the provider how to answer; empty: at once.
    pub fn request(&self, mark: &str) -> Vec<u8> {
        let prompt = format!("{mark} {}", "word ".repeat(180));
        let mut body =
            serde_json::json!({"model": self.model, "messages": [{"role": "user", "content": prompt}]});
        if !mark.is_empty() {
            body["stream"] = serde_json::json!(true);
        }
        let body = body.to_string();
        let Self { address, key, .. } = self;
        let length = body.len();
        format!("POST /v1/chat/completions HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {key}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}").into_bytes()
    }
}

/// One connection.
pub struct Connection {
    stream: TcpStream,
    buffer: Box<[u8]>,
}

impl Connection {
    /// Connects.
    pub async fn open(address: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: vec![0; BUFFER_BYTES].into_boxed_slice() })
    }

    /// The same with little room: for thousands of streams that are hardly read.
    pub async fn small(address: &str) -> io::Result<Self> {
        Ok(Self { buffer: vec![0; 2 << 10].into_boxed_slice(), ..Self::open(address).await? })
    }

    /// Sends a request and reads its answer to the end. Gives whether it is a success.
    pub async fn exchange(&mut self, request: &[u8]) -> io::Result<bool> {
        self.stream.write_all(request).await?;
        let mut filled = 0;
        let (head, end) = loop {
            filled += self.more(filled).await?;
            if let Some(head) = head_of(&self.buffer[..filled]) {
                break (head, End::of(&self.buffer[..head]));
            }
        };
        let ok = self.buffer.starts_with(b"HTTP/1.1 200");
        match end {
            End::Length(length) => {
                let mut left = (head + length).saturating_sub(filled);
                while left > 0 {
                    left = left.saturating_sub(self.more(0).await?);
                }
            }
            End::Chunks => {
                while !self.buffer[..filled].ends_with(b"0\r\n\r\n") {
                    filled = self.more(0).await?;
                }
            }
        }
        Ok(ok)
    }

    /// Sends a request whose answer is a stream.
    pub async fn begin(&mut self, request: &[u8]) -> io::Result<()> {
        self.stream.write_all(request).await
    }

    /// The stream's next bytes, its head among them.
    pub async fn piece(&mut self) -> io::Result<&[u8]> {
        let length = self.more(0).await?;
        Ok(&self.buffer[..length])
    }

    async fn more(&mut self, from: usize) -> io::Result<usize> {
        let from = if from == self.buffer.len() { 0 } else { from };
        match self.stream.read(&mut self.buffer[from..]).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            length => Ok(length),
        }
    }
}

/// How an answer's end is known.
enum End {
    Length(usize),
    Chunks,
}

impl End {
    fn of(head: &[u8]) -> Self {
        length_of(head).map_or(Self::Chunks, Self::Length)
    }
}

/// Bytes of the head, its empty line with it.
pub fn head_of(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4)
}

/// What Content-Length says.
pub fn length_of(head: &[u8]) -> Option<usize> {
    const NAME: &[u8] = b"content-length:";
    let line = head
        .split(|byte| *byte == b'\n')
        .find(|line| line.get(..NAME.len()).is_some_and(|name| name.eq_ignore_ascii_case(NAME)))?;
    std::str::from_utf8(&line[NAME.len()..]).ok()?.trim().parse().ok()
}
