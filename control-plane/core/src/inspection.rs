//! Verifies a whole store: every sealed value opens in its place (R4), every audit chain is whole and every revision has its record (R11),
//! every row is of this region and refers to rows that are there (R2), and counts agree.
//!
//! It works on a [`RowReader`], so on a store at rest, on one that is served meanwhile, and on one that is just being restored. It changes nothing.

mod blocks;
mod chains;
mod counts;
mod places;

use std::collections::HashMap;

use bailiwick_domain::{
    id::OrganizationId,
    jurisdiction::{Jurisdiction, Local},
    organization::OrganizationStatus,
};
use serde::Serialize;

use crate::{
    audit,
    inspection::{chains::Chains, counts::Counts, places::Opener},
    ports::{
        rows::{Cell, RowReader, Table},
        store::StoreError,
        vault::{Vault, VaultError},
    },
    records::Chain,
};

/// Rows that are read at once.
const PAGE: u32 = 500;
/// Problems that are told one by one; past that they are only counted.
const TOLD: usize = 1000;

/// What an inspection found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Findings {
    /// Rows of each table.
    pub rows: Vec<TableRows>,
    /// Sealed values that opened in their place.
    pub sealed_opened: u64,
    /// Sealed values of deleted organizations: their keys are destroyed, nobody can open them.
    pub sealed_destroyed: u64,
    /// Wrapped data keys that unwrapped in their scope.
    pub data_keys: u64,
    /// Audit chains.
    pub chains: u64,
    /// Their records.
    pub audit_records: u64,
    /// What does not hold; at most 1000 are told.
    pub problems: Vec<Problem>,
    /// How many there are.
    pub problem_count: u64,
}

/// How many rows a table has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TableRows {
    /// The table.
    pub table: String,
    /// Its rows.
    pub rows: u64,
}

/// Something that does not hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Where: a table.
    pub table: String,
    /// Which row: its primary key; empty when it concerns the table.
    pub row: String,
    /// What; never the value.
    pub problem: String,
}

impl Findings {
    /// Whether everything holds.
    pub fn hold(&self) -> bool {
        self.problem_count == 0
    }

    fn note(&mut self, table: &str, row: impl Into<String>, problem: impl Into<String>) {
        self.problem_count += 1;
        if self.problems.len() < TOLD {
            self.problems.push(Problem { table: table.to_owned(), row: row.into(), problem: problem.into() });
        }
    }
}

/// Why an inspection could not be made.
#[derive(Debug, thiserror::Error)]
pub enum InspectionError {
    /// The store cannot be read.
    #[error("the store cannot be read")]
    Store(#[from] StoreError),
    /// The master key cannot be had: nothing is known about what is sealed.
    #[error("the vault cannot be used")]
    Vault(#[source] VaultError),
}

/// Reads everything once. `progress` hears of each page: the table, and how many of its rows were read.
///
/// # Errors
/// What was asked cannot be answered at all. What does not hold is no error, but a finding.
pub async fn inspect(
    rows: &mut dyn RowReader,
    vault: &dyn Vault,
    home: &Jurisdiction,
    progress: &mut (dyn FnMut(&str, u64) + Send),
) -> Result<Findings, InspectionError> {
    let mut findings = Findings::default();
    let tables = rows.tables().to_vec();
    for table in &tables {
        places::check_shape(table, &mut findings);
    }
    let organizations = organizations(rows, home, &tables, &mut findings).await?;
    let mut opener = Opener::new(vault, home, &organizations);
    let mut chains = Chains::new(home);
    let mut counts = Counts::default();
    for (number, table) in tables.iter().enumerate() {
        let mut read = 0_u64;
        let mut after: Option<Vec<Cell>> = None;
        loop {
            let page = rows.page(number, after.as_deref(), PAGE).await?;
            for cells in &page {
                check_region(table, cells, home, &mut findings);
                opener.open(rows, table, cells, &mut findings).await?;
                chains.follow(table, cells, &mut findings);
                counts.count(table, cells, &mut findings);
            }
            read += page.len() as u64;
            progress(&table.name, read);
            match page.last() {
                Some(last) if page.len() >= PAGE as usize => after = Some(table.key_of(last)),
                _ => break,
            }
        }
        findings.rows.push(TableRows { table: table.name.clone(), rows: read });
        check_references(rows, number, table, &mut findings).await?;
    }
    chains.finish(&organizations, &mut findings);
    counts.finish(&organizations, &mut findings);
    Ok(findings)
}

/// Organizations and whether they are deleted. `None`: the status is none of the words.
type Organizations = HashMap<Local<OrganizationId>, Option<OrganizationStatus>>;

async fn organizations(
    rows: &mut dyn RowReader,
    home: &Jurisdiction,
    tables: &[Table],
    findings: &mut Findings,
) -> Result<Organizations, InspectionError> {
    let mut organizations = Organizations::new();
    let named = tables.iter().enumerate().find(|(_, table)| table.name == "organizations");
    let Some((number, table)) = named else {
        findings.note("organizations", "", "the table is missing");
        return Ok(organizations);
    };
    let mut after: Option<Vec<Cell>> = None;
    loop {
        let page = rows.page(number, after.as_deref(), PAGE).await?;
        for cells in &page {
            let status = table.text(cells, "status").and_then(OrganizationStatus::parse);
            if status.is_none() {
                findings.note(&table.name, table.key_text(cells), "status is an unknown word");
            }
            match table.text(cells, "id").and_then(|id| scope_of(id, home)) {
                Some(id) => {
                    organizations.insert(id, status);
                }
                None => findings.note(&table.name, table.key_text(cells), "id is not one of this region"),
            }
        }
        match page.last() {
            Some(last) if page.len() >= PAGE as usize => after = Some(table.key_of(last)),
            _ => return Ok(organizations),
        }
    }
}

fn scope_of(text: &str, home: &Jurisdiction) -> Option<Local<OrganizationId>> {
    home.admit(text.parse::<OrganizationId>().ok()?).ok()
}

fn chain_of(text: &str, home: &Jurisdiction) -> Option<Chain> {
    if text == audit::chain_name(Chain::Region) {
        return Some(Chain::Region);
    }
    scope_of(text, home).map(Chain::Organization)
}

/// The database checks this itself, unless somebody took the check away.
fn check_region(table: &Table, cells: &[Cell], home: &Jurisdiction, findings: &mut Findings) {
    if table.text(cells, "region") != Some(home.code().as_str()) {
        findings.note(&table.name, table.key_text(cells), "the row is of another region");
    }
}

/// The same: references that the database was told not to check, or that were broken behind its back.
async fn check_references(
    rows: &mut dyn RowReader,
    number: usize,
    table: &Table,
    findings: &mut Findings,
) -> Result<(), InspectionError> {
    for (index, reference) in table.references.iter().enumerate() {
        let dangling = rows.dangling(number, index).await?;
        if dangling > 0 {
            let problem = format!("{dangling} rows refer to rows of {} that are not there", reference.table);
            findings.note(&table.name, "", problem);
        }
    }
    Ok(())
}
