//! What an issuer's answer is taken for (RFC 6749, section 5).

use std::{borrow::Cow, time::Duration};

use bailiwick_domain::time::Timestamp;
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::Deserialize;
use zeroize::Zeroizing;

use super::failure::{Failed, Why};
use crate::{retry_after::retry_after, snapshot::bearer};

/// Bytes of a token.
const LONGEST_TOKEN: usize = 16 << 10;
/// A token that lives longer is taken for one that ends then.
const LONGEST_LIFE: Duration = Duration::from_secs(24 * 3600);
/// What an issuer may call its refusals. Everything else that it says is dropped: it may repeat what it was shown.
const REFUSALS: [&str; 6] = [
    "invalid_request",
    "invalid_client",
    "invalid_grant",
    "unauthorized_client",
    "unsupported_grant_type",
    "invalid_scope",
];

/// A token that was issued. Shown to nobody: its header is marked sensitive.
#[derive(Debug)]
pub(crate) struct Issued {
    /// `Bearer …`.
    pub(crate) authorization: HeaderValue,
    /// From when it was asked for; a second at least.
    pub(crate) lifetime: Duration,
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    access_token: Cow<'a, str>,
    #[serde(borrow)]
    token_type: Cow<'a, str>,
    /// Seconds.
    expires_in: u64,
}

#[derive(Deserialize)]
struct Refusal<'a> {
    #[serde(borrow)]
    error: Cow<'a, str>,
}

/// Errors: it is no token.
pub(crate) fn read(
    status: StatusCode,
    headers: &HeaderMap,
    body: &[u8],
    now: Timestamp,
) -> Result<Issued, Failed> {
    match status {
        StatusCode::OK => issued(body).ok_or_else(|| Why::Garbage.into()),
        StatusCode::BAD_REQUEST
        | StatusCode::UNAUTHORIZED
        | StatusCode::FORBIDDEN
        | StatusCode::NOT_FOUND => {
            let named = serde_json::from_slice::<Refusal<'_>>(body).ok();
            let word = REFUSALS.into_iter().find(|word| named.as_ref().is_some_and(|it| it.error == *word));
            Err(Why::Refused(status.as_u16(), word.unwrap_or("no reason that is known")).into())
        }
        _ if status.is_redirection() => Err(Why::Redirect.into()),
        _ => Err(Failed { why: Why::Unavailable(status.as_u16()), after: retry_after(&headers.into(), now) }),
    }
}

fn issued(body: &[u8]) -> Option<Issued> {
    let answer: Answer<'_> = serde_json::from_slice(body).ok()?;
    let token = match answer.access_token {
        Cow::Borrowed(token) => Zeroizing::new(token.to_owned()),
        Cow::Owned(token) => Zeroizing::new(token),
    };
    let good = (1..=LONGEST_TOKEN).contains(&token.len())
        && token.bytes().all(|byte| byte.is_ascii_graphic())
        && answer.token_type.eq_ignore_ascii_case("bearer")
        && answer.expires_in > 0;
    let (authorization, _alone) = bearer(&token).ok().filter(|_| good)?;
    Some(Issued { authorization, lifetime: Duration::from_secs(answer.expires_in).min(LONGEST_LIFE) })
}

#[cfg(test)]
mod tests;
