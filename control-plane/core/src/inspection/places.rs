//! R4: where sealed values are, and whether each opens there.

use std::collections::HashMap;

use bailiwick_domain::{
    id::OrganizationId, jurisdiction::Jurisdiction, jurisdiction::Local, organization::OrganizationStatus,
};

use super::{Findings, InspectionError, Organizations, scope_of};
use crate::{
    ports::{
        rows::{Cell, ColumnKind, RowReader, Table},
        vault::{DataKey, KeyScope, SealContext, Sealed, Vault, VaultError, WrappedDataKey},
    },
    sealed_columns::{PUBLIC_SECRETS, SEALED_COLUMNS, SealedColumn},
    sealing::Keys,
};

/// Scopes whose unlocked keys are kept; past that all are dropped and unlocked again.
const KEPT_SCOPES: usize = 100_000;
/// The region's scope and chain, in the columns that name one.
const REGION: &str = "region";

/// Bytes that are no secret by themselves: keyed hashes, hashes, wrapped keys; what a call cost, which has no place for anything else.
const NOT_SEALED: &[(&str, &str)] = &[
    ("organizations", "contact_email_hash"),
    ("api_keys", "digest"),
    ("join_tokens", "digest"),
    ("service_accounts", "digest"),
    ("audit_chains", "hash"),
    ("audit_records", "hash"),
    ("data_keys", "wrapped"),
    ("usage_blocks", "first_event_id"),
    ("usage_blocks", "last_event_id"),
    ("usage_blocks", "event_ids"),
    ("usage_blocks", "records"),
];

/// A column of bytes that nobody accounted for could hold anything: it is a finding until it stands in one of the two lists.
pub(super) fn check_shape(table: &Table, findings: &mut Findings) {
    for column in table.columns.iter().filter(|column| column.kind == ColumnKind::Blob) {
        let here = (table.name.as_str(), column.name.as_str());
        let known =
            SEALED_COLUMNS.iter().map(|place| (place.table, place.column)).chain(NOT_SEALED.iter().copied());
        if !known.into_iter().any(|known| known == here) {
            findings.note(
                &table.name,
                "",
                format!("{} holds bytes, and nobody says what seals them", column.name),
            );
        }
    }
    if table.column("region").is_none() {
        findings.note(&table.name, "", "the table does not say which region it is of");
    }
}

/// Opens sealed values.
pub(super) struct Opener<'a> {
    vault: &'a dyn Vault,
    home: &'a Jurisdiction,
    organizations: &'a Organizations,
    keys: HashMap<KeyScope, Keys>,
}

impl<'a> Opener<'a> {
    pub(super) fn new(
        vault: &'a dyn Vault,
        home: &'a Jurisdiction,
        organizations: &'a Organizations,
    ) -> Self {
        Self { vault, home, organizations, keys: HashMap::new() }
    }

    /// Opens every sealed value of a row, and unwraps it where it is a data key.
    pub(super) async fn open(
        &mut self,
        rows: &mut dyn RowReader,
        table: &Table,
        cells: &[Cell],
        findings: &mut Findings,
    ) -> Result<(), InspectionError> {
        if table.name == "data_keys" {
            return self.unwrap(rows, table, cells, findings).await;
        }
        for place in SEALED_COLUMNS.iter().filter(|place| place.table == table.name) {
            self.open_one(rows, table, cells, place, findings).await?;
        }
        Ok(())
    }

    async fn open_one(
        &mut self,
        rows: &mut dyn RowReader,
        table: &Table,
        cells: &[Cell],
        place: &SealedColumn,
        findings: &mut Findings,
    ) -> Result<(), InspectionError> {
        let Some(sealed) = table.blob(cells, place.column) else { return Ok(()) };
        let mut wrong = |problem: &str| {
            findings.note(&table.name, table.key_text(cells), format!("{} {problem}", place.column));
        };
        let Some(row) = table.text(cells, place.row) else {
            wrong("has no row to be bound to");
            return Ok(());
        };
        if place.table == "region_secrets" && row.starts_with(PUBLIC_SECRETS) {
            return Ok(());
        }
        let Some(scope) = self.scope(table, cells, place.scope) else {
            wrong("belongs to no organization of this region");
            return Ok(());
        };
        let deleted = self.is_deleted(scope);
        let keys = self.keys(rows, scope).await?;
        let context = SealContext { table: place.table, column: place.bound_as, row };
        let sealed = Sealed(sealed.to_vec());
        match (keys.opens(context, &sealed), deleted) {
            (true, false) => findings.sealed_opened += 1,
            (false, true) => findings.sealed_destroyed += 1,
            (false, false) => wrong("does not open: it was changed, moved, or its data key is not there"),
            (true, true) => {
                wrong("opens, but its organization is deleted: its data keys should be destroyed")
            }
        }
        Ok(())
    }

    /// A data key whose scope is gone, or that was copied from another scope, version, region or installation, is a finding.
    async fn unwrap(
        &mut self,
        rows: &mut dyn RowReader,
        table: &Table,
        cells: &[Cell],
        findings: &mut Findings,
    ) -> Result<(), InspectionError> {
        let mut wrong = |problem: &str| findings.note(&table.name, table.key_text(cells), problem);
        let Some(scope) = self.scope(table, cells, Some("scope")) else {
            wrong("the data key is of no organization of this region");
            return Ok(());
        };
        let known = match scope {
            KeyScope::Organization(id) => self.organizations.contains_key(&id),
            KeyScope::Region | KeyScope::Backup => true,
        };
        if !known {
            wrong("the data key's organization is not there");
        }
        if self.is_deleted(scope) {
            wrong("the data key of a deleted organization is not destroyed");
        }
        let version = table.integer(cells, "version");
        let stored = rows.data_keys(scope).await?;
        let key = stored.iter().find(|key| Some(i64::from(key.version)) == version);
        match key {
            Some(key) if self.unlock(key).await?.is_some() => findings.data_keys += 1,
            _ => {
                wrong("the data key does not unwrap: it was changed, moved, or wrapped by another master key")
            }
        }
        Ok(())
    }

    fn scope(&self, table: &Table, cells: &[Cell], column: Option<&str>) -> Option<KeyScope> {
        let Some(column) = column else { return Some(KeyScope::Region) };
        match table.text(cells, column)? {
            REGION => Some(KeyScope::Region),
            id => scope_of(id, self.home).map(KeyScope::Organization),
        }
    }

    fn is_deleted(&self, scope: KeyScope) -> bool {
        match scope {
            KeyScope::Organization(id) => is_deleted(self.organizations, id),
            KeyScope::Region | KeyScope::Backup => false,
        }
    }

    async fn keys(&mut self, rows: &mut dyn RowReader, scope: KeyScope) -> Result<&Keys, InspectionError> {
        if !self.keys.contains_key(&scope) {
            let mut unlocked = Vec::new();
            for key in rows.data_keys(scope).await? {
                unlocked.extend(self.unlock(&key).await?);
            }
            if self.keys.len() >= KEPT_SCOPES {
                self.keys.clear();
            }
            self.keys.insert(scope, Keys::many(unlocked));
        }
        Ok(self.keys.entry(scope).or_insert_with(|| Keys::many(Vec::new())))
    }

    /// `None`: it does not unwrap.
    async fn unlock(
        &self,
        key: &WrappedDataKey,
    ) -> Result<Option<std::sync::Arc<dyn DataKey>>, InspectionError> {
        match self.vault.unlock(key).await {
            Ok(key) => Ok(Some(key)),
            Err(VaultError::DoesNotOpen | VaultError::UnknownMasterKey(_)) => Ok(None),
            Err(error) => Err(InspectionError::Vault(error)),
        }
    }
}

pub(super) fn is_deleted(organizations: &Organizations, id: Local<OrganizationId>) -> bool {
    organizations.get(&id) == Some(&Some(OrganizationStatus::Deleted))
}
