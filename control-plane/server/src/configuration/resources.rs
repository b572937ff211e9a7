//! All resources, in 256 shards with their digests.

use std::{collections::BTreeMap, sync::Arc};

use bailiwick_proto::digest::{Digest, SHARDS, Shards};

use super::entry::{Entry, Name};

/// The resources of one shard, by name.
pub(crate) type Shard = BTreeMap<Name, Arc<Entry>>;

/// All resources at one revision. A clone shares the shards, and a shard is copied when one of the two changes it: a snapshot
/// can be packed at leisure while the log goes on.
#[derive(Clone, Debug)]
pub(crate) struct Resources {
    shards: Vec<Arc<Shard>>,
    digests: Shards,
}

impl Default for Resources {
    fn default() -> Self {
        Self { shards: (0..SHARDS).map(|_| Arc::default()).collect(), digests: Shards::default() }
    }
}

impl FromIterator<Arc<Entry>> for Resources {
    fn from_iter<I: IntoIterator<Item = Arc<Entry>>>(entries: I) -> Self {
        let mut resources = Self::default();
        for entry in entries {
            resources.put(entry);
        }
        resources
    }
}

/// What a change did to a shard's digest: XOR with this.
pub(crate) type Toggle = (u8, Digest);

impl Resources {
    /// Stores a resource in place of the one of its name.
    pub(crate) fn put(&mut self, entry: Arc<Entry>) -> Vec<Toggle> {
        let shard = entry.name.shard();
        let digest = entry.digest;
        let before = self.shard_mut(shard).and_then(|shard| shard.insert(entry.name.clone(), entry));
        self.toggle(shard, before.map(|entry| entry.digest).into_iter().chain([digest]))
    }

    /// Takes a resource out, if it is in.
    pub(crate) fn remove(&mut self, name: &Name) -> Vec<Toggle> {
        if self.find(name).is_none() {
            return Vec::new();
        }
        let shard = name.shard();
        let before = self.shard_mut(shard).and_then(|shard| shard.remove(name));
        self.toggle(shard, before.map(|entry| entry.digest).into_iter())
    }

    pub(crate) fn find(&self, name: &Name) -> Option<&Arc<Entry>> {
        self.shard(name.shard()).and_then(|shard| shard.get(name))
    }

    /// One shard, shared.
    pub(crate) fn shard(&self, shard: u8) -> Option<&Arc<Shard>> {
        self.shards.get(usize::from(shard))
    }

    pub(crate) fn digests(&self) -> &Shards {
        &self.digests
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.shards.iter().flat_map(|shard| shard.values())
    }

    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.len()).sum()
    }

    fn shard_mut(&mut self, shard: u8) -> Option<&mut Shard> {
        self.shards.get_mut(usize::from(shard)).map(Arc::make_mut)
    }

    fn toggle(&mut self, shard: u8, digests: impl Iterator<Item = Digest>) -> Vec<Toggle> {
        let toggles: Vec<Toggle> = digests.map(|digest| (shard, digest)).collect();
        toggles.iter().for_each(|(shard, digest)| self.digests.toggle(*shard, digest));
        toggles
    }
}
