//! How things stand, for people and for metrics. Nothing is decided by it.

use bailiwick_domain::id::OrganizationId;

use super::Allocator;
use crate::{limit::Account, window::Window};

/// How one account stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccountUse {
    /// Which.
    pub account: Account,
    /// The present window.
    pub window: Window,
    /// The limit.
    pub amount: u64,
    /// Used for good, or held by calls, as far as workers have told.
    pub used: u64,
    /// Lent to workers that have not used it yet. A worker tells of its use every half second.
    pub lent: u64,
    /// Lent to workers that are lost and have not said what they used: counts as used until that is known, or the window is over.
    pub in_doubt: u64,
}

/// How much there is of everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Overview {
    /// Names that were given and are in use.
    pub holders: usize,
    /// Of these, those that can be reached.
    pub connected: usize,
    /// Of these, those that are lost while something of them is in doubt.
    pub lost: usize,
    /// Accounts that anything is used or lent of.
    pub accounts: usize,
    /// Accounts of which somebody waits for units.
    pub waiting: usize,
    /// Limits.
    pub limits: usize,
}

impl Allocator {
    /// The organization's accounts of which anything is used or lent, in the order of their limits.
    pub fn accounts_of(&mut self, organization: OrganizationId) -> Vec<AccountUse> {
        let now = self.now;
        let of_organization =
            self.ledgers.iter_mut().filter(|(account, _)| account.limit.organization == organization);
        of_organization
            .map(|(_, ledger)| {
                ledger.roll(now);
                ledger.standing()
            })
            .collect()
    }

    /// How much there is of everything.
    pub fn overview(&self) -> Overview {
        Overview {
            holders: self.holders.len(),
            connected: self.connected.len(),
            lost: self.holders.values().filter(|state| state.lost).count(),
            accounts: self.ledgers.len(),
            waiting: self.waiting.len(),
            limits: self.limits.len(),
        }
    }
}
