//! A request as it is written.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::Method;
use http::uri::PathAndQuery;
use tokio::io::AsyncWrite;

use super::Payload;
use crate::http1::Fields;
use crate::http1::stock::Stock;
use crate::http1::writing::{Ends, Sink, Writing, Written, put_ends};

/// A request to be sent.
pub struct OutgoingRequest<B> {
    /// Its method.
    pub method: Method,
    /// What is asked for, in the form that an origin is asked in (RFC 9112, section 3.2.1).
    pub target: PathAndQuery,
    /// All of its fields but for those that say where its body ends.
    pub fields: Fields,
    /// Its body.
    pub body: B,
}

/// `GET /`, with nothing else.
impl<B: Default> Default for OutgoingRequest<B> {
    fn default() -> Self {
        let (method, target) = (Method::GET, PathAndQuery::from_static("/"));
        Self { method, target, fields: Fields::default(), body: B::default() }
    }
}

/// A request on its way.
pub(super) struct Outgoing<B> {
    writing: Writing,
    /// What follows. `None`: it is in `writing`, or there is none.
    body: Option<B>,
}

/// Why a request did not go out whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// The other end takes no more. What it has said before is still to be read, and then its end.
    Refused,
    /// Its body broke off: nobody wants an answer.
    Broken,
}

impl<B: Payload> Outgoing<B> {
    /// Takes a body out of the request that is not whole: [`Self::give_back`].
    pub(super) fn new(request: &mut OutgoingRequest<B>, stock: &Stock) -> Self {
        let whole = request.body.whole();
        let length = whole.map(|whole| whole.len() as u64).or(request.body.size_hint().exact());
        let ends = match length {
            // Nobody expects one (RFC 9110, section 8.6).
            Some(0) if request.method.is_safe() => Ends::Here,
            Some(length) => Ends::Length(length),
            None => Ends::Chunked,
        };
        let mut room = stock.room();
        put_head(&mut room, request, ends);
        let mut writing = Writing::new(room, ends);
        if let Some(whole) = whole {
            writing.put(whole, stock);
            return Self { writing, body: None };
        }
        Self { writing, body: Some(std::mem::take(&mut request.body)) }
    }

    /// Whether anything of it has gone out: if not, it may go elsewhere.
    pub(super) fn has_begun(&self) -> bool {
        self.writing.has_begun()
    }

    /// The other end takes no more, so nobody waits for the caller.
    pub(super) fn refused(&self) {
        if let Some(body) = &self.body {
            body.refused();
        }
    }

    /// Of what has not begun, the body goes back to where it was taken from.
    pub(super) fn give_back(self, request: &mut OutgoingRequest<B>) {
        if let Some(body) = self.body {
            request.body = body;
        }
    }

    /// Writes what can be written, until all has gone out.
    pub(super) fn poll_write(
        &mut self,
        stream: &mut (impl AsyncWrite + Unpin),
        stock: &Stock,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Cut>> {
        let mut sink = To(stream);
        let written = match &mut self.body {
            None => self.writing.poll(&mut B::default(), &mut sink, stock, cx),
            Some(body) => {
                // Of a body that is still coming nothing is taken before something has gone out: until then it may go elsewhere.
                if !self.writing.has_begun() && ready!(self.writing.poll_write(&mut sink, stock, cx)).is_err()
                {
                    return Poll::Ready(Err(Cut::Refused));
                }
                self.writing.poll(body, &mut sink, stock, cx)
            }
        };
        Poll::Ready(match ready!(written) {
            Ok(Written::Whole) => Ok(()),
            Ok(Written::Broken) => Err(Cut::Broken),
            Err(_refused) => Err(Cut::Refused),
        })
    }
}

/// A stream that a request goes to.
struct To<'a, S>(&'a mut S);

impl<S: AsyncWrite + Unpin> Sink for To<'_, S> {
    fn poll_write(&mut self, cx: &mut Context<'_>, pieces: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let stream = Pin::new(&mut *self.0);
        // The system call for several does more.
        match pieces {
            [only] => stream.poll_write(cx, only),
            several => stream.poll_write_vectored(cx, several),
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_flush(cx)
    }
}

fn put_head<B>(head: &mut Vec<u8>, request: &OutgoingRequest<B>, ends: Ends) {
    for piece in [request.method.as_str(), " ", request.target.as_str(), " HTTP/1.1\r\n"] {
        head.extend_from_slice(piece.as_bytes());
    }
    request.fields.put_into(head);
    put_ends(head, ends);
    head.extend_from_slice(b"\r\n");
}
