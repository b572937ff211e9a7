//! Prices that the operator has agreed with organizations.

use bailiwick_core::{
    ports::store::StoreError,
    records::{ContractPriceRecord, Page, PageOf},
};
use bailiwick_domain::{
    id::{DeploymentId, OrganizationId},
    jurisdiction::Local,
    names::ModelName,
    price::{PerMillion, Price},
    provider::Provider,
};
use sqlx::query;

use crate::{
    deployment, page,
    row::Row,
    session::{Db, found},
};

pub(crate) const TABLE: &str = "contract_prices";

/// By provider and model.
pub(crate) async fn list(
    db: &mut Db<'_>,
    organization: Local<OrganizationId>,
    page: &Page,
) -> Result<PageOf<ContractPriceRecord>, StoreError> {
    let (provider, model) = match &page.token {
        // No name of either has a space.
        Some(token) => token.split_once(' ').ok_or(StoreError::PageToken)?,
        None => ("", ""),
    };
    let statement = query(
        "SELECT organization_id, provider, upstream_model, price_input, price_output, price_cached_input, price_cache_write, \
         price_image, price_audio_minute, set_at FROM contract_prices \
         WHERE organization_id = $1 AND (provider, upstream_model) > ($2, $3) ORDER BY provider, upstream_model LIMIT $4",
    );
    let statement = statement.bind(organization.to_string()).bind(provider.to_owned()).bind(model.to_owned());
    let rows = db.all(TABLE, statement.bind(page::limit(page)), read).await?;
    Ok(page::of(rows, page, |last| format!("{} {}", last.provider, last.upstream_model)))
}

/// Sets or replaces one.
pub(crate) async fn set(db: &mut Db<'_>, row: &ContractPriceRecord) -> Result<(), StoreError> {
    let price = &row.price;
    let statement = query(
        "INSERT INTO contract_prices (organization_id, provider, upstream_model, price_input, price_output, \
         price_cached_input, price_cache_write, price_image, price_audio_minute, set_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) \
         ON CONFLICT (organization_id, provider, upstream_model) DO UPDATE SET \
         price_input = excluded.price_input, price_output = excluded.price_output, \
         price_cached_input = excluded.price_cached_input, price_cache_write = excluded.price_cache_write, \
         price_image = excluded.price_image, price_audio_minute = excluded.price_audio_minute, set_at = excluded.set_at",
    )
    .bind(row.organization.to_string())
    .bind(row.provider.as_str())
    .bind(row.upstream_model.as_str())
    .bind(price.input.as_nanos())
    .bind(price.output.as_nanos())
    .bind(price.cached_input.map(PerMillion::as_nanos))
    .bind(price.cache_write.map(PerMillion::as_nanos))
    .bind(price.image.map(PerMillion::as_nanos))
    .bind(price.audio_minute.map(PerMillion::as_nanos))
    .bind(row.set_at.as_micros());
    db.execute(statement).await.map(|_| ())
}

pub(crate) async fn remove(
    db: &mut Db<'_>,
    organization: Local<OrganizationId>,
    provider: Provider,
    model: &ModelName,
) -> Result<(), StoreError> {
    let statement = query(
        "DELETE FROM contract_prices WHERE organization_id = $1 AND provider = $2 AND upstream_model = $3",
    );
    let statement =
        statement.bind(organization.to_string()).bind(provider.as_str()).bind(model.as_str().to_owned());
    found(db.execute(statement).await?)
}

/// The deployments that it is for.
pub(crate) async fn deployments(
    db: &mut Db<'_>,
    organization: Local<OrganizationId>,
    provider: Provider,
    model: &ModelName,
) -> Result<Vec<Local<DeploymentId>>, StoreError> {
    let statement = query(
        "SELECT id FROM deployments WHERE organization_id = $1 AND provider = $2 AND upstream_model = $3 ORDER BY id",
    );
    let statement =
        statement.bind(organization.to_string()).bind(provider.as_str()).bind(model.as_str().to_owned());
    db.all("deployments", statement, |row| row.id("id")).await
}

fn read(row: Row<'_>) -> Result<ContractPriceRecord, StoreError> {
    let price = prices(row, deployment::OWN)?;
    Ok(ContractPriceRecord {
        organization: row.id("organization_id")?,
        provider: row.parsed("provider")?,
        upstream_model: row.parsed("upstream_model")?,
        price: price.ok_or_else(|| row.corrupt("price_input", "is missing"))?,
        set_at: row.time("set_at")?,
    })
}

/// A price out of six columns: input, output, cached input, cache write, image, minute of audio. `None`: the first two are null.
pub(crate) fn prices(row: Row<'_>, columns: [&'static str; 6]) -> Result<Option<Price>, StoreError> {
    let nanos = |column| {
        let price = row.optional_integer(column)?.map(PerMillion::from_nanos).transpose();
        price.map_err(|_| row.corrupt(column, "is out of range"))
    };
    let [input, output, cached_input, cache_write, image, audio_minute] = columns;
    match (nanos(input)?, nanos(output)?) {
        (Some(of_input), Some(of_output)) => Ok(Some(Price {
            cached_input: nanos(cached_input)?,
            cache_write: nanos(cache_write)?,
            image: nanos(image)?,
            audio_minute: nanos(audio_minute)?,
            ..Price::of_tokens(of_input, of_output)
        })),
        (None, None) => Ok(None),
        _ => Err(row.corrupt(input, "stands without the price of output, or the other way round")),
    }
}
