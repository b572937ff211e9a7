//! The answer to a call that a limit refuses: which limit it was, and when to come again.

use std::fmt;

use bailiwick_domain::{id::ModelId, key::KeyId};
use bailiwick_quota::{
    holder::{Reason, Refusal},
    limit::{Measure, Over, Scope},
};
use bailiwick_runtime::serving::ApiError;
use http::{HeaderName, HeaderValue, header};

use crate::error;

/// Which limit it was, for programs: `number=3; measure=requests_per_minute; amount=60; scope="each key"`.
const LIMIT: HeaderName = HeaderName::from_static("x-bailiwick-limit");
/// What OpenAI's and Anthropic's SDKs look at before they try again by themselves.
const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");

/// 429: `insufficient_quota` for money, `rate_limit_exceeded` for everything else.
pub(super) fn answer(refusal: &Refusal, scope: &Scope) -> ApiError {
    let (number, measure, amount) = (refusal.account.limit.number, refusal.measure, refusal.amount);
    let scope = Spoken(scope);
    let advice = Advice(refusal);
    let message = format!("limit {number} ({amount} {measure} for {scope}) {}: {advice}", refusal.reason);
    let error = match measure.is_money() {
        true => error::insufficient_quota(message),
        false => error::rate_limit_exceeded(message),
    };
    let limit = format!("number={number}; measure={measure}; amount={amount}; scope=\"{scope}\"");
    let error = match HeaderValue::try_from(limit) {
        Ok(limit) => error.with_header(LIMIT, limit),
        Err(_) => error,
    };
    match refusal.retry_after_seconds() {
        Some(seconds) => error.with_header(header::RETRY_AFTER, seconds.into()),
        None => error.with_header(SHOULD_RETRY, HeaderValue::from_static("false")),
    }
}

/// 403: a limit of money is about a call that nobody knows the cost of. Time does not help, and the caller cannot.
pub(super) fn unpriced(number: u32) -> ApiError {
    error::unpriced(format!(
        "limit {number} is one of money, and this model has no price: ask your administrator to set one, with `bailiwick price set` for the contract or in the deployment itself; a price of 0 says that it costs nothing"
    ))
    .with_header(SHOULD_RETRY, HeaderValue::from_static("false"))
}

/// What to do.
struct Advice<'a>(&'a Refusal);

impl fmt::Display for Advice<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0.reason, self.0.measure, self.0.retry_after_seconds()) {
            (Reason::LargerThanLimit, Measure::RequestsPerMinute | Measure::ParallelRequests, _) => {
                f.write_str("ask your administrator to raise it")
            }
            (Reason::LargerThanLimit, ..) => {
                f.write_str("ask for a shorter answer, or your administrator to raise it")
            }
            (_, _, Some(1)) => f.write_str("try again in a second"),
            (_, _, Some(seconds)) => write!(f, "try again in {seconds} seconds"),
            (_, _, None) => f.write_str("ask your administrator to raise it"),
        }
    }
}

/// For whom a limit is. Identifiers are the organization's own.
struct Spoken<'a>(&'a Scope);

impl fmt::Display for Spoken<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Scope { key, model, deployment, .. } = self.0;
        let (key, model): (Option<&KeyId>, Option<&ModelId>) = (one(key), one(model));
        match (self.0.key, key) {
            (Over::Each, _) => f.write_str("each key")?,
            (_, Some(key)) => write!(f, "key {key}")?,
            (_, None) => f.write_str("the organization")?,
        }
        match (self.0.model, model) {
            (Over::Each, _) => f.write_str(" and each model")?,
            (_, Some(model)) => write!(f, " and model {model}")?,
            (_, None) => {}
        }
        match deployment {
            Over::Each => f.write_str(" at each deployment"),
            Over::One(deployment) => write!(f, " at deployment {deployment}"),
            Over::All => Ok(()),
        }
    }
}

fn one<T>(over: &Over<T>) -> Option<&T> {
    match over {
        Over::One(one) => Some(one),
        Over::All | Over::Each => None,
    }
}
