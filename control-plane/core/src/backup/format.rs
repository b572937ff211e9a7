//! What stands in a backup's file.
//!
//! `BAILBKP1` ‖ length of the header (4 bytes, big endian) ‖ header, JSON, readable by everyone ‖ chunks. A chunk is its length (4 bytes, big
//! endian) ‖ sealed bytes. Each file has a data key of its own, which stands in its header, wrapped by the master key. A chunk is sealed
//! (AES-256-GCM-SIV) for its place: region, part, backup, the header's SHA-256, the chunk's number, and whether it is the last. So a chunk that is
//! changed, moved, repeated or taken from another backup does not open, nor does anything under a changed header; and a file that ends
//! before its last chunk is seen to be cut off. Opened, a chunk is zstd, and in it JSON: a [`Content`].

use std::fmt;

use aws_lc_rs::digest;
use bailiwick_domain::{id::BackupId, region::RegionName, time::Timestamp};
use serde::{Deserialize, Serialize};

use crate::ports::{
    rows::{Cells, Column, Table},
    vault::{DataKey, KeyScope, SealContext, Sealed, VaultError, WrappedDataKey},
};

/// What a file starts with.
pub const MAGIC: &[u8; 8] = b"BAILBKP1";
/// The largest header, in bytes.
pub const MAX_HEADER: usize = 16 << 10;
/// The largest chunk, in bytes, sealed and also unpacked.
pub const MAX_CHUNK: usize = 64 << 20;
/// The table that is not among the data.
pub const KEYS_TABLE: &str = "data_keys";
const FORMAT: u32 = 1;

/// Which of the two files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// All rows but the wrapped data keys.
    Data,
    /// The wrapped data keys.
    Keys,
}

impl Part {
    /// Both, in the order in which they are written.
    pub const ALL: [Self; 2] = [Self::Data, Self::Keys];

    /// Whether a table's rows are in this file.
    pub fn holds(self, table: &str) -> bool {
        (table == KEYS_TABLE) == (self == Self::Keys)
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Data => "data",
            Self::Keys => "keys",
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What everyone may read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    format: u32,
    /// Which file.
    pub part: Part,
    /// Which backup.
    pub backup: BackupId,
    /// Region that it is of.
    pub region: RegionName,
    /// Installation that it is of.
    pub installation: String,
    /// Epoch of the store.
    pub epoch: String,
    /// Revision of the configuration.
    pub revision: u64,
    /// When its reading began.
    pub created_at_micros: Timestamp,
    /// Until when the file of keys may be kept. The data do not end.
    pub keys_expire_at_micros: Timestamp,
    /// Build that made it.
    pub build: String,
    key_version: u32,
    /// Name of the master key that wraps the file's key.
    master_key: String,
    key: String,
}

/// What a header says of the state that was read.
pub(super) struct Stamp {
    pub(super) backup: BackupId,
    pub(super) region: RegionName,
    pub(super) installation: String,
    pub(super) epoch: String,
    pub(super) revision: u64,
    pub(super) created_at: Timestamp,
    pub(super) keys_expire_at: Timestamp,
    pub(super) build: String,
}

impl Header {
    pub(super) fn new(part: Part, stamp: &Stamp, key: &WrappedDataKey) -> Self {
        use base64::{Engine as _, prelude::BASE64_STANDARD};
        Self {
            format: FORMAT,
            part,
            backup: stamp.backup,
            region: stamp.region.clone(),
            installation: stamp.installation.clone(),
            epoch: stamp.epoch.clone(),
            revision: stamp.revision,
            created_at_micros: stamp.created_at,
            keys_expire_at_micros: stamp.keys_expire_at,
            build: stamp.build.clone(),
            key_version: key.version,
            master_key: key.master.clone(),
            key: BASE64_STANDARD.encode(&key.wrapped),
        }
    }

    /// `None`: the format is another one, or the key is not one.
    pub(super) fn wrapped_key(&self) -> Option<WrappedDataKey> {
        use base64::{Engine as _, prelude::BASE64_STANDARD};
        let wrapped = BASE64_STANDARD.decode(&self.key).ok().filter(|_| self.format == FORMAT)?;
        Some(WrappedDataKey {
            scope: KeyScope::Backup,
            version: self.key_version,
            master: self.master_key.clone(),
            wrapped,
        })
    }
}

/// What stands in a chunk. The first is the shape, the last the end.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Content {
    /// The tables of this file, in the order of their rows.
    Shape(Vec<Shape>),
    /// Rows of one of them.
    Rows {
        /// Its place in the shape.
        table: usize,
        /// In the order of the primary key.
        rows: Vec<Cells>,
    },
    /// How many rows each table had.
    End(Vec<u64>),
}

/// A table as it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    /// Its name.
    pub table: String,
    /// Its columns.
    pub columns: Vec<Column>,
}

/// The shapes of the tables in a file.
pub(super) fn shapes(part: Part, tables: &[Table]) -> Vec<Shape> {
    let here = tables.iter().filter(|table| part.holds(&table.name));
    here.map(|table| Shape { table: table.name.clone(), columns: table.columns.clone() }).collect()
}

/// Where chunks belong: everything that a chunk's seal is bound to, but its number.
pub(super) struct Seal {
    part: Part,
    place: String,
}

impl Seal {
    pub(super) fn new(header: &Header, encoded: &[u8]) -> Self {
        let hash = digest::digest(&digest::SHA256, encoded);
        let hash: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        Self { part: header.part, place: format!("{}/{hash}", header.backup) }
    }

    fn at(&self, chunk: u64, last: bool) -> String {
        format!("{}/{chunk}/{}", self.place, if last { "last" } else { "more" })
    }

    pub(super) fn seal(
        &self,
        key: &dyn DataKey,
        chunk: u64,
        last: bool,
        content: &[u8],
    ) -> Result<Sealed, VaultError> {
        let row = self.at(chunk, last);
        key.seal(SealContext { table: "backup", column: self.part.as_str(), row: &row }, content)
    }

    /// `None`: it does not open here.
    pub(super) fn open(&self, key: &dyn DataKey, chunk: u64, last: bool, sealed: Vec<u8>) -> Option<Vec<u8>> {
        let row = self.at(chunk, last);
        let context = SealContext { table: "backup", column: self.part.as_str(), row: &row };
        key.open(context, &Sealed(sealed)).ok().map(|opened| opened.to_vec())
    }
}
