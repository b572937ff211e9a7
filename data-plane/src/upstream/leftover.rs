//! Answers that nobody wants.

use std::time::Duration;

use bailiwick_runtime::http1::IncomingResponse;
use http_body::Body as _;
use http_body_util::BodyExt as _;

use super::{AnswerBody, Lease};

/// Bytes of an answer that nobody wants, read so that its connection can be kept; and how long that may take.
const LARGEST_LEFTOVER: u64 = 64 << 10;
const LONGEST_LEFTOVER: Duration = Duration::from_secs(1);

/// An answer that nobody wants is read to its end beside the call, where that is near: its connection serves the next.
pub(super) fn discard(response: IncomingResponse<AnswerBody>, lease: Lease) {
    if response.body().size_hint().upper().is_none_or(|most| most > LARGEST_LEFTOVER) {
        return;
    }
    let read = async move {
        let mut body = response.into_body();
        while let Some(frame) = body.frame().await {
            if frame.is_err() {
                return;
            }
        }
        lease.keep();
    };
    // It ends by itself, or with this core's runtime.
    drop(tokio::task::spawn_local(async move { tokio::time::timeout(LONGEST_LEFTOVER, read).await }));
}
