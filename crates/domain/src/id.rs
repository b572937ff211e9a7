//! R1: every identifier names its region, so that routing needs no directory.
//!
//! `org_euc1_01JD0W6KQ4V6J5T6T9N2X8Y3ZB`: kind, short region, ULID (<https://github.com/ulid/spec>).

use std::{
    fmt,
    hash::{Hash, Hasher},
    marker::PhantomData,
    str::FromStr,
};

use ulid::Ulid;

use crate::{
    jurisdiction::{Jurisdiction, Local, Regional},
    packed::Packed,
    region::RegionCode,
    time::Timestamp,
};

/// What an identifier names. Sealed: the kinds are those of this module.
pub trait Kind: sealed::Sealed + 'static {
    /// What stands first in the text form, e.g. `org`.
    const PREFIX: &'static str;
    /// For error texts, e.g. `organization`.
    const NAME: &'static str;
}

mod sealed {
    pub trait Sealed {}
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident, $id:ident, $prefix:literal, $name:literal;)+) => {$(
        #[doc = concat!("Kind of an identifier: ", $name, ".")]
        #[derive(Clone, Copy, Debug)]
        pub enum $kind {}
        impl sealed::Sealed for $kind {}
        impl Kind for $kind {
            const PREFIX: &'static str = $prefix;
            const NAME: &'static str = $name;
        }
        $(#[$doc])*
        pub type $id = Id<$kind>;
    )+};
}

kinds! {
    /// A tenant.
    Organization, OrganizationId, "org", "organization";
    /// A provider's secret.
    Credential, CredentialId, "cred", "credential";
    /// A public model name.
    Model, ModelId, "mdl", "model";
    /// One model at one provider endpoint.
    Deployment, DeploymentId, "dep", "deployment";
    /// A data-plane process, as the region lists it; routers are listed with them.
    Worker, WorkerId, "wrk", "worker";
    /// A router, where it is named apart from the workers.
    Router, RouterId, "rtr", "router";
    /// An audit record.
    Audit, AuditId, "aud", "audit record";
    /// A rotation of keys.
    Rotation, RotationId, "rot", "rotation";
    /// A backup of the region.
    Backup, BackupId, "bkp", "backup";
    /// A key that signs the region's bearer tokens.
    TokenKey, TokenKeyId, "tkey", "token key";
}

/// Bytes of the longest text form: prefixes have at most 6, regions' short forms too.
const LONGEST: usize = LONGEST_PREFIX + 1 + 6 + 1 + ulid::ULID_LEN;
const LONGEST_PREFIX: usize = 6;

/// An identifier of one kind.
pub struct Id<K> {
    region: RegionCode,
    ulid: u128,
    kind: PhantomData<fn() -> K>,
}

impl<K: Kind> Id<K> {
    /// When it was made, to the millisecond.
    pub fn created_at(&self) -> Timestamp {
        let millis = i64::try_from(Ulid(self.ulid).timestamp_ms()).unwrap_or_default();
        Timestamp::from_micros(millis.saturating_mul(1000))
    }

    /// What it is within its kind and region; sorts as the text form does.
    pub fn local_bytes(&self) -> [u8; 16] {
        self.ulid.to_be_bytes()
    }
}

impl Jurisdiction {
    /// The identifier of this region that has these [`Id::local_bytes`].
    pub fn identified<K: Kind>(&self, local: [u8; 16]) -> Local<Id<K>> {
        self.admitted(Id { region: self.code(), ulid: u128::from_be_bytes(local), kind: PhantomData })
    }

    /// A new identifier of this region. The low 80 bits of `entropy` are used.
    pub fn mint<K: Kind>(&self, now: Timestamp, entropy: u128) -> Local<Id<K>> {
        let ulid = Ulid::from_parts(now.as_millis(), entropy).0;
        let id = Id { region: self.code(), ulid, kind: PhantomData };
        self.admitted(id)
    }

    /// A new identifier of this region with random entropy.
    pub fn mint_random<K: Kind>(&self, now: Timestamp) -> Local<Id<K>> {
        self.mint(now, rand::random())
    }
}

impl<K: Kind> Packed for Id<K> {
    fn parts(&self) -> (RegionCode, [u8; 16]) {
        (self.region, self.local_bytes())
    }

    fn from_parts(region: RegionCode, local: [u8; 16]) -> Option<Self> {
        Some(Self { region, ulid: u128::from_be_bytes(local), kind: PhantomData })
    }
}

impl<K> Regional for Id<K> {
    fn region_code(&self) -> RegionCode {
        self.region
    }
}

impl<K: Kind> FromStr for Id<K> {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let wrong = |problem| IdError { kind: K::NAME, prefix: K::PREFIX, problem };
        let mut parts = text.split('_');
        let (prefix, region, ulid) = (parts.next(), parts.next(), parts.next());
        if prefix != Some(K::PREFIX) {
            return Err(wrong("starts with another kind"));
        }
        let region = region.and_then(|code| code.parse().ok()).ok_or_else(|| wrong("names no region"))?;
        let ulid = ulid.filter(|_| parts.next().is_none()).ok_or_else(|| wrong("has not three parts"))?;
        // The specification allows lower case; one identifier has one text form here.
        let is_canonical = |parsed: &Ulid| parsed.array_to_str(&mut [0; ulid::ULID_LEN]) == ulid;
        let canonical = Ulid::from_string(ulid).ok().filter(is_canonical);
        let ulid = canonical.ok_or_else(|| wrong("does not end in a ULID of 26 characters"))?.0;
        Ok(Self { region, ulid, kind: PhantomData })
    }
}

impl<K: Kind> Id<K> {
    /// Appends the text form, without a string of its own.
    pub fn append_to(&self, out: &mut Vec<u8>) {
        let mut ulid = [0; ulid::ULID_LEN];
        let ulid = Ulid(self.ulid).array_to_str(&mut ulid);
        for part in [K::PREFIX.as_bytes(), b"_", self.region.as_bytes(), b"_", ulid.as_bytes()] {
            out.extend_from_slice(part);
        }
    }
}

impl<K: Kind> fmt::Display for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // In one piece: identifiers are written for each call, and a string that grows piece by piece is allocated again and again.
        const { assert!(K::PREFIX.len() <= LONGEST_PREFIX) }
        let mut ulid = [0; ulid::ULID_LEN];
        let parts = [K::PREFIX, "_", self.region.as_str(), "_", Ulid(self.ulid).array_to_str(&mut ulid)];
        let mut text = [0; LONGEST];
        let mut length = 0;
        for part in parts {
            let places = text.iter_mut().skip(length);
            places.zip(part.bytes()).for_each(|(place, byte)| *place = byte);
            length += part.len();
        }
        f.write_str(text.get(..length).and_then(|text| std::str::from_utf8(text).ok()).unwrap_or_default())
    }
}

impl<K: Kind> fmt::Debug for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<K> Clone for Id<K> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K> Copy for Id<K> {}

impl<K> PartialEq for Id<K> {
    fn eq(&self, other: &Self) -> bool {
        (self.region, self.ulid) == (other.region, other.ulid)
    }
}

impl<K> Eq for Id<K> {}

impl<K> PartialOrd for Id<K> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<K> Ord for Id<K> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.region, self.ulid).cmp(&(other.region, other.ulid))
    }
}

impl<K> Hash for Id<K> {
    /// One word: within a process nearly all identifiers are of one region, so the region would add time and no spread.
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u128(self.ulid);
    }
}

impl<K: Kind> serde::Serialize for Id<K> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de, K: Kind> serde::Deserialize<'de> for Id<K> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// What is wrong with an identifier.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an identifier of a {kind} looks like {prefix}_euc1_01JD0W6KQ4V6J5T6T9N2X8Y3ZB; this one {problem}")]
pub struct IdError {
    kind: &'static str,
    prefix: &'static str,
    problem: &'static str,
}

#[cfg(test)]
mod tests;
