//! All rows replaced by others, in one transaction.

use async_trait::async_trait;
use bailiwick_core::{
    ports::{
        rows::{Cells, Replacement, RowReader, Settled},
        store::{StoreError, Transaction as _},
    },
    records::{AuditDraft, ChangedResource, Revision},
};
use bailiwick_domain::time::Timestamp;
use sqlx::{Any, AssertSqlSafe, query};

use crate::{
    destruction,
    rows::{SqlRows, quoted},
    session::{Db, Session},
    transaction::SqlTransaction,
};

/// What is over in the present store, noted in tables of this connection alone before its rows go.
const NOTES: [(&str, &str); 4] = [
    ("over_keys", "SELECT id, revoked_at AS at FROM api_keys WHERE revoked_at IS NOT NULL"),
    ("over_accounts", "SELECT id, revoked_at AS at, digest, version, rotated_at FROM service_accounts"),
    ("over_workers", "SELECT id, removed_at AS at FROM workers WHERE removed_at IS NOT NULL"),
    ("over_organizations", "SELECT id, created_at AS at FROM organizations WHERE status = 'deleted'"),
];

/// A replacement that is under way.
pub(crate) struct SqlReplacement {
    rows: SqlRows,
}

impl SqlReplacement {
    /// Notes what is over, and removes every row.
    ///
    /// # Errors
    /// A region was initialized here, and `replace` is not said.
    pub(crate) async fn begin(
        mut session: Session<sqlx::Transaction<'static, Any>>,
        replace: bool,
    ) -> Result<Self, StoreError> {
        let mut db = session.db();
        let statement = query("SELECT COUNT(*) AS chains FROM audit_chains");
        let chains: u64 = db.one("audit_chains", statement, |row| row.number("chains")).await?;
        if chains > 0 && !replace {
            return Err(StoreError::Conflict("the region that is in the store already"));
        }
        forget_notes(&mut db).await?;
        for (name, select) in NOTES {
            db.execute(query(AssertSqlSafe(format!("CREATE TEMPORARY TABLE {name} AS {select}")))).await?;
        }
        let mut rows = SqlRows::of(session).await?;
        let names: Vec<String> = rows.tables().iter().rev().map(|table| quoted(&table.name)).collect();
        for name in names {
            rows.db().execute(query(AssertSqlSafe(format!("DELETE FROM {name}")))).await?;
        }
        Ok(Self { rows })
    }
}

async fn forget_notes(db: &mut Db<'_>) -> Result<(), StoreError> {
    for (name, _) in NOTES {
        db.execute(query(AssertSqlSafe(format!("DROP TABLE IF EXISTS {name}")))).await?;
    }
    Ok(())
}

/// Service accounts that were revoked stay so, and a secret that was replaced does not come back.
async fn accounts(db: &mut Db<'_>) -> Result<(), StoreError> {
    let replaced = query(
        "UPDATE service_accounts SET \
         digest = (SELECT digest FROM over_accounts WHERE over_accounts.id = service_accounts.id), \
         rotated_at = (SELECT rotated_at FROM over_accounts WHERE over_accounts.id = service_accounts.id), \
         version = (SELECT version FROM over_accounts WHERE over_accounts.id = service_accounts.id) \
         WHERE EXISTS (SELECT 1 FROM over_accounts WHERE over_accounts.id = service_accounts.id \
         AND over_accounts.version > service_accounts.version)",
    );
    db.execute(replaced).await?;
    let revoked = query(
        "UPDATE service_accounts SET \
         revoked_at = (SELECT at FROM over_accounts WHERE over_accounts.id = service_accounts.id) \
         WHERE revoked_at IS NULL AND id IN (SELECT id FROM over_accounts)",
    );
    db.execute(revoked).await.map(|_| ())
}

#[async_trait]
impl Replacement for SqlReplacement {
    fn rows(&mut self) -> &mut dyn RowReader {
        &mut self.rows
    }

    async fn insert(&mut self, table: usize, rows: &[Cells]) -> Result<(), StoreError> {
        self.rows.insert(table, rows).await
    }

    async fn settle(&mut self, epoch: &str, now: Timestamp) -> Result<Settled, StoreError> {
        let mut db = self.rows.db();
        db.execute(query("UPDATE cluster_identity SET epoch = $1").bind(epoch.to_owned())).await?;
        // Whether a token was used meanwhile, nobody knows any more: none works.
        let tokens = query("UPDATE join_tokens SET used_at = $1 WHERE used_at IS NULL");
        db.execute(tokens.bind(now.as_micros())).await?;
        let keys = query(
            "UPDATE api_keys SET revoked_at = (SELECT at FROM over_keys WHERE over_keys.id = api_keys.id) \
             WHERE revoked_at IS NULL AND id IN (SELECT id FROM over_keys)",
        );
        let keys_revoked = db.execute(keys).await?;
        self::accounts(&mut db).await?;
        let workers = query(
            "UPDATE workers SET removed_at = (SELECT at FROM over_workers WHERE over_workers.id = workers.id) \
             WHERE removed_at IS NULL AND id IN (SELECT id FROM over_workers)",
        );
        let workers_removed = db.execute(workers).await?;
        let deleted = query(
            "SELECT id FROM organizations WHERE status <> 'deleted' AND (id IN (SELECT id FROM over_organizations) \
             OR id NOT IN (SELECT scope FROM data_keys)) ORDER BY id",
        );
        let organizations_deleted = db.all("organizations", deleted, |row| row.id("id")).await?;
        for id in &organizations_deleted {
            destruction::begin(&mut db, *id, now).await?;
        }
        let orphans = query(
            "DELETE FROM data_keys WHERE scope <> 'region' \
             AND scope NOT IN (SELECT id FROM organizations WHERE status <> 'deleted')",
        );
        db.execute(orphans).await?;
        Ok(Settled { organizations_deleted, keys_revoked, workers_removed })
    }

    async fn commit(mut self: Box<Self>, audit: AuditDraft) -> Result<Revision, StoreError> {
        forget_notes(&mut self.rows.db()).await?;
        let transaction = Box::new(SqlTransaction(self.rows.into_session()));
        transaction.commit(audit, &[ChangedResource::RegionSettings]).await
    }
}
