//! The head of an answer, as HTTP/1.1 writes it (RFC 9112).

use std::mem::MaybeUninit;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Version, header};

use super::decoding::Decoder;

/// Headers of an answer.
const MOST_HEADERS: usize = 100;
/// Bytes of an answer's head.
pub(super) const LARGEST_HEAD: usize = 64 << 10;

/// What a provider sent is no answer.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is no HTTP/1.1 answer")]
pub(crate) struct Malformed;

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

/// Where the head at the start of `bytes` ends, of which the first `seen` were looked at before.
pub(super) fn end_of_head(bytes: &[u8], seen: usize) -> Option<usize> {
    // What stood at the end may be the beginning of an empty line.
    let from = seen.saturating_sub("\n\r".len());
    memchr::memchr_iter(b'\n', bytes.get(from..)?).find_map(|at| {
        let behind = from + at + 1;
        match bytes.get(behind..)? {
            [b'\n', ..] => Some(behind + 1),
            [b'\r', b'\n', ..] => Some(behind + 2),
            _ => None,
        }
    })
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
    let mut framing = Framing::default();
    headers.clear();
    for header in response.headers.iter() {
        let name = HeaderName::from_bytes(header.name.as_bytes()).map_err(|_| Malformed)?;
        let value = HeaderValue::from_maybe_shared(head.slice_ref(header.value)).map_err(|_| Malformed)?;
        framing.note(&name, &value)?;
        headers.append(name, value);
    }
    let (decoder, is_clear) = framing.decoder(status, version)?;
    if framing.is_chunked {
        // Which of the two counts is said by one alone (RFC 9112, section 6.3).
        headers.remove(header::CONTENT_LENGTH);
    }
    let keeps = is_clear && version == Version::HTTP_11 && !framing.closes;
    Ok(Head { status, version, decoder, keeps })
}

/// What headers say of the body, and of the connection behind it.
#[derive(Default)]
struct Framing {
    length: Option<u64>,
    is_chunked: bool,
    closes: bool,
}

impl Framing {
    fn note(&mut self, name: &HeaderName, value: &HeaderValue) -> Result<(), Malformed> {
        if *name == header::CONTENT_LENGTH {
            // The same more than once is allowed: RFC 9110, section 8.6.
            for length in value.as_bytes().split(|byte| *byte == b',') {
                let length = decimal(length.trim_ascii()).ok_or(Malformed)?;
                if self.length.replace(length).is_some_and(|other| other != length) {
                    return Err(Malformed);
                }
            }
        } else if *name == header::TRANSFER_ENCODING {
            // Others were not asked for, and nobody here could read what is in them.
            if self.is_chunked || !value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked") {
                return Err(Malformed);
            }
            self.is_chunked = true;
        } else if *name == header::CONNECTION {
            let mut options = value.as_bytes().split(|byte| *byte == b',');
            self.closes |= options.any(|option| option.trim_ascii().eq_ignore_ascii_case(b"close"));
        }
        Ok(())
    }

    /// RFC 9112, section 6.3; and whether another answer can follow it.
    fn decoder(&self, status: StatusCode, version: Version) -> Result<(Decoder, bool), Malformed> {
        if status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED {
            return Ok((Decoder::of_length(0), true));
        }
        match (self.is_chunked, self.length) {
            // HTTP/1.0 knows none.
            (true, _) if version == Version::HTTP_10 => Err(Malformed),
            (true, length) => Ok((Decoder::chunked(), length.is_none())),
            (false, Some(length)) => Ok((Decoder::of_length(length), true)),
            (false, None) => Ok((Decoder::until_close(), false)),
        }
    }
}

fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests;
