//! Rotations, and what they go through: wrapped data keys and sealed values, each replaced only where it is still what was read.

use bailiwick_core::{
    ports::{
        store::StoreError,
        vault::{KeyScope, Sealed, WrappedDataKey},
    },
    records::{Page, PageOf, RotationRecord, RotationSubject},
    sealed_columns::SealedColumn,
};
use bailiwick_domain::{
    id::RotationId,
    jurisdiction::{Jurisdiction, Local},
    time::Timestamp,
};
use sqlx::{AssertSqlSafe, query};

use crate::{
    data_key::{read_scope, scope_name},
    page,
    row::Row,
    session::{Db, found, inserted},
};

const TABLE: &str = "rotations";
const OPEN_AT_ONCE: i64 = 100;

pub(crate) async fn fetch(
    db: &mut Db<'_>,
    id: Local<RotationId>,
) -> Result<Option<RotationRecord>, StoreError> {
    let home = db.home.clone();
    let statement = query("SELECT * FROM rotations WHERE id = $1").bind(id.to_string());
    db.optional(TABLE, statement, |row| read(row, &home)).await
}

pub(crate) async fn list(db: &mut Db<'_>, wanted: &Page) -> Result<PageOf<RotationRecord>, StoreError> {
    let home = db.home.clone();
    let after = page::after_id::<RotationId>(&home, wanted)?;
    let statement = query("SELECT * FROM rotations WHERE id > $1 ORDER BY id LIMIT $2");
    let statement = statement.bind(after).bind(page::limit(wanted));
    let rows = db.all(TABLE, statement, |row| read(row, &home)).await?;
    Ok(page::of(rows, wanted, |row| row.id.to_string()))
}

pub(crate) async fn open_list(db: &mut Db<'_>) -> Result<Vec<RotationRecord>, StoreError> {
    let home = db.home.clone();
    let statement = query("SELECT * FROM rotations WHERE finished_at IS NULL ORDER BY id LIMIT $1");
    db.all(TABLE, statement.bind(OPEN_AT_ONCE), |row| read(row, &home)).await
}

pub(crate) async fn insert(db: &mut Db<'_>, row: &RotationRecord) -> Result<(), StoreError> {
    let scope = match row.subject {
        RotationSubject::MasterKey => None,
        RotationSubject::DataKeys(scope) => Some(scope_name(scope)),
    };
    let statement = query(
        "INSERT INTO rotations (id, scope, target, total, done, started_at, finished_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING",
    )
    .bind(row.id.to_string())
    .bind(scope)
    .bind(row.target.as_str())
    .bind(stored(row.total))
    .bind(stored(row.done))
    .bind(row.started_at.as_micros())
    .bind(row.finished_at.map(Timestamp::as_micros));
    inserted(db.execute(statement).await?, "the rotation's identifier")
}

pub(crate) async fn progress(
    db: &mut Db<'_>,
    id: Local<RotationId>,
    done: u64,
    finished_at: Option<Timestamp>,
) -> Result<(), StoreError> {
    let statement = query(
        "UPDATE rotations SET done = $1, total = CASE WHEN total < $1 THEN $1 ELSE total END, finished_at = $2 \
         WHERE id = $3",
    );
    let statement = statement.bind(stored(done)).bind(finished_at.map(Timestamp::as_micros));
    found(db.execute(statement.bind(id.to_string())).await?)
}

pub(crate) async fn census(db: &mut Db<'_>) -> Result<Vec<(String, u64)>, StoreError> {
    let statement = query("SELECT master, COUNT(*) AS keys FROM data_keys GROUP BY master ORDER BY master");
    db.all("data_keys", statement, |row| Ok((row.text("master")?.to_owned(), row.number("keys")?))).await
}

pub(crate) async fn data_keys_of_others(
    db: &mut Db<'_>,
    master: &str,
    limit: u32,
) -> Result<Vec<WrappedDataKey>, StoreError> {
    let home = db.home.clone();
    let statement = query(
        "SELECT scope, version, master, wrapped FROM data_keys WHERE master <> $1 \
         ORDER BY scope, version LIMIT $2",
    );
    db.all("data_keys", statement.bind(master).bind(i64::from(limit)), |row| {
        Ok(WrappedDataKey {
            scope: read_scope(&row, "scope", &home)?,
            version: row.number("version")?,
            master: row.text("master")?.to_owned(),
            wrapped: row.blob("wrapped")?.to_vec(),
        })
    })
    .await
}

pub(crate) async fn rewrap(
    db: &mut Db<'_>,
    old: &WrappedDataKey,
    new: &WrappedDataKey,
) -> Result<bool, StoreError> {
    let statement = query(
        "UPDATE data_keys SET wrapped = $1, master = $2 WHERE scope = $3 AND version = $4 AND wrapped = $5",
    )
    .bind(new.wrapped.as_slice())
    .bind(new.master.as_str())
    .bind(scope_name(old.scope))
    .bind(i64::from(old.version))
    .bind(old.wrapped.as_slice());
    Ok(db.execute(statement).await? > 0)
}

/// The names in the statement are constants of this program.
pub(crate) async fn sealed_page(
    db: &mut Db<'_>,
    column: &SealedColumn,
    scope: KeyScope,
    after: &str,
    limit: u32,
) -> Result<Vec<(String, Sealed)>, StoreError> {
    let SealedColumn { table, column: value, row: name, .. } = *column;
    // A column whose table is the region's own has no scope to ask for.
    let of_scope = column.scope.map_or_else(|| "$2 = $2".to_owned(), |scope| format!("{scope} = $2"));
    let sql = format!(
        "SELECT {name} AS name, {value} AS sealed FROM {table} \
         WHERE {name} > $1 AND {of_scope} AND {value} IS NOT NULL ORDER BY {name} LIMIT $3"
    );
    let statement = query(AssertSqlSafe(sql)).bind(after).bind(scope_name(scope)).bind(i64::from(limit));
    db.all(table, statement, |row| Ok((row.text("name")?.to_owned(), row.sealed("sealed")?))).await
}

pub(crate) async fn sealed_replace(
    db: &mut Db<'_>,
    column: &SealedColumn,
    name: &str,
    old: &Sealed,
    new: &Sealed,
) -> Result<bool, StoreError> {
    let SealedColumn { table, column: value, row, .. } = *column;
    let sql = format!("UPDATE {table} SET {value} = $1 WHERE {row} = $2 AND {value} = $3");
    let statement = query(AssertSqlSafe(sql)).bind(new.0.as_slice()).bind(name).bind(old.0.as_slice());
    Ok(db.execute(statement).await? > 0)
}

fn read(row: Row<'_>, home: &Jurisdiction) -> Result<RotationRecord, StoreError> {
    let subject = match row.is_null("scope")? {
        true => RotationSubject::MasterKey,
        false => RotationSubject::DataKeys(read_scope(&row, "scope", home)?),
    };
    Ok(RotationRecord {
        id: row.id("id")?,
        subject,
        target: row.text("target")?.to_owned(),
        total: row.number("total")?,
        done: row.number("done")?,
        started_at: row.time("started_at")?,
        finished_at: row.optional_time("finished_at")?,
    })
}

/// Counts of rows fit.
fn stored(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
