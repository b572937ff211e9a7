//! An answer in another dialect than the caller's. It is held until it is whole, or, as a stream, translated event by event.
//!
//! Of the provider's head nothing goes on but what it says of when to try again.

use std::sync::Arc;

use bailiwick_dialects::{Dialect, Failure, translate_count_answer};
use bailiwick_domain::{
    time::Clock,
    usage::{CallEnd, UsageSource},
};
use bailiwick_runtime::{
    fault,
    serving::{ApiError, Fields, HeaderSection, ResponseBody},
};
use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};

use super::{
    Held, broken, failed,
    holding::hold_answer,
    is_event_stream, late, passing,
    reading::{Reader, TranslatedReader},
    settle, tell_cost, waiting,
};
use crate::{
    dialects::{self, BEDROCK_ERROR, Told},
    error,
    estimate::Passed,
    memory::Hold,
    metering::Used,
    timing::Timing,
    upstream::{Answered, Timeouts, Translation, Wanted},
};

/// Bytes of an answer that can be translated: it has to be whole.
const LARGEST_TRANSLATED: usize = 8 << 20;
/// An answer as it came, as it was read, and as it is written.
const COPIES: usize = 3;
const EVENT_STREAM: HeaderValue = HeaderValue::from_static("text/event-stream");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const BEDROCK_STREAM: &[u8] = b"application/vnd.amazon.eventstream";

/// The answer for the caller. Errors: 502, 503 and 504, settled.
pub(super) async fn pass_on(
    mut answered: Answered<'_>,
    translation: Translation,
    clock: &Arc<dyn Clock>,
    timeouts: Timeouts,
    mut held: Hold,
    told: &mut Fields,
    timing: &Timing,
) -> Result<Response<ResponseBody>, ApiError> {
    let is_success = answered.answer.response.status().is_success();
    if let (Some(reply), true) = (translation.stream(), is_success) {
        if !is_stream_of(translation.provider, answered.answer.response.headers()) {
            return Err(broken(answered, &**clock));
        }
        let reader = TranslatedReader::new(reply, &translation, held);
        let head = head_of(StatusCode::OK, EVENT_STREAM, &answered);
        return Ok(passing::translated(
            answered,
            head,
            Reader::Translated(Box::new(reader)),
            clock,
            timeouts.idle,
        ));
    }
    let read = hold_answer(&mut answered, false, LARGEST_TRANSLATED, timeouts.idle, &mut held, timing);
    match read.await {
        Held::Whole(bytes) if !is_success => Ok(failure(answered, &translation, &bytes, held, &**clock)),
        Held::Whole(bytes) => whole(answered, &translation, &bytes, held, told, &**clock),
        Held::Large(begun) if begun.len() <= LARGEST_TRANSLATED && !begun.is_empty() => {
            Err(failed(answered.call, CallEnd::ProviderFailed, error::overloaded(), &**clock))
        }
        Held::Large(_) | Held::Broken => Err(broken(answered, &**clock)),
        Held::Late => Err(late(answered, &**clock)),
    }
}

fn is_stream_of(provider: Dialect, headers: &HeaderSection) -> bool {
    if provider != Dialect::Bedrock {
        return is_event_stream(headers);
    }
    headers.get(&header::CONTENT_TYPE).is_some_and(|value| value.starts_with(BEDROCK_STREAM))
}

fn whole(
    answered: Answered<'_>,
    translation: &Translation,
    bytes: &Bytes,
    mut held: Hold,
    told: &mut Fields,
    clock: &dyn Clock,
) -> Result<Response<ResponseBody>, ApiError> {
    fault::step("answer", bytes);
    if held.grow_to(bytes.len().saturating_mul(COPIES)).is_err() {
        return Err(failed(answered.call, CallEnd::ProviderFailed, error::overloaded(), clock));
    }
    let translated = match &translation.wanted {
        Wanted::Chat(reply) => reply.translate_answer(bytes, &translation.context()).map(|translated| {
            (translated.body, translated.usage.map(|usage| Told::from(dialects::tokens(usage))))
        }),
        Wanted::Count => translate_count_answer(bytes).map(|body| (body, Some(Told::default()))),
    };
    let Ok((body, usage)) = translated else {
        return Err(broken(answered, clock));
    };
    let head = head_of(StatusCode::OK, JSON, &answered);
    answered.answer.lease.keep();
    let (mut passed, is_told) = (Passed::default(), usage.is_some());
    if !is_told {
        passed.answer(bytes);
    }
    let used = Used::of_answer(usage, answered.call_type, answered.call.prompt(), &passed);
    let settled = settle(answered.call, StatusCode::OK, CallEnd::Completed, used, clock);
    tell_cost(told, settled.cost().filter(|_| is_told));
    Ok(head.map(|()| settled.ahead_of(waiting(body.into(), held))))
}

/// The provider's own error, in the caller's dialect. It cost nothing.
fn failure(
    answered: Answered<'_>,
    translation: &Translation,
    bytes: &Bytes,
    held: Hold,
    clock: &dyn Clock,
) -> Response<ResponseBody> {
    fault::step("answer", bytes);
    let (status, headers) = (answered.answer.response.status(), answered.answer.response.headers());
    let error_type = headers.text(&BEDROCK_ERROR);
    let failure = Failure::read(translation.provider, status.as_u16(), error_type, bytes);
    let (status, body) = failure.answer(dialects::call(answered.call_type), &translation.request_id);
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
    let head = head_of(status, JSON, &answered);
    answered.answer.lease.keep();
    let nothing = Used::nothing(UsageSource::ProviderFinal);
    let settled = settle(answered.call, status, CallEnd::Completed, nothing, clock);
    head.map(|()| settled.ahead_of(waiting(body.into(), held)))
}

fn head_of(status: StatusCode, content_type: HeaderValue, answered: &Answered<'_>) -> Response<()> {
    let mut head = Response::new(());
    *head.status_mut() = status;
    head.headers_mut().insert(header::CONTENT_TYPE, content_type);
    let after = answered.answer.response.headers().get(&header::RETRY_AFTER);
    if let Some(after) = after.and_then(|after| HeaderValue::from_bytes(after).ok()) {
        head.headers_mut().insert(header::RETRY_AFTER, after);
    }
    head
}
