//! Base 62 (`0-9A-Za-z`): letters and digits only, so that one double click selects a whole key.

use rand::RngExt;

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

pub(crate) fn digit(value: u8) -> u8 {
    ALPHABET.get(usize::from(value % 62)).copied().unwrap_or(b'0')
}

pub(crate) fn is_digit(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
}

fn value_of(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'A'..=b'Z' => Some(byte - b'A' + 10),
        b'a'..=b'z' => Some(byte - b'a' + 36),
        _ => None,
    }
}

/// `N` random digits from the operating system's generator, without bias.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut rng = rand::rng();
    std::array::from_fn(|_| digit(rng.random_range(0..62)))
}

/// A 32-bit number as 6 digits, most significant first.
pub(crate) fn of_u32(mut number: u32) -> [u8; 6] {
    let mut digits = [b'0'; 6];
    for place in digits.iter_mut().rev() {
        *place = digit(u8::try_from(number % 62).unwrap_or_default());
        number /= 62;
    }
    digits
}

/// 32 bytes as 43 digits, most significant first.
pub(crate) fn of_bytes(bytes: &[u8; 32]) -> [u8; 43] {
    let mut rest = *bytes;
    let mut digits = [b'0'; 43];
    for place in digits.iter_mut().rev() {
        let mut remainder = 0_u32;
        for byte in &mut rest {
            let current = remainder * 256 + u32::from(*byte);
            *byte = u8::try_from(current / 62).unwrap_or_default();
            remainder = current % 62;
        }
        *place = digit(u8::try_from(remainder).unwrap_or_default());
    }
    digits
}

/// The inverse of [`of_bytes`]. `None` for other characters, another length, or a number over 256 bits.
pub(crate) fn to_bytes(digits: &[u8]) -> Option<[u8; 32]> {
    if digits.len() != 43 {
        return None;
    }
    let mut bytes = [0_u8; 32];
    for byte in digits {
        let mut carry = u32::from(value_of(*byte)?);
        for place in bytes.iter_mut().rev() {
            let current = u32::from(*place) * 62 + carry;
            *place = u8::try_from(current % 256).unwrap_or_default();
            carry = current / 256;
        }
        if carry != 0 {
            return None;
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn bytes_survive(bytes: [u8; 32]) {
            prop_assert_eq!(to_bytes(&of_bytes(&bytes)), Some(bytes));
        }
    }

    #[test]
    fn numbers_over_256_bits_are_refused() {
        assert_eq!(to_bytes(&[b'z'; 43]), None);
    }
}
