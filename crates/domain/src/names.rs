//! Names that people give.

use std::{fmt, str::FromStr, sync::Arc};

use crate::text::serde_as_text;

/// A model's name: 1 to 128 of `[A-Za-z0-9._:/@+-]`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModelName(Arc<str>);

/// A name for people: 1 to 128 characters, no control characters, no white space at its ends. Sealed at rest.
#[derive(Clone, PartialEq, Eq)]
pub struct DisplayName(String);

/// An e-mail address: at most 254 characters, one `@`, the domain in lower case. Sealed at rest.
#[derive(Clone, PartialEq, Eq)]
pub struct EmailAddress(String);

impl ModelName {
    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl DisplayName {
    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl EmailAddress {
    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ModelName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let good = |byte: u8| byte.is_ascii_alphanumeric() || b"._:/@+-".contains(&byte);
        if (1..=128).contains(&text.len()) && text.bytes().all(good) {
            Ok(Self(text.into()))
        } else {
            Err(NameError::Model)
        }
    }
}

impl FromStr for DisplayName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let length = text.chars().count();
        let good = (1..=128).contains(&length) && !text.chars().any(char::is_control) && text.trim() == text;
        if good { Ok(Self(text.to_owned())) } else { Err(NameError::Display) }
    }
}

impl FromStr for EmailAddress {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let (local, domain) = text.split_once('@').ok_or(NameError::Email)?;
        let unwanted = |c: char| c.is_whitespace() || c.is_control() || c == '@';
        let good =
            !local.is_empty() && domain.contains('.') && !domain.starts_with('.') && !domain.ends_with('.');
        // Of some letters the small one is longer.
        let address = format!("{local}@{}", domain.to_lowercase());
        if !good || address.len() > 254 || local.contains(unwanted) || domain.contains(unwanted) {
            return Err(NameError::Email);
        }
        Ok(Self(address))
    }
}

impl fmt::Display for ModelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for DisplayName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DisplayName([redacted])")
    }
}

impl fmt::Debug for EmailAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EmailAddress([redacted])")
    }
}

serde_as_text!(ModelName);

/// What is wrong with a name. Never repeats it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// A bad model name.
    #[error("a model's name is 1 to 128 letters, digits and . _ : / @ + -")]
    Model,
    /// A bad display name.
    #[error("a name is 1 to 128 characters, without control characters and without white space at its ends")]
    Display,
    /// A bad e-mail address.
    #[error("an e-mail address has one @, a domain with a dot, and at most 254 characters")]
    Email,
}

#[cfg(test)]
mod tests;
