//! A snapshot in chunks: packed shard by shard, never all of it at once.

use bailiwick_core::records::Revision;
use bailiwick_proto::worker::v1::SnapshotChunk;
use prost::encoding::{WireType, encode_key, encode_varint};
use zeroize::Zeroize as _;

use super::{entry::Entry, resources::Resources, state::State};

/// A chunk is closed when it holds this much. Unpacked, it is under this and one resource: below the contract's 16 MiB, and packed below its
/// 4 MiB even where nothing can be compressed.
const CHUNK_BYTES: usize = 3 * 1024 * 1024;
/// Fast: a worker that waits costs more than a few bytes.
const LEVEL: i32 = 1;

/// All resources at one revision, shared with the log.
#[derive(Debug)]
pub(crate) struct Snapshot {
    epoch: String,
    revision: Revision,
    resources: Resources,
}

impl Snapshot {
    /// Costs 256 pointers, whatever the size.
    pub(crate) fn of(state: &State) -> Self {
        Self { epoch: state.epoch.to_string(), revision: state.revision, resources: state.resources.clone() }
    }

    /// Packs the chunks, one after the other, and gives each to `send`; ends early when that answers false (nobody listens any more). Busy
    /// for up to seconds: to be run on a blocking thread.
    ///
    /// # Errors
    /// The compressor refuses.
    pub(crate) fn pack(&self, mut send: impl FnMut(SnapshotChunk) -> bool) -> std::io::Result<()> {
        let mut index = 0;
        let mut raw = Vec::with_capacity(CHUNK_BYTES + CHUNK_BYTES / 8);
        for entry in self.resources.iter() {
            append(&mut raw, entry);
            if raw.len() >= CHUNK_BYTES {
                if !send(self.chunk(index, false, &mut raw)?) {
                    return Ok(());
                }
                index += 1;
            }
        }
        send(self.chunk(index, true, &mut raw)?);
        Ok(())
    }

    fn chunk(&self, index: u32, last: bool, raw: &mut Vec<u8>) -> std::io::Result<SnapshotChunk> {
        let payload = zstd::bulk::compress(raw, LEVEL)?;
        raw.zeroize();
        Ok(SnapshotChunk {
            epoch: self.epoch.clone(),
            revision: self.revision.0,
            index,
            last,
            crc32: crc32fast::hash(&payload),
            payload: payload.into(),
        })
    }
}

/// Appends a resource as an element of `SnapshotPayload.resources` (field 1): it is encoded already, and needs only its frame.
fn append(raw: &mut Vec<u8>, entry: &Entry) {
    const RESOURCES: u32 = 1;
    encode_key(RESOURCES, WireType::LengthDelimited, raw);
    encode_varint(entry.encoding.len() as u64, raw);
    raw.extend_from_slice(&entry.encoding);
}
