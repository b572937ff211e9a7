//! Wrapped data keys, and the region's own sealed values.

use bailiwick_core::ports::{
    store::StoreError,
    vault::{KeyScope, Sealed, WrappedDataKey},
};
use bailiwick_domain::{id::OrganizationId, jurisdiction::Jurisdiction};
use sqlx::query;

use crate::{
    row::Row,
    session::{Db, inserted},
};

const TABLE: &str = "data_keys";
const REGION: &str = "region";

pub(crate) async fn fetch_all(db: &mut Db<'_>, scope: KeyScope) -> Result<Vec<WrappedDataKey>, StoreError> {
    let statement = query("SELECT version, master, wrapped FROM data_keys WHERE scope = $1 ORDER BY version");
    db.all(TABLE, statement.bind(scope_name(scope)), |row| {
        Ok(WrappedDataKey {
            scope,
            version: row.number("version")?,
            master: row.text("master")?.to_owned(),
            wrapped: row.blob("wrapped")?.to_vec(),
        })
    })
    .await
}

pub(crate) async fn insert(db: &mut Db<'_>, key: &WrappedDataKey) -> Result<(), StoreError> {
    let statement = query(
        "INSERT INTO data_keys (scope, version, master, wrapped) VALUES ($1, $2, $3, $4) \
         ON CONFLICT DO NOTHING",
    );
    let statement =
        statement.bind(scope_name(key.scope)).bind(i64::from(key.version)).bind(key.master.as_str());
    inserted(db.execute(statement.bind(key.wrapped.as_slice())).await?, "the data key's version")
}

pub(crate) async fn secret_fetch(db: &mut Db<'_>, name: &str) -> Result<Option<Sealed>, StoreError> {
    let statement = query("SELECT sealed FROM region_secrets WHERE name = $1");
    db.optional("region_secrets", statement.bind(name), |row| row.sealed("sealed")).await
}

pub(crate) async fn secret_insert(db: &mut Db<'_>, name: &str, sealed: &Sealed) -> Result<(), StoreError> {
    let statement = query("INSERT INTO region_secrets (name, sealed) VALUES ($1, $2) ON CONFLICT DO NOTHING");
    inserted(db.execute(statement.bind(name).bind(sealed.0.as_slice())).await?, "the region's secret")
}

/// The scope that a column names.
pub(crate) fn read_scope(row: &Row<'_>, column: &str, home: &Jurisdiction) -> Result<KeyScope, StoreError> {
    if row.text(column)? == REGION {
        return Ok(KeyScope::Region);
    }
    let id: OrganizationId = row.parsed(column)?;
    home.admit(id).map(KeyScope::Organization).map_err(|_| row.corrupt(column, "belongs to another region"))
}

pub(crate) async fn secret_delete(db: &mut Db<'_>, name: &str) -> Result<(), StoreError> {
    db.execute(query("DELETE FROM region_secrets WHERE name = $1").bind(name)).await?;
    Ok(())
}

pub(crate) fn scope_name(scope: KeyScope) -> String {
    match scope {
        KeyScope::Region => REGION.to_owned(),
        KeyScope::Organization(id) => id.to_string(),
        KeyScope::Backup => "backup".to_owned(),
    }
}
