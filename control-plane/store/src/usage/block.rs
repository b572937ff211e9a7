//! Blocks: an organization's events of one span of time, by identifier, many in one row.
//!
//! An event's place follows from its identifier alone: whoever sends it again, in whatever batch, is looked for where it is. The table's key cannot tell one event from
//! another, so [`lock`] comes before looking, and what was found there stays true until the transaction ends.

use std::collections::HashSet;

use bailiwick_core::ports::store::StoreError;
use bailiwick_domain::{
    id::OrganizationId,
    jurisdiction::Jurisdiction,
    usage::{EventId, UsageEvent},
};
use sqlx::query;

use super::record;
use crate::{backend::Backend, bulk, error, row::Row, session::Db};

pub(super) const TABLE: &str = "usage_blocks";
/// Events of one block, at most; the table's schema checks it too. A block is read whole, and a page of a backup holds hundreds.
pub(super) const MOST: usize = 128;
const EVENT_ID: usize = 16;

/// What tells events apart.
pub(super) type Identity = (OrganizationId, EventId);

pub(super) fn identity(event: &UsageEvent) -> Identity {
    (event.organization, event.event_id)
}

/// Organizations share so many locks: a server of PostgreSQL has room for a few thousand, over all transactions.
const LOCKS: u128 = 64;
/// "Usage", among the advisory locks of a region's database.
const LOCK_CLASS: i32 = 0x7573_6167;

/// Waits until no other transaction stores events of these organizations, and holds others off until this one ends. SQLite has one writer anyway.
///
/// And keeps PostgreSQL from looking for blocks by reading all that there are: that is how it plans while there are few, and it keeps its plans.
pub(super) async fn lock(db: &mut Db<'_>, events: &[&UsageEvent]) -> Result<(), StoreError> {
    if db.backend == Backend::Sqlite {
        return Ok(());
    }
    let of = |event: &&UsageEvent| 1_u64 << (u128::from_be_bytes(event.organization.local_bytes()) % LOCKS);
    let locks = events.iter().map(of).fold(0, std::ops::BitOr::bitor);
    // In one order: transactions that share several wait for each other, and never in a circle.
    let statement = query(
        "SELECT set_config('enable_seqscan', 'off', true), set_config('enable_hashjoin', 'off', true), \
         set_config('enable_mergejoin', 'off', true), COUNT(*) FROM (SELECT pg_advisory_xact_lock($1::int, number) FROM generate_series(0, 63) AS number \
         WHERE ($2::bigint >> number) & 1 = 1 ORDER BY number) AS held",
    );
    db.execute(statement.bind(LOCK_CLASS).bind(locks.cast_signed())).await.map(|_| ())
}

/// Keeps those that are not stored. They stand by organization and identifier, each once.
pub(super) async fn keep_new(db: &mut Db<'_>, events: &mut Vec<&UsageEvent>) -> Result<(), StoreError> {
    let stored = stored(db, events).await?;
    if !stored.is_empty() {
        events.retain(|event| !stored.contains(&identity(event)));
    }
    Ok(())
}

async fn stored(db: &mut Db<'_>, events: &[&UsageEvent]) -> Result<HashSet<Identity>, StoreError> {
    let mut stored = HashSet::new();
    let ends: Vec<_> = runs(events).filter_map(|run| Some((*run.first()?, *run.last()?))).collect();
    for chunk in bulk::chunks(&ends) {
        let mut statement =
            query(bulk::statement(db.backend, OVERLAPPING, chunk.len(), 4, OVERLAPPING_AFTER));
        for (first, last) in chunk {
            statement = statement
                .bind(first.organization.to_string())
                .bind(first.event_id.as_bytes().to_vec())
                .bind(first.event_id.span().end().to_vec())
                .bind(last.event_id.as_bytes().to_vec());
        }
        let read = |row: Row<'_>| Ok((row.bare_id("organization_id")?, row.blob("event_ids")?.to_vec()));
        for (organization, block) in db.all(TABLE, statement, read).await? {
            stored.extend(in_block(events, organization, ids(&block)));
        }
    }
    Ok(stored)
}

/// Blocks of the span of a run of events that may hold one of them: those that neither end before its first nor begin after its last.
const OVERLAPPING: &str = "SELECT organization_id, event_ids FROM (VALUES ";
const OVERLAPPING_AFTER: &str = ") AS asked JOIN usage_blocks ON organization_id = column1 \
     AND last_event_id >= column2 AND last_event_id <= column3 AND first_event_id <= column4";

/// Events of an organization that are in a block of its.
fn in_block(events: &[&UsageEvent], organization: OrganizationId, block: &[[u8; EVENT_ID]]) -> Vec<Identity> {
    let place = |event: &UsageEvent| (event.organization.local_bytes(), *event.event_id.as_bytes());
    let (Some(first), Some(last)) = (block.first(), block.last()) else { return Vec::new() };
    let of = organization.local_bytes();
    let from = events.partition_point(|event| place(event) < (of, *first));
    let near = events.iter().skip(from).take_while(|event| place(event) <= (of, *last));
    near.filter(|event| block.binary_search(event.event_id.as_bytes()).is_ok())
        .map(|event| identity(event))
        .collect()
}

/// The identifiers of a block.
pub(super) fn ids(block: &[u8]) -> &[[u8; EVENT_ID]] {
    block.as_chunks().0
}

/// Stores events that are new. They stand by organization and identifier.
pub(super) async fn insert(db: &mut Db<'_>, events: &[&UsageEvent]) -> Result<(), StoreError> {
    let blocks: Vec<&[&UsageEvent]> = runs(events).flat_map(|run| run.chunks(MOST)).collect();
    for chunk in bulk::chunks(&blocks) {
        let mut statement = query(bulk::statement(db.backend, INSERT, chunk.len(), 3, ") AS blocks"));
        for block in chunk {
            let organization = block.first().map(|event| event.organization.to_string());
            statement = statement.bind(organization).bind(event_ids(block)).bind(records(db.home, block)?);
        }
        db.execute(statement).await?;
    }
    Ok(())
}

/// In form 2, which is what [`record::write`] makes.
const INSERT: &str = "INSERT INTO usage_blocks (organization_id, first_event_id, last_event_id, form, event_ids, records) \
     SELECT column1, substr(column2, 1, 16), substr(column2, length(column2) - 15, 16), 2, column2, column3 FROM (VALUES ";

fn event_ids(events: &[&UsageEvent]) -> Vec<u8> {
    let mut ids = Vec::with_capacity(events.len() * EVENT_ID);
    events.iter().for_each(|event| ids.extend_from_slice(event.event_id.as_bytes()));
    ids
}

fn records(home: &Jurisdiction, events: &[&UsageEvent]) -> Result<Vec<u8>, StoreError> {
    record::write(home, events)
        .map_err(|_| error::refused("a usage event names a key, model or deployment of another region"))
}

/// Events of one organization and one span. They stand by organization and identifier: so whatever comes before a span's end is of that span.
pub(super) fn runs<'a, 'e>(events: &'a [&'e UsageEvent]) -> impl Iterator<Item = &'a [&'e UsageEvent]> {
    events.chunk_by(|one, other| {
        one.organization == other.organization && other.event_id.as_bytes() <= one.event_id.span().end()
    })
}
