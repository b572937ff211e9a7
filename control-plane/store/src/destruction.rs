//! What becomes of a deleted organization: its data keys at once, its rows in batches.
//!
//! Rows are found by their column `organization_id`, in whatever table the database has: a table that is added later is destroyed with the
//! others from its first day, unless it is named in [`KEPT`].

use bailiwick_core::{
    ports::{rows::Table, store::StoreError},
    records::DestructionRecord,
};
use bailiwick_domain::{
    id::OrganizationId, jurisdiction::Local, organization::OrganizationStatus, time::Timestamp,
};
use sqlx::{AssertSqlSafe, query};

use crate::{
    organization,
    row::Row,
    rows::{names, quoted},
    session::{Db, found},
};

const TABLE: &str = "destructions";
/// What stays of a deleted organization beside its own row and its audit chain: sums of what it used, which the operator's books need and which
/// name nobody; and what says that the rest is gone.
const KEPT: [&str; 3] = ["usage_hourly", "destructions", "destroyed_rows"];
/// Single calls. They wait, because an event that comes a second time is known by the row of the first (R10).
const EVENTS: &str = "usage_blocks";
const OWNER: &str = "organization_id";

/// Deletes an organization.
pub(crate) async fn begin(
    db: &mut Db<'_>,
    id: Local<OrganizationId>,
    at: Timestamp,
) -> Result<(), StoreError> {
    organization::set_status(db, id, OrganizationStatus::Deleted).await?;
    organization::erase(db, id).await?;
    let statement = query("INSERT INTO destructions (organization_id, deleted_at) VALUES ($1, $2)");
    db.execute(statement.bind(id.to_string()).bind(at.as_micros())).await?;
    let statement = query("DELETE FROM data_keys WHERE scope = $1");
    let keys = db.execute(statement.bind(id.to_string())).await?;
    count(db, id, "data_keys", keys).await
}

/// Destroys at most `limit` rows of one table; those that others refer to come last.
pub(crate) async fn step(
    db: &mut Db<'_>,
    tables: &[Table],
    id: Local<OrganizationId>,
    events: bool,
    limit: u32,
) -> Result<u64, StoreError> {
    let Some(record) = fetch(db, id).await?.filter(|record| record.finished_at.is_none()) else {
        return Err(StoreError::NotFound);
    };
    if events && record.usage_closed_at.is_none() {
        return Err(StoreError::Conflict("usage that is still taken"));
    }
    let doomed = tables.iter().rev().filter(|table| {
        table.column(OWNER).is_some()
            && !KEPT.contains(&table.name.as_str())
            && (events || table.name != EVENTS)
    });
    for table in doomed {
        let key = names(table.key.iter().filter_map(|index| table.columns.get(*index)));
        let name = quoted(&table.name);
        let sql = format!(
            "DELETE FROM {name} WHERE ({key}) IN (SELECT {key} FROM {name} WHERE organization_id = $1 LIMIT $2)"
        );
        let statement = query(AssertSqlSafe(sql)).bind(id.to_string()).bind(i64::from(limit));
        let destroyed = db.execute(statement).await?;
        if destroyed > 0 {
            count(db, id, &table.name, destroyed).await?;
            return Ok(destroyed);
        }
    }
    Ok(0)
}

async fn count(
    db: &mut Db<'_>,
    id: Local<OrganizationId>,
    table: &str,
    destroyed: u64,
) -> Result<(), StoreError> {
    let statement = query(
        "INSERT INTO destroyed_rows (organization_id, table_name, destroyed) VALUES ($1, $2, $3) \
         ON CONFLICT (organization_id, table_name) DO UPDATE SET destroyed = destroyed_rows.destroyed + excluded.destroyed",
    );
    let destroyed = i64::try_from(destroyed).unwrap_or(i64::MAX);
    db.execute(statement.bind(id.to_string()).bind(table.to_owned()).bind(destroyed)).await.map(|_| ())
}

pub(crate) async fn close_usage(
    db: &mut Db<'_>,
    id: Local<OrganizationId>,
    at: Timestamp,
) -> Result<(), StoreError> {
    let statement = query(
        "UPDATE destructions SET usage_closed_at = $1 WHERE organization_id = $2 AND usage_closed_at IS NULL",
    );
    found(db.execute(statement.bind(at.as_micros()).bind(id.to_string())).await?)
}

pub(crate) async fn finish(
    db: &mut Db<'_>,
    id: Local<OrganizationId>,
    at: Timestamp,
) -> Result<(), StoreError> {
    let statement =
        query("UPDATE destructions SET finished_at = $1 WHERE organization_id = $2 AND finished_at IS NULL");
    found(db.execute(statement.bind(at.as_micros()).bind(id.to_string())).await?)
}

/// Backups of up to an hour after the deletion count as ones that may hold the keys: the clocks of replicas differ, and a backup that is begun
/// while a deletion ends may still see what was there before.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT organization_id, deleted_at, usage_closed_at, finished_at, \
             (SELECT MAX(keys_expire_at) FROM backups WHERE created_at <= destructions.deleted_at + 3600000000 \
             AND keys_expire_at > destructions.deleted_at) AS keys_until FROM destructions ",
            $rest
        )
    };
}

pub(crate) async fn fetch(
    db: &mut Db<'_>,
    id: Local<OrganizationId>,
) -> Result<Option<DestructionRecord>, StoreError> {
    let statement = query(select!("WHERE organization_id = $1")).bind(id.to_string());
    match db.optional(TABLE, statement, read).await? {
        Some(record) => with_counts(db, record).await.map(Some),
        None => Ok(None),
    }
}

pub(crate) async fn unfinished(db: &mut Db<'_>, limit: u32) -> Result<Vec<DestructionRecord>, StoreError> {
    let statement = query(select!("WHERE finished_at IS NULL ORDER BY deleted_at, organization_id LIMIT $1"));
    let mut records = Vec::new();
    for record in db.all(TABLE, statement.bind(i64::from(limit)), read).await? {
        records.push(with_counts(db, record).await?);
    }
    Ok(records)
}

async fn with_counts(
    db: &mut Db<'_>,
    mut record: DestructionRecord,
) -> Result<DestructionRecord, StoreError> {
    let statement = query(
        "SELECT table_name, destroyed FROM destroyed_rows WHERE organization_id = $1 ORDER BY table_name",
    );
    let statement = statement.bind(record.organization.to_string());
    let read = |row: Row<'_>| Ok((row.text("table_name")?.to_owned(), row.number("destroyed")?));
    record.destroyed = db.all("destroyed_rows", statement, read).await?;
    Ok(record)
}

fn read(row: Row<'_>) -> Result<DestructionRecord, StoreError> {
    Ok(DestructionRecord {
        organization: row.id("organization_id")?,
        deleted_at: row.time("deleted_at")?,
        usage_closed_at: row.optional_time("usage_closed_at")?,
        finished_at: row.optional_time("finished_at")?,
        destroyed: Vec::new(),
        keys_in_backups_until: row.optional_time("keys_until")?,
    })
}
