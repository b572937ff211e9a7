//! API keys, compactly: a region may have a million of them, and every worker holds them all.
//!
//! Rows lie side by side in memory, in blocks, with an index of four bytes each beside them: about 124 bytes a key, none of them in an
//! allocation of its own. A look-up hashes once and costs the same with one key and with a million.

use std::{hash::BuildHasher, sync::Arc};

use bailiwick_domain::{
    address::AllowedRanges,
    id::OrganizationId,
    key::{KeyDigest, KeyId},
    names::ModelName,
    time::Timestamp,
};
use bailiwick_proto::digest::Digest;
use foldhash::quality::RandomState;
use hashbrown::HashTable;

use super::{entries::KeyEntry, partitioned::Partitioned};

/// A key, and what was received of it.
#[derive(Clone)]
pub(super) struct KeyRow {
    pub(super) id: KeyId,
    /// Shard of the configuration log that it belongs to.
    pub(super) shard: u8,
    pub(super) organization: OrganizationId,
    pub(super) digest: KeyDigest,
    pub(super) received: Digest,
    /// Absent for most keys, and therefore apart.
    pub(super) restrictions: Option<Arc<Restrictions>>,
}

/// What narrows a key.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Restrictions {
    pub(super) expires_at: Option<Timestamp>,
    pub(super) allowed_models: Option<Arc<[ModelName]>>,
    pub(super) allowed_ranges: AllowedRanges,
}

/// All keys.
#[derive(Clone, Default)]
pub(super) struct KeyTable {
    hasher: RandomState,
    pieces: Partitioned<Rows>,
}

impl KeyTable {
    pub(super) fn find(&self, id: &KeyId) -> Option<KeyEntry> {
        self.row(id).map(|row| {
            let narrowed = row.restrictions.as_deref();
            KeyEntry {
                id: row.id,
                organization: row.organization,
                digest: row.digest,
                expires_at: narrowed.and_then(|narrowed| narrowed.expires_at),
                allowed_models: narrowed.and_then(|narrowed| narrowed.allowed_models.clone()),
                allowed_ranges: narrowed.map(|narrowed| narrowed.allowed_ranges.clone()).unwrap_or_default(),
            }
        })
    }

    pub(super) fn row(&self, id: &KeyId) -> Option<&KeyRow> {
        let hash = self.hasher.hash_one(id);
        self.pieces.piece(hash)?.find(hash, id)
    }

    pub(super) fn insert(&mut self, row: KeyRow) {
        let hash = self.hasher.hash_one(row.id);
        if let Some(rows) = self.pieces.piece_mut(hash) {
            rows.insert(hash, row, &self.hasher);
        }
    }

    pub(super) fn remove(&mut self, id: &KeyId) {
        let hash = self.hasher.hash_one(id);
        // Looked for first: nothing is copied for what is not there.
        if self.row(id).is_some()
            && let Some(rows) = self.pieces.piece_mut(hash)
        {
            rows.remove(hash, id, &self.hasher);
        }
    }

    /// Identifiers of the keys of one shard.
    pub(super) fn ids_in(&self, shard: u8) -> impl Iterator<Item = &KeyId> {
        let all = self.pieces.pieces().flat_map(|rows| rows.rows.iter());
        all.filter(move |row| row.shard == shard).map(|row| &row.id)
    }

    pub(super) fn len(&self) -> usize {
        self.pieces.pieces().map(|rows| rows.rows.len()).sum()
    }
}

#[derive(Clone, Default)]
struct Rows {
    rows: Blocks,
    /// Places in `rows`.
    index: HashTable<u32>,
}

impl Rows {
    fn find(&self, hash: u64, id: &KeyId) -> Option<&KeyRow> {
        let is_it = |place: &u32| self.rows.at(*place).is_some_and(|row| row.id == *id);
        self.rows.at(*self.index.find(hash, is_it)?)
    }

    fn insert(&mut self, hash: u64, row: KeyRow, hasher: &RandomState) {
        let Self { rows, index } = self;
        if let Some(place) = index.find(hash, |place| rows.at(*place).is_some_and(|old| old.id == row.id)) {
            if let Some(old) = rows.at_mut(*place) {
                *old = row;
            }
            return;
        }
        // Past four billion keys in one piece nothing is added; there is no memory for them either.
        let Ok(place) = u32::try_from(rows.len()) else { return };
        rows.push(row);
        index.insert_unique(hash, place, |place| rows.at(*place).map_or(0, |row| hasher.hash_one(row.id)));
    }

    fn remove(&mut self, hash: u64, id: &KeyId, hasher: &RandomState) {
        let Self { rows, index } = self;
        let is_it = |place: &u32| rows.at(*place).is_some_and(|row| row.id == *id);
        let Ok(entry) = index.find_entry(hash, is_it) else { return };
        let (place, _) = entry.remove();
        rows.swap_remove(place);
        // The last row took the place that became free.
        let last = rows.len();
        if let Some(moved) = rows.at(place)
            && let Some(found) = index.find_mut(hasher.hash_one(moved.id), |other| row_number(*other) == last)
        {
            *found = place;
        }
    }
}

/// Rows of a block: as many as fit 8 KiB, which allocators give out without a rest; of 64 rows, which take 7, a seventh more would stay unused. Small where it is tested, so that there are
/// several.
const BLOCK: usize = if cfg!(test) { 2 } else { (8 << 10) / size_of::<KeyRow>() };

/// A vector in blocks: it grows without a copy, and leaves no room behind that it has grown out of. All blocks but the last are full.
#[derive(Clone, Default)]
struct Blocks(Vec<Vec<KeyRow>>);

impl Blocks {
    fn len(&self) -> usize {
        let before = self.0.len().saturating_sub(1) * BLOCK;
        before + self.0.last().map_or(0, Vec::len)
    }

    fn at(&self, place: u32) -> Option<&KeyRow> {
        let place = row_number(place);
        self.0.get(place / BLOCK)?.get(place % BLOCK)
    }

    fn at_mut(&mut self, place: u32) -> Option<&mut KeyRow> {
        let place = row_number(place);
        self.0.get_mut(place / BLOCK)?.get_mut(place % BLOCK)
    }

    fn push(&mut self, row: KeyRow) {
        match self.0.last_mut() {
            Some(last) if last.len() < BLOCK => last.push(row),
            _ => {
                let mut block = Vec::with_capacity(BLOCK);
                block.push(row);
                self.0.push(block);
            }
        }
    }

    /// The last row takes the place.
    fn swap_remove(&mut self, place: u32) {
        let Some(last) = self.0.last_mut().and_then(Vec::pop) else { return };
        if self.0.last().is_some_and(Vec::is_empty) {
            self.0.pop();
        }
        // Where it was the last itself, it is gone.
        if let Some(removed) = self.at_mut(place) {
            *removed = last;
        }
    }

    fn iter(&self) -> impl Iterator<Item = &KeyRow> {
        self.0.iter().flatten()
    }
}

fn row_number(place: u32) -> usize {
    usize::try_from(place).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests;
