//! Counts that must agree: single usage events and the roll-ups that were made of them (R10), the log of changes and its revision.

use std::collections::HashMap;

use super::{Findings, Organizations, blocks::Blocks, places::is_deleted};
use crate::ports::rows::{Cell, Table};

#[derive(Default)]
struct Calls {
    events: u64,
    rolled_up: u64,
}

/// Counts rows as they pass.
#[derive(Default)]
pub(super) struct Counts {
    calls: HashMap<String, Calls>,
    blocks: Blocks,
    /// The newest revision that the log of changes names.
    newest_change: i64,
    revision: i64,
}

impl Counts {
    pub(super) fn count(&mut self, table: &Table, cells: &[Cell], findings: &mut Findings) {
        match table.name.as_str() {
            "usage_blocks" => {
                let events = self.blocks.follow(table, cells, findings);
                self.of(table, cells).events += events;
            }
            "usage_hourly" => {
                let calls = table.integer(cells, "calls").and_then(|calls| u64::try_from(calls).ok());
                match calls {
                    Some(calls) => self.of(table, cells).rolled_up += calls,
                    None => findings.note(&table.name, table.key_text(cells), "calls is not a count"),
                }
            }
            "configuration_changes" => {
                self.newest_change =
                    self.newest_change.max(table.integer(cells, "revision").unwrap_or(i64::MAX));
            }
            "region_revision" => self.revision = table.integer(cells, "revision").unwrap_or_default(),
            _ => {}
        }
    }

    fn of(&mut self, table: &Table, cells: &[Cell]) -> &mut Calls {
        let organization = table.text(cells, "organization_id").unwrap_or_default();
        self.calls.entry(organization.to_owned()).or_default()
    }

    pub(super) fn finish(self, organizations: &Organizations, findings: &mut Findings) {
        let by_name: HashMap<String, _> = organizations.keys().map(|id| (id.to_string(), *id)).collect();
        for (organization, calls) in self.calls {
            match by_name.get(&organization) {
                None => findings.note("usage_hourly", organization, "the usage's organization is not there"),
                // The single events of a deleted organization are destroyed; what they cost stays.
                Some(id) if is_deleted(organizations, *id) => {}
                Some(_) if calls.events == calls.rolled_up => {}
                Some(_) => {
                    let problem = format!("{} events, but roll-ups of {}", calls.events, calls.rolled_up);
                    findings.note("usage_hourly", organization, problem);
                }
            }
        }
        if self.newest_change > self.revision {
            let problem = format!("changes up to {} at revision {}", self.newest_change, self.revision);
            findings.note("configuration_changes", "", problem);
        }
    }
}
