//! Copy on write in pieces: a change copies the partition that it touches, and a clone costs 256 pointers.

use std::{
    collections::HashMap,
    hash::{BuildHasher, Hash},
    sync::Arc,
};

use bailiwick_proto::digest::Digest;
use foldhash::quality::RandomState;

const PARTITIONS: usize = 256;

/// 256 shared pieces, picked by a hash.
#[derive(Debug)]
pub(super) struct Partitioned<T>(Box<[Arc<T>]>);

impl<T> Clone for Partitioned<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: Default> Default for Partitioned<T> {
    fn default() -> Self {
        Self((0..PARTITIONS).map(|_| Arc::default()).collect())
    }
}

impl<T: Clone> Partitioned<T> {
    /// The piece that a hash falls into.
    pub(super) fn piece(&self, hash: u64) -> Option<&T> {
        self.0.get(index(hash)).map(Arc::as_ref)
    }

    /// The same, for a change: copied first when others share it.
    pub(super) fn piece_mut(&mut self, hash: u64) -> Option<&mut T> {
        self.0.get_mut(index(hash)).map(Arc::make_mut)
    }

    /// All pieces.
    pub(super) fn pieces(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(Arc::as_ref)
    }
}

/// A byte from the middle: hash tables take their buckets from the low bits and their tags from the high ones.
fn index(hash: u64) -> usize {
    let [.., byte, _, _, _, _] = hash.to_be_bytes();
    usize::from(byte)
}

/// An entry, and what was received of it.
#[derive(Debug)]
pub(super) struct Held<E> {
    pub(super) entry: Arc<E>,
    /// Shard of the configuration log that it belongs to.
    pub(super) shard: u8,
    pub(super) received: Digest,
}

impl<E> Clone for Held<E> {
    fn clone(&self) -> Self {
        Self { entry: Arc::clone(&self.entry), ..*self }
    }
}

/// Entries by identifier.
#[derive(Debug)]
pub(super) struct Table<K, E> {
    hasher: RandomState,
    pieces: Partitioned<HashMap<K, Held<E>, RandomState>>,
}

impl<K, E> Clone for Table<K, E> {
    fn clone(&self) -> Self {
        Self { hasher: self.hasher.clone(), pieces: self.pieces.clone() }
    }
}

impl<K, E> Default for Table<K, E> {
    fn default() -> Self {
        Self { hasher: RandomState::default(), pieces: Partitioned::default() }
    }
}

impl<K: Eq + Hash + Copy, E> Table<K, E> {
    pub(super) fn find(&self, id: &K) -> Option<&Arc<E>> {
        self.held(id).map(|held| &held.entry)
    }

    pub(super) fn held(&self, id: &K) -> Option<&Held<E>> {
        self.pieces.piece(self.hasher.hash_one(id))?.get(id)
    }

    pub(super) fn insert(&mut self, id: K, held: Held<E>) -> Option<Held<E>> {
        self.pieces.piece_mut(self.hasher.hash_one(id))?.insert(id, held)
    }

    pub(super) fn remove(&mut self, id: &K) -> Option<Held<E>> {
        // Looked for first: nothing is copied for what is not there.
        self.held(id)?;
        self.pieces.piece_mut(self.hasher.hash_one(id))?.remove(id)
    }

    /// All entries.
    pub(super) fn entries(&self) -> impl Iterator<Item = &Arc<E>> {
        self.pieces.pieces().flat_map(HashMap::values).map(|held| &held.entry)
    }

    /// Identifiers of the entries of one shard.
    pub(super) fn ids_in(&self, shard: u8) -> impl Iterator<Item = &K> {
        let all = self.pieces.pieces().flat_map(HashMap::iter);
        all.filter(move |(_, held)| held.shard == shard).map(|(id, _)| id)
    }
}
