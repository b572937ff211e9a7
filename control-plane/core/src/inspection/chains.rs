//! R11: audit chains are whole, and every revision of the configuration has its record.

use std::collections::HashMap;

use bailiwick_domain::{jurisdiction::Jurisdiction, time::Timestamp};

use super::{Findings, Organizations, chain_of, places::is_deleted};
use crate::{
    audit_query::Verification,
    ports::{
        rows::{Cell, Table},
        vault::Sealed,
    },
    records::{AuditRecord, Chain, Revision},
};

/// What a chain's head says, and what its records are found to be.
#[derive(Default)]
struct Followed {
    head: Option<(i64, [u8; 32])>,
    records: Option<Verification>,
}

/// Follows every chain. Rows come by primary key: each chain's in its own order.
pub(super) struct Chains<'a> {
    home: &'a Jurisdiction,
    chains: HashMap<Chain, Followed>,
    /// The region's revision.
    revision: u64,
    /// How many records name a revision, and the sum of those: 1 to n, each once, or not.
    revisions: u64,
    sum: u128,
}

impl<'a> Chains<'a> {
    pub(super) fn new(home: &'a Jurisdiction) -> Self {
        Self { home, chains: HashMap::new(), revision: 0, revisions: 0, sum: 0 }
    }

    pub(super) fn follow(&mut self, table: &Table, cells: &[Cell], findings: &mut Findings) {
        match table.name.as_str() {
            "audit_chains" => self.head(table, cells, findings),
            "audit_records" => self.record(table, cells, findings),
            "region_revision" => self.revision = number(table, cells, "revision").unwrap_or_default(),
            _ => {}
        }
    }

    fn head(&mut self, table: &Table, cells: &[Cell], findings: &mut Findings) {
        let chain = table.text(cells, "chain").and_then(|text| chain_of(text, self.home));
        let sequence = table.integer(cells, "sequence");
        let hash = table.blob(cells, "hash").and_then(|hash| hash.try_into().ok());
        match (chain, sequence.zip(hash)) {
            (Some(chain), Some(head)) => self.chains.entry(chain).or_default().head = Some(head),
            _ => findings.note(&table.name, table.key_text(cells), "the chain's head cannot be read"),
        }
    }

    fn record(&mut self, table: &Table, cells: &[Cell], findings: &mut Findings) {
        findings.audit_records += 1;
        let Some(record) = record(table, cells, self.home) else {
            findings.note(&table.name, table.key_text(cells), "the record cannot be read");
            return;
        };
        if let Some(Revision(revision)) = record.revision {
            self.revisions += 1;
            self.sum += u128::from(revision);
        }
        let followed = self.chains.entry(record.chain).or_default();
        let verification = followed.records.get_or_insert_with(Verification::start);
        let bad_before = verification.first_bad;
        verification.follow(&record);
        if bad_before.is_none() && verification.first_bad.is_some() {
            findings.note(&table.name, table.key_text(cells), "the audit chain is broken here");
        }
    }

    /// What can be told only at the end: whether records are missing where a chain stops.
    pub(super) fn finish(self, organizations: &Organizations, findings: &mut Findings) {
        findings.chains = self.chains.len() as u64;
        for (chain, followed) in &self.chains {
            let name = crate::audit::chain_name(*chain);
            let last =
                followed.records.as_ref().map(|v| (i64::try_from(v.records).unwrap_or(i64::MAX), v.head));
            if followed.head != last {
                findings.note("audit_chains", name.clone(), "the chain's head is not its last record");
            }
            let known = match chain {
                Chain::Region => true,
                Chain::Organization(id) => organizations.contains_key(id),
            };
            if !known {
                findings.note("audit_chains", name, "the chain's organization is not there");
            }
        }
        if !self.chains.contains_key(&Chain::Region) {
            findings.note("audit_chains", "region", "the region has no audit chain");
        }
        for id in organizations.keys().filter(|id| !is_deleted(organizations, **id)) {
            if !self.chains.contains_key(&Chain::Organization(*id)) {
                findings.note("organizations", id.to_string(), "the organization has no audit chain");
            }
        }
        let expected = u128::from(self.revision) * (u128::from(self.revision) + 1) / 2;
        if self.revisions != self.revision || self.sum != expected {
            let problem = format!(
                "the configuration is at revision {}, and {} audit records name one: not one for each",
                self.revision, self.revisions
            );
            findings.note("region_revision", "", problem);
        }
    }
}

fn record(table: &Table, cells: &[Cell], home: &Jurisdiction) -> Option<AuditRecord> {
    Some(AuditRecord {
        chain: chain_of(table.text(cells, "chain")?, home)?,
        sequence: number(table, cells, "sequence")?,
        at: Timestamp::from_micros(table.integer(cells, "at")?),
        actor: Sealed(table.blob(cells, "actor")?.to_vec()),
        action: table.text(cells, "action")?.to_owned(),
        subject: table.text(cells, "subject")?.to_owned(),
        revision: match table.integer(cells, "revision") {
            Some(revision) => Some(Revision(u64::try_from(revision).ok()?)),
            None => None,
        },
        hash: table.blob(cells, "hash")?.try_into().ok()?,
    })
}

fn number(table: &Table, cells: &[Cell], column: &str) -> Option<u64> {
    u64::try_from(table.integer(cells, column)?).ok()
}
