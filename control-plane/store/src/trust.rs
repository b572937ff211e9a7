//! Whom the region's processes trust.

use bailiwick_core::{
    ports::store::StoreError,
    records::{
        AuthorityStage, HeldCertificate, MAX_REVOKED_CERTIFICATES, RevokedCertificate, RootSlot, TrustRecord,
        TrustVersion,
    },
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
    let statement = query("SELECT version, stage, issuing_slot FROM trust");
    let (version, stage, issuing) = db
        .one("trust", statement, |row| {
            let issuing = match row.integer("issuing_slot")? {
                1 => RootSlot::One,
                2 => RootSlot::Two,
                _ => return Err(row.corrupt("issuing_slot", "is neither 1 nor 2")),
            };
            Ok((row.number("version")?, row.word("stage", AuthorityStage::parse)?, issuing))
        })
        .await?;
    let statement = query(
        "SELECT role, name, issued_until, expires_at FROM revoked_certificates ORDER BY role, name LIMIT $1",
    );
    let revoked = db.all(TABLE, statement.bind(MAX_REVOKED_CERTIFICATES), read).await?;
    Ok(TrustRecord { version: TrustVersion(version), stage, issuing, revoked })
}

pub(crate) async fn held(db: &mut Db<'_>, now: Timestamp) -> Result<Vec<HeldCertificate>, StoreError> {
    let statement = query(
        "SELECT root, role, name, expires_at FROM certificates WHERE expires_at > $1 ORDER BY role, name, root",
    );
    db.all("certificates", statement.bind(now.as_micros()), |row| {
        Ok(HeldCertificate {
            root: row.parsed("root")?,
            role: row.parsed("role")?,
            name: row.text("name")?.to_owned(),
            expires_at: row.time("expires_at")?,
        })
    })
    .await
}

pub(crate) async fn note(db: &mut Db<'_>, row: &HeldCertificate) -> Result<(), StoreError> {
    let statement = query(
        "INSERT INTO certificates (root, role, name, expires_at) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (root, role, name) DO UPDATE SET expires_at = CASE \
         WHEN excluded.expires_at > certificates.expires_at THEN excluded.expires_at ELSE certificates.expires_at END",
    );
    let statement = statement.bind(row.root.to_string()).bind(row.role.as_str()).bind(row.name.as_str());
    db.execute(statement.bind(row.expires_at.as_micros())).await?;
    Ok(())
}

pub(crate) async fn step(
    db: &mut Db<'_>,
    from: AuthorityStage,
    to: AuthorityStage,
    issuing: RootSlot,
    now: Timestamp,
) -> Result<TrustVersion, StoreError> {
    let statement = query(
        "UPDATE trust SET version = version + 1, stage = $1, issuing_slot = $2 WHERE stage = $3 RETURNING version",
    );
    let statement = statement.bind(to.as_str()).bind(issuing.number()).bind(from.as_str());
    let version = db.optional("trust", statement, |row| row.number("version")).await?;
    let version = version.ok_or(StoreError::Conflict("the stage that the authority's change is in"))?;
    db.execute(query("DELETE FROM certificates WHERE expires_at <= $1").bind(now.as_micros())).await?;
    Ok(TrustVersion(version))
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
