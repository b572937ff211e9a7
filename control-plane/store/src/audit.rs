//! R11: audit chains. Appending is part of `Transaction::commit` and of nothing else.

use bailiwick_core::{
    audit::{GENESIS, chain_name, leaf_hash},
    ports::store::StoreError,
    records::{AuditDraft, AuditRecord, Chain, Page, PageOf, Revision},
};
use sqlx::query;

use crate::{page, row::Row, session::Db};

const TABLE: &str = "audit_records";

/// The place of the next record, held by the lock on the chain's head until the transaction ends.
pub(crate) struct Place {
    sequence: i64,
    previous: [u8; 32],
}

/// Takes the next place in a chain. Two mutations of one chain are ordered here.
pub(crate) async fn take_place(db: &mut Db<'_>, chain: Chain) -> Result<Place, StoreError> {
    // The hash that comes back is still the previous record's.
    let statement = query(
        "INSERT INTO audit_chains (chain, sequence, hash) VALUES ($1, 1, $2) \
         ON CONFLICT (chain) DO UPDATE SET sequence = audit_chains.sequence + 1 RETURNING sequence, hash",
    );
    let statement = statement.bind(chain_name(chain)).bind(GENESIS.as_slice());
    db.one("audit_chains", statement, |row| {
        Ok(Place { sequence: row.integer("sequence")?, previous: row.hash("hash")? })
    })
    .await
}

/// Writes the record at its place, and makes it the chain's head.
pub(crate) async fn append(
    db: &mut Db<'_>,
    place: Place,
    draft: &AuditDraft,
    revision: Option<Revision>,
) -> Result<(), StoreError> {
    let out_of_range =
        |column: &str| StoreError::Corrupt { table: TABLE, problem: format!("{column} is out of range") };
    let sequence = u64::try_from(place.sequence).map_err(|_| out_of_range("sequence"))?;
    let revision_number = revision.map(|revision| i64::try_from(revision.0)).transpose();
    let revision_number = revision_number.map_err(|_| out_of_range("revision"))?;
    let hash = leaf_hash(&place.previous, sequence, draft, revision);
    let chain = chain_name(draft.chain);
    let record = query(
        "INSERT INTO audit_records (chain, sequence, at, actor, action, subject, revision, hash) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(chain.as_str())
    .bind(place.sequence)
    .bind(draft.at.as_micros())
    .bind(draft.actor.0.as_slice())
    .bind(draft.action)
    .bind(draft.subject.as_str())
    .bind(revision_number)
    .bind(hash.as_slice());
    db.execute(record).await?;
    let head = query("UPDATE audit_chains SET hash = $1 WHERE chain = $2");
    db.execute(head.bind(hash.as_slice()).bind(chain)).await?;
    Ok(())
}

pub(crate) async fn list(
    db: &mut Db<'_>,
    chain: Chain,
    page: &Page,
) -> Result<PageOf<AuditRecord>, StoreError> {
    let after: i64 = page::after(page)?.unwrap_or(0);
    let statement = query(
        "SELECT sequence, at, actor, action, subject, revision, hash FROM audit_records \
         WHERE chain = $1 AND sequence > $2 ORDER BY sequence LIMIT $3",
    );
    let statement = statement.bind(chain_name(chain)).bind(after).bind(page::limit(page));
    let rows = db.all(TABLE, statement, |row| read(chain, row)).await?;
    Ok(page::of(rows, page, |last| last.sequence.to_string()))
}

fn read(chain: Chain, row: Row<'_>) -> Result<AuditRecord, StoreError> {
    let revision = row.optional_integer("revision")?.map(u64::try_from).transpose();
    Ok(AuditRecord {
        chain,
        sequence: row.number("sequence")?,
        at: row.time("at")?,
        actor: row.sealed("actor")?,
        action: row.text("action")?.to_owned(),
        subject: row.text("subject")?.to_owned(),
        revision: revision.map_err(|_| row.corrupt("revision", "is out of range"))?.map(Revision),
        hash: row.hash("hash")?,
    })
}
