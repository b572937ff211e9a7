//! The head of an answer, as HTTP/1.1 writes it (RFC 9112).

use std::mem::MaybeUninit;

use bailiwick_runtime::http1::{Decoder, Framing, Malformed, read_fields};
use bytes::Bytes;
use http::{HeaderMap, StatusCode, Version, header};

/// Headers of an answer.
const MOST_HEADERS: usize = 100;
/// Bytes of an answer's head.
pub(super) const LARGEST_HEAD: usize = 64 << 10;

/// An answer's head, but for its headers.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) status: StatusCode,
    pub(super) version: Version,
    /// What reads the body behind it.
    pub(super) decoder: Decoder,
    /// Whether the connection may serve another call behind it.
    pub(super) keeps: bool,
}

/// Reads a whole head. Its headers take the place of what is in `headers`.
pub(super) fn read(head: &[u8], headers: &mut HeaderMap) -> Result<Head, Malformed> {
    // The headers' values are slices of it.
    let head = Bytes::copy_from_slice(head);
    let mut room = [const { MaybeUninit::uninit() }; MOST_HEADERS];
    let mut response = httparse::Response::new(&mut []);
    let parsed =
        httparse::ParserConfig::default().parse_response_with_uninit_headers(&mut response, &head, &mut room);
    if parsed != Ok(httparse::Status::Complete(head.len())) {
        return Err(Malformed);
    }
    let status = response.code.and_then(|code| StatusCode::from_u16(code).ok()).ok_or(Malformed)?;
    let version = if response.version == Some(1) { Version::HTTP_11 } else { Version::HTTP_10 };
    let framing = read_fields(&head, response.headers, headers)?;
    let (decoder, is_clear) = decoder(&framing, status, version)?;
    if framing.is_chunked {
        // Which of the two counts is said by one alone (RFC 9112, section 6.3).
        headers.remove(header::CONTENT_LENGTH);
    }
    let keeps = is_clear && version == Version::HTTP_11 && !framing.closes;
    Ok(Head { status, version, decoder, keeps })
}

/// RFC 9112, section 6.3; and whether another answer can follow it.
fn decoder(framing: &Framing, status: StatusCode, version: Version) -> Result<(Decoder, bool), Malformed> {
    if status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED {
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
