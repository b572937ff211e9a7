//! Answers as they are written.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use http::{Method, Response, StatusCode, Version, header};
use http_body::Body as _;

use super::wire::Wire;
use super::{ResponseBody, panicked};
use crate::http1::writing::{Ends, Writing, Written, put_ends, put_headers};
use crate::http1::{Fields, content_length, names};

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
    told: Fields,
    asked: Asked,
) -> Result<bool, Cut> {
    let before = wire.answer_begins();
    // There is nothing that a service could tell with one.
    let mut response = if response.status().is_informational() { panicked() } else { response };
    response.body_mut().write_ahead();
    let mut answer = Answer::new(wire, before, response, told, asked);
    poll_fn(|cx| match answer.poll(cx) {
        Poll::Pending => wire.poll_left(cx).map(|()| Err(Cut)),
        written => written,
    })
    .await
}

/// An answer on its way.
struct Answer<'a> {
    wire: &'a Wire,
    body: ResponseBody,
    writing: Writing,
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

impl<'a> Answer<'a> {
    fn new(
        wire: &'a Rc<Wire>,
        before: &[u8],
        response: Response<ResponseBody>,
        told: Fields,
        asked: Asked,
    ) -> Self {
        let (head, body) = response.into_parts();
        let has_no_body = matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        let length = body.size_hint().exact();
        let said = match content_length(&head.headers) {
            _ if has_no_body => Ends::Here,
            // What a body would have that nobody asked for, is known to who answered.
            said if asked.is_head => {
                said.or(length.filter(|length| *length > 0)).map_or(Ends::Here, Ends::Length)
            }
            said => match length.or(said) {
                Some(length) => Ends::Length(length),
                None if asked.is_1_1 => Ends::Chunked,
                None => Ends::Close,
            },
        };
        let may_look_whole = said == Ends::Close;
        let closes = names(&head.headers, header::CONNECTION, "close");
        let is_last = closes || may_look_whole || wire.is_abandoned() || wire.state().is_finishing();
        let keeps = asked.keeps && !is_last;
        let mut room = wire.stock().room();
        room.extend_from_slice(before);
        put_status(&mut room, head.status);
        put_headers(&mut room, &head.headers, &told);
        told.put_into(&mut room);
        put_ends(&mut room, said);
        if !keeps {
            room.extend_from_slice(b"connection: close\r\n");
        } else if !asked.is_1_1 {
            room.extend_from_slice(b"connection: keep-alive\r\n");
        }
        if !head.headers.contains_key(header::DATE) && !told.says(&header::DATE) {
            room.extend_from_slice(b"date: ");
            room.extend_from_slice(&wire.state().date());
            room.extend_from_slice(b"\r\n");
        }
        room.extend_from_slice(b"\r\n");
        let writing = Writing::new(room, if asked.is_head { Ends::Here } else { said });
        Self { wire, body, writing, may_look_whole, keeps }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, Cut>> {
        let Self { wire, body, writing, .. } = self;
        match ready!(writing.poll(body, wire, wire.stock(), cx)) {
            Ok(Written::Whole) => {
                self.may_look_whole = false;
                self.wire.state().answered();
                Poll::Ready(Ok(self.keeps && self.wire.is_read()))
            }
            Ok(Written::Broken) | Err(_) => Poll::Ready(Err(Cut)),
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
