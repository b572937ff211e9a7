//! Single events, read back.

use bailiwick_core::{
    ports::store::StoreError,
    records::{Page, PageOf},
};
use bailiwick_domain::{
    id::OrganizationId,
    jurisdiction::Local,
    usage::{EventId, UsageEvent},
};
use sqlx::query;

use super::{block, record};
use crate::{page, row::Row, session::Db};

/// Blocks that are read at once.
const READ: usize = 16;

/// Newest first: an event's identifier starts with its time.
pub(crate) async fn list(
    db: &mut Db<'_>,
    organization: Local<OrganizationId>,
    page: &Page,
) -> Result<PageOf<Local<UsageEvent>>, StoreError> {
    let wanted = usize::try_from(page::limit(page)).unwrap_or(usize::MAX);
    let mut listed = Listed::new(page::after(page)?, wanted);
    // Past every block that holds an event of before.
    let mut from = listed.before.map_or([u8::MAX; 16], |id| *id.span().end());
    while listed.whole < wanted {
        let blocks = blocks(db, organization, from).await?;
        let Some(oldest) = blocks.last().and_then(|block| block.last()) else { break };
        from = *oldest.event_id.as_bytes();
        blocks.into_iter().for_each(|block| listed.add(block));
    }
    Ok(page::of(listed.finish(), page, |last| last.event_id.to_string()))
}

/// Events of blocks that come by their last event, newest first. Blocks of one span overlap; when one of an earlier span comes, that span is whole.
struct Listed {
    before: Option<EventId>,
    events: Vec<Local<UsageEvent>>,
    /// So many of them are in their order, and followed by those of one span.
    whole: usize,
    /// No more than these are listed.
    wanted: usize,
}

impl Listed {
    fn new(before: Option<EventId>, wanted: usize) -> Self {
        Self { before, events: Vec::new(), whole: 0, wanted }
    }

    fn add(&mut self, block: Vec<Local<UsageEvent>>) {
        let span = |event: &Local<UsageEvent>| event.event_id.span();
        if self.events.last().map(span) != block.last().map(span) {
            self.end_span();
        }
        let before = self.before;
        self.events
            .extend(block.into_iter().filter(|event| before.is_none_or(|before| event.event_id < before)));
        // A span may hold ten thousands.
        if self.events.len() > 2 * self.wanted {
            self.keep_newest();
        }
    }

    fn end_span(&mut self) {
        self.keep_newest();
        self.whole = self.events.len();
    }

    fn keep_newest(&mut self) {
        if let Some(span) = self.events.get_mut(self.whole..) {
            span.sort_unstable_by_key(|event| std::cmp::Reverse(event.event_id));
        }
        self.events.truncate(self.wanted);
    }

    fn finish(mut self) -> Vec<Local<UsageEvent>> {
        self.end_span();
        self.events
    }
}

/// Blocks that end before an identifier, the newest first.
async fn blocks(
    db: &mut Db<'_>,
    organization: Local<OrganizationId>,
    from: [u8; 16],
) -> Result<Vec<Vec<Local<UsageEvent>>>, StoreError> {
    let statement = query(
        "SELECT organization_id, form, event_ids, records FROM usage_blocks \
         WHERE organization_id = $1 AND last_event_id < $2 ORDER BY last_event_id DESC LIMIT $3",
    );
    let limit = i64::try_from(READ).unwrap_or(i64::MAX);
    let statement = statement.bind(organization.to_string()).bind(from.to_vec()).bind(limit);
    db.all(block::TABLE, statement, read).await
}

fn read(row: Row<'_>) -> Result<Vec<Local<UsageEvent>>, StoreError> {
    let organization = row.id("organization_id")?;
    let (form, ids, records) =
        (row.integer("form")?, block::ids(row.blob("event_ids")?), row.blob("records")?);
    let events = record::read(form, row.home(), organization, ids, records);
    let events = events.ok_or_else(|| row.corrupt("records", "is malformed"))?;
    events.into_iter().map(|event| row.admit("organization_id", event)).collect()
}
