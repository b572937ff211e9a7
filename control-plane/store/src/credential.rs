//! Credentials: providers' secrets, sealed.

use bailiwick_core::{
    ports::{store::StoreError, vault::Sealed},
    records::{CredentialRecord, Page, PageOf},
};
use bailiwick_domain::{
    id::{CredentialId, DeploymentId, OrganizationId},
    jurisdiction::Local,
    time::Timestamp,
};
use sqlx::query;

use crate::{
    error, page,
    row::Row,
    session::{Db, found},
};

pub(crate) const TABLE: &str = "credentials";

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT c.id, c.organization_id, c.name, c.secret, c.version, c.created_at, c.replaced_at FROM credentials c ",
            $rest
        )
    };
}

pub(crate) async fn fetch(
    db: &mut Db<'_>,
    id: Local<CredentialId>,
) -> Result<Option<CredentialRecord>, StoreError> {
    db.optional(TABLE, query(select!("WHERE c.id = $1")).bind(id.to_string()), read).await
}

pub(crate) async fn list(
    db: &mut Db<'_>,
    organization: Local<OrganizationId>,
    page: &Page,
) -> Result<PageOf<CredentialRecord>, StoreError> {
    let after = page::after_id::<CredentialId>(db.home, page)?;
    let statement = query(select!("WHERE c.organization_id = $1 AND c.id > $2 ORDER BY c.id LIMIT $3"));
    let statement = statement.bind(organization.to_string()).bind(after).bind(page::limit(page));
    let rows = db.all(TABLE, statement, read).await?;
    Ok(page::of(rows, page, |last| last.id.to_string()))
}

pub(crate) async fn users(
    db: &mut Db<'_>,
    id: Local<CredentialId>,
) -> Result<Vec<Local<DeploymentId>>, StoreError> {
    let statement = query("SELECT id FROM deployments WHERE credential_id = $1 ORDER BY id LIMIT 100");
    db.all("deployments", statement.bind(id.to_string()), |row| row.id("id")).await
}

/// All that workers hold.
pub(crate) async fn living(db: &mut Db<'_>) -> Result<Vec<CredentialRecord>, StoreError> {
    let statement = query(select!(
        "JOIN organizations o ON o.id = c.organization_id WHERE o.status <> 'deleted' ORDER BY c.id"
    ));
    db.all(TABLE, statement, read).await
}

/// Those of [`living`] that changed after one revision, up to another.
pub(crate) async fn living_changed(
    db: &mut Db<'_>,
    after: i64,
    to: i64,
) -> Result<Vec<CredentialRecord>, StoreError> {
    let statement = query(select!(
        "JOIN organizations o ON o.id = c.organization_id WHERE o.status <> 'deleted' \
         AND c.id IN (SELECT resource_id FROM configuration_changes \
         WHERE kind = 'credential' AND revision > $1 AND revision <= $2)"
    ));
    db.all(TABLE, statement.bind(after).bind(to), read).await
}

pub(crate) async fn insert(db: &mut Db<'_>, row: &CredentialRecord) -> Result<(), StoreError> {
    let statement = query(
        "INSERT INTO credentials (id, organization_id, name, secret, version, created_at, replaced_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(row.id.to_string())
    .bind(row.organization.to_string())
    .bind(row.name.0.as_slice())
    .bind(row.secret.0.as_slice())
    .bind(i64::from(row.version))
    .bind(row.created_at.as_micros())
    .bind(row.replaced_at.map(Timestamp::as_micros));
    let rule = "the credential's identifier, or its organization, which must exist";
    db.try_execute(statement).await.map_err(error::conflict(rule))?;
    Ok(())
}

pub(crate) async fn replace(
    db: &mut Db<'_>,
    id: Local<CredentialId>,
    secret: &Sealed,
    at: Timestamp,
) -> Result<(), StoreError> {
    let statement =
        query("UPDATE credentials SET secret = $1, version = version + 1, replaced_at = $2 WHERE id = $3");
    let statement = statement.bind(secret.0.as_slice()).bind(at.as_micros()).bind(id.to_string());
    found(db.execute(statement).await?)
}

pub(crate) async fn delete(db: &mut Db<'_>, id: Local<CredentialId>) -> Result<(), StoreError> {
    let statement = query("DELETE FROM credentials WHERE id = $1").bind(id.to_string());
    found(db.try_execute(statement).await.map_err(error::conflict("a deployment that uses the credential"))?)
}

fn read(row: Row<'_>) -> Result<CredentialRecord, StoreError> {
    Ok(CredentialRecord {
        id: row.id("id")?,
        organization: row.id("organization_id")?,
        name: row.sealed("name")?,
        secret: row.sealed("secret")?,
        version: row.number("version")?,
        created_at: row.time("created_at")?,
        replaced_at: row.optional_time("replaced_at")?,
    })
}
