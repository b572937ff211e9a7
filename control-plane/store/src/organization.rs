//! Organizations.

use bailiwick_core::{
    ports::store::StoreError,
    records::{OrganizationRecord, Page, PageOf},
};
use bailiwick_domain::{
    address::AllowedRanges,
    egress::{HostPattern, Residency},
    id::OrganizationId,
    jurisdiction::Local,
    organization::{OnStale, OrganizationStatus},
};
use sqlx::query;

use crate::{
    backend::Backend,
    page,
    row::Row,
    session::{Db, found, inserted},
};

pub(crate) const TABLE: &str = "organizations";

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, name, contact_email, contact_email_hash, status, on_stale, residency, residency_hosts, allowed_ranges, \
             created_at FROM organizations ",
            $rest
        )
    };
}

pub(crate) async fn fetch(
    db: &mut Db<'_>,
    id: Local<OrganizationId>,
) -> Result<Option<OrganizationRecord>, StoreError> {
    db.optional(TABLE, query(select!("WHERE id = $1")).bind(id.to_string()), read).await
}

pub(crate) async fn list(db: &mut Db<'_>, page: &Page) -> Result<PageOf<OrganizationRecord>, StoreError> {
    let after = page::after_id::<OrganizationId>(db.home, page)?;
    let statement = query(select!("WHERE id > $1 ORDER BY id LIMIT $2"));
    let rows = db.all(TABLE, statement.bind(after).bind(page::limit(page)), read).await?;
    Ok(page::of(rows, page, |last| last.id.to_string()))
}

pub(crate) async fn count(db: &mut Db<'_>) -> Result<u64, StoreError> {
    let statement = query("SELECT COUNT(*) AS organizations FROM organizations WHERE status <> 'deleted'");
    db.one(TABLE, statement, |row| row.number("organizations")).await
}

/// All that are not deleted.
pub(crate) async fn living(db: &mut Db<'_>) -> Result<Vec<OrganizationRecord>, StoreError> {
    db.all(TABLE, query(select!("WHERE status <> 'deleted' ORDER BY id")), read).await
}

/// Those of [`living`] that changed after one revision, up to another.
pub(crate) async fn living_changed(
    db: &mut Db<'_>,
    after: i64,
    to: i64,
) -> Result<Vec<OrganizationRecord>, StoreError> {
    let statement = query(select!(
        "WHERE status <> 'deleted' AND id IN (SELECT resource_id FROM configuration_changes \
         WHERE kind = 'organization' AND revision > $1 AND revision <= $2)"
    ));
    db.all(TABLE, statement.bind(after).bind(to), read).await
}

pub(crate) async fn insert(db: &mut Db<'_>, row: &OrganizationRecord) -> Result<(), StoreError> {
    let statement = query(
        "INSERT INTO organizations (id, name, contact_email, contact_email_hash, status, on_stale, residency, residency_hosts, \
         allowed_ranges, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT DO NOTHING",
    )
    .bind(row.id.to_string())
    .bind(row.name.0.as_slice())
    .bind(row.contact_email.as_ref().map(|sealed| sealed.0.as_slice()))
    .bind(row.contact_email_hash.as_ref().map(|hash| hash.as_slice()))
    .bind(row.status.as_str())
    .bind(row.on_stale.as_str())
    .bind(row.residency.word())
    .bind(listed(&row.residency))
    .bind(row.allowed_ranges.to_string())
    .bind(row.created_at.as_micros());
    inserted(db.execute(statement).await?, "the organization's identifier")
}

pub(crate) async fn set_status(
    db: &mut Db<'_>,
    id: Local<OrganizationId>,
    status: OrganizationStatus,
) -> Result<(), StoreError> {
    let statement = query("UPDATE organizations SET status = $1 WHERE id = $2 AND status <> 'deleted'");
    found(db.execute(statement.bind(status.as_str()).bind(id.to_string())).await?)
}

pub(crate) async fn set_residency(
    db: &mut Db<'_>,
    id: Local<OrganizationId>,
    residency: &Residency,
) -> Result<(), StoreError> {
    let statement = query(
        "UPDATE organizations SET residency = $1, residency_hosts = $2 WHERE id = $3 AND status <> 'deleted'",
    );
    let statement = statement.bind(residency.word()).bind(listed(residency)).bind(id.to_string());
    found(db.execute(statement).await?)
}

pub(crate) async fn set_allowed_ranges(
    db: &mut Db<'_>,
    id: Local<OrganizationId>,
    ranges: &AllowedRanges,
) -> Result<(), StoreError> {
    let statement =
        query("UPDATE organizations SET allowed_ranges = $1 WHERE id = $2 AND status <> 'deleted'");
    found(db.execute(statement.bind(ranges.to_string()).bind(id.to_string())).await?)
}

/// Empties what is sealed of a deleted organization, and the hash that finds its address.
pub(crate) async fn erase(db: &mut Db<'_>, id: Local<OrganizationId>) -> Result<(), StoreError> {
    let statement = query(
        "UPDATE organizations SET name = $1, contact_email = NULL, contact_email_hash = NULL \
         WHERE id = $2 AND status = 'deleted'",
    );
    found(db.execute(statement.bind([].as_slice()).bind(id.to_string())).await?)
}

/// Holds a living organization until the transaction ends: who deletes it waits. NotFound when it is deleted, also by a transaction that
/// was waited for.
pub(crate) async fn hold(db: &mut Db<'_>, id: Local<OrganizationId>) -> Result<(), StoreError> {
    let sql = match db.backend {
        // The write lock is held already.
        Backend::Sqlite => "SELECT id FROM organizations WHERE id = $1 AND status <> 'deleted'",
        Backend::Postgres => "SELECT id FROM organizations WHERE id = $1 AND status <> 'deleted' FOR SHARE",
    };
    let held = db.optional(TABLE, query(sql).bind(id.to_string()), |row| row.id::<OrganizationId>("id"));
    held.await?.map(|_| ()).ok_or(StoreError::NotFound)
}

fn read(row: Row<'_>) -> Result<OrganizationRecord, StoreError> {
    Ok(OrganizationRecord {
        id: row.id("id")?,
        name: row.sealed("name")?,
        contact_email: row.optional_sealed("contact_email")?,
        contact_email_hash: row.optional_hash("contact_email_hash")?,
        status: row.word("status", OrganizationStatus::parse)?,
        on_stale: row.word("on_stale", OnStale::parse)?,
        residency: residency(&row)?,
        allowed_ranges: row.parsed("allowed_ranges")?,
        created_at: row.time("created_at")?,
    })
}

fn residency(row: &Row<'_>) -> Result<Residency, StoreError> {
    let hosts = row.text("residency_hosts")?.split(' ').filter(|host| !host.is_empty());
    let hosts: Result<Vec<HostPattern>, _> = hosts.map(str::parse).collect();
    let hosts = hosts.map_err(|_| row.corrupt("residency_hosts", "is malformed"))?;
    match row.text("residency")? {
        "region" if hosts.is_empty() => Ok(Residency::Region),
        "listed" => Residency::listed(hosts).map_err(|_| row.corrupt("residency_hosts", "is out of bounds")),
        _ => Err(row.corrupt("residency", "is an unknown word")),
    }
}

/// No pattern contains a space.
fn listed(residency: &Residency) -> String {
    residency.hosts().iter().map(HostPattern::as_str).collect::<Vec<_>>().join(" ")
}
