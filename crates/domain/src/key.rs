//! Keys that callers present: API keys, join tokens, service secrets.
//!
//! `bw_euc1_<key id, 16 base62>_<secret, 32 base62><CRC-32, 6 base62>`: fixed length, one double click selects it, the prefix names the
//! region without a look-up, and the checksum lets routers and scanners refuse a mistyped key offline (the pattern of
//! <https://github.blog/engineering/platform-security/behind-githubs-new-authentication-token-formats/>).
//!
//! What is stored is the key's id and [`KeyDigest`]: HMAC-SHA256 of the whole key under the region's [`Pepper`]. The secret has 190
//! random bits, so a slow hash would add nothing but a lever for denial of service.

use std::{
    fmt,
    hash::{Hash, Hasher},
    str::FromStr,
};

use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroize;

pub use self::{
    fingerprint::{CaFingerprint, CaFingerprintError},
    pepper::{KeyDigest, Pepper, Purpose},
    tokens::{JoinToken, ServiceSecret},
};
use crate::{
    base62,
    jurisdiction::{Jurisdiction, Local, Regional},
    packed::Packed,
    region::RegionCode,
    text::serde_as_text,
};

mod fingerprint;
mod pepper;
mod tokens;

const API_KEY: &str = "bw";
const JOIN_TOKEN: &str = "bwjoin";
const SERVICE_SECRET: &str = "bwsvc";
const ID_LEN: usize = 16;
const SECRET_LEN: usize = 32;
const FINGERPRINT_LEN: usize = 43;
const CHECKSUM_LEN: usize = 6;
/// More than prefix, region and all the parts of a join token take.
const TOKEN_CAPACITY: usize = 16 + ID_LEN + SECRET_LEN + FINGERPRINT_LEN + CHECKSUM_LEN;

/// Identifies an API key; part of the key and of the text form `key_euc1_<16 base62>`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyId {
    region: RegionCode,
    id: [u8; ID_LEN],
}

/// Identifies a join token; text form `join_euc1_<16 base62>`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct JoinTokenId {
    region: RegionCode,
    id: [u8; ID_LEN],
}

/// Identifies a service account; part of its secret and of the text form `svc_euc1_<16 base62>`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServiceAccountId {
    region: RegionCode,
    id: [u8; ID_LEN],
}

macro_rules! token_id {
    ($type:ident, $prefix:literal, $name:literal) => {
        impl Regional for $type {
            fn region_code(&self) -> RegionCode {
                self.region
            }
        }

        impl $type {
            /// The 16 characters that identify it within its region.
            pub fn local_part(&self) -> &str {
                std::str::from_utf8(&self.id).unwrap_or_default()
            }
        }

        impl Hash for $type {
            /// One word, because it is looked up with every request; the region, one and the same in a process, would add no spread.
            fn hash<H: Hasher>(&self, state: &mut H) {
                state.write_u128(u128::from_le_bytes(self.id));
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}_{}_{}", $prefix, self.region, self.local_part())
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $type {
            type Err = KeyFormatError;

            fn from_str(text: &str) -> Result<Self, KeyFormatError> {
                let malformed = KeyFormatError::Id { name: $name, prefix: $prefix };
                let rest = text.strip_prefix(concat!($prefix, "_")).ok_or(malformed.clone())?;
                let (region, id) = rest.split_once('_').ok_or(malformed.clone())?;
                let region = region.parse().map_err(|_| KeyFormatError::Region)?;
                let id: [u8; ID_LEN] = id.as_bytes().try_into().map_err(|_| malformed.clone())?;
                if !are_digits(&id) {
                    return Err(malformed);
                }
                Ok(Self { region, id })
            }
        }

        serde_as_text!($type);
    };
}

token_id!(KeyId, "key", "an API key's id");
token_id!(JoinTokenId, "join", "a join token's id");
token_id!(ServiceAccountId, "svc", "a service account's id");

impl KeyId {
    /// What it is within its region: 16 letters and digits.
    pub fn local_bytes(&self) -> [u8; 16] {
        self.id
    }
}

impl Jurisdiction {
    /// The key of this region that has these [`KeyId::local_bytes`]. `None`: no key has them.
    pub fn key_identified(&self, local: [u8; 16]) -> Option<Local<KeyId>> {
        KeyId::from_parts(self.code(), local).map(|key| self.admitted(key))
    }
}

impl Packed for KeyId {
    fn parts(&self) -> (RegionCode, [u8; 16]) {
        (self.region, self.id)
    }

    fn from_parts(region: RegionCode, local: [u8; 16]) -> Option<Self> {
        are_digits(&local).then_some(Self { region, id: local })
    }
}

/// A whole API key, just made. It zeroes itself on drop and never prints.
pub struct ApiKey {
    id: KeyId,
    text: SecretString,
}

impl ApiKey {
    /// A new key of a region, from the operating system's generator.
    pub fn generate(region: RegionCode) -> Self {
        Self::with_id(KeyId { region, id: base62::random() })
    }

    /// A key with this identifier and a new secret. Where the identifier is known already it is a forgery: whoever has read an identifier can make one.
    pub fn with_id(id: KeyId) -> Self {
        Self { id, text: assemble(API_KEY, id.region, id.id, None) }
    }

    /// Its identifier.
    pub fn key_id(&self) -> KeyId {
        self.id
    }

    /// The key itself: shown once, to the one who made it.
    pub fn expose(&self) -> &str {
        self.text.expose_secret()
    }

    /// What is stored of it.
    pub fn digest(&self, pepper: &Pepper) -> KeyDigest {
        pepper.digest_bytes(self.expose().as_bytes())
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApiKey({}, [redacted])", self.id)
    }
}

/// An API key as a caller presents it: of the right shape and with the right checksum, which says nothing about whether it
/// is known. Borrows; allocates nothing.
#[derive(Clone, Copy)]
pub struct PresentedKey<'a> {
    id: KeyId,
    text: &'a str,
}

impl<'a> PresentedKey<'a> {
    /// Checks shape and checksum. Errors never repeat the key.
    pub fn parse(text: &'a str) -> Result<Self, KeyFormatError> {
        let parts = split(API_KEY, SECRET_LEN, text)?;
        Ok(Self { id: KeyId { region: parts.region, id: parts.id }, text })
    }

    /// The key's identifier.
    pub fn key_id(&self) -> KeyId {
        self.id
    }

    /// The region that the key names.
    pub fn region_code(&self) -> RegionCode {
        self.id.region
    }

    /// The whole key: a secret.
    pub fn bytes(&self) -> &'a [u8] {
        self.text.as_bytes()
    }
}

impl Regional for PresentedKey<'_> {
    fn region_code(&self) -> RegionCode {
        self.id.region
    }
}

impl fmt::Debug for PresentedKey<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PresentedKey({}, [redacted])", self.id)
    }
}

/// The region that an API key's prefix names, also when the rest is malformed. This is all that a router needs to send a caller home:
/// no look-up, so no oracle on whether the key is valid.
pub fn region_of_prefix(text: &str) -> Option<RegionCode> {
    split_once(text.strip_prefix("bw_")?)?.0.parse().ok()
}

fn assemble(
    prefix: &str,
    region: RegionCode,
    id: [u8; ID_LEN],
    fingerprint: Option<CaFingerprint>,
) -> SecretString {
    // Room for the longest: growing would leave copies of the secret behind.
    let mut text = String::with_capacity(TOKEN_CAPACITY);
    text.extend([prefix, "_", region.as_str(), "_"]);
    let mut secret = base62::random::<SECRET_LEN>();
    push(&mut text, &id);
    text.push('_');
    push(&mut text, &secret);
    secret.zeroize();
    if let Some(CaFingerprint(bytes)) = fingerprint {
        push(&mut text, &base62::of_bytes(&bytes));
    }
    let checksum = base62::of_u32(crc32fast::hash(text.as_bytes()));
    push(&mut text, &checksum);
    let token = SecretString::from(text.as_str());
    text.zeroize();
    token
}

/// At the first `_`, which is never far: looked for byte by byte, because each call begins with this.
fn split_once(text: &str) -> Option<(&str, &str)> {
    let place = text.bytes().position(|byte| byte == b'_')?;
    Some((text.get(..place)?, text.get(place + 1..)?))
}

fn push(text: &mut String, ascii: &[u8]) {
    text.extend(ascii.iter().map(|byte| char::from(*byte)));
}

/// All are looked at, which is faster than to stop.
fn are_digits(part: &[u8]) -> bool {
    part.iter().fold(true, |all, byte| all & base62::is_digit(*byte))
}

struct Parts<'a> {
    region: RegionCode,
    id: [u8; ID_LEN],
    /// Secret and what follows it, without the checksum.
    tail: &'a [u8],
}

fn split<'a>(prefix: &'static str, tail_len: usize, text: &'a str) -> Result<Parts<'a>, KeyFormatError> {
    let rest = text.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('_'));
    let (region, rest) = rest.and_then(split_once).ok_or(KeyFormatError::Prefix { prefix })?;
    let region = region.parse().map_err(|_| KeyFormatError::Region)?;
    let (id, tail) = split_once(rest).ok_or(KeyFormatError::Shape)?;
    let id: [u8; ID_LEN] = id.as_bytes().try_into().map_err(|_| KeyFormatError::Shape)?;
    let alphabet = are_digits(&id) && are_digits(tail.as_bytes());
    if !alphabet || tail.len() != tail_len + CHECKSUM_LEN {
        return Err(KeyFormatError::Shape);
    }
    let (body, checksum) =
        text.as_bytes().split_at_checked(text.len() - CHECKSUM_LEN).ok_or(KeyFormatError::Shape)?;
    if base62::of_u32(crc32fast::hash(body)) != checksum {
        return Err(KeyFormatError::Checksum);
    }
    Ok(Parts { region, id, tail: tail.as_bytes().get(..tail_len).unwrap_or_default() })
}

/// What is wrong with a key's or token's text. Never repeats it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyFormatError {
    /// Another kind of key, or none.
    #[error("it does not start with {prefix}_<region>_")]
    Prefix {
        /// What it should start with.
        prefix: &'static str,
    },
    /// The region's short form is not one.
    #[error("the part after the prefix is not a region's short form, such as euc1")]
    Region,
    /// Wrong length or characters.
    #[error("it has the wrong length or characters: was it copied whole?")]
    Shape,
    /// A mistyped or cut key.
    #[error("its checksum is wrong: it was mistyped or changed")]
    Checksum,
    /// A join token's fingerprint is not a number of 256 bits.
    #[error("the fingerprint of the certificate authority in it is malformed")]
    Fingerprint,
    /// A bad identifier of a key.
    #[error("{name} looks like {prefix}_euc1_ and 16 letters and digits")]
    Id {
        /// What was expected.
        name: &'static str,
        /// What it starts with.
        prefix: &'static str,
    },
}

#[cfg(test)]
mod tests;
