//! Associated data: what a ciphertext is bound to, in one unambiguous encoding.

use aws_lc_rs::aead::{Aad, Nonce, RandomizedNonceKey};
use bailiwick_core::ports::vault::VaultError;
use bailiwick_domain::guard::Guard;
use zeroize::Zeroizing;

const NONCE_LEN: usize = 12;

/// Every part preceded by its length, so that no two lists of parts have the same encoding. Nothing at all where the guard is taken away: then
/// what is sealed opens wherever its key is.
pub(crate) fn encode(parts: &[&[u8]]) -> Vec<u8> {
    if !Guard::SealedPlace.stands() {
        return Vec::new();
    }
    let mut encoded = Vec::with_capacity(parts.iter().map(|part| part.len() + 4).sum());
    for part in parts {
        encoded.extend_from_slice(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
        encoded.extend_from_slice(part);
    }
    encoded
}

/// Appends nonce, ciphertext and tag to `output`.
pub(crate) fn seal(
    key: &RandomizedNonceKey,
    aad: &[u8],
    plaintext: &[u8],
    output: &mut Vec<u8>,
) -> Result<(), VaultError> {
    // Grown once: a buffer that moves would leave plaintext behind. What is encrypted in place needs no zeroing.
    let mut buffer = Vec::with_capacity(plaintext.len() + key.algorithm().tag_len());
    buffer.extend_from_slice(plaintext);
    let nonce = key.seal_in_place_append_tag(Aad::from(aad), &mut buffer).map_err(|_| VaultError::Crypto)?;
    output.extend_from_slice(nonce.as_ref());
    output.append(&mut buffer);
    Ok(())
}

/// Opens what [`seal`] appended.
pub(crate) fn open(
    key: &RandomizedNonceKey,
    aad: &[u8],
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, VaultError> {
    let (nonce, ciphertext) = sealed.split_at_checked(NONCE_LEN).ok_or(VaultError::DoesNotOpen)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| VaultError::DoesNotOpen)?;
    let mut buffer = Zeroizing::new(ciphertext.to_vec());
    let length =
        key.open_in_place(nonce, Aad::from(aad), &mut buffer).map_err(|_| VaultError::DoesNotOpen)?.len();
    buffer.truncate(length);
    Ok(buffer)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Short parts of few letters, so that lists often have the same bytes and another cut.
    fn parts() -> impl Strategy<Value = Vec<Vec<u8>>> {
        prop::collection::vec(prop::collection::vec(prop::sample::select(vec![0_u8, 1, b'a']), 0..4), 0..4)
    }

    proptest! {
        #[test]
        fn two_lists_of_parts_have_one_encoding_only_when_they_are_one(one in parts(), other in parts()) {
            fn encoded(parts: &[Vec<u8>]) -> Vec<u8> {
                encode(&parts.iter().map(Vec::as_slice).collect::<Vec<_>>())
            }
            prop_assert_eq!(encoded(&one) == encoded(&other), one == other);
        }
    }
}
