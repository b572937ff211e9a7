//! What workers and control plane tell each other about leases.
//!
//! Numbers that could be lost or come twice are *cumulative within a window*, or carry a version: whoever hears them takes the larger. So no message has to arrive, and none does harm by
//! arriving twice, late, or in another order.

use bailiwick_domain::time::Timestamp;

use crate::{limit::Account, window::Window};

/// Reports of one exchange, at most; the rest comes with further ones.
pub const MAX_REPORTS: usize = 10_000;
/// Earlier names in one hello, at most.
pub const MAX_SUPERSEDED: usize = 64;
/// Accounts in one settlement, at most. What cannot be said whole is not said.
pub const MAX_SETTLED: usize = 10_000;

/// Names one life of a worker towards the allocator. Given by the allocator: never twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HolderId(pub u64);

/// From a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FromHolder {
    /// A worker that has no name yet.
    Hello(Hello),
    /// Demand and consumption.
    Exchange(Exchange),
    /// What an earlier life used, for good.
    Settlement(Settlement),
}

/// A worker that has no name yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// Chosen by the worker at random for this hello; the answer repeats it.
    pub nonce: u64,
    /// Earlier lives of this worker that are over for certain: it holds the lock of their journals. At most [`MAX_SUPERSEDED`].
    pub supersedes: Vec<HolderId>,
}

/// Demand and consumption.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// Who.
    pub holder: HolderId,
    /// Counts this holder's exchanges.
    pub sequence: u64,
    /// The worker is about to end, has given back what it could, and will take nothing more.
    pub leaving: bool,
    /// Of each account that has news. At most [`MAX_REPORTS`].
    pub reports: Vec<Report>,
}

/// What an earlier life of a worker used of limits of money, all of it: of accounts that are not named, nothing. Read out of what that life wrote down with each call's usage event, so the two say the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settlement {
    /// The earlier life. It is over for certain: see [`Hello::supersedes`].
    pub holder: HolderId,
    /// Each account once. At most [`MAX_SETTLED`].
    pub used: Vec<Consumed>,
}

/// What a life used of one account, in the last window in which it used any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Consumed {
    /// Which.
    pub account: Account,
    /// The start of the window.
    pub window_starts: Timestamp,
    /// Units that are used for good.
    pub units: u64,
}

/// A worker's news of one account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// Which.
    pub account: Account,
    /// The start of the window that the counts are of.
    pub window_starts: Timestamp,
    /// The standing slice that the worker began the window with.
    pub opening: u64,
    /// Units beyond it that the worker has been granted in the window, as far as it knows.
    pub extra_seen: u64,
    /// Units that are used for good, in the window so far.
    pub consumed: u64,
    /// Units that calls hold now.
    pub held: u64,
    /// Units that the worker gave back in the window so far. It will never use them.
    pub returned: u64,
    /// Units that the worker lacks for calls that wait.
    pub urgent: u64,
    /// Units that were asked for, per minute, smoothed; of parallel calls, their number.
    pub demand: u64,
    /// The newest standing slice that the worker knows: windows that it opens from now on begin with that one or a newer.
    pub standing_version: u64,
    /// The newest recall that the worker has done.
    pub recall: u64,
}

/// To a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToHolder {
    /// The answer to a hello.
    Welcome {
        /// The hello's.
        nonce: u64,
        /// The worker's name from now on.
        holder: HolderId,
    },
    /// No leases are in this holder's name any more: begin anew, with a hello.
    Unknown {
        /// Who.
        holder: HolderId,
    },
    /// Leases.
    Leases(Leases),
    /// What an earlier life used is written down; it need not be said again.
    Settled {
        /// The earlier life.
        holder: HolderId,
    },
}

impl ToHolder {
    /// Whom it is for; `None` for the answer to a hello.
    pub fn holder(&self) -> Option<HolderId> {
        match self {
            Self::Welcome { .. } => None,
            Self::Unknown { holder } | Self::Settled { holder } => Some(*holder),
            Self::Leases(leases) => Some(leases.holder),
        }
    }
}

/// Leases of one worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leases {
    /// For whom.
    pub holder: HolderId,
    /// Grows with each allocator that takes office.
    pub term: u64,
    /// The newest exchange that is considered in this.
    pub answers: u64,
    /// The allocator's time at which it was.
    pub now: Timestamp,
    /// Those that have news.
    pub leases: Vec<Lease>,
}

/// What one worker may use of one account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Which.
    pub account: Account,
    /// The window that `extra` is of.
    pub window: Window,
    /// The account's whole amount, to be told to callers.
    pub amount: u64,
    /// Units granted in this window beyond the standing slice that it began with.
    pub extra: u64,
    /// What each later window begins with, as long as the lease lives.
    pub standing: u64,
    /// Counts the changes of it.
    pub standing_version: u64,
    /// Idle units over this must be given back. Once, on hearing this: what comes later is not meant.
    pub keep: u64,
    /// A recall: all idle units must be given back at once, and this number repeated.
    pub recall: u64,
    /// The limit is used up: what the worker asked for is nowhere.
    pub exhausted: bool,
    /// Units of the window that were lent to nobody when this was said, to be told to callers.
    pub left: u64,
}
