//! The configuration log: which resources changed at which revision. Their state is not in the log; it is read from their tables.

use std::collections::HashMap;

use bailiwick_core::{
    ports::store::StoreError,
    records::{
        ChangedResource, ConfigurationDelta, ConfigurationRows, LimitRecord, OrganizationRecord, ResourceRow,
        Revision,
    },
};
use bailiwick_domain::id::OrganizationId;
use sqlx::query;

use crate::{bulk, credential, deployment, key, limit, model, organization, row::Row, session::Db};

const TABLE: &str = "configuration_changes";

/// Advances the revision and notes what changed at it. The lock on the row keeps revisions gap-free and in the order of commits, which a
/// sequence would not.
pub(crate) async fn advance(db: &mut Db<'_>, changes: &[ChangedResource]) -> Result<Revision, StoreError> {
    let statement = query("UPDATE region_revision SET revision = revision + 1 RETURNING revision");
    let number: i64 = db.one("region_revision", statement, |row| row.integer("revision")).await?;
    for chunk in bulk::chunks(changes) {
        let before = "INSERT INTO configuration_changes (revision, kind, resource_id) VALUES ";
        let mut statement =
            query(bulk::statement(db.backend, before, chunk.len(), 3, " ON CONFLICT DO NOTHING"));
        for change in chunk {
            let (kind, id) = as_text(*change);
            statement = statement.bind(number).bind(kind).bind(id);
        }
        db.execute(statement).await?;
    }
    revision_of(number)
}

pub(crate) async fn revision(db: &mut Db<'_>) -> Result<Revision, StoreError> {
    Ok(Revision(log(db).await?.revision))
}

/// Everything that workers hold. Wants a snapshot.
pub(crate) async fn rows(db: &mut Db<'_>) -> Result<ConfigurationRows, StoreError> {
    let revision = revision(db).await?;
    let mut rows = Vec::new();
    let (organizations, limits) = (organization::living(db).await?, limit::living(db).await?);
    rows.extend(
        with_limits(organizations, limits).map(|(row, limits)| ResourceRow::Organization(row, limits)),
    );
    rows.extend(credential::living(db).await?.into_iter().map(ResourceRow::Credential));
    rows.extend(deployment::living(db).await?.into_iter().map(Box::new).map(ResourceRow::Deployment));
    rows.extend(model::living(db).await?.into_iter().map(ResourceRow::Model));
    rows.extend(key::living(db).await?.into_iter().map(ResourceRow::ApiKey));
    Ok(ConfigurationRows { revision, rows })
}

/// What changed after `since`, in at most `limit` revisions. Wants a snapshot.
///
/// States are those of the snapshot. When there are more revisions than `limit`, a resource that changes again later comes in its later state already, and
/// once more with that later revision; so nothing that is gone is ever sent as if it were there.
pub(crate) async fn delta(
    db: &mut Db<'_>,
    since: Revision,
    limit: u32,
) -> Result<ConfigurationDelta, StoreError> {
    let log = log(db).await?;
    if since.0 < log.trimmed || since.0 > log.revision {
        let to = Revision(log.revision);
        return Ok(ConfigurationDelta { from: since, to, changes: Vec::new(), truncated: true });
    }
    let to = log.revision.min(since.0.saturating_add(u64::from(limit.max(1))));
    let (after, upto) = (number(since.0)?, number(to)?);
    let mut states = states(db, after, upto).await?;
    let mut changes: Vec<_> =
        changed(db, after, upto).await?.into_iter().map(|change| (change, states.remove(&change))).collect();
    let deleted = changes.iter().any(|change| matches!(change, (ChangedResource::Organization(_), None)));
    if deleted {
        let named: std::collections::HashSet<_> = changes.iter().map(|(change, _)| *change).collect();
        let taken_along = taken_along(db, after, upto).await?.into_iter();
        changes.extend(taken_along.filter(|change| !named.contains(change)).map(|change| (change, None)));
    }
    Ok(ConfigurationDelta { from: since, to: Revision(to), changes, truncated: false })
}

/// Organizations that changed after `since`, and the newest revision; `None` when the log does not reach back. Wants a snapshot.
pub(crate) async fn organizations_changed(
    db: &mut Db<'_>,
    since: Revision,
) -> Result<Option<(Revision, Vec<OrganizationId>)>, StoreError> {
    let log = log(db).await?;
    if since.0 < log.trimmed || since.0 > log.revision {
        return Ok(None);
    }
    let statement = query(
        "SELECT DISTINCT resource_id FROM configuration_changes \
         WHERE kind = 'organization' AND revision > $1 AND revision <= $2",
    );
    let statement = statement.bind(number(since.0)?).bind(number(log.revision)?);
    let changed = db.all(TABLE, statement, |row| row.bare_id("resource_id")).await?;
    Ok(Some((Revision(log.revision), changed)))
}

/// Forgets all but the newest `keep` revisions.
pub(crate) async fn trim(db: &mut Db<'_>, keep: u64) -> Result<(), StoreError> {
    let keep = number(keep.min(i64::MAX.unsigned_abs()))?;
    let statement = query(
        "UPDATE region_revision SET trimmed = revision - $1 WHERE revision - $1 > trimmed RETURNING trimmed",
    );
    let trimmed = db.optional("region_revision", statement.bind(keep), |row| row.integer("trimmed")).await?;
    if let Some(trimmed) = trimmed {
        let statement = query("DELETE FROM configuration_changes WHERE revision <= $1");
        db.execute(statement.bind(trimmed)).await?;
    }
    Ok(())
}

struct Log {
    revision: u64,
    /// The newest revision that was forgotten.
    trimmed: u64,
}

async fn log(db: &mut Db<'_>) -> Result<Log, StoreError> {
    let statement = query("SELECT revision, trimmed FROM region_revision");
    db.one("region_revision", statement, |row| {
        Ok(Log { revision: row.number("revision")?, trimmed: row.number("trimmed")? })
    })
    .await
}

async fn changed(db: &mut Db<'_>, after: i64, to: i64) -> Result<Vec<ChangedResource>, StoreError> {
    let statement = query(
        "SELECT kind, resource_id, MAX(revision) AS newest FROM configuration_changes \
         WHERE revision > $1 AND revision <= $2 GROUP BY kind, resource_id ORDER BY newest, kind, resource_id",
    );
    db.all(TABLE, statement.bind(after).bind(to), read).await
}

/// What belongs to the deleted ones among the changed organizations: it is gone with them, though no change names it.
async fn taken_along(db: &mut Db<'_>, after: i64, to: i64) -> Result<Vec<ChangedResource>, StoreError> {
    let statement = query(
        "WITH gone AS (SELECT id FROM organizations WHERE status = 'deleted' \
         AND id IN (SELECT resource_id FROM configuration_changes \
         WHERE kind = 'organization' AND revision > $1 AND revision <= $2)) \
         SELECT 'api_key' AS kind, id AS resource_id FROM api_keys \
         WHERE revoked_at IS NULL AND organization_id IN (SELECT id FROM gone) \
         UNION ALL SELECT 'credential', id FROM credentials WHERE organization_id IN (SELECT id FROM gone) \
         UNION ALL SELECT 'model', id FROM models WHERE organization_id IN (SELECT id FROM gone) \
         UNION ALL SELECT 'deployment', id FROM deployments WHERE organization_id IN (SELECT id FROM gone)",
    );
    db.all(TABLE, statement.bind(after).bind(to), read).await
}

async fn states(
    db: &mut Db<'_>,
    after: i64,
    to: i64,
) -> Result<HashMap<ChangedResource, ResourceRow>, StoreError> {
    use ChangedResource as Changed;
    let mut states = HashMap::new();
    let organizations = organization::living_changed(db, after, to).await?;
    let limits = limit::living_changed(db, after, to).await?;
    for (row, limits) in with_limits(organizations, limits) {
        states.insert(Changed::Organization(row.id), ResourceRow::Organization(row, limits));
    }
    for row in credential::living_changed(db, after, to).await? {
        states.insert(Changed::Credential(row.id), ResourceRow::Credential(row));
    }
    for row in deployment::living_changed(db, after, to).await? {
        states.insert(Changed::Deployment(row.id), ResourceRow::Deployment(Box::new(row)));
    }
    for row in model::living_changed(db, after, to).await? {
        states.insert(Changed::Model(row.id), ResourceRow::Model(row));
    }
    for row in key::living_changed(db, after, to).await? {
        states.insert(Changed::ApiKey(row.id), ResourceRow::ApiKey(row));
    }
    Ok(states)
}

/// Each organization with its own limits, which stand in the order of their numbers.
fn with_limits(
    organizations: Vec<OrganizationRecord>,
    limits: Vec<LimitRecord>,
) -> impl Iterator<Item = (OrganizationRecord, Vec<LimitRecord>)> {
    let mut by_organization: HashMap<_, Vec<LimitRecord>> = HashMap::new();
    for row in limits {
        by_organization.entry(row.organization).or_default().push(row);
    }
    organizations.into_iter().map(move |row| {
        let limits = by_organization.remove(&row.id).unwrap_or_default();
        (row, limits)
    })
}

fn as_text(change: ChangedResource) -> (&'static str, String) {
    match change {
        ChangedResource::RegionSettings => ("region_settings", String::new()),
        ChangedResource::Organization(id) => ("organization", id.to_string()),
        ChangedResource::ApiKey(id) => ("api_key", id.to_string()),
        ChangedResource::Credential(id) => ("credential", id.to_string()),
        ChangedResource::Model(id) => ("model", id.to_string()),
        ChangedResource::Deployment(id) => ("deployment", id.to_string()),
    }
}

fn read(row: Row<'_>) -> Result<ChangedResource, StoreError> {
    Ok(match row.text("kind")? {
        "region_settings" => ChangedResource::RegionSettings,
        "organization" => ChangedResource::Organization(row.id("resource_id")?),
        "api_key" => ChangedResource::ApiKey(row.id("resource_id")?),
        "credential" => ChangedResource::Credential(row.id("resource_id")?),
        "model" => ChangedResource::Model(row.id("resource_id")?),
        "deployment" => ChangedResource::Deployment(row.id("resource_id")?),
        _ => return Err(row.corrupt("kind", "is an unknown word")),
    })
}

fn number(revision: u64) -> Result<i64, StoreError> {
    i64::try_from(revision).map_err(|_| out_of_range())
}

fn revision_of(number: i64) -> Result<Revision, StoreError> {
    u64::try_from(number).map(Revision).map_err(|_| out_of_range())
}

fn out_of_range() -> StoreError {
    StoreError::Corrupt { table: "region_revision", problem: "revision is out of range".to_owned() }
}
