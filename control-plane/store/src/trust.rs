//! Whom the region's processes trust.

use bailiwick_core::{
    ports::store::StoreError,
    records::{MAX_REVOKED_CERTIFICATES, RevokedCertificate, TrustRecord, TrustVersion},
};
use bailiwick_domain::{spiffe::ProcessRole, time::Timestamp};
use sqlx::query;

use crate::{row::Row, session::Db};

const TABLE: &str = "revoked_certificates";

pub(crate) async fn version(db: &mut Db<'_>) -> Result<TrustVersion, StoreError> {
    let statement = query("SELECT version FROM trust");
    db.one("trust", statement, |row| row.number("version")).await.map(TrustVersion)
}

/// Wants a snapshot.
pub(crate) async fn fetch(db: &mut Db<'_>) -> Result<TrustRecord, StoreError> {
    let version = version(db).await?;
    let statement = query(
        "SELECT role, name, issued_until, expires_at FROM revoked_certificates ORDER BY role, name LIMIT $1",
    );
    let revoked = db.all(TABLE, statement.bind(MAX_REVOKED_CERTIFICATES), read).await?;
    Ok(TrustRecord { version, revoked })
}

pub(crate) async fn revocation(
    db: &mut Db<'_>,
    role: ProcessRole,
    name: &str,
) -> Result<Option<RevokedCertificate>, StoreError> {
    let statement = query(
        "SELECT role, name, issued_until, expires_at FROM revoked_certificates WHERE role = $1 AND name = $2",
    );
    db.optional(TABLE, statement.bind(role.as_str()).bind(name), read).await
}

/// Forgets what is of no use any more at `now`, so that the bound counts what refuses something.
pub(crate) async fn revoke(
    db: &mut Db<'_>,
    row: &RevokedCertificate,
    now: Timestamp,
) -> Result<TrustVersion, StoreError> {
    let statement = query("UPDATE trust SET version = version + 1 RETURNING version");
    let version = db.one("trust", statement, |row| row.number("version")).await.map(TrustVersion)?;
    db.execute(query("DELETE FROM revoked_certificates WHERE expires_at <= $1").bind(now.as_micros()))
        .await?;
    // A revocation is only ever widened: of two that come at once, the later one holds.
    let statement = query(
        "INSERT INTO revoked_certificates (role, name, issued_until, expires_at) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (role, name) DO UPDATE SET \
         issued_until = CASE WHEN excluded.issued_until > revoked_certificates.issued_until \
         THEN excluded.issued_until ELSE revoked_certificates.issued_until END, \
         expires_at = CASE WHEN excluded.expires_at > revoked_certificates.expires_at \
         THEN excluded.expires_at ELSE revoked_certificates.expires_at END",
    );
    let statement = statement.bind(row.role.as_str()).bind(row.name.as_str());
    db.execute(statement.bind(row.issued_until.as_micros()).bind(row.expires_at.as_micros())).await?;
    let count = query("SELECT COUNT(*) AS revoked FROM revoked_certificates");
    let count: i64 = db.one(TABLE, count, |row| row.integer("revoked")).await?;
    if count > MAX_REVOKED_CERTIFICATES {
        return Err(StoreError::Conflict("the bound of 10,000 revoked names"));
    }
    Ok(version)
}

fn read(row: Row<'_>) -> Result<RevokedCertificate, StoreError> {
    Ok(RevokedCertificate {
        role: row.parsed("role")?,
        name: row.text("name")?.to_owned(),
        issued_until: row.time("issued_until")?,
        expires_at: row.time("expires_at")?,
    })
}
