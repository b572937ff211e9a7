//! R10: usage. An event is stored once, whoever sends it how often; roll-ups count exactly the events that were really stored, in the
//! same transaction.

mod event;
mod query;
mod rollup;

use std::collections::{BTreeSet, HashSet};

use bailiwick_core::{ports::store::StoreError, records::UsageInserted};
use bailiwick_domain::{guard::Guard, id::OrganizationId, jurisdiction::Local, usage::UsageEvent};

use crate::{bulk, session::Db};

pub(crate) use event::list as event_list;
pub(crate) use query::query;

/// Stores the events that are new, and adds them to the roll-ups.
///
/// Events and roll-ups are written in one order, by identifier and by key: transactions that share some of them wait for each
/// other, and never in a circle.
pub(crate) async fn insert(
    db: &mut Db<'_>,
    events: &[Local<UsageEvent>],
) -> Result<UsageInserted, StoreError> {
    let known = known_organizations(db, events).await?;
    let is_known =
        |event: &UsageEvent| known.contains(&event.organization) || !Guard::UsageOrganizations.stands();
    let unknown = events.iter().enumerate().filter(|(_, event)| !is_known(event)).map(|(index, _)| index);
    let unknown_organization = unknown.collect();

    let mut ours: Vec<&UsageEvent> = events.iter().map(Local::get).filter(|event| is_known(event)).collect();
    ours.sort_by_key(|event| event.event_id);
    ours.dedup_by_key(|event| event.event_id);
    let new = match all_new(db, &ours).await? {
        true => ours,
        false => those_that_are_new(db, ours).await?,
    };
    let mut rollups = rollup::Rollups::default();
    new.iter().for_each(|event| rollups.add(event));
    let inserted = u32::try_from(new.len()).unwrap_or(u32::MAX);
    rollups.store(db).await?;
    Ok(UsageInserted { inserted, unknown_organization })
}

/// Stores them if all are new, which they nearly always are: then no row has to come back from the database. Else nothing is stored.
async fn all_new(db: &mut Db<'_>, events: &[&UsageEvent]) -> Result<bool, StoreError> {
    db.execute(sqlx::query("SAVEPOINT usage_events")).await?;
    for chunk in bulk::chunks(events) {
        let inserted = event::insert(db, chunk).await?;
        if usize::try_from(inserted) != Ok(chunk.len()) {
            db.execute(sqlx::query("ROLLBACK TO SAVEPOINT usage_events")).await?;
            return Ok(false);
        }
    }
    db.execute(sqlx::query("RELEASE SAVEPOINT usage_events")).await?;
    Ok(true)
}

/// Stores and gives those that were not there before.
async fn those_that_are_new<'a>(
    db: &mut Db<'_>,
    events: Vec<&'a UsageEvent>,
) -> Result<Vec<&'a UsageEvent>, StoreError> {
    let mut new = HashSet::new();
    for chunk in bulk::chunks(&events) {
        new.extend(event::insert_telling(db, chunk).await?);
    }
    Ok(events.into_iter().filter(|event| new.contains(&event.event_id)).collect())
}

/// Deleted organizations are known until their usage is closed: what their last calls cost still counts. After that their events are destroyed, and one
/// that came again could not be told from a new one.
async fn known_organizations(
    db: &mut Db<'_>,
    events: &[Local<UsageEvent>],
) -> Result<HashSet<OrganizationId>, StoreError> {
    let named: BTreeSet<OrganizationId> = events.iter().map(|event| event.organization).collect();
    let named: Vec<OrganizationId> = named.into_iter().collect();
    let mut known = HashSet::new();
    for chunk in bulk::chunks(&named) {
        let before = "SELECT id FROM organizations WHERE NOT EXISTS (SELECT 1 FROM destructions \
             WHERE destructions.organization_id = organizations.id AND usage_closed_at IS NOT NULL) AND id IN (";
        let mut statement = sqlx::query(bulk::statement(db.backend, before, chunk.len(), 1, ")"));
        for id in chunk {
            statement = statement.bind(id.to_string());
        }
        let found: Vec<OrganizationId> = db.all("organizations", statement, |row| row.bare_id("id")).await?;
        known.extend(found);
    }
    Ok(known)
}
