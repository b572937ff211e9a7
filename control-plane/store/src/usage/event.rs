//! Single usage events.

use std::fmt::Write as _;

use bailiwick_core::{
    ports::store::StoreError,
    records::{Page, PageOf},
};
use bailiwick_domain::{
    id::OrganizationId,
    jurisdiction::{Jurisdiction, Local},
    usage::{EventId, UsageEvent},
};
use sqlx::{Any, AssertSqlSafe, any::AnyArguments, query, query::Query};

use super::record;
use crate::{backend::Backend, error, page, row::Row, session::Db};

const TABLE: &str = "usage_events";
/// Rows of one statement.
pub(crate) const MOST: usize = 1024;
const EVENT_ID: usize = 16;

/// What tells events apart.
pub(crate) type Identity = (OrganizationId, EventId);

pub(crate) fn identity(event: &UsageEvent) -> Identity {
    (event.organization, event.event_id)
}

/// Stores events that are not there, and tells how many those are. At most [`MOST`] at once.
pub(crate) async fn insert(db: &mut Db<'_>, events: &[&UsageEvent]) -> Result<u64, StoreError> {
    let statement = statement(db, events, "")?;
    db.execute(statement).await
}

/// Stores events that are not there, and tells which those are. At most [`MOST`] at once.
pub(crate) async fn insert_telling(
    db: &mut Db<'_>,
    events: &[&UsageEvent],
) -> Result<Vec<Identity>, StoreError> {
    let statement = statement(db, events, " RETURNING organization_id, event_id")?;
    db.all(TABLE, statement, |row| Ok((row.bare_id("organization_id")?, event_id(row)?))).await
}

/// All rows in one value, one behind the other, of which the database cuts them: a value of its own for each column of each row costs more than storing it.
fn statement(
    db: &Db<'_>,
    events: &[&UsageEvent],
    after: &'static str,
) -> Result<Query<'static, Any, AnyArguments>, StoreError> {
    let (rows, width) = rows(db.home, events)?;
    let last = i64::try_from(rows.len()).unwrap_or(i64::MAX);
    let sql = insertion(db.backend, width, events.len().next_power_of_two(), after);
    Ok(query(AssertSqlSafe(sql)).bind(rows).bind(last))
}

/// The rows, and how many bytes each has: the organization's text, the event's name, its record.
fn rows(home: &Jurisdiction, events: &[&UsageEvent]) -> Result<(Vec<u8>, usize), StoreError> {
    let width = organization_text(home) + EVENT_ID + record::BYTES;
    let mut rows = Vec::with_capacity(events.len() * width);
    for event in events {
        event.organization.append_to(&mut rows);
        rows.extend_from_slice(event.event_id.as_bytes());
        record::append(&mut rows, home, event).map_err(|_| {
            error::refused("a usage event names a key, model or deployment of another region")
        })?;
    }
    // The database cuts by this width alone.
    match rows.len() == events.len() * width {
        true => Ok((rows, width)),
        false => Err(error::refused("a usage event is of another region")),
    }
}

/// Bytes of an organization's text form in this region.
fn organization_text(home: &Jurisdiction) -> usize {
    "org__".len() + home.code().as_str().len() + 26
}

/// Inserts as many as `places` rows. What a statement says depends on how many those are, and each text is prepared once: so there are few of them.
fn insertion(backend: Backend, width: usize, places: usize, after: &str) -> String {
    let event_id = width - EVENT_ID - record::BYTES;
    let (record, record_length) = (event_id + EVENT_ID, record::BYTES);
    let organization = backend.text_of(&format!("substr($1, column1, {event_id})"));
    let mut sql = format!(
        "INSERT INTO usage_events (organization_id, event_id, record) \
         SELECT {organization}, substr($1, column1 + {event_id}, {EVENT_ID}), \
         substr($1, column1 + {record}, {record_length}) FROM (VALUES (1)"
    );
    sql.reserve(places * 9);
    for row in 1..places {
        // Into a string it always succeeds.
        let _ = write!(sql, ",({})", row * width + 1);
    }
    sql.push_str(") AS places WHERE column1 <= $2 ON CONFLICT DO NOTHING");
    sql.push_str(after);
    sql
}

/// Newest first: an event's identifier starts with its time.
pub(crate) async fn list(
    db: &mut Db<'_>,
    organization: Local<OrganizationId>,
    page: &Page,
) -> Result<PageOf<Local<UsageEvent>>, StoreError> {
    // One byte more than an identifier has, and after each of them.
    let before = page::after::<EventId>(page)?
        .map_or_else(|| vec![u8::MAX; EVENT_ID + 1], |id| id.as_bytes().to_vec());
    let statement = query(
        "SELECT organization_id, event_id, record FROM usage_events \
         WHERE organization_id = $1 AND event_id < $2 ORDER BY event_id DESC LIMIT $3",
    );
    let statement = statement.bind(organization.to_string()).bind(before).bind(page::limit(page));
    let rows = db.all(TABLE, statement, read).await?;
    Ok(page::of(rows, page, |last| last.event_id.to_string()))
}

fn read(row: Row<'_>) -> Result<Local<UsageEvent>, StoreError> {
    let (organization, event_id) = (row.id("organization_id")?, event_id(row)?);
    let event = record::read(row.home(), organization, event_id, row.blob("record")?);
    row.admit("organization_id", event.ok_or_else(|| row.corrupt("record", "is malformed"))?)
}

fn event_id(row: Row<'_>) -> Result<EventId, StoreError> {
    let bytes = row.blob("event_id")?.try_into().ok();
    let id = bytes.and_then(|bytes| EventId::from_bytes(bytes).ok());
    id.ok_or_else(|| row.corrupt("event_id", "is malformed"))
}

#[cfg(test)]
mod tests;
