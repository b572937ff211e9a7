//! Which backups were made.

use bailiwick_core::{
    ports::store::StoreError,
    records::{BackupRecord, Page, PageOf},
};
use bailiwick_domain::id::BackupId;
use sqlx::query;

use crate::{
    page,
    row::Row,
    session::{Db, inserted},
};

const TABLE: &str = "backups";

pub(crate) async fn insert(db: &mut Db<'_>, row: &BackupRecord) -> Result<(), StoreError> {
    let statement = query(
        "INSERT INTO backups (id, created_at, keys_expire_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
    )
    .bind(row.id.to_string())
    .bind(row.created_at.as_micros())
    .bind(row.keys_expire_at.as_micros());
    inserted(db.execute(statement).await?, "the backup's identifier")
}

pub(crate) async fn list(db: &mut Db<'_>, page: &Page) -> Result<PageOf<BackupRecord>, StoreError> {
    let after = page::after_id::<BackupId>(db.home, page)?;
    let statement =
        query("SELECT id, created_at, keys_expire_at FROM backups WHERE id > $1 ORDER BY id LIMIT $2");
    let rows = db.all(TABLE, statement.bind(after).bind(page::limit(page)), read).await?;
    Ok(page::of(rows, page, |last| last.id.to_string()))
}

fn read(row: Row<'_>) -> Result<BackupRecord, StoreError> {
    Ok(BackupRecord {
        id: row.id("id")?,
        created_at: row.time("created_at")?,
        keys_expire_at: row.time("keys_expire_at")?,
    })
}
