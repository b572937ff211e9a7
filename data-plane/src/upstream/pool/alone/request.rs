//! A request as HTTP/1.1 writes it (RFC 9112), and how far it has gone out.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bailiwick_runtime::http1::put_chunk_size;
use bytes::{BufMut as _, Bytes, BytesMut};
use http::{Request, header};
use http_body::Body as _;
use tokio::io::AsyncWrite;

use crate::upstream::body::Outbound;

/// A body of up to so many bytes is copied behind its head, because a write costs more; a larger one is written where it is.
const LARGEST_COPIED: usize = 8 << 10;
/// Room for a head, before more has to be made.
const HEAD_BYTES: usize = 1 << 10;

/// A request on its way.
pub(super) struct Outgoing {
    /// What goes out first, and how far it has.
    bytes: Bytes,
    written: usize,
    /// What follows.
    body: Outbound,
    /// How the body says where it ends.
    ends: Ends,
    /// Whether anything has gone out.
    has_begun: bool,
}

/// RFC 9112, section 6.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ends {
    /// After so many bytes more, of which none is in `bytes`.
    Length(u64),
    /// With a chunk that says so.
    Chunked,
    /// All of it is in `bytes`.
    Here,
}

/// Why a request did not go out whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// The provider takes no more. What it has said before is still to be read, and then its end.
    Refused,
    /// Its body broke off: nobody wants an answer.
    Broken,
}

impl From<io::Error> for Cut {
    fn from(_refused: io::Error) -> Self {
        Self::Refused
    }
}

impl Outgoing {
    /// Takes a form out of the request: [`Self::give_back`].
    pub(super) fn new(request: &mut Request<Outbound>) -> Self {
        let body = request.body().again();
        let body = body.unwrap_or_else(|| std::mem::replace(request.body_mut(), Outbound::Whole(None)));
        let length = body.size_hint().exact();
        let copied = body.whole().filter(|whole| whole.len() <= LARGEST_COPIED);
        let is_empty = length == Some(0);
        let mut bytes = BytesMut::with_capacity(HEAD_BYTES + copied.map_or(0, Bytes::len));
        put_head(&mut bytes, request, length);
        let (body, ends) = match (copied, length) {
            (Some(whole), _) => {
                bytes.extend_from_slice(whole);
                (Outbound::Whole(None), Ends::Here)
            }
            _ if is_empty => (body, Ends::Here),
            (None, Some(length)) => (body, Ends::Length(length)),
            (None, None) => (body, Ends::Chunked),
        };
        Self { bytes: bytes.freeze(), written: 0, body, ends, has_begun: false }
    }

    /// Whether anything of it has gone out: if not, it may go elsewhere.
    pub(super) fn has_begun(&self) -> bool {
        self.has_begun
    }

    /// The provider takes no more, so nobody waits for the caller.
    pub(super) fn refused(&self) {
        if let Some(form) = self.body.progress() {
            form.moves();
        }
    }

    /// Of what has not begun, a form goes back to where it was taken from.
    pub(super) fn give_back(self, request: &mut Request<Outbound>) {
        if self.body.progress().is_some() {
            *request.body_mut() = self.body;
        }
    }

    /// Writes what can be written, until all has gone out.
    pub(super) fn poll_write(
        &mut self,
        stream: &mut (impl AsyncWrite + Unpin),
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Cut>> {
        loop {
            while let Some(rest) = self.bytes.get(self.written..).filter(|rest| !rest.is_empty()) {
                let written = ready!(Pin::new(&mut *stream).poll_write(cx, rest))?;
                if written == 0 {
                    return Poll::Ready(Err(Cut::Refused));
                }
                self.written += written;
                self.has_begun = true;
            }
            if self.ends == Ends::Here {
                // Nothing of what was said stays behind with a connection.
                (self.bytes, self.written) = (Bytes::new(), 0);
                ready!(Pin::new(&mut *stream).poll_flush(cx))?;
                return Poll::Ready(Ok(()));
            }
            let Poll::Ready(piece) = self.poll_piece(cx) else {
                // What has come from the caller goes on before more of it is waited for.
                ready!(Pin::new(&mut *stream).poll_flush(cx))?;
                return Poll::Pending;
            };
            (self.bytes, self.written) = (piece?, 0);
        }
    }

    /// The body's next piece, framed.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, Cut>> {
        loop {
            let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
            let data = match frame {
                Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
                Some(Err(_broken)) => return Poll::Ready(Err(Cut::Broken)),
                None => return Poll::Ready(self.end()),
            };
            // An empty chunk would be the last.
            if !data.is_empty() {
                return Poll::Ready(self.framed(data));
            }
        }
    }

    /// Errors: it is longer than it said.
    fn framed(&mut self, data: Bytes) -> Result<Bytes, Cut> {
        let Ends::Length(left) = self.ends else {
            let mut chunk = BytesMut::with_capacity(data.len() + "ffffffffffffffff\r\n\r\n0\r\n\r\n".len());
            put_chunk_size(&mut chunk, data.len());
            chunk.extend_from_slice(&data);
            chunk.extend_from_slice(b"\r\n");
            return Ok(chunk.freeze());
        };
        let left = left.checked_sub(data.len() as u64).ok_or(Cut::Broken)?;
        self.ends = if left == 0 { Ends::Here } else { Ends::Length(left) };
        Ok(data)
    }

    /// Errors: it was shorter than it said.
    fn end(&mut self) -> Result<Bytes, Cut> {
        match std::mem::replace(&mut self.ends, Ends::Here) {
            Ends::Length(_) => Err(Cut::Broken),
            Ends::Chunked => Ok(Bytes::from_static(b"0\r\n\r\n")),
            Ends::Here => Ok(Bytes::new()),
        }
    }
}

/// `length`: of the body, where it is known; otherwise it goes in chunks.
fn put_head(head: &mut BytesMut, request: &Request<Outbound>, length: Option<u64>) {
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
    head.extend_from_slice(request.method().as_str().as_bytes());
    head.put_u8(b' ');
    head.extend_from_slice(target.as_bytes());
    head.extend_from_slice(b" HTTP/1.1\r\n");
    for (name, value) in request.headers() {
        // How the body ends is said here alone.
        if *name == header::CONTENT_LENGTH || *name == header::TRANSFER_ENCODING {
            continue;
        }
        head.extend_from_slice(name.as_str().as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    match length {
        Some(length) => {
            head.extend_from_slice(b"content-length: ");
            head.extend_from_slice(itoa::Buffer::new().format(length).as_bytes());
        }
        None => head.extend_from_slice(b"transfer-encoding: chunked"),
    }
    head.extend_from_slice(b"\r\n\r\n");
}
