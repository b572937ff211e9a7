//! Hyper's own refusals, put into the shape that callers' SDKs read.
//!
//! A head that hyper cannot parse, or that is too large, never reaches a service: hyper answers `400`, `414` or `431` with an empty
//! body by itself. It does so while no request is under way (see `ConnectionIo::poll_write_vectored`, which asks only then), so
//! nothing that a service or a provider wrote can be mistaken for it. Should a later hyper answer differently, its answer goes out as
//! it is.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bailiwick_domain::usage::RequestId;
use http::StatusCode;
use tokio::io::AsyncWrite;

use super::{ApiError, HttpLimits, REQUEST_ID_HEADERS};

const NO_BODY: &[u8] = b"content-length: 0\r\n";

/// What is written in the place of a refusal.
pub(super) struct Reshaped {
    bytes: Vec<u8>,
    written: usize,
    /// How many bytes hyper believes to write.
    stands_for: usize,
}

impl Reshaped {
    /// The replacement for a bare refusal; `None` for anything else.
    pub(super) fn of(bufs: &[IoSlice<'_>], limits: &HttpLimits) -> Option<Self> {
        let head: Vec<u8> = bufs.iter().flat_map(|buf| buf.iter().copied()).collect();
        let status = head.strip_prefix(b"HTTP/1.1 ")?.get(..3)?;
        let status = StatusCode::from_bytes(status).ok().filter(StatusCode::is_client_error)?;
        let place = head.windows(NO_BODY.len()).position(|window| window == NO_BODY)?;
        let (before, after) = (head.get(..place)?, head.get(place + NO_BODY.len()..)?);
        if !after.ends_with(b"\r\n") {
            return None;
        }
        let request_id = RequestId::random().to_string();
        let body = error(status, limits).body(&request_id);
        let mut fields = format!("content-type: application/json\r\ncontent-length: {}\r\n", body.len());
        for name in REQUEST_ID_HEADERS {
            fields.push_str(&format!("{name}: {request_id}\r\n"));
        }
        let bytes = [before, fields.as_bytes(), after, &body].concat();
        Some(Self { bytes, written: 0, stands_for: head.len() })
    }

    /// Ready, with the number of bytes that hyper wanted to write, when all was written.
    pub(super) fn poll_write_to(
        &mut self,
        mut stream: Pin<&mut impl AsyncWrite>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        while let Some(rest) = self.bytes.get(self.written..).filter(|rest| !rest.is_empty()) {
            match ready!(stream.as_mut().poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.written += written,
            }
        }
        Poll::Ready(Ok(self.stands_for))
    }
}

fn error(status: StatusCode, limits: &HttpLimits) -> ApiError {
    match status {
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => ApiError::new(
            status,
            "request_headers_too_large",
            format!(
                "The request's head is larger than {} bytes or has more than {} header fields. Send fewer or shorter headers.",
                limits.header_bytes, limits.headers
            ),
        ),
        StatusCode::URI_TOO_LONG => ApiError::new(
            status,
            "uri_too_long",
            "The request's URI is too long. Put parameters into the body.",
        ),
        _ => ApiError::new(status, "malformed_request", "The request's head is not valid HTTP/1.1."),
    }
}
