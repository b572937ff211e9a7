//! The master key: 256 bits from a file or the environment.

use std::fmt;

use bailiwick_core::ports::vault::VaultError;
use base64::{
    Engine,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

const LEN: usize = 32;
const ENGINE: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Wraps data keys. Zeroes itself on drop and never prints.
pub struct MasterKey(Zeroizing<[u8; LEN]>);

impl MasterKey {
    /// From 64 hexadecimal digits, or from the standard base64 of 32 bytes (`openssl rand -base64 32`), with or without padding. White
    /// space around it is ignored. Errors: [`VaultError::MasterKey`], which never repeats the text.
    pub fn parse(text: &SecretString) -> Result<Self, VaultError> {
        let text = text.expose_secret().trim().as_bytes();
        let key = if text.len() == 2 * LEN { from_hexadecimal(text) } else { from_base64(text) };
        key.map(Self).ok_or_else(|| {
            VaultError::MasterKey(format!(
                "it has {} characters that are neither 64 hexadecimal digits nor 32 bytes in base64",
                text.len()
            ))
        })
    }

    /// The text of a new key, hexadecimal, from the operating system's generator.
    pub fn generate_text() -> Result<SecretString, VaultError> {
        let mut key = Zeroizing::new([0_u8; LEN]);
        aws_lc_rs::rand::fill(key.as_mut()).map_err(|_| VaultError::Crypto)?;
        // Its whole room at once: a text that moves would leave digits behind.
        let mut text = Zeroizing::new(String::with_capacity(2 * LEN));
        let digits = key.iter().flat_map(|byte| [byte >> 4, byte & 0xf]);
        text.extend(digits.filter_map(|digit| char::from_digit(digit.into(), 16)));
        Ok(SecretString::from(text.as_str()))
    }

    pub(crate) fn bytes(&self) -> &[u8; LEN] {
        &self.0
    }
}

fn from_hexadecimal(digits: &[u8]) -> Option<Zeroizing<[u8; LEN]>> {
    let mut key = Zeroizing::new([0_u8; LEN]);
    for (byte, pair) in key.iter_mut().zip(digits.chunks_exact(2)) {
        for digit in pair {
            let value = char::from(*digit).to_digit(16)?;
            *byte = (*byte << 4) | u8::try_from(value).ok()?;
        }
    }
    Some(key)
}

fn from_base64(text: &[u8]) -> Option<Zeroizing<[u8; LEN]>> {
    // The decoder wants room for its own estimate, one byte more than the key.
    let mut room = Zeroizing::new([0_u8; LEN + 1]);
    let decoded = ENGINE.decode_slice(text, room.as_mut()).ok()?;
    let mut key = Zeroizing::new([0_u8; LEN]);
    key.copy_from_slice(room.get(..decoded).filter(|_| decoded == LEN)?);
    Some(key)
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
    fn hexadecimal_and_base64_of_the_same_bytes_are_the_same_key() {
        let key = |text: &str| *MasterKey::parse(&SecretString::from(text)).expect("parsed").bytes();
        assert_eq!(key(&"ab".repeat(32)), [0xab; 32]);
        assert_eq!(key(&"AB".repeat(32)), [0xab; 32]);
        assert_eq!(key("q6urq6urq6urq6urq6urq6urq6urq6urq6urq6urq6s=\n"), [0xab; 32]);
        assert_eq!(key("q6urq6urq6urq6urq6urq6urq6urq6urq6urq6urq6s"), [0xab; 32]);
    }

    #[test]
    fn another_length_or_alphabet_is_refused_without_repeating_it() {
        for text in [
            String::new(),
            "ab".repeat(31),
            "ab".repeat(33),
            "zz".repeat(32),
            "é".repeat(32),
            "q6ur".repeat(10),
            "q6urq6urq6urq6urq6urq6urq6urq6urq6urq6urq6t=".to_owned(),
        ] {
            let error =
                MasterKey::parse(&SecretString::from(text.as_str())).expect_err("refused").to_string();
            assert!(text.is_empty() || !error.contains(&text), "{error}");
        }
    }
}
