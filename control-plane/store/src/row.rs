//! Reads rows back. Nothing is believed: identifiers are parsed and admitted, words and numbers checked, and whatever fails is
//! [`StoreError::Corrupt`], which names the column and never the value.

use std::str::FromStr;

use bailiwick_core::ports::{store::StoreError, vault::Sealed};
use bailiwick_domain::{
    jurisdiction::{Jurisdiction, Local, Regional},
    time::Timestamp,
};
use sqlx::{Any, Decode, Row as _, Type, any::AnyRow};

/// A row of one table, read by the authority of one region.
#[derive(Clone, Copy)]
pub(crate) struct Row<'a> {
    row: &'a AnyRow,
    table: &'static str,
    home: &'a Jurisdiction,
}

impl<'a> Row<'a> {
    pub(crate) fn new(row: &'a AnyRow, table: &'static str, home: &'a Jurisdiction) -> Self {
        Self { row, table, home }
    }

    /// By whose authority it is read.
    pub(crate) fn home(&self) -> &'a Jurisdiction {
        self.home
    }

    pub(crate) fn text(&self, column: &str) -> Result<&'a str, StoreError> {
        self.value(column)
    }

    pub(crate) fn blob(&self, column: &str) -> Result<&'a [u8], StoreError> {
        self.value(column)
    }

    pub(crate) fn integer(&self, column: &str) -> Result<i64, StoreError> {
        self.value(column)
    }

    pub(crate) fn optional_integer(&self, column: &str) -> Result<Option<i64>, StoreError> {
        self.value(column)
    }

    pub(crate) fn is_null(&self, column: &str) -> Result<bool, StoreError> {
        use sqlx::ValueRef;
        self.row
            .try_get_raw(column)
            .map(|value| value.is_null())
            .map_err(|_| self.corrupt(column, "is missing"))
    }

    /// A number that is stored as a wider one.
    pub(crate) fn number<T: TryFrom<i64>>(&self, column: &str) -> Result<T, StoreError> {
        T::try_from(self.integer(column)?).map_err(|_| self.corrupt(column, "is out of range"))
    }

    pub(crate) fn flag(&self, column: &str) -> Result<bool, StoreError> {
        match self.integer(column)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(self.corrupt(column, "is neither 0 nor 1")),
        }
    }

    pub(crate) fn time(&self, column: &str) -> Result<Timestamp, StoreError> {
        self.integer(column).map(Timestamp::from_micros)
    }

    pub(crate) fn optional_time(&self, column: &str) -> Result<Option<Timestamp>, StoreError> {
        Ok(self.optional_integer(column)?.map(Timestamp::from_micros))
    }

    pub(crate) fn sealed(&self, column: &str) -> Result<Sealed, StoreError> {
        self.blob(column).map(|bytes| Sealed(bytes.to_vec()))
    }

    pub(crate) fn optional_sealed(&self, column: &str) -> Result<Option<Sealed>, StoreError> {
        Ok(self.value::<Option<&[u8]>>(column)?.map(|bytes| Sealed(bytes.to_vec())))
    }

    pub(crate) fn hash(&self, column: &str) -> Result<[u8; 32], StoreError> {
        self.blob(column)?.try_into().map_err(|_| self.corrupt(column, "is not 32 bytes"))
    }

    pub(crate) fn optional_hash(&self, column: &str) -> Result<Option<[u8; 32]>, StoreError> {
        if self.is_null(column)? { Ok(None) } else { self.hash(column).map(Some) }
    }

    /// A value by its text form.
    pub(crate) fn parsed<T: FromStr>(&self, column: &str) -> Result<T, StoreError> {
        self.text(column)?.parse().map_err(|_| self.corrupt(column, "is malformed"))
    }

    /// A value by one of a few words.
    pub(crate) fn word<T>(&self, column: &str, parse: fn(&str) -> Option<T>) -> Result<T, StoreError> {
        parse(self.text(column)?).ok_or_else(|| self.corrupt(column, "is an unknown word"))
    }

    /// R2: an identifier, of this region.
    pub(crate) fn id<T: FromStr + Regional>(&self, column: &str) -> Result<Local<T>, StoreError> {
        self.admit(column, self.parsed(column)?)
    }

    /// As [`Self::id`], for records that keep their identifiers without the proof.
    pub(crate) fn bare_id<T: FromStr + Regional>(&self, column: &str) -> Result<T, StoreError> {
        self.id(column).map(Local::into_inner)
    }

    pub(crate) fn admit<T: Regional>(&self, column: &str, value: T) -> Result<Local<T>, StoreError> {
        self.home.admit(value).map_err(|_| self.corrupt(column, "belongs to another region"))
    }

    pub(crate) fn corrupt(&self, column: &str, problem: &str) -> StoreError {
        StoreError::Corrupt { table: self.table, problem: format!("{column} {problem}") }
    }

    fn value<T: Decode<'a, Any> + Type<Any>>(&self, column: &str) -> Result<T, StoreError> {
        self.row.try_get(column).map_err(|_| self.corrupt(column, "has no value of its type"))
    }
}
