//! Rows of holders, accounts and leases.

use std::collections::BTreeMap;

use bailiwick_core::ports::store::StoreError;
use bailiwick_domain::{id::OrganizationId, jurisdiction::Regional};
use bailiwick_quota::{
    allocator::{AccountRow, HolderRow, LeaseRow, Row as Change},
    limit::{Account, LimitId},
    protocol::HolderId,
};
use sqlx::{Any, any::AnyArguments, query, query::Query};

use crate::{bulk, row::Row, session::Db};

const HOLDERS: &str = "quota_holders";
const ACCOUNTS: &str = "quota_accounts";
const LEASES: &str = "quota_leases";

/// Rows of limits that are no more, by table.
const WITHOUT_LIMIT: [&str; 2] = [
    "DELETE FROM quota_accounts WHERE NOT EXISTS (SELECT 1 FROM limits \
     WHERE limits.organization_id = quota_accounts.organization_id AND limits.number = quota_accounts.number)",
    "DELETE FROM quota_leases WHERE NOT EXISTS (SELECT 1 FROM limits \
     WHERE limits.organization_id = quota_leases.organization_id AND limits.number = quota_leases.number)",
];

pub(super) async fn forget_without_limit(db: &mut Db<'_>) -> Result<(), StoreError> {
    for sql in WITHOUT_LIMIT {
        db.execute(query(sql)).await?;
    }
    Ok(())
}

/// Those given, and whose they are.
pub(super) async fn holders(
    db: &mut Db<'_>,
) -> Result<(Vec<HolderRow>, BTreeMap<HolderId, String>), StoreError> {
    let statement = query("SELECT holder, worker, lost FROM quota_holders ORDER BY holder");
    let rows = db.all(HOLDERS, statement, |row| {
        let holder = HolderId(row.number("holder")?);
        Ok((HolderRow { holder, lost: row.flag("lost")? }, (holder, row.text("worker")?.to_owned())))
    });
    Ok(rows.await?.into_iter().unzip())
}

pub(super) async fn accounts(db: &mut Db<'_>) -> Result<Vec<AccountRow>, StoreError> {
    let statement = query(
        "SELECT organization_id, number, key_id, model_id, deployment_id, window_starts, gone FROM quota_accounts",
    );
    db.all(ACCOUNTS, statement, |row| {
        let (account, window_starts) = (account(row)?, row.time("window_starts")?);
        Ok(AccountRow { account, window_starts, gone: row.number("gone")? })
    })
    .await
}

pub(super) async fn leases(db: &mut Db<'_>) -> Result<Vec<LeaseRow>, StoreError> {
    let statement = query(
        "SELECT organization_id, number, key_id, model_id, deployment_id, holder, window_starts, opening, extra, returned, consumed, \
         standing, standing_most, standing_version, lost FROM quota_leases",
    );
    db.all(LEASES, statement, |row| {
        Ok(LeaseRow {
            account: account(row)?,
            holder: HolderId(row.number("holder")?),
            window_starts: row.time("window_starts")?,
            opening: row.number("opening")?,
            extra: row.number("extra")?,
            returned: row.number("returned")?,
            consumed: row.number("consumed")?,
            standing: row.number("standing")?,
            standing_most: row.number("standing_most")?,
            standing_version: row.number("standing_version")?,
            lost: row.flag("lost")?,
        })
    })
    .await
}

fn account(row: Row<'_>) -> Result<Account, StoreError> {
    let organization: OrganizationId = row.bare_id("organization_id")?;
    Ok(Account {
        limit: LimitId { organization, number: row.number("number")? },
        key: part(&row, "key_id")?,
        member: None,
        model: part(&row, "model_id")?,
        deployment: part(&row, "deployment_id")?,
    })
}

fn part<T: std::str::FromStr + Regional>(row: &Row<'_>, column: &str) -> Result<Option<T>, StoreError> {
    if row.text(column)?.is_empty() { Ok(None) } else { row.bare_id(column).map(Some) }
}

/// What changes make of a row; of several changes of one, the last counts.
#[derive(Default)]
struct Merged {
    holders: BTreeMap<HolderId, Option<HolderRow>>,
    accounts: BTreeMap<Account, AccountRow>,
    leases: BTreeMap<(Account, HolderId), Option<LeaseRow>>,
}

impl Merged {
    fn of(changes: &[Change]) -> Self {
        let mut merged = Self::default();
        for change in changes {
            match *change {
                Change::Holder(row) => {
                    merged.holders.insert(row.holder, Some(row));
                }
                Change::HolderGone(holder) => {
                    merged.holders.insert(holder, None);
                }
                Change::Account(row) => {
                    merged.accounts.insert(row.account, row);
                }
                Change::Lease(row) => {
                    merged.leases.insert((row.account, row.holder), Some(row));
                }
                Change::LeaseGone { account, holder } => {
                    merged.leases.insert((account, holder), None);
                }
            }
        }
        merged
    }
}

pub(super) async fn write(
    db: &mut Db<'_>,
    changes: &[Change],
    workers: &BTreeMap<HolderId, String>,
) -> Result<(), StoreError> {
    let merged = Merged::of(changes);
    let holders: Vec<HolderRow> = merged.holders.values().filter_map(|row| *row).collect();
    put_holders(db, &holders, workers).await?;
    let gone = merged.holders.iter().filter(|(_, row)| row.is_none()).map(|(holder, _)| *holder);
    remove_holders(db, &gone.collect::<Vec<_>>()).await?;
    put_accounts(db, &merged.accounts.into_values().collect::<Vec<_>>()).await?;
    let leases: Vec<LeaseRow> = merged.leases.values().filter_map(|row| *row).collect();
    put_leases(db, &leases).await?;
    let gone = merged.leases.iter().filter(|(_, row)| row.is_none()).map(|(key, _)| *key);
    remove_leases(db, &gone.collect::<Vec<_>>()).await
}

async fn put_holders(
    db: &mut Db<'_>,
    rows: &[HolderRow],
    workers: &BTreeMap<HolderId, String>,
) -> Result<(), StoreError> {
    let before = "INSERT INTO quota_holders (holder, worker, lost) VALUES ";
    let after = " ON CONFLICT (holder) DO UPDATE SET lost = excluded.lost";
    for chunk in bulk::chunks(rows) {
        let mut statement = query(bulk::statement(db.backend, before, chunk.len(), 3, after));
        for row in chunk {
            let worker = workers.get(&row.holder).cloned().unwrap_or_default();
            statement = statement.bind(units(row.holder.0)).bind(worker).bind(i64::from(row.lost));
        }
        db.execute(statement).await?;
    }
    Ok(())
}

async fn remove_holders(db: &mut Db<'_>, holders: &[HolderId]) -> Result<(), StoreError> {
    for chunk in bulk::chunks(holders) {
        let before = "DELETE FROM quota_holders WHERE holder IN (";
        let mut statement = query(bulk::statement(db.backend, before, chunk.len(), 1, ")"));
        for holder in chunk {
            statement = statement.bind(units(holder.0));
        }
        db.execute(statement).await?;
    }
    Ok(())
}

async fn put_accounts(db: &mut Db<'_>, rows: &[AccountRow]) -> Result<(), StoreError> {
    let before = "INSERT INTO quota_accounts (organization_id, number, key_id, model_id, deployment_id, window_starts, gone) VALUES ";
    let after = " ON CONFLICT (organization_id, number, key_id, model_id, deployment_id) DO UPDATE SET \
         window_starts = excluded.window_starts, gone = excluded.gone";
    for chunk in bulk::chunks(rows) {
        let mut statement = query(bulk::statement(db.backend, before, chunk.len(), 7, after));
        for row in chunk {
            statement = bind_account(statement, &row.account);
            statement = statement.bind(row.window_starts.as_micros()).bind(units(row.gone));
        }
        db.execute(statement).await?;
    }
    Ok(())
}

async fn put_leases(db: &mut Db<'_>, rows: &[LeaseRow]) -> Result<(), StoreError> {
    let before = "INSERT INTO quota_leases (organization_id, number, key_id, model_id, deployment_id, holder, window_starts, opening, \
         extra, returned, consumed, standing, standing_most, standing_version, lost) VALUES ";
    let after = " ON CONFLICT (organization_id, number, key_id, model_id, deployment_id, holder) DO UPDATE SET \
         window_starts = excluded.window_starts, opening = excluded.opening, extra = excluded.extra, \
         returned = excluded.returned, consumed = excluded.consumed, standing = excluded.standing, \
         standing_most = excluded.standing_most, standing_version = excluded.standing_version, lost = excluded.lost";
    for chunk in bulk::chunks(rows) {
        let mut statement = query(bulk::statement(db.backend, before, chunk.len(), 15, after));
        for row in chunk {
            statement = bind_account(statement, &row.account)
                .bind(units(row.holder.0))
                .bind(row.window_starts.as_micros())
                .bind(units(row.opening))
                .bind(units(row.extra))
                .bind(units(row.returned))
                .bind(units(row.consumed))
                .bind(units(row.standing))
                .bind(units(row.standing_most))
                .bind(units(row.standing_version))
                .bind(i64::from(row.lost));
        }
        db.execute(statement).await?;
    }
    Ok(())
}

async fn remove_leases(db: &mut Db<'_>, keys: &[(Account, HolderId)]) -> Result<(), StoreError> {
    let before = "DELETE FROM quota_leases WHERE (organization_id, number, key_id, model_id, deployment_id, holder) IN (VALUES ";
    for chunk in bulk::chunks(keys) {
        let mut statement = query(bulk::statement(db.backend, before, chunk.len(), 6, ")"));
        for (account, holder) in chunk {
            statement = bind_account(statement, account).bind(units(holder.0));
        }
        db.execute(statement).await?;
    }
    Ok(())
}

fn bind_account<'q>(
    statement: Query<'q, Any, AnyArguments>,
    account: &Account,
) -> Query<'q, Any, AnyArguments> {
    statement
        .bind(account.limit.organization.to_string())
        .bind(i64::from(account.limit.number))
        .bind(account.key.map(|key| key.to_string()).unwrap_or_default())
        .bind(account.model.map(|model| model.to_string()).unwrap_or_default())
        .bind(account.deployment.map(|deployment| deployment.to_string()).unwrap_or_default())
}

/// Counts that a worker could say and no limit could reach stay at the largest: they count as used.
fn units(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
