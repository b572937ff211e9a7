//! Whose law holds where data is processed. Not to be taken for [`crate::jurisdiction`], which is a region's authority over identifiers.

use std::{fmt, str::FromStr, sync::Arc};

use crate::text::serde_as_text;

const GLOBAL: &str = "global";

/// A legal jurisdiction, such as `eu` or `us`: 2 to 16 letters, digits and hyphens, in lower case. `global` says that data may be processed
/// anywhere; it is no region's.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LegalJurisdiction(Arc<str>);

impl LegalJurisdiction {
    /// Anywhere.
    pub fn global() -> Self {
        Self(GLOBAL.into())
    }

    /// Whether data may be processed anywhere.
    pub fn is_global(&self) -> bool {
        &*self.0 == GLOBAL
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for LegalJurisdiction {
    type Err = LegalJurisdictionError;

    fn from_str(text: &str) -> Result<Self, LegalJurisdictionError> {
        let good = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        let ends = text.starts_with('-') || text.ends_with('-');
        if !(2..=16).contains(&text.len()) || ends || !text.bytes().all(good) {
            return Err(LegalJurisdictionError);
        }
        Ok(Self(text.to_ascii_lowercase().into()))
    }
}

impl fmt::Display for LegalJurisdiction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for LegalJurisdiction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

serde_as_text!(LegalJurisdiction);

/// A word that names no jurisdiction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a jurisdiction is 2 to 16 letters, digits and inner hyphens, such as eu or us; global stands for anywhere"
)]
pub struct LegalJurisdictionError;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jurisdiction_is_a_short_word_in_lower_case() {
        let eu: LegalJurisdiction = "EU".parse().expect("good");
        assert_eq!((eu.as_str(), eu.is_global()), ("eu", false));
        assert_eq!("Global".parse(), Ok(LegalJurisdiction::global()));
        for bad in ["", "e", "-eu", "eu-", "e u", "eü", "seventeen-letters"] {
            assert_eq!(bad.parse::<LegalJurisdiction>(), Err(LegalJurisdictionError), "{bad:?}");
        }
    }
}
