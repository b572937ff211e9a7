//! All configuration at once: chunks are checked and built up aside, and swapped in whole when the last one is in.

use bailiwick_domain::jurisdiction::Jurisdiction;
use bailiwick_proto::worker::v1::{SnapshotChunk, SnapshotPayload};
use prost::Message as _;
use zeroize::Zeroizing;

use super::{Refused, Snapshot};

const MAX_PACKED_BYTES: usize = 4 * 1024 * 1024;
const MAX_UNPACKED_BYTES: usize = 16 * 1024 * 1024;
const MAX_EPOCH_BYTES: usize = 64;

/// Why what came is no snapshot. What the worker holds stays.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TransferError {
    /// It breaks the contract.
    #[error("chunk {index} {problem}")]
    Chunk {
        /// Which one was expected.
        index: u32,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// R12: a revocation could come undone.
    #[error("the snapshot is of revision {offered}, older than {held}, which is applied")]
    Older {
        /// The snapshot's revision.
        offered: u64,
        /// The worker's.
        held: u64,
    },
    /// The stream ended before the last chunk.
    #[error("the snapshot ended after {chunks} chunks, before its last one")]
    CutShort {
        /// Chunks that came.
        chunks: u32,
    },
}

/// A snapshot in the making.
pub(super) struct Transfer {
    jurisdiction: Jurisdiction,
    /// What the worker has, and serves meanwhile.
    held_epoch: String,
    held_revision: u64,
    built: Snapshot,
    refused: Vec<Refused>,
    next_index: u32,
    complete: bool,
}

impl Transfer {
    /// Begins one that may replace `held`.
    pub(super) fn new(jurisdiction: Jurisdiction, held: &Snapshot) -> Self {
        Self {
            jurisdiction,
            held_epoch: held.epoch.to_string(),
            held_revision: held.revision,
            built: held.aside("", 0),
            refused: Vec::new(),
            next_index: 0,
            complete: false,
        }
    }

    /// Takes the next chunk. Busy for some milliseconds.
    pub(super) fn add(&mut self, chunk: &SnapshotChunk) -> Result<(), TransferError> {
        let index = self.next_index;
        let wrong = |problem| TransferError::Chunk { index, problem };
        if self.complete {
            return Err(wrong("comes after the last one"));
        }
        if chunk.index != index {
            return Err(wrong("is missing"));
        }
        if index == 0 {
            self.begin(chunk)?;
        }
        if *chunk.epoch != *self.built.epoch || chunk.revision != self.built.revision {
            return Err(wrong("is of another epoch or revision than the first"));
        }
        for resource in unpack(chunk).map_err(wrong)?.resources {
            self.refused.extend(self.built.put(&self.jurisdiction, resource).err());
        }
        self.next_index = index.saturating_add(1);
        self.complete = chunk.last;
        Ok(())
    }

    /// Whether the last chunk is in.
    pub(super) fn is_complete(&self) -> bool {
        self.complete
    }

    /// The snapshot, and what of it was refused.
    pub(super) fn finish(mut self) -> Result<(Snapshot, Vec<Refused>), TransferError> {
        if !self.complete {
            return Err(TransferError::CutShort { chunks: self.next_index });
        }
        self.built.judge_changed();
        Ok((self.built, self.refused))
    }

    fn begin(&mut self, chunk: &SnapshotChunk) -> Result<(), TransferError> {
        if chunk.epoch.is_empty() || chunk.epoch.len() > MAX_EPOCH_BYTES {
            return Err(TransferError::Chunk { index: 0, problem: "names no epoch of 1 to 64 bytes" });
        }
        if *chunk.epoch == *self.held_epoch && chunk.revision < self.held_revision {
            return Err(TransferError::Older { offered: chunk.revision, held: self.held_revision });
        }
        self.built = self.built.aside(&chunk.epoch, chunk.revision);
        Ok(())
    }
}

fn unpack(chunk: &SnapshotChunk) -> Result<SnapshotPayload, &'static str> {
    if chunk.payload.len() > MAX_PACKED_BYTES {
        return Err("is over 4 MiB");
    }
    if crc32fast::hash(&chunk.payload) != chunk.crc32 {
        return Err("was damaged on its way: its checksum differs");
    }
    // The bound is the decompressor's: a small chunk cannot make it allocate more.
    let raw = zstd::bulk::decompress(&chunk.payload, MAX_UNPACKED_BYTES)
        .map(Zeroizing::new)
        .map_err(|_| "does not unpack within 16 MiB")?;
    SnapshotPayload::decode(raw.as_slice()).map_err(|_| "holds no resources that can be read")
}

#[cfg(test)]
mod tests;
