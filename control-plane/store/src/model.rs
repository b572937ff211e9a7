//! Models: public names, and the deployments that serve them in order of preference.

use bailiwick_core::{
    ports::store::StoreError,
    records::{ModelDeployment, ModelRecord, Page, PageOf},
};
use bailiwick_domain::{
    id::{ModelId, OrganizationId},
    jurisdiction::Local,
    names::ModelName,
    routing::{Fallbacks, Rank, Strategy},
};
use sqlx::query;

use crate::{
    bulk, error, page,
    row::Row,
    session::{Db, found, inserted},
};

pub(crate) const TABLE: &str = "models";

/// A row per deployment, so that a model is read with its deployments in one statement. `$models` chooses the models.
macro_rules! select {
    ($models:literal) => {
        concat!(
            "SELECT m.id, m.organization_id, m.name, m.strategy, m.fallback_model, m.context_window_fallback_model, \
             m.content_policy_fallback_model, m.created_at, d.deployment_id, \
             COALESCE(d.tier, d.position) AS tier, d.weight FROM (",
            $models,
            ") m LEFT JOIN model_deployments d ON d.model_id = m.id ORDER BY m.id, d.position"
        )
    };
}

pub(crate) async fn fetch(db: &mut Db<'_>, id: Local<ModelId>) -> Result<Option<ModelRecord>, StoreError> {
    let statement = query(select!("SELECT * FROM models WHERE id = $1"));
    Ok(models(db, statement.bind(id.to_string())).await?.pop())
}

pub(crate) async fn fetch_by_name(
    db: &mut Db<'_>,
    organization: Local<OrganizationId>,
    name: &ModelName,
) -> Result<Option<ModelRecord>, StoreError> {
    let statement = query(select!("SELECT * FROM models WHERE organization_id = $1 AND name = $2"));
    Ok(models(db, statement.bind(organization.to_string()).bind(name.as_str())).await?.pop())
}

pub(crate) async fn list(
    db: &mut Db<'_>,
    organization: Local<OrganizationId>,
    page: &Page,
) -> Result<PageOf<ModelRecord>, StoreError> {
    let after = page::after_id::<ModelId>(db.home, page)?;
    let statement =
        query(select!("SELECT * FROM models WHERE organization_id = $1 AND id > $2 ORDER BY id LIMIT $3"));
    let statement = statement.bind(organization.to_string()).bind(after).bind(page::limit(page));
    let rows = models(db, statement).await?;
    Ok(page::of(rows, page, |last| last.id.to_string()))
}

/// All that workers hold.
pub(crate) async fn living(db: &mut Db<'_>) -> Result<Vec<ModelRecord>, StoreError> {
    let statement = query(select!(
        "SELECT n.* FROM models n \
         JOIN organizations o ON o.id = n.organization_id WHERE o.status <> 'deleted'"
    ));
    models(db, statement).await
}

/// Those of [`living`] that changed after one revision, up to another.
pub(crate) async fn living_changed(
    db: &mut Db<'_>,
    after: i64,
    to: i64,
) -> Result<Vec<ModelRecord>, StoreError> {
    let statement = query(select!(
        "SELECT n.* FROM models n \
         JOIN organizations o ON o.id = n.organization_id WHERE o.status <> 'deleted' \
         AND n.id IN (SELECT resource_id FROM configuration_changes \
         WHERE kind = 'model' AND revision > $1 AND revision <= $2)"
    ));
    models(db, statement.bind(after).bind(to)).await
}

/// Models that fall back to the model of a name.
pub(crate) async fn dependents(
    db: &mut Db<'_>,
    organization: Local<OrganizationId>,
    name: &ModelName,
) -> Result<Vec<ModelName>, StoreError> {
    let statement = query(
        "SELECT name FROM models WHERE organization_id = $1 AND \
         (fallback_model = $2 OR context_window_fallback_model = $2 OR content_policy_fallback_model = $2) \
         ORDER BY name LIMIT 100",
    );
    let statement = statement.bind(organization.to_string()).bind(name.as_str());
    db.all(TABLE, statement, |row| row.parsed("name")).await
}

/// The organization's row is locked until the transaction ends: a change of nothing, which both backends make others wait for.
pub(crate) async fn lock_all(db: &mut Db<'_>, organization: Local<OrganizationId>) -> Result<(), StoreError> {
    let statement = query("UPDATE organizations SET status = status WHERE id = $1 AND status <> 'deleted'");
    found(db.execute(statement.bind(organization.to_string())).await?)
}

pub(crate) async fn insert(db: &mut Db<'_>, row: &ModelRecord) -> Result<(), StoreError> {
    let statement = query(
        "INSERT INTO models (id, organization_id, name, created_at, strategy, fallback_model, \
         context_window_fallback_model, content_policy_fallback_model) VALUES ($1, $2, $3, $4, $5, $6, $7, $8) \
         ON CONFLICT (organization_id, name) DO NOTHING",
    );
    let statement = statement.bind(row.id.to_string()).bind(row.organization.to_string());
    let statement = statement.bind(row.name.as_str()).bind(row.created_at.as_micros());
    let rule = "the model's identifier, or its organization, which must exist";
    let touched = db.try_execute(bind_routing(statement, row)).await.map_err(error::conflict(rule))?;
    inserted(touched, "the model's name, which is taken")?;
    deployments_insert(db, &row.organization.to_string(), row.id, &row.deployments).await
}

pub(crate) async fn set(db: &mut Db<'_>, row: &ModelRecord) -> Result<(), StoreError> {
    // Its lock keeps two such changes of one model apart.
    let statement = query(
        "UPDATE models SET strategy = $2, fallback_model = $3, context_window_fallback_model = $4, \
         content_policy_fallback_model = $5 WHERE id = $1 RETURNING organization_id",
    );
    let statement = bind_routing(statement.bind(row.id.to_string()), row);
    let organization = db
        .optional(TABLE, statement, |row| row.id::<OrganizationId>("organization_id"))
        .await?
        .ok_or(StoreError::NotFound)?;
    deployments_delete(db, row.id).await?;
    deployments_insert(db, &organization.to_string(), row.id, &row.deployments).await
}

type Statement<'q> = sqlx::query::Query<'q, sqlx::Any, sqlx::any::AnyArguments>;

fn bind_routing<'q>(statement: Statement<'q>, row: &ModelRecord) -> Statement<'q> {
    let name = |name: &Option<ModelName>| name.as_ref().map(|name| name.as_str().to_owned());
    let Fallbacks { general, context_window, content_policy } = &row.fallbacks;
    let statement = statement.bind(row.strategy.as_str()).bind(name(general));
    statement.bind(name(context_window)).bind(name(content_policy))
}

pub(crate) async fn delete(db: &mut Db<'_>, id: Local<ModelId>) -> Result<(), StoreError> {
    deployments_delete(db, id).await?;
    found(db.execute(query("DELETE FROM models WHERE id = $1").bind(id.to_string())).await?)
}

async fn deployments_insert(
    db: &mut Db<'_>,
    organization: &str,
    model: Local<ModelId>,
    deployments: &[ModelDeployment],
) -> Result<(), StoreError> {
    let places: Vec<_> = (0_i64..).zip(deployments).collect();
    for chunk in bulk::chunks(&places) {
        let before = "INSERT INTO model_deployments (organization_id, model_id, position, deployment_id, tier, weight) VALUES ";
        let mut statement = query(bulk::statement(db.backend, before, chunk.len(), 6, ""));
        for (position, ModelDeployment { deployment, rank }) in chunk {
            statement = statement.bind(organization).bind(model.to_string());
            statement = statement.bind(*position).bind(deployment.to_string());
            statement = statement.bind(i64::from(rank.order())).bind(i64::from(rank.weight()));
        }
        let rule = "the model's deployments, which must differ and be of the same organization";
        db.try_execute(statement).await.map_err(error::conflict(rule))?;
    }
    Ok(())
}

async fn deployments_delete(db: &mut Db<'_>, id: Local<ModelId>) -> Result<(), StoreError> {
    let statement = query("DELETE FROM model_deployments WHERE model_id = $1");
    db.execute(statement.bind(id.to_string())).await?;
    Ok(())
}

async fn models(db: &mut Db<'_>, statement: Statement<'_>) -> Result<Vec<ModelRecord>, StoreError> {
    let rows = db.all(TABLE, statement, read).await?;
    Ok(rows.into_iter().fold(Vec::new(), |mut models: Vec<ModelRecord>, mut next| {
        match models.last_mut().filter(|last| last.id == next.id) {
            Some(model) => model.deployments.append(&mut next.deployments),
            None => models.push(next),
        }
        models
    }))
}

/// A model with at most one of its deployments.
fn read(row: Row<'_>) -> Result<ModelRecord, StoreError> {
    let deployment = if row.is_null("deployment_id")? { None } else { Some(deployment(&row)?) };
    let fallback = |column| if row.is_null(column)? { Ok(None) } else { row.parsed(column).map(Some) };
    Ok(ModelRecord {
        id: row.id("id")?,
        organization: row.id("organization_id")?,
        name: row.parsed("name")?,
        deployments: deployment.into_iter().collect(),
        strategy: row.word("strategy", Strategy::of_word)?,
        fallbacks: Fallbacks {
            general: fallback("fallback_model")?,
            context_window: fallback("context_window_fallback_model")?,
            content_policy: fallback("content_policy_fallback_model")?,
        },
        created_at: row.time("created_at")?,
    })
}

fn deployment(row: &Row<'_>) -> Result<ModelDeployment, StoreError> {
    let rank = Rank::new(row.number("tier")?, row.number("weight")?);
    Ok(ModelDeployment {
        deployment: row.id("deployment_id")?,
        rank: rank.map_err(|_| row.corrupt("tier", "or weight is out of bounds"))?,
    })
}
