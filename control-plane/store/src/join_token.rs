//! One-time enrollment tokens.

use bailiwick_core::{ports::store::StoreError, records::JoinTokenRecord};
use bailiwick_domain::{
    guard::Guard,
    key::{JoinTokenId, KeyDigest},
    time::Timestamp,
};
use sqlx::query;

use crate::{
    row::Row,
    session::{Db, inserted},
};

const TABLE: &str = "join_tokens";

pub(crate) async fn fetch(db: &mut Db<'_>, id: JoinTokenId) -> Result<Option<JoinTokenRecord>, StoreError> {
    let statement =
        query("SELECT id, digest, role, name, expires_at, used_at FROM join_tokens WHERE id = $1");
    db.optional(TABLE, statement.bind(id.to_string()), read).await
}

pub(crate) async fn insert(db: &mut Db<'_>, row: &JoinTokenRecord) -> Result<(), StoreError> {
    let statement = query(
        "INSERT INTO join_tokens (id, digest, role, name, expires_at, used_at) VALUES ($1, $2, $3, $4, $5, $6) \
         ON CONFLICT DO NOTHING",
    )
    .bind(row.id.to_string())
    .bind(row.digest.0.as_slice())
    .bind(row.role.as_str())
    .bind(row.name.as_str())
    .bind(row.expires_at.as_micros())
    .bind(row.used_at.map(Timestamp::as_micros));
    inserted(db.execute(statement).await?, "the join token's identifier")
}

/// One statement finds and marks it: of two transactions the second waits for the first, and finds it used.
const CONSUME_UNUSED: &str = "UPDATE join_tokens SET used_at = $1 \
     WHERE id = $2 AND digest = $3 AND used_at IS NULL AND expires_at > $1 \
     RETURNING id, digest, role, name, expires_at, used_at";
/// For a test that wants to see what notices.
const CONSUME_AGAIN: &str = "UPDATE join_tokens SET used_at = $1 WHERE id = $2 AND digest = $3 AND expires_at > $1 \
     RETURNING id, digest, role, name, expires_at, used_at";

pub(crate) async fn consume(
    db: &mut Db<'_>,
    id: JoinTokenId,
    digest: &KeyDigest,
    now: Timestamp,
) -> Result<JoinTokenRecord, StoreError> {
    let statement = if Guard::JoinTokenUse.stands() { CONSUME_UNUSED } else { CONSUME_AGAIN };
    let statement = query(statement).bind(now.as_micros()).bind(id.to_string()).bind(digest.0.as_slice());
    db.optional(TABLE, statement, read).await?.ok_or(StoreError::NotFound)
}

fn read(row: Row<'_>) -> Result<JoinTokenRecord, StoreError> {
    Ok(JoinTokenRecord {
        id: row.bare_id("id")?,
        digest: KeyDigest(row.hash("digest")?),
        role: row.parsed("role")?,
        name: row.text("name")?.to_owned(),
        expires_at: row.time("expires_at")?,
        used_at: row.optional_time("used_at")?,
    })
}
