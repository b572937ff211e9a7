//! Step 6: the provider's answer goes back as it comes, and usage is read in passing.
//!
//! What is not a stream and fits into a small buffer is held until it is whole: so an answer that breaks off, or is none, becomes a 502 rather than
//! half an answer. Larger answers and streams pass through. Where caller and provider speak different dialects, the answer is translated (`translating`).

mod holding;
mod passing;
mod reading;
mod translating;

use std::{pin::pin, sync::Arc, time::Instant};

use bailiwick_domain::{
    guard::Guard,
    money::NanoUsd,
    time::Clock,
    usage::{CallEnd, UsageSource},
};
use bailiwick_runtime::{
    fault,
    http1::{IncomingResponse, is_one_of},
    serving::{ApiError, Fields, HeaderSection, ResponseBody},
    turn,
};
use bytes::Bytes;
use http::{HeaderName, Response, StatusCode, header};

use self::holding::hold_answer;
pub(crate) use self::holding::{Held, hold};
use crate::{
    dialects, error,
    estimate::Passed,
    memory::{Hold, UNCOUNTED},
    metering::{OpenCall, Outcome, Settled, Used},
    metrics::UpstreamFailure,
    placement::Ill,
    timing::Timing,
    upstream::{Answer, Answered, Reading, Timeouts, tell_attempts},
};

/// Bytes of an answer that are held until it is whole.
const LARGEST_HELD: usize = 256 << 10;

/// What nobody's `Connection` may have removed: what the answer's body is.
static NEVER_REMOVED: [HeaderName; 1] = [header::CONTENT_TYPE];

/// What is meant for the provider's own customer, who is not the caller.
fn is_kept_back(name: &[u8]) -> bool {
    const NAMES: [&str; 7] = [
        "location",
        "set-cookie",
        "strict-transport-security",
        "alt-svc",
        "openai-organization",
        "openai-project",
        "anthropic-organization-id",
    ];
    // Only we say what it costs.
    is_one_of(name, &NAMES) || is_one_of(name, &[error::COST.as_str()])
}

/// The answer for the caller. Errors: 502 and 504, settled; they tell how many providers were called.
pub(crate) async fn pass_on(
    answered: Answered<'_>,
    clock: &Arc<dyn Clock>,
    timeouts: Timeouts,
    held: Hold,
    told: &mut Fields,
    timing: &Timing,
) -> Result<Response<ResponseBody>, ApiError> {
    let attempts = answered.attempts;
    let passed = pin!(read(answered, clock, timeouts, held, told, timing)).await;
    passed.map_err(|error| tell_attempts(attempts, error))
}

async fn read(
    mut answered: Answered<'_>,
    clock: &Arc<dyn Clock>,
    timeouts: Timeouts,
    mut held: Hold,
    told: &mut Fields,
    timing: &Timing,
) -> Result<Response<ResponseBody>, ApiError> {
    let answer = &mut *answered.answer;
    if let Some(error) = refused(answer.response.status(), answer.response.headers()) {
        // The connection is closed with the lease: what is left of the answer is not wanted.
        return Err(failed(answered.call, CallEnd::ProviderFailed, error, &**clock));
    }
    answered.tell_way(told);
    let withhold_usage = match answered.reading {
        Reading::Passing { withhold_usage } => withhold_usage,
        Reading::Translated(translation) => {
            answered.reading = Reading::Passing { withhold_usage: false };
            let translated =
                translating::pass_on(answered, *translation, clock, timeouts, held, told, timing);
            return Box::pin(translated).await;
        }
    };
    if is_event_stream(answered.answer.response.headers()) {
        pass_on_fields(&mut answered.answer.response, told);
        return Ok(passing::stream(answered, withhold_usage, held, clock, timeouts.idle));
    }
    let read = pin!(hold_answer(&mut answered, true, LARGEST_HELD, timeouts.idle, &mut held, timing)).await;
    match read {
        Held::Whole(bytes) => {
            let response = whole(answered, bytes, held, told, &**clock)?;
            // Calls that begin in this turn have come to the journal, too, when the answer goes out: one write brings both.
            turn::give_way().await;
            Ok(response)
        }
        Held::Large(begun) => {
            answered.answer.begun = begun;
            let length = answered.answer.response.headers().content_length();
            pass_on_fields(&mut answered.answer.response, told);
            Ok(passing::large(answered, length, clock, timeouts.idle))
        }
        Held::Broken => Err(broken(answered, &**clock)),
        Held::Late => Err(late(answered, &**clock)),
    }
}

/// Has the caller told what the provider's answer says. Its body has to be there for it.
fn pass_on_fields<B>(response: &mut IncomingResponse<B>, told: &mut Fields) {
    let mut headers = std::mem::take(response.headers_mut());
    headers.retain_end_to_end(&NEVER_REMOVED);
    headers.retain(|name| !is_kept_back(name));
    told.pass_on(headers);
}

/// Settles an answer that broke off, or is none: the provider's own failure, of which nothing reached the caller, costs nothing.
fn broken(mut answered: Answered<'_>, clock: &dyn Clock) -> ApiError {
    answered.answer.lease.failed(Ill::Broken, Instant::now());
    answered.metrics.upstream_failed(UpstreamFailure::InvalidResponse);
    failed(answered.call, CallEnd::ProviderFailed, error::provider_invalid(), clock)
}

/// Settles an answer that did not come on. The provider has read what was asked, and charges for that.
fn late(mut answered: Answered<'_>, clock: &dyn Clock) -> ApiError {
    answered.answer.lease.failed(Ill::Late, Instant::now());
    answered.metrics.upstream_failed(UpstreamFailure::TimedOut);
    let used = match answered.answer.response.status().is_success() {
        true => answered.call.used_without_answer(),
        false => Used::nothing(UsageSource::Estimated),
    };
    let error = error::provider_timeout();
    settle(answered.call, error.status, CallEnd::TimedOut, used, clock).at_once();
    error
}

fn failed(call: OpenCall, end: CallEnd, error: ApiError, clock: &dyn Clock) -> ApiError {
    settle(call, error.status, end, Used::nothing(UsageSource::Estimated), clock).at_once();
    error
}

/// What never reaches the caller: a refusal of our own credential (its text may repeat a part of it), redirects, which are not followed (R7), and
/// answers that are encoded although none was asked for, because their usage cannot be read.
fn refused(status: StatusCode, headers: &HeaderSection) -> Option<ApiError> {
    let encoded = headers.get(&header::CONTENT_ENCODING).is_some_and(|encoding| encoding != b"identity");
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Some(error::provider_refused_credential()),
        _ if status.is_redirection() && Guard::ProviderRedirects.stands() => Some(error::provider_invalid()),
        _ if status.is_informational() => Some(error::provider_invalid()),
        _ if status.is_success() && encoded => Some(error::provider_invalid()),
        _ => None,
    }
}

fn is_event_stream(headers: &HeaderSection) -> bool {
    const EVENT_STREAM: &[u8] = b"text/event-stream";
    let value = headers.get(&header::CONTENT_TYPE).map(<[u8]>::trim_ascii_start);
    let begins = value.and_then(|value| value.get(..EVENT_STREAM.len()));
    begins.is_some_and(|begins| begins.eq_ignore_ascii_case(EVENT_STREAM))
}

/// A whole answer: it is passed on untouched, behind its record.
fn whole(
    answered: Answered<'_>,
    bytes: Bytes,
    held: Hold,
    told: &mut Fields,
    clock: &dyn Clock,
) -> Result<Response<ResponseBody>, ApiError> {
    fault::step("answer", &bytes);
    let Answered { answer, call, call_type, metrics, .. } = answered;
    let Answer { mut response, mut lease, .. } = *answer;
    let status = response.status();
    if !status.is_success() {
        // The provider's own error: it was passed on whole, and cost nothing.
        lease.keep();
        let nothing = Used::nothing(UsageSource::ProviderFinal);
        let settled = settle(call, status, CallEnd::Completed, nothing, clock);
        pass_on_fields(&mut response, told);
        return Ok(with_status(status, settled.ahead_of(waiting(bytes, held))));
    }
    let Some(usage) = dialects::usage_of(call_type, &bytes) else {
        lease.failed(Ill::Broken, Instant::now());
        metrics.upstream_failed(UpstreamFailure::InvalidResponse);
        return Err(failed(call, CallEnd::ProviderFailed, error::provider_invalid(), clock));
    };
    lease.keep();
    let (mut passed, is_told) = (Passed::default(), usage.is_some());
    if !is_told {
        passed.answer(&bytes);
    }
    let used = Used::of_answer(usage, call_type, call.prompt(), &passed);
    let settled = settle(call, status, CallEnd::Completed, used, clock);
    tell_cost(told, settled.cost().filter(|_| is_told));
    pass_on_fields(&mut response, told);
    Ok(with_status(status, settled.ahead_of(waiting(bytes, held))))
}

fn with_status(status: StatusCode, body: ResponseBody) -> Response<ResponseBody> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
}

/// An answer until its caller has taken it, however slowly. Most are small.
fn waiting(bytes: Bytes, held: Hold) -> ResponseBody {
    if bytes.len() <= UNCOUNTED {
        return bytes.into();
    }
    held.with(bytes).into()
}

fn settle(call: OpenCall, status: StatusCode, end: CallEnd, used: Used, clock: &dyn Clock) -> Settled {
    call.settle(Outcome { status: status.as_u16(), end, used }, clock.now())
}

/// In US dollars, as a plain decimal number. Nothing, where it is not known.
fn tell_cost(told: &mut Fields, cost: Option<NanoUsd>) {
    if let Some(cost) = cost {
        told.put(&error::COST, cost.to_plain().as_bytes());
    }
}
