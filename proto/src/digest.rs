//! Digests of the configuration log: how worker and control plane find out that they disagree.
//!
//! The definition stands in `worker/v1/configuration.proto`. XOR makes a change of one resource cost one update, whatever the
//! shard's size. Digests find drift between two parties that trust each other; they are no defence against forgery.

use aws_lc_rs::digest::{Context, SHA256};
use prost::Message;

use crate::config::v1::{Resource, ResourceKind};

/// How many shards there are.
pub const SHARDS: usize = 256;

/// A shard's or a resource's digest.
pub type Digest = [u8; 16];

/// The shard of a resource: the first byte of SHA-256(kind ‖ id).
pub fn shard_of(kind: ResourceKind, id: &str) -> u8 {
    let kind = u8::try_from(kind as i32).unwrap_or_default();
    let [first, ..] = sha256(&[&[kind], id.as_bytes()]);
    first
}

/// The first 16 bytes of SHA-256 over the canonical encoding.
pub fn resource_digest(resource: &Resource) -> Digest {
    encoded_digest(&resource.encode_to_vec())
}

/// The same, of a resource that is encoded already: who keeps encodings needs no second copy of a secret.
pub fn encoded_digest(encoding: &[u8]) -> Digest {
    let full = sha256(&[encoding]);
    let mut digest = [0; 16];
    digest.iter_mut().zip(full).for_each(|(to, from)| *to = from);
    digest
}

fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    parts.iter().for_each(|part| context.update(part));
    let mut hash = [0; 32];
    hash.iter_mut().zip(context.finish().as_ref()).for_each(|(to, from)| *to = *from);
    hash
}

/// The digests of all shards.
#[derive(Clone, PartialEq, Eq)]
pub struct Shards(Box<[Digest; SHARDS]>);

impl Default for Shards {
    fn default() -> Self {
        Self(Box::new([[0; 16]; SHARDS]))
    }
}

impl std::fmt::Debug for Shards {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let used = self.0.iter().filter(|digest| **digest != [0; 16]).count();
        write!(f, "Shards({used} of {SHARDS} in use)")
    }
}

impl Shards {
    /// Adds a resource, or takes it away when it is in: XOR is its own inverse.
    pub fn toggle(&mut self, shard: u8, digest: &Digest) {
        if let Some(mine) = self.0.get_mut(usize::from(shard)) {
            mine.iter_mut().zip(digest).for_each(|(mine, other)| *mine ^= other);
        }
    }

    /// One shard's digest.
    pub fn of(&self, shard: u8) -> Digest {
        self.0.get(usize::from(shard)).copied().unwrap_or_default()
    }

    /// Shards in which the two differ.
    pub fn differing(&self, other: &Self) -> Vec<u8> {
        (0..=u8::MAX).filter(|shard| self.of(*shard) != other.of(*shard)).collect()
    }

    /// 256 times 16 bytes.
    pub fn to_wire(&self) -> Vec<prost::bytes::Bytes> {
        self.0.iter().map(|digest| prost::bytes::Bytes::copy_from_slice(digest)).collect()
    }

    /// `None` unless there are 256 digests of 16 bytes.
    pub fn from_wire<B: AsRef<[u8]>>(wire: &[B]) -> Option<Self> {
        let mut shards = Self::default();
        if wire.len() != SHARDS {
            return None;
        }
        for (mine, theirs) in shards.0.iter_mut().zip(wire) {
            *mine = theirs.as_ref().try_into().ok()?;
        }
        Some(shards)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::v1::{ApiKey, resource::Kind};

    fn key(id: &str) -> Resource {
        Resource { kind: Some(Kind::ApiKey(ApiKey { id: id.into(), ..Default::default() })) }
    }

    #[test]
    fn what_went_in_and_out_again_leaves_no_trace_in_any_order() {
        let mut shards = Shards::default();
        let (a, b) = (resource_digest(&key("a")), resource_digest(&key("b")));
        shards.toggle(7, &a);
        shards.toggle(7, &b);
        shards.toggle(7, &a);
        assert_eq!(shards.of(7), b);
        assert_eq!(shards.differing(&Shards::default()), [7]);
        assert_eq!(Shards::from_wire(&shards.to_wire()), Some(shards));
    }

    #[test]
    fn digests_of_another_count_or_size_are_refused() {
        assert_eq!(Shards::from_wire(&vec![vec![0_u8; 16]; 255]), None);
        assert_eq!(Shards::from_wire(&vec![vec![0_u8; 15]; 256]), None);
    }
}
