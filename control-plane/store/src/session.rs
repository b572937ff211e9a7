//! A connection, with the authority that admits what is read from it.

use std::{ops::DerefMut, sync::Arc};

use bailiwick_core::ports::store::StoreError;
use bailiwick_domain::jurisdiction::Jurisdiction;
use sqlx::{
    Any, AnyConnection,
    any::{AnyArguments, AnyRow},
    query::Query,
};

use crate::{backend::Backend, error, row::Row};

type Statement<'q> = Query<'q, Any, AnyArguments>;

/// Holds a pooled connection or a transaction.
pub(crate) struct Session<C> {
    pub(crate) connection: C,
    pub(crate) home: Arc<Jurisdiction>,
    pub(crate) backend: Backend,
}

impl<C: DerefMut<Target = AnyConnection>> Session<C> {
    pub(crate) fn db(&mut self) -> Db<'_> {
        Db { connection: &mut self.connection, home: &self.home, backend: self.backend }
    }
}

/// What the statements of an aggregate need.
pub(crate) struct Db<'a> {
    pub(crate) connection: &'a mut AnyConnection,
    pub(crate) home: &'a Jurisdiction,
    pub(crate) backend: Backend,
}

impl<'a> Db<'a> {
    /// How many rows the statement touched.
    pub(crate) async fn execute(&mut self, statement: Statement<'_>) -> Result<u64, StoreError> {
        self.try_execute(statement).await.map_err(error::of)
    }

    /// As [`Self::execute`], for callers that tell one error from another.
    pub(crate) async fn try_execute(&mut self, statement: Statement<'_>) -> Result<u64, sqlx::Error> {
        Ok(statement.execute(&mut *self.connection).await?.rows_affected())
    }

    /// All rows of the answer, each read by `read` as one of `table`.
    pub(crate) async fn all<T>(
        &mut self,
        table: &'static str,
        statement: Statement<'_>,
        read: impl Fn(Row<'_>) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        let rows = self.rows(statement).await?;
        rows.iter().map(|row| read(Row::new(row, table, self.home))).collect()
    }

    /// The row of the answer, if there is one.
    pub(crate) async fn optional<T>(
        &mut self,
        table: &'static str,
        statement: Statement<'_>,
        read: impl Fn(Row<'_>) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        Ok(self.all(table, statement, read).await?.into_iter().next())
    }

    /// The row of an answer that always has one.
    pub(crate) async fn one<T>(
        &mut self,
        table: &'static str,
        statement: Statement<'_>,
        read: impl Fn(Row<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let missing = || StoreError::Corrupt { table, problem: "its row is missing".to_owned() };
        self.optional(table, statement, read).await?.ok_or_else(missing)
    }

    /// Read to the end, also where one row is wanted: an answer that is left half-way leaves its statement open.
    pub(crate) async fn rows(&mut self, statement: Statement<'_>) -> Result<Vec<AnyRow>, StoreError> {
        statement.fetch_all(&mut *self.connection).await.map_err(error::of)
    }
}

/// NotFound where a statement that changes one row changed none.
pub(crate) fn found(touched: u64) -> Result<(), StoreError> {
    if touched == 0 { Err(StoreError::NotFound) } else { Ok(()) }
}

/// A conflict with `rule` where an insert that steps back from a conflict inserted nothing. (On PostgreSQL an error would
/// end the transaction.)
pub(crate) fn inserted(touched: u64, rule: &'static str) -> Result<(), StoreError> {
    if touched == 0 { Err(StoreError::Conflict(rule)) } else { Ok(()) }
}
