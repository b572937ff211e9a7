//! Answers as they are written.

use std::future::poll_fn;
use std::io::IoSlice;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderMap, Method, Response, StatusCode, Version, header};
use http_body::Body as _;

use super::wire::Wire;
use super::{ResponseBody, panicked};
use crate::http1::{content_length, names, put_chunk_size};

/// A piece of up to so many bytes is copied behind what goes before it, because a write costs more; a larger one is written from where it is.
const LARGEST_COPIED: usize = 8 << 10;

/// Pieces are gathered until there is so much to write.
const ENOUGH: usize = 32 << 10;

/// What the answer has to know of its request.
#[derive(Clone, Copy)]
pub(super) struct Asked {
    pub(super) is_head: bool,
    pub(super) is_1_1: bool,
    /// Whether the caller may send another.
    pub(super) keeps: bool,
}

impl Asked {
    /// What came was refused, and nothing that follows is read.
    pub(super) const NOTHING: Self = Self { is_head: false, is_1_1: true, keeps: false };

    pub(super) fn new(method: &Method, version: Version, keeps: bool) -> Self {
        Self { is_head: *method == Method::HEAD, is_1_1: version != Version::HTTP_10, keeps }
    }
}

/// The caller has left, or the answer broke off: the connection is of no use any more.
pub(super) struct Cut;

/// Writes an answer to its end. Whether another request may follow.
pub(super) async fn write(
    wire: &Rc<Wire>,
    response: Response<ResponseBody>,
    asked: Asked,
) -> Result<bool, Cut> {
    let before = wire.answer_begins();
    // There is nothing that a service could tell with one.
    let response = if response.status().is_informational() { panicked() } else { response };
    let mut answer = Answer::new(wire, before, response, asked);
    poll_fn(|cx| match answer.poll(cx) {
        Poll::Pending => wire.poll_left(cx).map(|()| Err(Cut)),
        written => written,
    })
    .await
}

/// An answer on its way.
struct Answer<'a> {
    wire: &'a Wire,
    /// What goes next, how far it has, and what follows it.
    room: Vec<u8>,
    large: Bytes,
    behind_large: &'static [u8],
    written: usize,
    body: ResponseBody,
    ends: Ends,
    /// Whether the caller takes the connection's end for the answer's, and the answer has not come to its own.
    may_look_whole: bool,
    keeps: bool,
}

/// One that is left before its end.
impl Drop for Answer<'_> {
    fn drop(&mut self) {
        if self.may_look_whole {
            self.wire.breaks();
        }
    }
}

/// How a body says where it ends (RFC 9112, section 6).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ends {
    /// After so many bytes more.
    Length(u64),
    /// With a chunk that says so.
    Chunked,
    /// With the connection.
    Close,
    /// Here.
    Here,
    /// Not as it should.
    Broken,
}

impl<'a> Answer<'a> {
    fn new(wire: &'a Rc<Wire>, before: &[u8], response: Response<ResponseBody>, asked: Asked) -> Self {
        let (head, body) = response.into_parts();
        let has_no_body = matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        let length = body.size_hint().exact();
        let said = match content_length(&head.headers) {
            _ if has_no_body => Said::Nothing,
            // What a body would have that nobody asked for, is known to who answered.
            said if asked.is_head => {
                said.or(length.filter(|length| *length > 0)).map_or(Said::Nothing, Said::Length)
            }
            said => match length.or(said) {
                Some(length) => Said::Length(length),
                None if asked.is_1_1 => Said::Chunked,
                None => Said::Nothing,
            },
        };
        let ends = match said {
            _ if has_no_body || asked.is_head => Ends::Here,
            Said::Length(0) => Ends::Here,
            Said::Length(length) => Ends::Length(length),
            Said::Chunked => Ends::Chunked,
            Said::Nothing => Ends::Close,
        };
        let may_look_whole = ends == Ends::Close;
        let closes = names(&head.headers, header::CONNECTION, "close");
        let is_last = closes || may_look_whole || wire.is_abandoned() || wire.state().is_finishing();
        let keeps = asked.keeps && !is_last;
        let mut room = wire.stock().room();
        room.extend_from_slice(before);
        put_status(&mut room, head.status);
        put_fields(&mut room, &head.headers);
        said.put(&mut room);
        if !keeps {
            room.extend_from_slice(b"connection: close\r\n");
        } else if !asked.is_1_1 {
            room.extend_from_slice(b"connection: keep-alive\r\n");
        }
        if !head.headers.contains_key(header::DATE) {
            room.extend_from_slice(b"date: ");
            room.extend_from_slice(&wire.state().date());
            room.extend_from_slice(b"\r\n");
        }
        room.extend_from_slice(b"\r\n");
        wire.stock().take_back(head.headers);
        let (large, behind_large, written) = (Bytes::new(), &[][..], 0);
        Self { wire, room, large, behind_large, written, body, ends, may_look_whole, keeps }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, Cut>> {
        loop {
            let waits = self.gather(cx);
            ready!(self.poll_write(cx))?;
            match self.ends {
                Ends::Here => {
                    ready!(self.wire.poll_flush(cx)).map_err(|_left| Cut)?;
                    self.may_look_whole = false;
                    self.wire.state().answered();
                    return Poll::Ready(Ok(self.keeps && self.wire.is_read()));
                }
                // What came before it broke off has gone out: it may say why.
                Ends::Broken => {
                    ready!(self.wire.poll_flush(cx)).map_err(|_left| Cut)?;
                    return Poll::Ready(Err(Cut));
                }
                _ if waits => {
                    ready!(self.wire.poll_flush(cx)).map_err(|_left| Cut)?;
                    return Poll::Pending;
                }
                _ => {}
            }
        }
    }

    /// Takes what there is of the body, up to a bound. Whether more is waited for.
    fn gather(&mut self, cx: &mut Context<'_>) -> bool {
        while self.large.is_empty() && self.room.len() < ENOUGH && !self.is_over() {
            let frame = match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Pending => return true,
                Poll::Ready(frame) => frame,
            };
            match frame {
                // Trailers are meant for one hop.
                Some(Ok(frame)) => self.put(frame.into_data().unwrap_or_default()),
                Some(Err(_broken)) => self.ends = Ends::Broken,
                None => self.end(),
            }
        }
        false
    }

    fn is_over(&self) -> bool {
        matches!(self.ends, Ends::Here | Ends::Broken)
    }

    fn put(&mut self, data: Bytes) {
        if data.is_empty() {
            return; // an empty chunk would be the last
        }
        let mut behind: &'static [u8] = &[];
        match &mut self.ends {
            Ends::Length(left) => match left.checked_sub(data.len() as u64) {
                Some(0) => self.ends = Ends::Here,
                Some(less) => *left = less,
                // It is longer than it said.
                None => {
                    self.ends = Ends::Broken;
                    return;
                }
            },
            Ends::Chunked => {
                put_chunk_size(self.room(), data.len());
                behind = b"\r\n";
            }
            Ends::Close | Ends::Here | Ends::Broken => {}
        }
        if data.len() > LARGEST_COPIED {
            (self.large, self.behind_large) = (data, behind);
        } else {
            self.room().extend_from_slice(&data);
            self.room.extend_from_slice(behind);
        }
    }

    fn end(&mut self) {
        self.ends = match self.ends {
            // It is shorter than it said.
            Ends::Length(_) | Ends::Broken => Ends::Broken,
            Ends::Chunked => {
                self.room().extend_from_slice(b"0\r\n\r\n");
                Ends::Here
            }
            Ends::Close | Ends::Here => Ends::Here,
        };
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Cut>> {
        let whole = self.room.len() + self.large.len() + self.behind_large.len();
        while self.written < whole {
            let mut pieces = [&self.room, &*self.large, self.behind_large].map(IoSlice::new);
            let mut rest =
                if self.large.is_empty() { pieces.get_mut(..1).unwrap_or_default() } else { &mut pieces[..] };
            IoSlice::advance_slices(&mut rest, self.written);
            match ready!(self.wire.poll_write(cx, rest)) {
                Ok(0) | Err(_) => return Poll::Ready(Err(Cut)),
                Ok(written) => self.written += written,
            }
        }
        (self.large, self.behind_large, self.written) = (Bytes::new(), &[], 0);
        // Whoever waits keeps no room.
        self.wire.stock().take_room_back(std::mem::take(&mut self.room));
        Poll::Ready(Ok(()))
    }

    fn room(&mut self) -> &mut Vec<u8> {
        if self.room.capacity() == 0 {
            self.room = self.wire.stock().room();
        }
        &mut self.room
    }
}

/// What the head says of where the body ends.
#[derive(Clone, Copy)]
enum Said {
    Length(u64),
    Chunked,
    Nothing,
}

impl Said {
    fn put(self, head: &mut Vec<u8>) {
        match self {
            Self::Length(length) => {
                head.extend_from_slice(b"content-length: ");
                head.extend_from_slice(itoa::Buffer::new().format(length).as_bytes());
                head.extend_from_slice(b"\r\n");
            }
            Self::Chunked => head.extend_from_slice(b"transfer-encoding: chunked\r\n"),
            Self::Nothing => {}
        }
    }
}

fn put_status(head: &mut Vec<u8>, status: StatusCode) {
    if status == StatusCode::OK {
        head.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
        return;
    }
    head.extend_from_slice(b"HTTP/1.1 ");
    head.extend_from_slice(status.as_str().as_bytes());
    head.push(b' ');
    head.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    head.extend_from_slice(b"\r\n");
}

/// All but what is said of the body's end and the connection's, which is said here alone.
fn put_fields(head: &mut Vec<u8>, headers: &HeaderMap) {
    for (name, value) in headers {
        let is_ours = *name == header::CONNECTION
            || *name == header::CONTENT_LENGTH
            || *name == header::TRANSFER_ENCODING;
        if is_ours {
            continue;
        }
        head.extend_from_slice(name.as_str().as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
}
