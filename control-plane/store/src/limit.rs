//! Limits.

use std::str::FromStr;

use bailiwick_core::{
    ports::store::StoreError,
    records::{LimitDraft, LimitRecord, SAME_LIMIT, TOO_MANY_LIMITS},
};
use bailiwick_domain::{
    id::OrganizationId,
    jurisdiction::{Local, Regional},
};
use bailiwick_quota::limit::{Limit, LimitId, MAX_LIMITS, Measure, Over, Scope};
use sqlx::query;

use crate::{
    row::Row,
    session::{Db, found, inserted},
};

pub(crate) const TABLE: &str = "limits";
const ALL: &str = "all";
const EACH: &str = "each";

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT l.organization_id, l.number, l.measure, l.keys, l.models, l.deployments, l.amount, l.created_at FROM limits l ",
            $rest
        )
    };
}

pub(crate) async fn list(
    db: &mut Db<'_>,
    organization: Local<OrganizationId>,
) -> Result<Vec<LimitRecord>, StoreError> {
    let statement = query(select!("WHERE l.organization_id = $1 ORDER BY l.number"));
    db.all(TABLE, statement.bind(organization.to_string()), read).await
}

/// Of all organizations that are not deleted.
pub(crate) async fn living(db: &mut Db<'_>) -> Result<Vec<LimitRecord>, StoreError> {
    let statement = query(select!(
        "JOIN organizations o ON o.id = l.organization_id WHERE o.status <> 'deleted' \
         ORDER BY l.organization_id, l.number"
    ));
    db.all(TABLE, statement, read).await
}

/// Those of [`living`] whose organizations changed after one revision, up to another.
pub(crate) async fn living_changed(
    db: &mut Db<'_>,
    after: i64,
    to: i64,
) -> Result<Vec<LimitRecord>, StoreError> {
    let statement = query(select!(
        "JOIN organizations o ON o.id = l.organization_id WHERE o.status <> 'deleted' \
         AND l.organization_id IN (SELECT resource_id FROM configuration_changes \
         WHERE kind = 'organization' AND revision > $1 AND revision <= $2) ORDER BY l.organization_id, l.number"
    ));
    db.all(TABLE, statement.bind(after).bind(to), read).await
}

/// The organization's row is locked until the transaction ends: numbers come one after the other, and the count is of all there are.
pub(crate) async fn insert(db: &mut Db<'_>, draft: &LimitDraft) -> Result<LimitRecord, StoreError> {
    let organization = draft.organization.to_string();
    let statement = query(
        "UPDATE organizations SET limits_numbered = limits_numbered + 1 WHERE id = $1 AND status <> 'deleted' \
         RETURNING limits_numbered",
    );
    let numbered = db.optional("organizations", statement.bind(organization.clone()), |row| {
        row.number::<u32>("limits_numbered")
    });
    let number = numbered.await?.ok_or(StoreError::NotFound)?;
    let statement = query("SELECT COUNT(*) AS limits FROM limits WHERE organization_id = $1");
    let count: usize =
        db.one(TABLE, statement.bind(organization.clone()), |row| row.number("limits")).await?;
    if count >= MAX_LIMITS {
        return Err(StoreError::Conflict(TOO_MANY_LIMITS));
    }
    let id = LimitId { organization: draft.organization.into_inner(), number };
    let scope = Scope {
        key: draft.keys.map(Local::into_inner),
        member: Over::All,
        model: draft.models.map(Local::into_inner),
        deployment: draft.deployments.map(Local::into_inner),
    };
    let limit = Limit::new(id, draft.measure, scope, draft.amount).map_err(|_| out_of_range())?;
    let statement = query(
        "INSERT INTO limits (organization_id, number, measure, keys, models, deployments, amount, created_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING",
    )
    .bind(organization)
    .bind(i64::from(number))
    .bind(limit.measure().as_str())
    .bind(whom(&scope.key))
    .bind(whom(&scope.model))
    .bind(whom(&scope.deployment))
    .bind(units(limit.amount())?)
    .bind(draft.created_at.as_micros());
    inserted(db.execute(statement).await?, SAME_LIMIT)?;
    Ok(LimitRecord { organization: draft.organization, limit, created_at: draft.created_at })
}

pub(crate) async fn set_amount(
    db: &mut Db<'_>,
    organization: Local<OrganizationId>,
    number: u32,
    amount: u64,
) -> Result<(), StoreError> {
    let statement = query("UPDATE limits SET amount = $1 WHERE organization_id = $2 AND number = $3");
    let statement = statement.bind(units(amount)?).bind(organization.to_string()).bind(i64::from(number));
    found(db.execute(statement).await?)
}

pub(crate) async fn delete(
    db: &mut Db<'_>,
    organization: Local<OrganizationId>,
    number: u32,
) -> Result<(), StoreError> {
    let statement = query("DELETE FROM limits WHERE organization_id = $1 AND number = $2");
    found(db.execute(statement.bind(organization.to_string()).bind(i64::from(number))).await?)
}

fn read(row: Row<'_>) -> Result<LimitRecord, StoreError> {
    let organization: Local<OrganizationId> = row.id("organization_id")?;
    let id = LimitId { organization: organization.into_inner(), number: row.number("number")? };
    let scope = Scope {
        key: over(&row, "keys")?,
        member: Over::All,
        model: over(&row, "models")?,
        deployment: over(&row, "deployments")?,
    };
    let limit = Limit::new(id, row.word("measure", Measure::parse)?, scope, row.number("amount")?)
        .map_err(|_| row.corrupt("amount", "is out of range"))?;
    Ok(LimitRecord { organization, limit, created_at: row.time("created_at")? })
}

fn whom<T: ToString>(over: &Over<T>) -> String {
    match over {
        Over::All => ALL.to_owned(),
        Over::Each => EACH.to_owned(),
        Over::One(one) => one.to_string(),
    }
}

fn over<T: FromStr + Regional>(row: &Row<'_>, column: &str) -> Result<Over<T>, StoreError> {
    match row.text(column)? {
        ALL => Ok(Over::All),
        EACH => Ok(Over::Each),
        _ => row.bare_id(column).map(Over::One),
    }
}

fn units(amount: u64) -> Result<i64, StoreError> {
    i64::try_from(amount).map_err(|_| out_of_range())
}

fn out_of_range() -> StoreError {
    StoreError::Corrupt { table: TABLE, problem: "amount is out of range".to_owned() }
}
