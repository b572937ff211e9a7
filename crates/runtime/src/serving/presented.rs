//! Where a caller's API key stands in a head. The router and the worker both look here, so that they never see two different keys.

use http::{HeaderName, header::AUTHORIZATION};

use crate::http1::{HeaderSection, text};

/// Where Anthropic's SDKs put a key.
pub const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// Why a head presents no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotPresented {
    /// There is none.
    #[error("no API key was sent")]
    Missing,
    /// There are two, or one that is no text: nobody could say which was meant.
    #[error("more than one API key was sent, or one that is no text")]
    Ambiguous,
}

/// The key in `Authorization: Bearer` (RFC 6750, section 2.1) or in `x-api-key`. One header, one key.
pub fn presented_key(headers: &HeaderSection) -> Result<&str, NotPresented> {
    let (authorization, api_key) = (AUTHORIZATION, API_KEY);
    let (mut bearers, mut alone) = (headers.get_all(&authorization), headers.get_all(&api_key));
    let (bearer, key) = (bearers.next(), alone.next());
    if bearers.next().is_some() || alone.next().is_some() {
        return Err(NotPresented::Ambiguous);
    }
    match (bearer, key) {
        (None, None) => Err(NotPresented::Missing),
        (Some(_), Some(_)) => Err(NotPresented::Ambiguous),
        (None, Some(key)) => text(key).ok_or(NotPresented::Ambiguous),
        (Some(bearer), None) => {
            let text = text(bearer).ok_or(NotPresented::Ambiguous)?;
            let (scheme, key) = text.split_once(' ').ok_or(NotPresented::Missing)?;
            if !scheme.eq_ignore_ascii_case("bearer") {
                return Err(NotPresented::Missing);
            }
            Ok(key.trim_start())
        }
    }
}
