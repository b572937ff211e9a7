//! Service accounts.

use bailiwick_core::{
    ports::store::StoreError,
    records::{Page, PageOf, ServiceAccountRecord},
};
use bailiwick_domain::{
    id::OrganizationId,
    jurisdiction::Local,
    key::{KeyDigest, ServiceAccountId},
    organization::OrganizationRole,
    time::Timestamp,
};
use sqlx::query;

use crate::{
    error, page,
    row::Row,
    session::{Db, found},
};

const TABLE: &str = "service_accounts";

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, organization_id, name, role, digest, version, created_at, rotated_at, revoked_at \
             FROM service_accounts ",
            $rest
        )
    };
}

pub(crate) async fn fetch(
    db: &mut Db<'_>,
    id: Local<ServiceAccountId>,
) -> Result<Option<ServiceAccountRecord>, StoreError> {
    db.optional(TABLE, query(select!("WHERE id = $1")).bind(id.to_string()), read).await
}

pub(crate) async fn list(
    db: &mut Db<'_>,
    organization: Local<OrganizationId>,
    page: &Page,
) -> Result<PageOf<ServiceAccountRecord>, StoreError> {
    let after = page::after_id::<ServiceAccountId>(db.home, page)?;
    let statement = query(select!("WHERE organization_id = $1 AND id > $2 ORDER BY id LIMIT $3"));
    let statement = statement.bind(organization.to_string()).bind(after).bind(page::limit(page));
    let rows = db.all(TABLE, statement, read).await?;
    Ok(page::of(rows, page, |last| last.id.to_string()))
}

pub(crate) async fn insert(db: &mut Db<'_>, row: &ServiceAccountRecord) -> Result<(), StoreError> {
    let statement = query(
        "INSERT INTO service_accounts \
         (id, organization_id, name, role, digest, version, created_at, rotated_at, revoked_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    )
    .bind(row.id.to_string())
    .bind(row.organization.to_string())
    .bind(row.name.0.as_slice())
    .bind(row.role.as_str())
    .bind(row.digest.0.as_slice())
    .bind(i64::from(row.version))
    .bind(row.created_at.as_micros())
    .bind(row.rotated_at.map(Timestamp::as_micros))
    .bind(row.revoked_at.map(Timestamp::as_micros));
    let rule = "the service account's identifier, or its organization, which must exist";
    db.try_execute(statement).await.map_err(error::conflict(rule))?;
    Ok(())
}

pub(crate) async fn set_secret(
    db: &mut Db<'_>,
    id: Local<ServiceAccountId>,
    digest: &KeyDigest,
    at: Timestamp,
) -> Result<(), StoreError> {
    let statement = query(
        "UPDATE service_accounts SET digest = $1, version = version + 1, rotated_at = $2 \
         WHERE id = $3 AND revoked_at IS NULL",
    );
    let statement = statement.bind(digest.0.as_slice()).bind(at.as_micros());
    found(db.execute(statement.bind(id.to_string())).await?)
}

pub(crate) async fn revoke(
    db: &mut Db<'_>,
    id: Local<ServiceAccountId>,
    at: Timestamp,
) -> Result<(), StoreError> {
    let statement = query("UPDATE service_accounts SET revoked_at = COALESCE(revoked_at, $1) WHERE id = $2");
    found(db.execute(statement.bind(at.as_micros()).bind(id.to_string())).await?)
}

fn read(row: Row<'_>) -> Result<ServiceAccountRecord, StoreError> {
    Ok(ServiceAccountRecord {
        id: row.id("id")?,
        organization: row.id("organization_id")?,
        name: row.sealed("name")?,
        role: row.word("role", OrganizationRole::parse)?,
        digest: KeyDigest(row.hash("digest")?),
        version: row.number("version")?,
        created_at: row.time("created_at")?,
        rotated_at: row.optional_time("rotated_at")?,
        revoked_at: row.optional_time("revoked_at")?,
    })
}
