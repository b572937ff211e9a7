//! The master key: 256 bits from a file or the environment.

use std::fmt;

use bailiwick_core::ports::vault::VaultError;
use secrecy::{ExposeSecret, SecretString};
use zeroize::{Zeroize, Zeroizing};

const LEN: usize = 32;

/// Wraps data keys. Zeroes itself on drop and never prints.
pub struct MasterKey(Zeroizing<[u8; LEN]>);

impl MasterKey {
    /// From 64 hexadecimal digits; white space around them is ignored. Errors: [`VaultError::MasterKey`], which never repeats the text.
    pub fn parse(text: &SecretString) -> Result<Self, VaultError> {
        let digits = text.expose_secret().trim().as_bytes();
        let wrong = || {
            VaultError::MasterKey(format!("it has {} characters, not 64 hexadecimal digits", digits.len()))
        };
        if digits.len() != 2 * LEN {
            return Err(wrong());
        }
        let mut key = Zeroizing::new([0_u8; LEN]);
        for (byte, pair) in key.iter_mut().zip(digits.chunks_exact(2)) {
            for digit in pair {
                let value = char::from(*digit).to_digit(16).ok_or_else(wrong)?;
                *byte = (*byte << 4) | u8::try_from(value).unwrap_or_default();
            }
        }
        Ok(Self(key))
    }

    /// The text of a new key, from the operating system's generator.
    pub fn generate_text() -> Result<SecretString, VaultError> {
        let mut key = Zeroizing::new([0_u8; LEN]);
        aws_lc_rs::rand::fill(key.as_mut()).map_err(|_| VaultError::Crypto)?;
        let mut text: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
        let secret = SecretString::from(text.as_str());
        text.zeroize();
        Ok(secret)
    }

    pub(crate) fn bytes(&self) -> &[u8; LEN] {
        &self.0
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey([redacted])")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_key_is_read_back_and_no_two_are_alike() {
        let (one, two) =
            (MasterKey::generate_text().expect("made"), MasterKey::generate_text().expect("made"));
        assert_ne!(one.expose_secret(), two.expose_secret());
        let padded = SecretString::from(format!("{}\n", one.expose_secret()));
        assert_eq!(
            MasterKey::parse(&padded).expect("parsed").bytes(),
            MasterKey::parse(&one).expect("parsed").bytes()
        );
    }

    #[test]
    fn another_length_or_alphabet_is_refused_without_repeating_it() {
        for text in [String::new(), "ab".repeat(31), "zz".repeat(32), "é".repeat(32)] {
            let error =
                MasterKey::parse(&SecretString::from(text.as_str())).expect_err("refused").to_string();
            assert!(text.is_empty() || !error.contains(&text), "{error}");
        }
    }
}
