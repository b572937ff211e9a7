//! Every row of a store, whatever its table: what verification, backup and restore work on.
//!
//! Tables are found in the database's own schema rather than listed here, so that one which is added later is verified and backed up from
//! its first day.

use async_trait::async_trait;
use bailiwick_domain::{id::OrganizationId, jurisdiction::Local, time::Timestamp};
use serde::{Deserialize, Serialize};

use super::{
    store::StoreError,
    vault::{KeyScope, WrappedDataKey},
};
use crate::records::{AuditDraft, Revision};

/// A table, as the database describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Its name.
    pub name: String,
    /// In the order in which rows are read and written.
    pub columns: Vec<Column>,
    /// Indices of the columns of the primary key, in its order. Never empty.
    pub key: Vec<usize>,
    /// Where its rows refer to others'.
    pub references: Vec<Reference>,
}

/// A column.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// What it holds.
    pub kind: ColumnKind,
}

/// What a column holds, besides NULL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ColumnKind {
    /// 64 bits, signed.
    Integer,
    /// UTF-8.
    Text,
    /// Bytes.
    Blob,
}

/// A foreign key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// Names of the referring columns.
    pub columns: Vec<String>,
    /// The table that they refer to.
    pub table: String,
    /// Names of the columns there.
    pub target: Vec<String>,
}

/// One value. Its JSON is null, a number, a text, or `{"base64": …}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Cell {
    /// None.
    Null,
    /// See [`ColumnKind::Integer`].
    Integer(i64),
    /// See [`ColumnKind::Text`].
    Text(String),
    /// See [`ColumnKind::Blob`].
    Blob(#[serde(with = "bytes_as_base64")] Vec<u8>),
}

mod bytes_as_base64 {
    use base64::{Engine as _, prelude::BASE64_STANDARD};
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

    #[derive(Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Encoded {
        base64: String,
    }

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        Encoded { base64: BASE64_STANDARD.encode(bytes) }.serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let encoded = Encoded::deserialize(deserializer)?;
        BASE64_STANDARD.decode(encoded.base64).map_err(D::Error::custom)
    }
}

/// The cells of a row, in the order of its table's columns.
pub type Cells = Vec<Cell>;

impl Table {
    /// The index of a column.
    pub fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name == name)
    }

    /// A row's primary key.
    pub fn key_of(&self, cells: &[Cell]) -> Cells {
        self.key.iter().filter_map(|index| cells.get(*index)).cloned().collect()
    }

    /// The text of a row's primary key, for people.
    pub fn key_text(&self, cells: &[Cell]) -> String {
        let part = |cell: &Cell| match cell {
            Cell::Integer(number) => number.to_string(),
            Cell::Text(text) => text.clone(),
            Cell::Blob(bytes) => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
            Cell::Null => "?".to_owned(),
        };
        self.key_of(cells).iter().map(part).collect::<Vec<_>>().join("/")
    }

    /// A value by its column's name. `None` when there is no such column, or it is of another kind.
    pub fn text<'a>(&self, cells: &'a [Cell], column: &str) -> Option<&'a str> {
        match cells.get(self.column(column)?)? {
            Cell::Text(text) => Some(text),
            _ => None,
        }
    }

    /// As [`Self::text`].
    pub fn integer(&self, cells: &[Cell], column: &str) -> Option<i64> {
        match cells.get(self.column(column)?)? {
            Cell::Integer(number) => Some(*number),
            _ => None,
        }
    }

    /// As [`Self::text`].
    pub fn blob<'a>(&self, cells: &'a [Cell], column: &str) -> Option<&'a [u8]> {
        match cells.get(self.column(column)?)? {
            Cell::Blob(bytes) => Some(bytes),
            _ => None,
        }
    }
}

/// Reads every row. All that one reader tells is of one state of the store.
#[async_trait]
pub trait RowReader: Send {
    /// All tables, each after those that its rows refer to; the database's own bookkeeping is not among them.
    fn tables(&self) -> &[Table];

    /// Rows of a table of [`Self::tables`] by primary key: those after `after`, at most `limit`.
    async fn page(
        &mut self,
        table: usize,
        after: Option<&[Cell]>,
        limit: u32,
    ) -> Result<Vec<Cells>, StoreError>;

    /// How many rows of a table refer to a row that is not there, by the reference of this index.
    async fn dangling(&mut self, table: usize, reference: usize) -> Result<u64, StoreError>;

    /// As [`super::store::Store::data_keys_fetch`], of the reader's state.
    async fn data_keys(&mut self, scope: KeyScope) -> Result<Vec<WrappedDataKey>, StoreError>;
}

/// A store whose rows are being replaced by others, in one transaction: dropping it leaves the store as it was.
///
/// What the present store knows to be over stays over: keys that it has revoked, workers that it has removed and organizations that it has deleted
/// do not come back with rows that are older.
#[async_trait]
pub trait Replacement: Send {
    /// Reads what the store will hold.
    fn rows(&mut self) -> &mut dyn RowReader;

    /// Adds rows of a table; referred-to tables come first.
    async fn insert(&mut self, table: usize, rows: &[Cells]) -> Result<(), StoreError>;

    /// To be called when all rows are there. Begins the new epoch, ends what is over, and drops data keys that belong to no living organization.
    /// An organization without data keys was deleted after its rows were read: it is deleted here too.
    async fn settle(&mut self, epoch: &str, now: Timestamp) -> Result<Settled, StoreError>;

    /// Ends it, with its record. The revision advances by one.
    async fn commit(self: Box<Self>, audit: AuditDraft) -> Result<Revision, StoreError>;
}

/// What [`Replacement::settle`] ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settled {
    /// Organizations that are deleted now: without data keys, or deleted in the store that was replaced.
    pub organizations_deleted: Vec<Local<OrganizationId>>,
    /// Keys that the replaced store had revoked.
    pub keys_revoked: u64,
    /// Workers and routers that the replaced store had removed.
    pub workers_removed: u64,
}
