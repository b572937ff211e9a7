//! API keys.

use bailiwick_core::{
    ports::store::StoreError,
    records::{ApiKeyRecord, Page, PageOf},
};
use bailiwick_domain::{
    address::AllowedRanges,
    id::OrganizationId,
    jurisdiction::Local,
    key::{KeyDigest, KeyId},
    names::ModelName,
    time::Timestamp,
};
use sqlx::query;

use crate::{
    error, page,
    row::Row,
    session::{Db, found},
};

pub(crate) const TABLE: &str = "api_keys";

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT k.id, k.organization_id, k.name, k.digest, k.allowed_models, k.allowed_ranges, k.created_at, k.expires_at, \
             k.revoked_at FROM api_keys k ",
            $rest
        )
    };
}

pub(crate) async fn fetch(db: &mut Db<'_>, id: Local<KeyId>) -> Result<Option<ApiKeyRecord>, StoreError> {
    db.optional(TABLE, query(select!("WHERE k.id = $1")).bind(id.to_string()), read).await
}

pub(crate) async fn list(
    db: &mut Db<'_>,
    organization: Local<OrganizationId>,
    page: &Page,
) -> Result<PageOf<ApiKeyRecord>, StoreError> {
    let after = page::after_id::<KeyId>(db.home, page)?;
    let statement = query(select!("WHERE k.organization_id = $1 AND k.id > $2 ORDER BY k.id LIMIT $3"));
    let statement = statement.bind(organization.to_string()).bind(after).bind(page::limit(page));
    let rows = db.all(TABLE, statement, read).await?;
    Ok(page::of(rows, page, |last| last.id.to_string()))
}

/// Keys of deleted organizations are not listed: they are gone already, and their audit records can no longer be sealed.
pub(crate) async fn list_expired(
    db: &mut Db<'_>,
    now: Timestamp,
    limit: u32,
) -> Result<Vec<ApiKeyRecord>, StoreError> {
    let statement = query(select!(
        "JOIN organizations o ON o.id = k.organization_id WHERE k.revoked_at IS NULL AND k.expires_at IS NOT NULL \
         AND k.expires_at <= $1 AND o.status <> 'deleted' ORDER BY k.expires_at, k.id LIMIT $2"
    ));
    db.all(TABLE, statement.bind(now.as_micros()).bind(i64::from(limit)), read).await
}

/// All that workers hold.
pub(crate) async fn living(db: &mut Db<'_>) -> Result<Vec<ApiKeyRecord>, StoreError> {
    let statement = query(select!(
        "JOIN organizations o ON o.id = k.organization_id \
         WHERE k.revoked_at IS NULL AND o.status <> 'deleted' ORDER BY k.id"
    ));
    db.all(TABLE, statement, read).await
}

/// Those of [`living`] that changed after one revision, up to another.
pub(crate) async fn living_changed(
    db: &mut Db<'_>,
    after: i64,
    to: i64,
) -> Result<Vec<ApiKeyRecord>, StoreError> {
    let statement = query(select!(
        "JOIN organizations o ON o.id = k.organization_id WHERE k.revoked_at IS NULL AND o.status <> 'deleted' \
         AND k.id IN (SELECT resource_id FROM configuration_changes \
         WHERE kind = 'api_key' AND revision > $1 AND revision <= $2)"
    ));
    db.all(TABLE, statement.bind(after).bind(to), read).await
}

pub(crate) async fn insert(db: &mut Db<'_>, row: &ApiKeyRecord) -> Result<(), StoreError> {
    let statement = query(
        "INSERT INTO api_keys (id, organization_id, name, digest, allowed_models, allowed_ranges, created_at, expires_at, \
         revoked_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    )
    .bind(row.id.to_string())
    .bind(row.organization.to_string())
    .bind(row.name.0.as_slice())
    .bind(row.digest.0.as_slice())
    .bind(joined(&row.allowed_models))
    .bind(row.allowed_ranges.to_string())
    .bind(row.created_at.as_micros())
    .bind(row.expires_at.map(Timestamp::as_micros))
    .bind(row.revoked_at.map(Timestamp::as_micros));
    let rule = "the key's identifier, or its organization, which must exist";
    db.try_execute(statement).await.map_err(error::conflict(rule))?;
    Ok(())
}

pub(crate) async fn revoke(db: &mut Db<'_>, id: Local<KeyId>, at: Timestamp) -> Result<(), StoreError> {
    let statement = query("UPDATE api_keys SET revoked_at = COALESCE(revoked_at, $1) WHERE id = $2");
    found(db.execute(statement.bind(at.as_micros()).bind(id.to_string())).await?)
}

pub(crate) async fn set_expiry(db: &mut Db<'_>, id: Local<KeyId>, at: Timestamp) -> Result<(), StoreError> {
    let statement = query("UPDATE api_keys SET expires_at = $1 WHERE id = $2");
    found(db.execute(statement.bind(at.as_micros()).bind(id.to_string())).await?)
}

pub(crate) async fn set_allowed_ranges(
    db: &mut Db<'_>,
    id: Local<KeyId>,
    ranges: &AllowedRanges,
) -> Result<(), StoreError> {
    let statement = query("UPDATE api_keys SET allowed_ranges = $1 WHERE id = $2");
    found(db.execute(statement.bind(ranges.to_string()).bind(id.to_string())).await?)
}

fn read(row: Row<'_>) -> Result<ApiKeyRecord, StoreError> {
    let names = row.text("allowed_models")?.split(' ').filter(|name| !name.is_empty());
    let allowed_models: Result<Vec<ModelName>, _> = names.map(str::parse).collect();
    Ok(ApiKeyRecord {
        id: row.id("id")?,
        organization: row.id("organization_id")?,
        name: row.sealed("name")?,
        digest: KeyDigest(row.hash("digest")?),
        allowed_models: allowed_models.map_err(|_| row.corrupt("allowed_models", "is malformed"))?,
        allowed_ranges: row.parsed("allowed_ranges")?,
        created_at: row.time("created_at")?,
        expires_at: row.optional_time("expires_at")?,
        revoked_at: row.optional_time("revoked_at")?,
    })
}

/// No model's name contains a space.
fn joined(models: &[ModelName]) -> String {
    models.iter().map(ModelName::as_str).collect::<Vec<_>>().join(" ")
}
