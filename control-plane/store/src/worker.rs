//! Enrolled workers and routers.

use bailiwick_core::{
    ports::store::StoreError,
    records::{Page, PageOf, WorkerRecord},
};
use bailiwick_domain::{id::WorkerId, jurisdiction::Local, spiffe::ProcessRole, time::Timestamp};
use sqlx::query;

use crate::{
    error, page,
    row::Row,
    session::{Db, found},
};

const TABLE: &str = "workers";

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, role, name, enrolled_at, certificate_expires_at, last_seen_at FROM workers WHERE removed_at IS NULL ",
            $rest
        )
    };
}

pub(crate) async fn fetch_by_name(
    db: &mut Db<'_>,
    role: ProcessRole,
    name: &str,
) -> Result<Option<WorkerRecord>, StoreError> {
    let statement = query(select!("AND role = $1 AND name = $2"));
    db.optional(TABLE, statement.bind(role.as_str()).bind(name), read).await
}

pub(crate) async fn list(db: &mut Db<'_>, page: &Page) -> Result<PageOf<WorkerRecord>, StoreError> {
    let after = page::after_id::<WorkerId>(db.home, page)?;
    let statement = query(select!("AND id > $1 ORDER BY id LIMIT $2"));
    let rows = db.all(TABLE, statement.bind(after).bind(page::limit(page)), read).await?;
    Ok(page::of(rows, page, |last| last.id.to_string()))
}

/// Never goes back: two replicas may hear of a worker out of order. Unknown and removed workers change nothing.
pub(crate) async fn seen(db: &mut Db<'_>, id: Local<WorkerId>, at: Timestamp) -> Result<(), StoreError> {
    let statement = query(
        "UPDATE workers SET last_seen_at = $1 \
         WHERE id = $2 AND removed_at IS NULL AND (last_seen_at IS NULL OR last_seen_at < $1)",
    );
    db.execute(statement.bind(at.as_micros()).bind(id.to_string())).await?;
    Ok(())
}

pub(crate) async fn upsert(db: &mut Db<'_>, row: &WorkerRecord) -> Result<Local<WorkerId>, StoreError> {
    let statement = query(
        "INSERT INTO workers (id, role, name, enrolled_at, certificate_expires_at, last_seen_at) \
         VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (role, name) WHERE removed_at IS NULL \
         DO UPDATE SET certificate_expires_at = excluded.certificate_expires_at RETURNING id",
    )
    .bind(row.id.to_string())
    .bind(row.role.as_str())
    .bind(row.name.as_str())
    .bind(row.enrolled_at.as_micros())
    .bind(row.certificate_expires_at.as_micros())
    .bind(row.last_seen_at.map(Timestamp::as_micros));
    let conflict = error::conflict("the worker's identifier");
    let rows = statement.fetch_all(&mut *db.connection).await.map_err(conflict)?;
    let row = rows.first().ok_or(StoreError::NotFound)?;
    Row::new(row, TABLE, db.home).id("id")
}

pub(crate) async fn set_certificate(
    db: &mut Db<'_>,
    id: Local<WorkerId>,
    expires_at: Timestamp,
) -> Result<(), StoreError> {
    let statement =
        query("UPDATE workers SET certificate_expires_at = $1 WHERE id = $2 AND removed_at IS NULL");
    found(db.execute(statement.bind(expires_at.as_micros()).bind(id.to_string())).await?)
}

pub(crate) async fn remove(
    db: &mut Db<'_>,
    id: Local<WorkerId>,
    at: Timestamp,
) -> Result<WorkerRecord, StoreError> {
    let statement = query(
        "UPDATE workers SET removed_at = $1 WHERE id = $2 AND removed_at IS NULL \
         RETURNING id, role, name, enrolled_at, certificate_expires_at, last_seen_at",
    );
    let statement = statement.bind(at.as_micros()).bind(id.to_string());
    db.optional(TABLE, statement, read).await?.ok_or(StoreError::NotFound)
}

fn read(row: Row<'_>) -> Result<WorkerRecord, StoreError> {
    Ok(WorkerRecord {
        id: row.id("id")?,
        role: row.parsed("role")?,
        name: row.text("name")?.to_owned(),
        enrolled_at: row.time("enrolled_at")?,
        certificate_expires_at: row.time("certificate_expires_at")?,
        last_seen_at: row.optional_time("last_seen_at")?,
    })
}
