//! What must be stored, before what depends on it is said to anybody.

use bailiwick_domain::time::Timestamp;

use crate::{
    limit::Account,
    protocol::{HolderId, ToHolder},
};

/// A change of the store. All changes of one step are written in one transaction, which must fail when another allocator with a higher term is in office.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Row {
    /// Insert.
    Holder(HolderRow),
    /// Delete.
    HolderGone(HolderId),
    /// Insert or replace, by account.
    Account(AccountRow),
    /// Insert or replace, by account and holder.
    Lease(LeaseRow),
    /// Delete.
    LeaseGone {
        /// Of this account.
        account: Account,
        /// This holder's.
        holder: HolderId,
    },
}

/// A name that was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HolderRow {
    /// It.
    pub holder: HolderId,
    /// Nothing more is lent to it.
    pub lost: bool,
}

/// What was used by holders that are gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccountRow {
    /// Which.
    pub account: Account,
    /// In the window that starts so.
    pub window_starts: Timestamp,
    /// Units.
    pub gone: u64,
}

/// What a holder was granted. The counts are of one window; the standing slice is of all later ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseRow {
    /// Of this account.
    pub account: Account,
    /// This holder's.
    pub holder: HolderId,
    /// In the window that starts so.
    pub window_starts: Timestamp,
    /// What it began the window with, at most.
    pub opening: u64,
    /// Granted beyond that.
    pub extra: u64,
    /// Given back.
    pub returned: u64,
    /// Used for good, when the row was written.
    pub consumed: u64,
    /// The newest standing slice.
    pub standing: u64,
    /// The largest one that the holder may believe in.
    pub standing_most: u64,
    /// Counts its changes.
    pub standing_version: u64,
    /// Nothing more is lent to it; what it had counts as used until it is settled or the window ends.
    pub lost: bool,
}

/// Everything that is stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// Names that were given.
    pub holders: Vec<HolderRow>,
    /// Accounts.
    pub accounts: Vec<AccountRow>,
    /// Leases.
    pub leases: Vec<LeaseRow>,
}

impl Stored {
    /// What is stored after these changes. For stores in memory; the one in a database does the same in SQL.
    pub fn apply(&mut self, rows: &[Row]) {
        for row in rows {
            match *row {
                Row::Holder(row) => replace(&mut self.holders, row, |old| old.holder == row.holder),
                Row::HolderGone(holder) => self.holders.retain(|old| old.holder != holder),
                Row::Account(row) => replace(&mut self.accounts, row, |old| old.account == row.account),
                Row::Lease(row) => {
                    replace(&mut self.leases, row, |old| {
                        (old.account, old.holder) == (row.account, row.holder)
                    });
                }
                Row::LeaseGone { account, holder } => {
                    self.leases.retain(|old| (old.account, old.holder) != (account, holder));
                }
            }
        }
    }
}

fn replace<T>(rows: &mut Vec<T>, row: T, is_it: impl Fn(&T) -> bool) {
    match rows.iter_mut().find(|old| is_it(old)) {
        Some(old) => *old = row,
        None => rows.push(row),
    }
}

/// A step's outcome. What is to be said can be had only in exchange for the word that the rows are stored. When they could not be, the allocator is ahead of its store: let it go, and load another.
#[derive(Debug)]
#[must_use = "the rows must be stored, and then the messages sent"]
pub struct Step {
    pub(super) rows: Vec<Row>,
    pub(super) messages: Vec<ToHolder>,
}

impl Step {
    /// What to store; often nothing.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// What to send, once the rows are stored.
    pub fn stored(self, _: Committed) -> Vec<ToHolder> {
        self.messages
    }
}

/// The word that a step's rows are stored: made where the transaction ended well.
#[derive(Debug)]
pub struct Committed(());

impl Committed {
    /// For the one who ended the transaction.
    pub fn after_the_transaction() -> Self {
        Self(())
    }
}
