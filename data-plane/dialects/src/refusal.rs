//! What is not translated: the request is wrong, or the provider cannot do what it asks for. Either is the caller's to change, so it says which field, and why.
//!
//! A refusal repeats no value. The name of an unknown field is the caller's own text; it is repeated only while it looks like a name.

use std::fmt;

use crate::Dialect;

/// Characters of a field's place that are repeated.
const LONGEST_PLACE: usize = 128;

/// Why a request is not translated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The request breaks a rule of its own dialect.
    Invalid {
        /// Place of the field, such as `messages[0].role`.
        field: String,
        /// What holds for it.
        rule: &'static str,
    },
    /// The provider cannot do it.
    Unsupported {
        /// Place of the field.
        field: String,
        /// What stands in the way.
        why: &'static str,
    },
}

impl Refusal {
    pub(crate) fn invalid(field: impl Into<String>, rule: &'static str) -> Self {
        Self::Invalid { field: repeatable(field.into()), rule }
    }

    pub(crate) fn unsupported(field: impl Into<String>, why: &'static str) -> Self {
        Self::Unsupported { field: repeatable(field.into()), why }
    }

    /// Place of the field.
    pub fn field(&self) -> &str {
        match self {
            Self::Invalid { field, .. } | Self::Unsupported { field, .. } => field,
        }
    }

    pub(crate) fn by(self, provider: Dialect) -> Refused {
        Refused { provider, refusal: self }
    }
}

/// A refusal, and whose. Its status is always 400.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The provider's dialect.
    pub provider: Dialect,
    /// Why.
    pub refusal: Refusal,
}

impl Refused {
    /// A stable code for the caller.
    pub fn code(&self) -> &'static str {
        match self.refusal {
            Refusal::Invalid { .. } => "invalid_request",
            Refusal::Unsupported { .. } => "unsupported_by_provider",
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.refusal {
            Refusal::Invalid { field, rule } => write!(f, "{field}: {rule}"),
            Refusal::Unsupported { field, why } => {
                write!(f, "{} does not take {field}: {why}", self.provider.name())
            }
        }
    }
}

impl std::error::Error for Refused {}

/// The place, or what stands for one that does not look like a place.
fn repeatable(place: String) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'[' | b']' | b'-');
    if place.len() <= LONGEST_PLACE && place.bytes().all(plain) { place } else { "a field".to_owned() }
}
