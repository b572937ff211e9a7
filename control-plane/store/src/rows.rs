//! Rows of any table, read and written by what the database says of it.

mod catalogue;

use async_trait::async_trait;
use bailiwick_core::ports::{
    rows::{Cell, Cells, Column, ColumnKind, Reference, RowReader, Table},
    store::StoreError,
    vault::{KeyScope, WrappedDataKey},
};
use sqlx::{Any, AssertSqlSafe, Row as _, any::AnyArguments, any::AnyRow, query, query::Query};

use crate::{
    data_key, error,
    session::{Db, Session},
};

pub(crate) use catalogue::tables;

/// Below SQLite's 32,766, and small enough that looking `$n` up by its name stays quick.
const MOST_PARAMETERS: usize = 2_000;

/// Reads every row in one transaction.
pub(crate) struct SqlRows {
    session: Session<sqlx::Transaction<'static, Any>>,
    tables: Vec<Table>,
}

impl SqlRows {
    /// `session` is a snapshot, or a transaction whose own writes are to be read.
    pub(crate) async fn of(
        mut session: Session<sqlx::Transaction<'static, Any>>,
    ) -> Result<Self, StoreError> {
        let tables = tables(&mut session.db()).await?;
        Ok(Self { session, tables })
    }

    pub(crate) fn db(&mut self) -> Db<'_> {
        self.session.db()
    }

    pub(crate) fn into_session(self) -> Session<sqlx::Transaction<'static, Any>> {
        self.session
    }

    /// Adds rows of a table. A row that is not shaped like the table is refused.
    pub(crate) async fn insert(&mut self, table: usize, rows: &[Cells]) -> Result<(), StoreError> {
        let table = numbered(&self.tables, table)?;
        let width = table.columns.len();
        if rows.iter().any(|row| row.len() != width) {
            return Err(error::refused("a row has another number of columns than its table"));
        }
        for chunk in rows.chunks((MOST_PARAMETERS / width.max(1)).max(1)) {
            insert(&mut self.session.db(), table, chunk).await?;
        }
        Ok(())
    }
}

#[async_trait]
impl RowReader for SqlRows {
    fn tables(&self) -> &[Table] {
        &self.tables
    }

    async fn page(
        &mut self,
        table: usize,
        after: Option<&[Cell]>,
        limit: u32,
    ) -> Result<Vec<Cells>, StoreError> {
        page(&mut self.session.db(), numbered(&self.tables, table)?, after, limit).await
    }

    async fn dangling(&mut self, table: usize, reference: usize) -> Result<u64, StoreError> {
        let table = numbered(&self.tables, table)?;
        let reference = table.references.get(reference).ok_or(StoreError::NotFound)?;
        dangling(&mut self.session.db(), table, reference).await
    }

    async fn data_keys(&mut self, scope: KeyScope) -> Result<Vec<WrappedDataKey>, StoreError> {
        data_key::fetch_all(&mut self.session.db(), scope).await
    }
}

fn numbered(tables: &[Table], number: usize) -> Result<&Table, StoreError> {
    tables.get(number).ok_or(StoreError::NotFound)
}

async fn page(
    db: &mut Db<'_>,
    table: &Table,
    after: Option<&[Cell]>,
    limit: u32,
) -> Result<Vec<Cells>, StoreError> {
    let columns = names(table.columns.iter());
    let key = names(table.key.iter().filter_map(|index| table.columns.get(*index)));
    let past = match after {
        Some(_) => format!(" WHERE ({key}) > ({})", placeholders(1..=table.key.len())),
        None => String::new(),
    };
    let limit_at = after.map_or(0, <[Cell]>::len) + 1;
    let sql = format!("SELECT {columns} FROM {}{past} ORDER BY {key} LIMIT ${limit_at}", quoted(&table.name));
    let mut statement = query(AssertSqlSafe(sql));
    let kinds = table.key.iter().filter_map(|index| table.columns.get(*index)).map(|column| column.kind);
    for (cell, kind) in after.unwrap_or_default().iter().zip(kinds) {
        statement = bind(statement, cell, kind);
    }
    let rows = db.rows(statement.bind(i64::from(limit))).await?;
    rows.iter().map(|row| read(row, table)).collect()
}

async fn insert(db: &mut Db<'_>, table: &Table, rows: &[Cells]) -> Result<(), StoreError> {
    let width = table.columns.len();
    let groups: Vec<_> = (0..rows.len())
        .map(|row| format!("({})", placeholders(row * width + 1..=(row + 1) * width)))
        .collect();
    let sql = format!(
        "INSERT INTO {} ({}) VALUES {}",
        quoted(&table.name),
        names(table.columns.iter()),
        groups.join(", ")
    );
    let mut statement = query(AssertSqlSafe(sql)).persistent(false);
    for (cell, column) in rows.iter().flat_map(|row| row.iter().zip(&table.columns)) {
        statement = bind(statement, cell, column.kind);
    }
    db.execute(statement).await.map(|_| ())
}

async fn dangling(db: &mut Db<'_>, table: &Table, reference: &Reference) -> Result<u64, StoreError> {
    let pairs = reference.columns.iter().zip(&reference.target);
    let matched: Vec<_> =
        pairs.map(|(here, there)| format!("there.{} = here.{}", quoted(there), quoted(here))).collect();
    // A reference with a NULL in it refers to nothing.
    let refers: Vec<_> =
        reference.columns.iter().map(|column| format!("here.{} IS NOT NULL", quoted(column))).collect();
    let sql = format!(
        "SELECT COUNT(*) AS dangling FROM {} AS here WHERE {} AND NOT EXISTS (SELECT 1 FROM {} AS there WHERE {})",
        quoted(&table.name),
        refers.join(" AND "),
        quoted(&reference.table),
        matched.join(" AND ")
    );
    db.one("any table", query(AssertSqlSafe(sql)), |row| row.number("dangling")).await
}

fn read(row: &AnyRow, table: &Table) -> Result<Cells, StoreError> {
    let cell = |(index, column): (usize, &Column)| {
        let value = match column.kind {
            ColumnKind::Integer => row.try_get::<Option<i64>, _>(index).map(|value| value.map(Cell::Integer)),
            ColumnKind::Text => row.try_get::<Option<String>, _>(index).map(|value| value.map(Cell::Text)),
            ColumnKind::Blob => row.try_get::<Option<Vec<u8>>, _>(index).map(|value| value.map(Cell::Blob)),
        };
        value.map(|value| value.unwrap_or(Cell::Null)).map_err(|_| StoreError::Corrupt {
            table: "any table",
            problem: format!("{}.{} has no value of its type", table.name, column.name),
        })
    };
    table.columns.iter().enumerate().map(cell).collect()
}

/// NULL is bound with its column's type: PostgreSQL wants to know it.
fn bind<'q>(
    statement: Query<'q, Any, AnyArguments>,
    cell: &Cell,
    kind: ColumnKind,
) -> Query<'q, Any, AnyArguments> {
    match (cell, kind) {
        (Cell::Integer(number), _) => statement.bind(*number),
        (Cell::Text(text), _) => statement.bind(text.clone()),
        (Cell::Blob(bytes), _) => statement.bind(bytes.clone()),
        (Cell::Null, ColumnKind::Integer) => statement.bind(None::<i64>),
        (Cell::Null, ColumnKind::Text) => statement.bind(None::<String>),
        (Cell::Null, ColumnKind::Blob) => statement.bind(None::<Vec<u8>>),
    }
}

pub(crate) fn names<'a>(columns: impl Iterator<Item = &'a Column>) -> String {
    columns.map(|column| quoted(&column.name)).collect::<Vec<_>>().join(", ")
}

fn placeholders(numbers: impl Iterator<Item = usize>) -> String {
    numbers.map(|number| format!("${number}")).collect::<Vec<_>>().join(", ")
}

/// Names come from the database's own schema; quoted, they mean there what they mean here.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
