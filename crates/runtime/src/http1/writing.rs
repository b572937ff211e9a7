//! Messages as they are written.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::Body;

use super::fields::{Fields, is_of_framing, put_line};
use super::put_chunk_size;
use super::stock::Stock;

/// A piece of up to so many bytes is copied behind what goes before it, because a write costs more; a larger one is written from where it is.
const LARGEST_COPIED: usize = 8 << 10;

/// Pieces are gathered until there is so much to write.
const ENOUGH: usize = 32 << 10;

/// Where a message goes.
pub(crate) trait Sink {
    fn poll_write(&mut self, cx: &mut Context<'_>, pieces: &[IoSlice<'_>]) -> Poll<io::Result<usize>>;

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
}

/// How a body says where it ends (RFC 9112, section 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ends {
    /// After so many bytes more.
    Length(u64),
    /// With a chunk that says so.
    Chunked,
    /// With the connection.
    Close,
    /// Here.
    Here,
}

/// What came of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Written {
    /// All of it has gone out.
    Whole,
    /// Its body broke off, or was not as long as it said. What came before that has gone out: it may say why.
    Broken,
}

/// A message on its way. Whatever is gathered goes out before more of its body is taken.
pub(crate) struct Writing {
    /// What goes next, how far it has, and what follows it.
    room: Vec<u8>,
    large: Bytes,
    behind_large: &'static [u8],
    written: usize,
    /// `Err`: not as it should.
    ends: Result<Ends, Broken>,
    has_begun: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Broken;

impl Writing {
    /// `room` has the head in it.
    pub(crate) fn new(room: Vec<u8>, ends: Ends) -> Self {
        let ends = if ends == Ends::Length(0) { Ends::Here } else { ends };
        let (large, behind_large) = (Bytes::new(), &[][..]);
        Self { room, large, behind_large, written: 0, ends: Ok(ends), has_begun: false }
    }

    /// Whether anything of it has gone out.
    pub(crate) fn has_begun(&self) -> bool {
        self.has_begun
    }

    /// Writes what can be written, until all has gone out.
    ///
    /// # Errors
    /// The other end takes no more.
    pub(crate) fn poll<B: Body<Data = Bytes> + Unpin>(
        &mut self,
        body: &mut B,
        sink: &mut impl Sink,
        stock: &Stock,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Written>> {
        loop {
            let waits = self.gather(body, stock, cx);
            ready!(self.poll_write(sink, stock, cx))?;
            let written = match self.ends {
                Ok(Ends::Here) => Written::Whole,
                Err(Broken) => Written::Broken,
                Ok(_) if waits => {
                    // What has come goes on before more of it is waited for.
                    ready!(sink.poll_flush(cx))?;
                    return Poll::Pending;
                }
                Ok(_) => continue,
            };
            ready!(sink.poll_flush(cx))?;
            return Poll::Ready(Ok(written));
        }
    }

    /// Writes what is gathered, and keeps no room for more.
    ///
    /// # Errors
    /// The other end takes no more.
    pub(crate) fn poll_write(
        &mut self,
        sink: &mut impl Sink,
        stock: &Stock,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let whole = self.room.len() + self.large.len() + self.behind_large.len();
        while self.written < whole {
            let mut pieces = [&self.room, &*self.large, self.behind_large].map(IoSlice::new);
            let mut rest =
                if self.large.is_empty() { pieces.get_mut(..1).unwrap_or_default() } else { &mut pieces[..] };
            IoSlice::advance_slices(&mut rest, self.written);
            let written = ready!(sink.poll_write(cx, rest))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += written;
            self.has_begun = true;
        }
        (self.large, self.behind_large, self.written) = (Bytes::new(), &[], 0);
        stock.take_room_back(std::mem::take(&mut self.room));
        Poll::Ready(Ok(()))
    }

    /// Takes what there is of the body, up to a bound. Whether more is waited for.
    fn gather<B: Body<Data = Bytes> + Unpin>(
        &mut self,
        body: &mut B,
        stock: &Stock,
        cx: &mut Context<'_>,
    ) -> bool {
        while self.large.is_empty() && self.room.len() < ENOUGH && !self.is_over() {
            let frame = match Pin::new(&mut *body).poll_frame(cx) {
                Poll::Pending => return true,
                Poll::Ready(frame) => frame,
            };
            match frame {
                // Trailers are meant for one hop.
                Some(Ok(frame)) => self.put(&frame.into_data().unwrap_or_default(), stock),
                Some(Err(_broken)) => self.ends = Err(Broken),
                None => self.end(stock),
            }
        }
        false
    }

    fn is_over(&self) -> bool {
        matches!(self.ends, Ok(Ends::Here) | Err(Broken))
    }

    /// The body's next piece.
    pub(crate) fn put(&mut self, data: &Bytes, stock: &Stock) {
        if data.is_empty() {
            return; // an empty chunk would be the last
        }
        let mut behind: &'static [u8] = &[];
        match &mut self.ends {
            Ok(Ends::Length(left)) => match left.checked_sub(data.len() as u64) {
                Some(0) => self.ends = Ok(Ends::Here),
                Some(less) => *left = less,
                // It is longer than it said.
                None => {
                    self.ends = Err(Broken);
                    return;
                }
            },
            Ok(Ends::Chunked) => {
                put_chunk_size(self.room(stock), data.len());
                behind = b"\r\n";
            }
            Ok(Ends::Close | Ends::Here) | Err(Broken) => {}
        }
        if data.len() > LARGEST_COPIED {
            (self.large, self.behind_large) = (data.clone(), behind);
        } else {
            let room = self.room(stock);
            room.extend_from_slice(data);
            room.extend_from_slice(behind);
        }
    }

    fn end(&mut self, stock: &Stock) {
        self.ends = match self.ends {
            // It is shorter than it said.
            Ok(Ends::Length(_)) | Err(Broken) => Err(Broken),
            Ok(Ends::Chunked) => {
                self.room(stock).extend_from_slice(b"0\r\n\r\n");
                Ok(Ends::Here)
            }
            Ok(Ends::Close | Ends::Here) => Ok(Ends::Here),
        };
    }

    fn room(&mut self, stock: &Stock) -> &mut Vec<u8> {
        if self.room.capacity() == 0 {
            self.room = stock.room();
        }
        &mut self.room
    }
}

/// A map's fields, but for what says where the body ends and what becomes of the connection: that is said by who writes, alone. And but for what is said in their place.
pub(crate) fn put_headers(head: &mut Vec<u8>, headers: &HeaderMap, fields: &Fields) {
    for (name, value) in headers {
        let name = name.as_str().as_bytes();
        if !is_of_framing(name) && !fields.replaces(name) {
            put_line(head, name, value.as_bytes());
        }
    }
}

/// Says where the body ends.
pub(crate) fn put_ends(head: &mut Vec<u8>, ends: Ends) {
    match ends {
        Ends::Length(length) => {
            head.extend_from_slice(b"content-length: ");
            head.extend_from_slice(itoa::Buffer::new().format(length).as_bytes());
            head.extend_from_slice(b"\r\n");
        }
        Ends::Chunked => head.extend_from_slice(b"transfer-encoding: chunked\r\n"),
        Ends::Close | Ends::Here => {}
    }
}
