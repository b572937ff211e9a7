//! What earlier calls made: a create call that is repeated with its idempotency key finds its first answer.

use bailiwick_core::ports::store::StoreError;
use bailiwick_domain::time::Timestamp;
use sqlx::query;

use crate::session::{Db, inserted};

pub(crate) async fn fetch(db: &mut Db<'_>, method: &str, key: &str) -> Result<Option<String>, StoreError> {
    let statement = query("SELECT subject FROM idempotency_keys WHERE method = $1 AND idempotency_key = $2");
    let statement = statement.bind(method).bind(key);
    db.optional("idempotency_keys", statement, |row| row.text("subject").map(str::to_owned)).await
}

/// On PostgreSQL this waits for a transaction that inserts the same key, until that one ends.
pub(crate) async fn insert(
    db: &mut Db<'_>,
    method: &str,
    key: &str,
    subject: &str,
    at: Timestamp,
) -> Result<(), StoreError> {
    let statement = query(
        "INSERT INTO idempotency_keys (method, idempotency_key, subject, created_at) VALUES ($1, $2, $3, $4) \
         ON CONFLICT DO NOTHING",
    );
    let statement = statement.bind(method).bind(key).bind(subject).bind(at.as_micros());
    inserted(db.execute(statement).await?, "the idempotency key")
}
