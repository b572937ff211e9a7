//! R10: usage. An event is stored once, whoever sends it how often; roll-ups count exactly the events that were really stored, in the
//! same transaction.

mod block;
mod list;
mod query;
mod record;
mod rollup;

use std::collections::HashSet;

use bailiwick_core::{ports::store::StoreError, records::UsageInserted};
use bailiwick_domain::{guard::Guard, id::OrganizationId, jurisdiction::Local, usage::UsageEvent};

use crate::{bulk, error, session::Db, store::SqlStore};

pub(crate) use list::list as event_list;
pub(crate) use query::query;

/// Stores the events that are new, and adds them to the roll-ups.
pub(crate) async fn insert(
    store: &SqlStore,
    events: &[Local<UsageEvent>],
) -> Result<UsageInserted, StoreError> {
    let ordered = ordered(events);
    let mut transaction = store.write().await?;
    let mut db = transaction.db();
    block::lock(&mut db, &ordered).await?;
    let mut ours = ours(&mut db, &ordered).await?;
    block::keep_new(&mut db, &mut ours.events).await?;
    block::insert(&mut db, &ours.events).await?;
    rollup::add(&mut db, &ours.events).await?;
    transaction.connection.commit().await.map_err(error::of)?;
    let unknown = events.iter().enumerate().filter(|(_, event)| !ours.has(event.organization));
    Ok(UsageInserted {
        inserted: u32::try_from(ours.events.len()).unwrap_or(u32::MAX),
        unknown_organization: unknown.map(|(index, _)| index).collect(),
    })
}

/// By organization and identifier, each once: the first of its name. So an organization's events stand side by side, and roll-ups are written in one order: transactions that share some of them wait
/// for each other, and never in a circle.
fn ordered(events: &[Local<UsageEvent>]) -> Vec<&UsageEvent> {
    let mut ordered: Vec<&UsageEvent> = events.iter().map(Local::get).collect();
    // As numbers they take a third less to compare than as bytes.
    let number = u128::from_be_bytes;
    ordered
        .sort_by_key(|event| (number(event.organization.local_bytes()), number(*event.event_id.as_bytes())));
    ordered.dedup_by_key(|event| block::identity(event));
    ordered
}

/// Events of organizations that this region has, and those organizations.
struct Ours<'a> {
    known: HashSet<OrganizationId>,
    events: Vec<&'a UsageEvent>,
}

impl Ours<'_> {
    fn has(&self, organization: OrganizationId) -> bool {
        is_known(&self.known, organization)
    }
}

fn is_known(known: &HashSet<OrganizationId>, organization: OrganizationId) -> bool {
    known.contains(&organization) || !Guard::UsageOrganizations.stands()
}

async fn ours<'a>(db: &mut Db<'_>, ordered: &[&'a UsageEvent]) -> Result<Ours<'a>, StoreError> {
    let runs = || ordered.chunk_by(|one, other| one.organization == other.organization);
    let named: Vec<OrganizationId> =
        runs().filter_map(<[_]>::first).map(|event| event.organization).collect();
    let known = known_organizations(db, &named).await?;
    let events = runs().filter(|run| run.first().is_some_and(|event| is_known(&known, event.organization)));
    let events = events.flatten().copied().collect();
    Ok(Ours { known, events })
}

/// Deleted organizations are known until their usage is closed: what their last calls cost still counts. After that their events are destroyed, and one
/// that came again could not be told from a new one.
async fn known_organizations(
    db: &mut Db<'_>,
    named: &[OrganizationId],
) -> Result<HashSet<OrganizationId>, StoreError> {
    let mut known = HashSet::new();
    for chunk in bulk::chunks(named) {
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

#[cfg(test)]
mod tests;
