//! Keys that sign the region's bearer tokens, sealed.

use bailiwick_core::{ports::store::StoreError, records::TokenKeyRecord};
use bailiwick_domain::{id::TokenKeyId, jurisdiction::Local};
use sqlx::query;

use crate::{
    error,
    row::Row,
    session::{Db, found},
};

const TABLE: &str = "token_keys";
const LISTED: i64 = 100;

pub(crate) async fn fetch(
    db: &mut Db<'_>,
    id: Local<TokenKeyId>,
) -> Result<Option<TokenKeyRecord>, StoreError> {
    let statement = query("SELECT id, sealed, created_at FROM token_keys WHERE id = $1").bind(id.to_string());
    db.optional(TABLE, statement, read).await
}

pub(crate) async fn list(db: &mut Db<'_>) -> Result<Vec<TokenKeyRecord>, StoreError> {
    let statement =
        query("SELECT id, sealed, created_at FROM token_keys ORDER BY created_at DESC, id DESC LIMIT $1");
    let mut rows = db.all(TABLE, statement.bind(LISTED), read).await?;
    rows.reverse();
    Ok(rows)
}

pub(crate) async fn insert(db: &mut Db<'_>, row: &TokenKeyRecord) -> Result<(), StoreError> {
    let statement = query("INSERT INTO token_keys (id, sealed, created_at) VALUES ($1, $2, $3)")
        .bind(row.id.to_string())
        .bind(row.sealed.0.as_slice())
        .bind(row.created_at.as_micros());
    db.try_execute(statement).await.map_err(error::conflict("the token key's identifier"))?;
    Ok(())
}

pub(crate) async fn delete(db: &mut Db<'_>, id: Local<TokenKeyId>) -> Result<(), StoreError> {
    found(db.execute(query("DELETE FROM token_keys WHERE id = $1").bind(id.to_string())).await?)
}

fn read(row: Row<'_>) -> Result<TokenKeyRecord, StoreError> {
    Ok(TokenKeyRecord {
        id: row.id("id")?,
        sealed: row.sealed("sealed")?,
        created_at: row.time("created_at")?,
    })
}
