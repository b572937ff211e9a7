//! What is stored of a key: its digest under the region's pepper.

use std::fmt;

use aws_lc_rs::hmac;
use zeroize::Zeroize;

use super::PresentedKey;

/// A region's pepper: the HMAC-SHA256 key under which keys are stored. A row copied to another region never validates there.
#[derive(Clone)]
pub struct Pepper(hmac::Key);

impl Pepper {
    /// From 32 bytes. The copy that is given here is zeroed; the caller zeroes its own.
    pub fn from_bytes(mut bytes: [u8; 32]) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &bytes);
        bytes.zeroize();
        Self(key)
    }

    /// The digest of a presented key.
    pub fn digest(&self, key: &PresentedKey<'_>) -> KeyDigest {
        self.digest_bytes(key.bytes())
    }

    /// Whether the presented key is the one that was stored. Constant time.
    pub fn verify(&self, key: &PresentedKey<'_>, digest: &KeyDigest) -> bool {
        self.verify_bytes(key.bytes(), digest)
    }

    /// Whether these bytes are those that were stored. Constant time.
    pub(super) fn verify_bytes(&self, bytes: &[u8], digest: &KeyDigest) -> bool {
        hmac::verify(&self.0, bytes, &digest.0).is_ok()
    }

    /// A keyed hash of what is no key. What is hashed for one purpose is never equal to what is hashed for another, nor to a key's digest:
    /// whoever may write a text for the one gains nothing at the other.
    pub fn digest_for(&self, purpose: Purpose, bytes: &[u8]) -> KeyDigest {
        // No key begins like this, and no label holds the byte that ends it.
        self.digest_bytes(&[b"bailiwick/", purpose.label().as_bytes(), b"\0", bytes].concat())
    }

    pub(super) fn digest_bytes(&self, bytes: &[u8]) -> KeyDigest {
        let mut digest = [0; 32];
        digest.iter_mut().zip(hmac::sign(&self.0, bytes).as_ref()).for_each(|(to, from)| *to = *from);
        KeyDigest(digest)
    }
}

/// What a keyed hash is for, beside keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To find a sealed e-mail address.
    EmailAddress,
    /// To know a call's idempotency key again.
    IdempotencyKey,
}

impl Purpose {
    fn label(self) -> &'static str {
        match self {
            Self::EmailAddress => "e-mail/1",
            Self::IdempotencyKey => "idempotency/1",
        }
    }
}

impl fmt::Debug for Pepper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pepper([redacted])")
    }
}

/// HMAC-SHA256 of a whole key under the region's pepper.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyDigest(pub [u8; 32]);

impl fmt::Debug for KeyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyDigest(..)")
    }
}
