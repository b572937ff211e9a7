//! The fingerprint of a region's certificate authority.

use std::{fmt, str::FromStr};

use crate::text::serde_as_text;

/// SHA-256 of a root certificate's DER. Text form: 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct CaFingerprint(pub [u8; 32]);

impl fmt::Display for CaFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for CaFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for CaFingerprint {
    type Err = CaFingerprintError;

    fn from_str(text: &str) -> Result<Self, CaFingerprintError> {
        let digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if text.len() != 64 || !text.bytes().all(digit) {
            return Err(CaFingerprintError);
        }
        let (high, low) = text.split_at_checked(32).ok_or(CaFingerprintError)?;
        let half = |digits| u128::from_str_radix(digits, 16).map_err(|_| CaFingerprintError);
        let mut bytes = [0; 32];
        let halves = [half(high)?.to_be_bytes(), half(low)?.to_be_bytes()];
        bytes.iter_mut().zip(halves.as_flattened()).for_each(|(to, from)| *to = *from);
        Ok(Self(bytes))
    }
}

serde_as_text!(CaFingerprint);

/// Not a fingerprint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a fingerprint is 64 lower-case hexadecimal digits")]
pub struct CaFingerprintError;
