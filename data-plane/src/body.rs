//! Reads a request's body, bounded in size and in time. Forms are read in [`crate::upload`].

use std::time::Duration;

use bailiwick_domain::usage::CallType;
use bailiwick_runtime::serving::{ApiError, HeaderSection, RequestBody};
use bytes::{Bytes, BytesMut};
use http::{HeaderValue, header};
use http_body::Body;
use http_body_util::BodyExt;

use crate::{
    error,
    memory::{COPIES, Hold},
    timing::within,
    upload::Upload,
};

/// Between two pieces of a body. A caller that sends less often holds a connection for nothing.
pub(crate) const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// A request's body, as far as a call needs it to begin.
pub(crate) enum Payload {
    /// JSON, which is read whole.
    Whole(Bytes),
    /// A form, which may still be coming.
    Form(Box<Upload>),
}

impl Payload {
    /// How many bytes it has; `None`: nobody knows yet.
    pub(crate) fn bytes(&self) -> Option<usize> {
        match self {
            Self::Whole(bytes) => Some(bytes.len()),
            Self::Form(upload) => upload.bytes(),
        }
    }

    /// What is held of its beginning.
    pub(crate) fn beginning(&self) -> &[u8] {
        match self {
            Self::Whole(bytes) => bytes,
            Self::Form(upload) => upload.beginning(),
        }
    }

    /// Whether it can be sent, once more where it was sent before.
    pub(crate) fn can_be_sent(&self) -> bool {
        match self {
            Self::Whole(_) => true,
            Self::Form(upload) => upload.can_be_sent(),
        }
    }

    /// It shall be sent once more: what is still to come goes to who is called next.
    pub(crate) fn reclaim(&self) {
        match self {
            Self::Whole(_) => {}
            Self::Form(upload) => upload.reclaim(),
        }
    }

    /// Whether the caller may be sending it still.
    pub(crate) fn is_unread(&self) -> bool {
        match self {
            Self::Whole(_) => false,
            Self::Form(upload) => upload.is_unread(),
        }
    }
}

/// The type of a body that is a form: those of calls that send a file are. Errors: 415 where it should be, and is none.
pub(crate) fn form(headers: &HeaderSection, call_type: CallType) -> Result<Option<HeaderValue>, ApiError> {
    if !matches!(call_type, CallType::Transcription | CallType::AudioTranslation) {
        return Ok(None);
    }
    let content_type = headers.text(&header::CONTENT_TYPE).and_then(|value| {
        if is_of_type(value, "multipart/form-data") { HeaderValue::from_str(value).ok() } else { None }
    });
    content_type.map(Some).ok_or_else(error::not_form)
}

/// Errors: 415 for anything but JSON, 413 past the bound (at once, where Content-Length says so), 408 when it stalls, 400 when it breaks off, 503 when the worker holds
/// as much as it may: `hold` grows before there is anything to hold.
pub(crate) async fn read(
    headers: &HeaderSection,
    mut body: RequestBody,
    limit: usize,
    hold: &mut Hold,
) -> Result<Bytes, ApiError> {
    let value = headers.text(&header::CONTENT_TYPE);
    if !value.is_some_and(|value| is_of_type(value, "application/json")) {
        return Err(error::not_json());
    }
    if body.size_hint().lower() > limit as u64 {
        return Err(error::too_large(limit));
    }
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(limit);
    let mut room =
        |bytes: usize| hold.grow_to(bytes.saturating_mul(COPIES)).map_err(|_full| error::overloaded());
    room(announced)?;
    let mut first = Bytes::new();
    let mut all = BytesMut::new();
    loop {
        let piece = match within(LONGEST_PAUSE, body.frame()).await {
            None => return Err(error::body_late()),
            Some(None) => break,
            Some(Some(Err(_broken))) => return Err(error::body_incomplete()),
            Some(Some(Ok(frame))) => frame.into_data().unwrap_or_default(),
        };
        let length = first.len().max(all.len()) + piece.len();
        if length > limit {
            return Err(error::too_large(limit));
        }
        // Most bodies come in one piece, which is used uncopied.
        if first.is_empty() {
            room(length)?;
            first = piece;
            if body.is_end_stream() {
                break;
            }
            continue;
        }
        if all.capacity() < length {
            // What announces its length is copied into one place, once.
            let capacity = announced.max(length.saturating_mul(2)).min(limit);
            room(capacity)?;
            let begun = std::mem::replace(&mut all, BytesMut::with_capacity(capacity));
            all.extend_from_slice(if begun.is_empty() { &first } else { &begun });
        }
        all.extend_from_slice(&piece);
    }
    Ok(if all.is_empty() { first } else { all.freeze() })
}

/// Whatever its parameters (RFC 9110, section 8.3.1).
fn is_of_type(value: &str, wanted: &str) -> bool {
    // Nearly all write nothing else.
    if value == wanted {
        return true;
    }
    let essence = value.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case(wanted)
}
