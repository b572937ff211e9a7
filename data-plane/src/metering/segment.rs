//! A journal's files: `<journal, a ULID>-<segment, 8 digits>.journal`.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use ulid::Ulid;

use super::record::{self, Kind};

/// A segment is closed when it has grown past this.
pub(super) const SEGMENT_BYTES: u64 = 8 * 1024 * 1024;

/// Changes with what records say.
const VERSION: u8 = 3;

/// Names a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SegmentName {
    pub(super) journal: Ulid,
    pub(super) number: u32,
}

impl SegmentName {
    pub(super) fn path(self, directory: &Path) -> PathBuf {
        directory.join(format!("{}-{:08}.journal", self.journal, self.number))
    }

    /// `None` for a file that is no segment.
    pub(super) fn parse(file_name: &str) -> Option<Self> {
        let (journal, number) = file_name.strip_suffix(".journal")?.split_once('-')?;
        let name = Self { journal: Ulid::from_string(journal).ok()?, number: number.parse().ok()? };
        // One segment has one name.
        name.path(Path::new("")).to_str().filter(|path| *path == file_name).map(|_| name)
    }

    /// A new file to append to, readable by nobody else.
    pub(super) fn create(self, directory: &Path) -> io::Result<File> {
        OpenOptions::new().append(true).create_new(true).mode(0o600).open(self.path(directory))
    }
}

/// What stands first in a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) name: SegmentName,
    /// Sequence that the first event in it has.
    pub(super) first_sequence: u64,
}

impl Header {
    pub(super) fn append(self, out: &mut Vec<u8>) {
        record::append(out, Kind::Header, |payload| {
            payload.push(VERSION);
            payload.extend_from_slice(&self.name.journal.0.to_le_bytes());
            payload.extend_from_slice(&self.name.number.to_le_bytes());
            payload.extend_from_slice(&self.first_sequence.to_le_bytes());
        });
    }

    /// Whether these bytes are the header of a segment whose records only another build understands.
    pub(super) fn is_of_another_build(payload: &[u8]) -> bool {
        payload.first().is_some_and(|version| *version != VERSION)
    }

    pub(super) fn parse(payload: &[u8]) -> Option<Self> {
        let (version, rest) = payload.split_first()?;
        let (journal, rest) = rest.split_first_chunk::<16>()?;
        let (number, rest) = rest.split_first_chunk::<4>()?;
        let (first_sequence, rest) = rest.split_first_chunk::<8>()?;
        let journal = Ulid(u128::from_le_bytes(*journal));
        let name = SegmentName { journal, number: u32::from_le_bytes(*number) };
        (*version == VERSION && rest.is_empty())
            .then_some(Self { name, first_sequence: u64::from_le_bytes(*first_sequence) })
    }
}
