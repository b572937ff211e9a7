//! Blocks of usage events (R10). The database's own keys tell blocks apart, but not the events in them: that each is there once is looked at here.

use std::{collections::HashSet, ops::RangeInclusive};

use bailiwick_domain::usage::EventId;

use super::Findings;
use crate::ports::rows::{Cell, Table};

const EVENT_ID: usize = 16;

/// Follows blocks as they come by their key: those of an organization's span side by side.
#[derive(Default)]
pub(super) struct Blocks {
    organization: String,
    span: Option<RangeInclusive<[u8; EVENT_ID]>>,
    /// Events of that span.
    seen: HashSet<EventId>,
}

impl Blocks {
    /// How many events a block holds. What is wrong with it is noted.
    pub(super) fn follow(&mut self, table: &Table, cells: &[Cell], findings: &mut Findings) -> u64 {
        let (ids, rest) = table.blob(cells, "event_ids").unwrap_or_default().as_chunks::<EVENT_ID>();
        let mut wrong = |problem: &str| findings.note(&table.name, table.key_text(cells), problem);
        match ids.iter().map(|id| EventId::from_bytes(*id)).collect::<Result<Vec<_>, _>>() {
            Ok(events) if rest.is_empty() => {
                self.turn_to(table.text(cells, "organization_id").unwrap_or_default(), events.first());
                if events.iter().any(|event| Some(event.span()) != self.span)
                    || !events.is_sorted_by(|a, b| a < b)
                {
                    wrong("its events are not in order, or not of one time");
                }
                let twice = events.iter().filter(|event| !self.seen.insert(**event)).count();
                if twice > 0 {
                    wrong(&format!("{twice} of its events are stored twice"));
                }
            }
            _ => wrong("it holds what names no event"),
        }
        ids.len() as u64
    }

    fn turn_to(&mut self, organization: &str, first: Option<&EventId>) {
        let span = first.map(EventId::span);
        if self.organization != organization || self.span != span {
            (self.organization, self.span) = (organization.to_owned(), span);
            self.seen.clear();
        }
    }
}
