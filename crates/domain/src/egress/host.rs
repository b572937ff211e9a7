//! Hosts, and patterns of them.

use std::{borrow::Cow, fmt, net::IpAddr, str::FromStr};

use crate::text::serde_as_text;

/// A host: a name, `*.` and a name (any name below it, at any depth), or an address.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HostPattern(Box<str>);

impl HostPattern {
    /// Whether the host (a name or an address literal, without port) matches; letters' case does not matter.
    pub fn matches(&self, host: &str) -> bool {
        self.matches_canonical(&canonical(host))
    }

    pub(super) fn matches_canonical(&self, host: &str) -> bool {
        match self.below() {
            Some(name) => {
                host.strip_suffix(name).is_some_and(|before| before.len() > 1 && before.ends_with('.'))
            }
            None => host == &*self.0,
        }
    }

    /// The name behind `*.`.
    pub(super) fn below(&self) -> Option<&str> {
        self.0.strip_prefix("*.")
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for HostPattern {
    type Err = HostPatternError;

    fn from_str(text: &str) -> Result<Self, HostPatternError> {
        let host = canonical(text);
        let name = host.strip_prefix("*.").unwrap_or(&host);
        let good = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
        let named = name.len() <= 253 && name.bytes().all(good) && !name.split('.').any(str::is_empty);
        // An address has no names below it.
        let address = name.parse::<IpAddr>().is_ok();
        if (named && !(address && name.len() < host.len())) || host.parse::<IpAddr>().is_ok() {
            Ok(Self(host.into()))
        } else {
            Err(HostPatternError)
        }
    }
}

/// Lower case, no dot at the end; an address in its one canonical form, without brackets: `0:0::1` and `[::1]` are one host.
pub(super) fn canonical(host: &str) -> Cow<'_, str> {
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    match bare.parse::<IpAddr>() {
        // Of these only one form is parsed.
        Ok(IpAddr::V4(_)) => return bare.into(),
        Ok(IpAddr::V6(address)) => return address.to_string().into(),
        Err(_) => {}
    }
    let name = host.strip_suffix('.').unwrap_or(host);
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        name.to_ascii_lowercase().into()
    } else {
        name.into()
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

serde_as_text!(HostPattern);

/// What is wrong with a host pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a host pattern is a name, *. and a name, or an address")]
pub struct HostPatternError;
