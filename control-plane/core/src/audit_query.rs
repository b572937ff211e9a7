//! Reading and verifying audit chains.

use bailiwick_domain::permission::Permission;

use crate::{
    audit::{self, GENESIS},
    caller::{Caller, Permit},
    control_plane::ControlPlane,
    error::UseCaseError,
    ports::vault::SealContext,
    records::{AuditRecord, Chain, Page, PageOf},
};

const PAGE: u32 = 1000;

/// A record, its actor opened.
#[derive(Clone, Debug)]
pub struct OpenedRecord {
    /// The record.
    pub record: AuditRecord,
    /// Who; empty once the data key is destroyed.
    pub actor: String,
}

/// What a chain's verification found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verification {
    /// Records that were looked at.
    pub records: u64,
    /// Hash of the last one.
    pub head: [u8; 32],
    /// Sequence of the first record that does not fit.
    pub first_bad: Option<u64>,
}

impl Verification {
    /// Before the first record.
    pub(crate) fn start() -> Self {
        Self { records: 0, head: GENESIS, first_bad: None }
    }

    /// The next record, as it is stored.
    pub(crate) fn follow(&mut self, record: &AuditRecord) {
        let expected = audit::record_hash(&self.head, record);
        let fits = record.sequence == self.records + 1 && record.hash == expected;
        if !fits && self.first_bad.is_none() {
            self.first_bad = Some(record.sequence);
        }
        self.records += 1;
        self.head = record.hash;
    }
}

impl ControlPlane {
    /// A page of a chain, oldest first.
    ///
    /// # Errors
    /// There is no such organization; the caller may not.
    pub async fn audit_list(
        &self,
        caller: &Caller,
        chain: Chain,
        page: &Page,
    ) -> Result<PageOf<OpenedRecord>, UseCaseError> {
        self.chain_permit(caller, chain).await?;
        let keys = self.keys(chain).await?;
        let row = audit::chain_name(chain);
        let place = SealContext { table: "audit_records", column: "actor", row: &row };
        let found = self.store().audit_list(chain, page).await?;
        let opened = found.rows.into_iter().map(|record| {
            let actor = keys.open_text(place, &record.actor).unwrap_or_default();
            OpenedRecord { record, actor }
        });
        Ok(PageOf { rows: opened.collect(), next: found.next })
    }

    /// Recomputes a chain from its beginning.
    ///
    /// # Errors
    /// There is no such organization; the caller may not.
    pub async fn audit_verify(&self, caller: &Caller, chain: Chain) -> Result<Verification, UseCaseError> {
        self.chain_permit(caller, chain).await?;
        let mut verification = Verification::start();
        let mut page = Page { size: PAGE, token: None };
        loop {
            let found = self.store().audit_list(chain, &page).await?;
            found.rows.iter().for_each(|record| verification.follow(record));
            match found.next {
                Some(token) => page.token = Some(token),
                None => return Ok(verification),
            }
        }
    }

    /// An organization's people read its own chain; that of the region is the region's.
    async fn chain_permit(&self, caller: &Caller, chain: Chain) -> Result<Permit, UseCaseError> {
        match chain {
            Chain::Region => caller.permit_region(Permission::AuditRead),
            Chain::Organization(id) => {
                let permit = caller.asks(Permission::AuditRead)?.within(id, "the organization")?;
                self.organization_known(id).await?;
                Ok(permit)
            }
        }
    }
}

#[cfg(test)]
mod tests;
