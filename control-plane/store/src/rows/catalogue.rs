//! What tables there are, asked of the database: so nothing has to be told of a new one.

use bailiwick_core::ports::{
    rows::{Column, ColumnKind, Reference, Table},
    store::StoreError,
};
use sqlx::query;

use crate::{backend::Backend, error, session::Db};

const TABLE: &str = "the database's schema";

/// All tables but the migrator's, each after those that it refers to.
///
/// # Errors
/// A table has no primary key, or a column of another type than the three: rows of it could not be read in order, or written back.
pub(crate) async fn tables(db: &mut Db<'_>) -> Result<Vec<Table>, StoreError> {
    let names = db.all(TABLE, query(names(db.backend)), |row| row.text("name").map(str::to_owned)).await?;
    let mut found = Vec::with_capacity(names.len());
    for name in names {
        found.push(table(db, name).await?);
    }
    in_order(found)
}

struct Described {
    column: Column,
    /// Place in the primary key, from 1; 0: none.
    place: i64,
}

async fn table(db: &mut Db<'_>, name: String) -> Result<Table, StoreError> {
    let statement = query(columns(db.backend)).bind(name.clone());
    let described = db
        .all(TABLE, statement, |row| {
            let kind = kind(row.text("type")?);
            let kind = kind.ok_or_else(|| row.corrupt("type", "is none of the three that are written"))?;
            let column = Column { name: row.text("name")?.to_owned(), kind };
            Ok(Described { column, place: row.integer("place")? })
        })
        .await?;
    let mut key: Vec<_> = described.iter().enumerate().filter(|(_, column)| column.place > 0).collect();
    key.sort_by_key(|(_, column)| column.place);
    let key: Vec<usize> = key.into_iter().map(|(index, _)| index).collect();
    if key.is_empty() {
        return Err(error::refused("a table has no primary key"));
    }
    let references = references(db, &name).await?;
    let columns = described.into_iter().map(|described| described.column).collect();
    Ok(Table { name, columns, key, references })
}

async fn references(db: &mut Db<'_>, name: &str) -> Result<Vec<Reference>, StoreError> {
    let statement = query(foreign_keys(db.backend)).bind(name.to_owned());
    let parts = db
        .all(TABLE, statement, |row| {
            let text = |column| row.text(column).map(str::to_owned);
            Ok((row.integer("id")?, text("target")?, text("here")?, text("there")?))
        })
        .await?;
    let mut references: Vec<(i64, Reference)> = Vec::new();
    for (id, table, here, there) in parts {
        match references.last_mut() {
            Some((last, reference)) if *last == id => {
                reference.columns.push(here);
                reference.target.push(there);
            }
            _ => references.push((id, Reference { columns: vec![here], table, target: vec![there] })),
        }
    }
    Ok(references.into_iter().map(|(_, reference)| reference).collect())
}

fn kind(declared: &str) -> Option<ColumnKind> {
    match declared.to_ascii_lowercase().as_str() {
        "bigint" => Some(ColumnKind::Integer),
        "text" => Some(ColumnKind::Text),
        "blob" | "bytea" => Some(ColumnKind::Blob),
        _ => None,
    }
}

/// Those that refer to nothing that is still to come, again and again; by name within that, so that every backend gives the same order.
fn in_order(mut left: Vec<Table>) -> Result<Vec<Table>, StoreError> {
    left.sort_by(|one, other| one.name.cmp(&other.name));
    let mut ordered = Vec::with_capacity(left.len());
    while !left.is_empty() {
        let waiting: Vec<String> = left.iter().map(|table| table.name.clone()).collect();
        let refers = |table: &Table| {
            table.references.iter().any(|to| to.table != table.name && waiting.contains(&to.table))
        };
        let (later, now): (Vec<_>, Vec<_>) = left.into_iter().partition(refers);
        if now.is_empty() {
            return Err(error::refused("tables refer to each other in a circle"));
        }
        ordered.extend(now);
        left = later;
    }
    Ok(ordered)
}

fn names(backend: Backend) -> &'static str {
    match backend {
        Backend::Sqlite => {
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT IN ('_sqlx_migrations') \
             AND substr(name, 1, 7) <> 'sqlite_'"
        }
        Backend::Postgres => {
            "SELECT CAST(c.relname AS TEXT) AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
             WHERE n.nspname = current_schema() AND c.relkind IN ('r', 'p') AND NOT c.relispartition \
             AND c.relname <> '_sqlx_migrations'"
        }
    }
}

fn columns(backend: Backend) -> &'static str {
    match backend {
        Backend::Sqlite => "SELECT name, type, pk AS place FROM pragma_table_info($1) ORDER BY cid",
        Backend::Postgres => {
            "SELECT CAST(c.column_name AS TEXT) AS name, CAST(c.data_type AS TEXT) AS type, \
             CAST(COALESCE((SELECT k.ordinal_position FROM information_schema.key_column_usage k \
             JOIN information_schema.table_constraints t ON t.constraint_schema = k.constraint_schema \
             AND t.constraint_name = k.constraint_name AND t.table_name = k.table_name \
             WHERE t.constraint_type = 'PRIMARY KEY' AND k.table_schema = c.table_schema \
             AND k.table_name = c.table_name AND k.column_name = c.column_name), 0) AS BIGINT) AS place \
             FROM information_schema.columns c \
             WHERE c.table_schema = current_schema() AND c.table_name = $1 ORDER BY c.ordinal_position"
        }
    }
}

fn foreign_keys(backend: Backend) -> &'static str {
    match backend {
        Backend::Sqlite => {
            "SELECT id, \"table\" AS target, \"from\" AS here, \"to\" AS there \
             FROM pragma_foreign_key_list($1) ORDER BY id, seq"
        }
        Backend::Postgres => {
            "SELECT CAST(f.oid AS BIGINT) AS id, CAST(target.relname AS TEXT) AS target, \
             CAST(a.attname AS TEXT) AS here, CAST(b.attname AS TEXT) AS there \
             FROM pg_constraint f JOIN pg_class target ON target.oid = f.confrelid \
             CROSS JOIN LATERAL unnest(f.conkey, f.confkey) WITH ORDINALITY AS pair (here, there, place) \
             JOIN pg_attribute a ON a.attrelid = f.conrelid AND a.attnum = pair.here \
             JOIN pg_attribute b ON b.attrelid = f.confrelid AND b.attnum = pair.there \
             WHERE f.contype = 'f' AND f.conrelid = to_regclass(quote_ident($1)) ORDER BY f.oid, pair.place"
        }
    }
}
