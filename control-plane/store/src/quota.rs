//! What is lent of limits. Written by one control plane at a time: see [`QuotaStore`].

mod rows;

use std::collections::{BTreeMap, HashMap};

use async_trait::async_trait;
use bailiwick_core::{
    ports::{
        quota::{LimitsChanged, NOT_IN_OFFICE, Office, QuotaStore},
        store::StoreError,
    },
    records::{LimitRecord, Revision},
};
use bailiwick_domain::id::OrganizationId;
use bailiwick_quota::{
    allocator::{Row as Change, Stored},
    limit::Limit,
    protocol::HolderId,
};
use sqlx::query;

use crate::{SqlStore, backend::Backend, configuration, error, limit, session::Db};

const TERM: &str = "quota_term";

#[async_trait]
impl QuotaStore for SqlStore {
    async fn take_office(&self, at_least: u64) -> Result<Office, StoreError> {
        let mut transaction = self.write().await?;
        let mut db = transaction.db();
        let term = begin_term(&mut db, at_least).await?;
        rows::forget_without_limit(&mut db).await?;
        let (holders, workers) = rows::holders(&mut db).await?;
        let office = Office {
            term,
            revision: configuration::revision(&mut db).await?,
            limits: limit::living(&mut db).await?.iter().map(|row| row.limit).collect(),
            stored: Stored {
                holders,
                accounts: rows::accounts(&mut db).await?,
                leases: rows::leases(&mut db).await?,
            },
            workers,
        };
        transaction.connection.commit().await.map_err(error::of)?;
        Ok(office)
    }

    async fn write_quota(
        &self,
        term: u64,
        changes: &[Change],
        workers: &BTreeMap<HolderId, String>,
    ) -> Result<(), StoreError> {
        let mut transaction = self.write().await?;
        let mut db = transaction.db();
        hold_term(&mut db, term).await?;
        rows::write(&mut db, changes, workers).await?;
        transaction.connection.commit().await.map_err(error::of)
    }

    async fn limits_since(&self, since: Revision) -> Result<LimitsChanged, StoreError> {
        let mut snapshot = self.snapshot().await?;
        let mut db = snapshot.db();
        let Some((to, organizations)) = configuration::organizations_changed(&mut db, since).await? else {
            return Ok(LimitsChanged { to: since, changed: Vec::new(), truncated: true });
        };
        let limits = if organizations.is_empty() {
            Vec::new()
        } else {
            limit::living_changed(&mut db, number(since.0)?, number(to.0)?).await?
        };
        Ok(LimitsChanged { to, changed: by_organization(organizations, &limits), truncated: false })
    }
}

fn by_organization(
    organizations: Vec<OrganizationId>,
    limits: &[LimitRecord],
) -> Vec<(OrganizationId, Vec<Limit>)> {
    let mut known: HashMap<OrganizationId, Vec<Limit>> = HashMap::new();
    for row in limits {
        known.entry(row.organization.into_inner()).or_default().push(row.limit);
    }
    organizations.into_iter().map(|id| (id, known.remove(&id).unwrap_or_default())).collect()
}

async fn begin_term(db: &mut Db<'_>, at_least: u64) -> Result<u64, StoreError> {
    let statement = query(
        "INSERT INTO quota_term (term) VALUES ($1) ON CONFLICT (region) DO UPDATE SET term = \
         CASE WHEN quota_term.term >= excluded.term THEN quota_term.term + 1 ELSE excluded.term END RETURNING term",
    );
    db.one(TERM, statement.bind(number(at_least)?), |row| row.number("term")).await
}

/// Whoever takes office waits until the transaction has ended, and then finds what it wrote.
async fn hold_term(db: &mut Db<'_>, term: u64) -> Result<(), StoreError> {
    let sql = match db.backend {
        // The write lock is held already.
        Backend::Sqlite => "SELECT term FROM quota_term",
        Backend::Postgres => "SELECT term FROM quota_term FOR SHARE",
    };
    let in_office: Option<u64> = db.optional(TERM, query(sql), |row| row.number("term")).await?;
    if in_office == Some(term) { Ok(()) } else { Err(StoreError::Conflict(NOT_IN_OFFICE)) }
}

fn number(number: u64) -> Result<i64, StoreError> {
    let problem = || StoreError::Corrupt { table: TERM, problem: "a number is out of range".to_owned() };
    i64::try_from(number).map_err(|_| problem())
}
