//! Responses, from their first byte to their last.

use std::mem::MaybeUninit;

use bytes::Bytes;
use http::{StatusCode, Version, header};

use super::head::{Parsed, same_name};
use super::{Decoder, Framing, HeaderSection, Malformed, end_of_head};

/// Fields of a head.
const MOST_FIELDS: usize = 100;
/// Bytes of a head.
const LARGEST_HEAD: usize = 64 << 10;

/// A response as it came.
#[derive(Default)]
pub struct IncomingResponse<B> {
    status: StatusCode,
    version: Version,
    headers: HeaderSection,
    body: B,
}

impl<B> IncomingResponse<B> {
    /// How the request fared.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// Which HTTP it came by.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Its fields, all of them, but for a length that chunks contradict.
    pub fn headers(&self) -> &HeaderSection {
        &self.headers
    }

    /// The same, to be taken or left out.
    pub fn headers_mut(&mut self) -> &mut HeaderSection {
        &mut self.headers
    }

    /// What is still to be taken of its body.
    pub fn body(&self) -> &B {
        &self.body
    }

    /// The same, to be taken.
    pub fn body_mut(&mut self) -> &mut B {
        &mut self.body
    }

    /// Its body alone.
    pub fn into_body(self) -> B {
        self.body
    }

    /// With another body.
    pub fn map<C>(self, body: impl FnOnce(B) -> C) -> IncomingResponse<C> {
        let Self { status, version, headers, body: before } = self;
        IncomingResponse { status, version, headers, body: body(before) }
    }
}

/// What another of the field's libraries read.
impl<B> From<http::Response<B>> for IncomingResponse<B> {
    fn from(response: http::Response<B>) -> Self {
        let (head, body) = response.into_parts();
        let headers = HeaderSection::from(&head.headers);
        Self { status: head.status, version: head.version, headers, body }
    }
}

/// Reads one response. It is given what comes, and does not care in which pieces.
pub struct ResponseReader {
    /// Whether a head was asked for, and so no body follows it (RFC 9110, section 9.3.2).
    is_head: bool,
    state: State,
}

enum State {
    /// The head is to come; so much of it is here.
    Head(Vec<u8>),
    /// `keeps`: another response may come behind the body.
    Body { decoder: Decoder, keeps: bool },
}

/// A head that has come, and what came of the body with it.
pub struct Begun {
    /// But for its body.
    pub response: IncomingResponse<()>,
    /// What came of the body.
    pub first: Bytes,
    /// Bytes of the body, where they are known.
    pub length: Option<u64>,
}

impl ResponseReader {
    /// Before its first byte. `is_head`: the request's method was `HEAD`.
    pub fn new(is_head: bool) -> Self {
        Self { is_head, state: State::Head(Vec::new()) }
    }

    /// Takes what came of the head. `None`: it is not whole.
    ///
    /// # Errors
    /// There is no reading on.
    pub fn take_head(&mut self, came: &[u8]) -> Result<Option<Begun>, Malformed> {
        let State::Head(before) = &mut self.state else { return Err(Malformed) };
        let (mut seen, mut joined) = (before.len(), std::mem::take(before));
        let mut bytes = came;
        if seen > 0 {
            joined.extend_from_slice(came);
            bytes = &joined;
        }
        while let Some(head) = find_head(bytes, seen, self.is_head)? {
            let Head { bytes: end, status, version, headers, mut decoder, mut keeps } = head;
            let behind = bytes.get(end..).unwrap_or_default();
            // What comes before a response says nothing that anybody here waits for (RFC 9110, section 15.2).
            if status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS {
                (bytes, seen) = (behind, 0);
                continue;
            }
            let length = decoder.left();
            let (first, taken) = decoder.take(behind)?;
            // What nobody asked for is not taken for the next response.
            keeps &= taken == behind.len();
            self.state = State::Body { decoder, keeps };
            let response = IncomingResponse { status, version, headers, body: () };
            return Ok(Some(Begun { response, first, length }));
        }
        if bytes.len() > LARGEST_HEAD {
            return Err(Malformed);
        }
        let taken = joined.len().saturating_sub(bytes.len());
        if joined.is_empty() {
            joined = bytes.to_vec();
        } else {
            drop(joined.drain(..taken));
        }
        *before = joined;
        Ok(None)
    }

    /// Takes what came of the body.
    ///
    /// # Errors
    /// There is no reading on.
    pub fn take_body(&mut self, came: &[u8]) -> Result<Bytes, Malformed> {
        let State::Body { decoder, keeps } = &mut self.state else { return Err(Malformed) };
        let (data, taken) = decoder.take(came)?;
        *keeps &= taken == came.len();
        Ok(data)
    }

    /// Whether it may end where its connection does.
    pub fn may_end(&self) -> bool {
        matches!(&self.state, State::Body { decoder, .. } if decoder.ends_by_close())
    }

    /// Whether it has come to its end.
    pub fn is_over(&self) -> bool {
        matches!(&self.state, State::Body { decoder, .. } if decoder.is_over())
    }

    /// Whether it has, and another response may follow.
    pub fn keeps(&self) -> bool {
        matches!(&self.state, State::Body { decoder, keeps: true } if decoder.is_over())
    }
}

/// A head.
struct Head {
    /// How many it has.
    bytes: usize,
    status: StatusCode,
    version: Version,
    headers: HeaderSection,
    /// What reads the body behind it.
    decoder: Decoder,
    /// Whether the connection may serve another request behind it.
    keeps: bool,
}

/// The head at the start of `bytes`, of which the first `seen` were looked at before. What comes at once is parsed at once, which tells where it ends; what comes in pieces, when all of it is
/// here.
fn find_head(bytes: &[u8], seen: usize, is_head: bool) -> Result<Option<Head>, Malformed> {
    if seen == 0 && bytes.len() <= LARGEST_HEAD {
        return read(bytes, is_head);
    }
    let end = end_of_head(bytes, seen).filter(|end| *end <= LARGEST_HEAD);
    end.and_then(|end| bytes.get(..end)).map_or(Ok(None), |head| read(head, is_head))
}

/// Reads the head at the start of `bytes`. `None`: it is not whole.
fn read(bytes: &[u8], is_head: bool) -> Result<Option<Head>, Malformed> {
    // The parser steps over empty lines, which nobody answers with: only before a request they may stand (RFC 9112, section 2.2).
    if bytes.starts_with(b"\r") || bytes.starts_with(b"\n") {
        return Err(Malformed);
    }
    let mut room = [const { MaybeUninit::uninit() }; MOST_FIELDS];
    let mut response = httparse::Response::new(&mut []);
    let parsed =
        httparse::ParserConfig::default().parse_response_with_uninit_headers(&mut response, bytes, &mut room);
    let head = match parsed.map_err(|_| Malformed)? {
        httparse::Status::Complete(length) => bytes.get(..length).unwrap_or_default(),
        httparse::Status::Partial => return Ok(None),
    };
    let status = response.code.and_then(|code| StatusCode::from_u16(code).ok()).ok_or(Malformed)?;
    let version = if response.version == Some(1) { Version::HTTP_11 } else { Version::HTTP_10 };
    let mut headers = HeaderSection::default();
    let framing = headers.read(&Parsed::new(head), response.headers)?;
    if framing.is_chunked && framing.length.is_some() {
        // Which of the two counts is said by one alone (RFC 9112, section 6.3).
        headers.retain(|name| !same_name(name, header::CONTENT_LENGTH.as_str().as_bytes()));
    }
    let (decoder, is_clear) = decoder(&framing, is_head, status, version)?;
    let keeps = is_clear && version == Version::HTTP_11 && !framing.closes;
    Ok(Some(Head { bytes: head.len(), status, version, headers, decoder, keeps }))
}

/// RFC 9112, section 6.3; and whether another response can follow it.
fn decoder(
    framing: &Framing,
    is_head: bool,
    status: StatusCode,
    version: Version,
) -> Result<(Decoder, bool), Malformed> {
    if is_head || status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED {
        return Ok((Decoder::of_length(0), true));
    }
    match (framing.is_chunked, framing.length) {
        // HTTP/1.0 knows none.
        (true, _) if version == Version::HTTP_10 => Err(Malformed),
        (true, length) => Ok((Decoder::chunked(), length.is_none())),
        (false, Some(length)) => Ok((Decoder::of_length(length), true)),
        (false, None) => Ok((Decoder::until_close(), false)),
    }
}

#[cfg(test)]
mod tests;
