//! Deployments: one model at one provider endpoint with one credential.

use bailiwick_core::{
    ports::store::StoreError,
    records::{DeploymentRecord, Page, PageOf},
};
use bailiwick_domain::{
    id::{DeploymentId, ModelId, OrganizationId},
    jurisdiction::Local,
    price::PerMillion,
    provider::ApiVersion,
};
use sqlx::query;

use crate::{
    contract_price::prices,
    error, page,
    row::Row,
    session::{Db, found},
};

pub(crate) const TABLE: &str = "deployments";

/// Columns of a price, also of a contract's.
pub(crate) const OWN: [&str; 6] = [
    "price_input",
    "price_output",
    "price_cached_input",
    "price_cache_write",
    "price_image",
    "price_audio_minute",
];
const CONTRACT: [&str; 6] = [
    "contract_input",
    "contract_output",
    "contract_cached_input",
    "contract_cache_write",
    "contract_image",
    "contract_audio_minute",
];

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT d.id, d.organization_id, d.provider, d.endpoint, d.upstream_model, d.credential_id, d.api_version, d.price_input, \
             d.price_output, d.price_cached_input, d.price_cache_write, d.price_image, d.price_audio_minute, d.created_at, \
             c.price_input AS contract_input, c.price_output AS contract_output, \
             c.price_cached_input AS contract_cached_input, c.price_cache_write AS contract_cache_write, \
             c.price_image AS contract_image, c.price_audio_minute AS contract_audio_minute \
             FROM deployments d LEFT JOIN contract_prices c ON c.organization_id = d.organization_id \
             AND c.provider = d.provider AND c.upstream_model = d.upstream_model ",
            $rest
        )
    };
}

pub(crate) async fn fetch(
    db: &mut Db<'_>,
    id: Local<DeploymentId>,
) -> Result<Option<DeploymentRecord>, StoreError> {
    db.optional(TABLE, query(select!("WHERE d.id = $1")).bind(id.to_string()), read).await
}

pub(crate) async fn list(
    db: &mut Db<'_>,
    organization: Local<OrganizationId>,
    page: &Page,
) -> Result<PageOf<DeploymentRecord>, StoreError> {
    let after = page::after_id::<DeploymentId>(db.home, page)?;
    let statement = query(select!("WHERE d.organization_id = $1 AND d.id > $2 ORDER BY d.id LIMIT $3"));
    let statement = statement.bind(organization.to_string()).bind(after).bind(page::limit(page));
    let rows = db.all(TABLE, statement, read).await?;
    Ok(page::of(rows, page, |last| last.id.to_string()))
}

pub(crate) async fn users(
    db: &mut Db<'_>,
    id: Local<DeploymentId>,
) -> Result<Vec<Local<ModelId>>, StoreError> {
    let statement =
        query("SELECT model_id FROM model_deployments WHERE deployment_id = $1 ORDER BY model_id LIMIT 100");
    db.all("model_deployments", statement.bind(id.to_string()), |row| row.id("model_id")).await
}

/// All that workers hold.
pub(crate) async fn living(db: &mut Db<'_>) -> Result<Vec<DeploymentRecord>, StoreError> {
    let statement = query(select!(
        "JOIN organizations o ON o.id = d.organization_id WHERE o.status <> 'deleted' ORDER BY d.id"
    ));
    db.all(TABLE, statement, read).await
}

/// Those of [`living`] that changed after one revision, up to another.
pub(crate) async fn living_changed(
    db: &mut Db<'_>,
    after: i64,
    to: i64,
) -> Result<Vec<DeploymentRecord>, StoreError> {
    let statement = query(select!(
        "JOIN organizations o ON o.id = d.organization_id WHERE o.status <> 'deleted' \
         AND d.id IN (SELECT resource_id FROM configuration_changes \
         WHERE kind = 'deployment' AND revision > $1 AND revision <= $2)"
    ));
    db.all(TABLE, statement.bind(after).bind(to), read).await
}

pub(crate) async fn insert(db: &mut Db<'_>, row: &DeploymentRecord) -> Result<(), StoreError> {
    let price = row.price.as_ref();
    let statement = query(
        "INSERT INTO deployments (id, organization_id, provider, endpoint, upstream_model, credential_id, api_version, \
         price_input, price_output, price_cached_input, price_cache_write, price_image, price_audio_minute, created_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
    )
    .bind(row.id.to_string())
    .bind(row.organization.to_string())
    .bind(row.provider.as_str())
    .bind(row.endpoint.as_str())
    .bind(row.upstream_model.as_str())
    .bind(row.credential.to_string())
    .bind(row.api_version.as_ref().map_or("", ApiVersion::as_str))
    .bind(price.map(|price| price.input.as_nanos()))
    .bind(price.map(|price| price.output.as_nanos()))
    .bind(price.and_then(|price| price.cached_input).map(PerMillion::as_nanos))
    .bind(price.and_then(|price| price.cache_write).map(PerMillion::as_nanos))
    .bind(price.and_then(|price| price.image).map(PerMillion::as_nanos))
    .bind(price.and_then(|price| price.audio_minute).map(PerMillion::as_nanos))
    .bind(row.created_at.as_micros());
    let rule = "the deployment's identifier, or its credential, which must be of the same organization";
    db.try_execute(statement).await.map_err(error::conflict(rule))?;
    Ok(())
}

pub(crate) async fn delete(db: &mut Db<'_>, id: Local<DeploymentId>) -> Result<(), StoreError> {
    let statement = query("DELETE FROM deployments WHERE id = $1").bind(id.to_string());
    found(db.try_execute(statement).await.map_err(error::conflict("a model that uses the deployment"))?)
}

fn read(row: Row<'_>) -> Result<DeploymentRecord, StoreError> {
    Ok(DeploymentRecord {
        id: row.id("id")?,
        organization: row.id("organization_id")?,
        provider: row.parsed("provider")?,
        endpoint: row.parsed("endpoint")?,
        upstream_model: row.parsed("upstream_model")?,
        credential: row.id("credential_id")?,
        api_version: match row.text("api_version")? {
            "" => None,
            _ => Some(row.parsed("api_version")?),
        },
        price: prices(row, OWN)?,
        contract_price: prices(row, CONTRACT)?,
        created_at: row.time("created_at")?,
    })
}
