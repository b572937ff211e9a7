//! An answer, from its first byte to its last.

use bailiwick_runtime::http1::{Decoder, Malformed, end_of_head};
use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};

use super::response::{self, Head, LARGEST_HEAD};

/// What reads one answer. It is given what comes, and does not care in which pieces.
pub(crate) enum Reader {
    /// The head is to come; so much of it is here.
    Head(Vec<u8>),
    /// `keeps`: another answer may come behind the body.
    Body { decoder: Decoder, keeps: bool },
}

/// A head that has come, and what came of the body with it.
pub(crate) struct Begun {
    pub(crate) response: Response<()>,
    pub(crate) first: Bytes,
    /// Bytes of the body, where they are known.
    pub(crate) length: Option<u64>,
}

impl Reader {
    pub(crate) fn new() -> Self {
        Self::Head(Vec::new())
    }

    /// Takes what came of the head. `None`: it is not whole. `headers` give it their room.
    pub(crate) fn take_head(
        &mut self,
        came: &[u8],
        headers: &mut HeaderMap,
    ) -> Result<Option<Begun>, Malformed> {
        let Self::Head(before) = self else { return Err(Malformed) };
        let (mut seen, mut joined) = (before.len(), std::mem::take(before));
        let mut bytes = came;
        if seen > 0 {
            joined.extend_from_slice(came);
            bytes = &joined;
        }
        while let Some(end) = end_of_head(bytes, seen).filter(|end| *end <= LARGEST_HEAD) {
            let (head, behind) = bytes.split_at(end);
            let Head { status, version, mut decoder, mut keeps } = response::read(head, headers)?;
            // What comes before an answer says nothing that anybody here waits for (RFC 9110, section 15.2).
            if status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS {
                (bytes, seen) = (behind, 0);
                continue;
            }
            let length = decoder.left();
            let (first, taken) = decoder.take(behind)?;
            // What nobody asked for is not taken for the next answer.
            keeps &= taken == behind.len();
            *self = Self::Body { decoder, keeps };
            let mut response = Response::new(());
            (*response.status_mut(), *response.version_mut()) = (status, version);
            *response.headers_mut() = std::mem::take(headers);
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
    pub(crate) fn take_body(&mut self, came: &[u8]) -> Result<Bytes, Malformed> {
        let Self::Body { decoder, keeps } = self else { return Err(Malformed) };
        let (data, taken) = decoder.take(came)?;
        *keeps &= taken == came.len();
        Ok(data)
    }

    /// Whether the answer may end where its connection does.
    pub(crate) fn may_end(&self) -> bool {
        matches!(self, Self::Body { decoder, .. } if decoder.ends_by_close())
    }

    /// Whether it has come to its end.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self, Self::Body { decoder, .. } if decoder.is_over())
    }

    /// Whether it has, and another answer may follow.
    pub(crate) fn keeps(&self) -> bool {
        matches!(self, Self::Body { decoder, keeps: true } if decoder.is_over())
    }
}

#[cfg(test)]
mod tests;
