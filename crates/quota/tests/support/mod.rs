//! What the tests of this crate share: a region's store, and accounts to be charged.
#![allow(dead_code, reason = "each test uses its part")]

use std::collections::BTreeMap;

use bailiwick_domain::{jurisdiction::Jurisdiction, key::ApiKey, region::Regions, time::Timestamp};
use bailiwick_quota::{
    allocator::{AccountRow, HolderRow, LeaseRow, Row, Stored},
    limit::{Account, Call, Limit, LimitId, Measure, MemberNumber, Scope},
    protocol::HolderId,
};

/// A minute's beginning.
pub const START: Timestamp = Timestamp::from_micros(1_790_000_040_000_000);

/// A limit of one organization, and its account.
pub fn limit(measure: Measure, amount: u64) -> (Limit, Account) {
    let region = Regions::builtin().iter().next().expect("a region").clone();
    let here = Jurisdiction::of(&region);
    let organization = *here.mint(START, 7);
    let number = Measure::ALL.iter().position(|other| *other == measure).expect("listed");
    let id = LimitId { organization, number: u32::try_from(number).expect("few") };
    let limit = Limit::new(id, measure, Scope::ORGANIZATION, amount).expect("a small amount");
    let key = ApiKey::generate(here.code()).key_id();
    let call = Call { organization, key, member: Some(MemberNumber(1)), model: *here.mint(START, 8) };
    let account = limit.account(&call).expect("its own organization");
    (limit, account)
}

/// The region's store: refuses what an allocator writes whose term is over.
#[derive(Debug, Default)]
pub struct Store {
    pub term: u64,
    holders: BTreeMap<HolderId, HolderRow>,
    accounts: BTreeMap<Account, AccountRow>,
    leases: BTreeMap<(Account, HolderId), LeaseRow>,
    pub transactions: u64,
}

impl Store {
    /// Begins a term.
    pub fn next_term(&mut self) -> u64 {
        self.term += 1;
        self.term
    }

    /// One transaction; whether it ended well.
    pub fn write(&mut self, term: u64, rows: &[Row]) -> bool {
        if rows.is_empty() {
            return true;
        }
        if term != self.term {
            return false;
        }
        self.transactions += 1;
        for row in rows {
            match *row {
                Row::Holder(row) => drop(self.holders.insert(row.holder, row)),
                Row::HolderGone(holder) => drop(self.holders.remove(&holder)),
                Row::Account(row) => drop(self.accounts.insert(row.account, row)),
                Row::Lease(row) => drop(self.leases.insert((row.account, row.holder), row)),
                Row::LeaseGone { account, holder } => drop(self.leases.remove(&(account, holder))),
            }
        }
        true
    }

    /// All rows.
    pub fn read(&self) -> Stored {
        Stored {
            holders: self.holders.values().copied().collect(),
            accounts: self.accounts.values().copied().collect(),
            leases: self.leases.values().copied().collect(),
        }
    }
}
