//! One account's book: who was granted how much, and what is left.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bailiwick_domain::time::Timestamp;

mod sharing;

use super::{
    rows::{AccountRow, LeaseRow, Row},
    standing::AccountUse,
};
use crate::{
    limit::{Account, Limit, Measure},
    policy::Policy,
    protocol::{Consumed, HolderId, Lease, Report},
    window::Window,
};

/// No holder is granted more than this within one window, however often it gives back: the cumulative counts cannot overflow.
const MAX_GRANTED: u64 = 1 << 62;

/// The book of one account in its current window.
///
/// The invariant: `taken()` grows only in [`Ledger::grant`], which never lets it pass `amount`; and in [`Ledger::report`], by what a worker used beyond its reservations.
#[derive(Clone, Debug)]
pub(super) struct Ledger {
    account: Account,
    measure: Measure,
    amount: u64,
    window: Window,
    /// Used in this window by holders that are gone, and settled.
    gone: u64,
    gone_unstored: bool,
    entries: BTreeMap<HolderId, Entry>,
    /// Whose rows are to go.
    removed: Vec<HolderId>,
    /// Holders that wait for units, the first first.
    queue: VecDeque<HolderId>,
    recall: Option<Recall>,
    recalls: u64,
    calm_until: Timestamp,
}

/// One holder's part.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Entry {
    opening: u64,
    extra: u64,
    returned: u64,
    consumed: u64,
    held: u64,
    /// The newest standing slice that was sent.
    standing: u64,
    /// The largest one that the holder may believe in.
    standing_most: u64,
    standing_version: u64,
    demand: u64,
    urgent: u64,
    /// The newest recall that it was sent, and the newest that it did.
    recall: u64,
    recall_done: u64,
    /// The holder can use nothing more. What it had counts as used until it is settled.
    lost: bool,
    exhausted: bool,
    unstored: bool,
    unsent: bool,
}

#[derive(Clone, Debug)]
struct Recall {
    number: u64,
    asked: BTreeSet<HolderId>,
    until: Timestamp,
}

/// What a ledger needs to know of its surroundings.
pub(super) struct Around<'a> {
    pub(super) now: Timestamp,
    pub(super) policy: &'a Policy,
    /// Holders that can be reached now.
    pub(super) connected: &'a BTreeSet<HolderId>,
}

impl Entry {
    fn granted(&self) -> u64 {
        self.opening.saturating_add(self.extra)
    }

    /// What counts against the limit: all that was granted and not given back, or more where calls took more than they had reserved.
    fn taken(&self) -> u64 {
        let lent = self.granted().saturating_sub(self.returned);
        lent.max(self.consumed.saturating_add(self.held))
    }

    /// What it has and does not use, as far as it has told.
    fn idle(&self) -> u64 {
        let used = self.consumed.saturating_add(self.held);
        self.granted().saturating_sub(self.returned).saturating_sub(used)
    }

    fn from_row(row: &LeaseRow) -> Self {
        Self {
            opening: row.opening,
            extra: row.extra,
            returned: row.returned,
            consumed: row.consumed,
            standing: row.standing,
            standing_most: row.standing_most,
            standing_version: row.standing_version,
            lost: row.lost,
            ..Self::default()
        }
    }

    fn begin_window(&mut self) {
        self.opening = self.standing_most;
        (self.extra, self.returned, self.consumed, self.held) = (0, 0, 0, 0);
    }
}

impl Ledger {
    /// A recall's number begins with the term, so that none of an earlier allocator's is as large.
    pub(super) fn new(account: Account, limit: &Limit, term: u64, now: Timestamp) -> Self {
        Self {
            account,
            measure: limit.measure(),
            amount: limit.amount(),
            window: limit.measure().period().window(now),
            gone: 0,
            gone_unstored: false,
            entries: BTreeMap::new(),
            removed: Vec::new(),
            queue: VecDeque::new(),
            recall: None,
            recalls: term << 32,
            calm_until: Timestamp::from_micros(i64::MIN),
        }
    }

    /// Takes over what another allocator stored. Rows of an older window say only what later ones begin with.
    pub(super) fn load_account(&mut self, row: &AccountRow) {
        self.advance_to(row.window_starts);
        if row.window_starts == self.window.starts {
            self.gone = row.gone;
        }
    }

    /// See [`Self::load_account`].
    pub(super) fn load_lease(&mut self, row: &LeaseRow) {
        self.advance_to(row.window_starts);
        let mut entry = Entry::from_row(row);
        if row.window_starts < self.window.starts {
            if row.lost {
                self.removed.push(row.holder);
                return;
            }
            entry.begin_window();
        }
        self.entries.insert(row.holder, entry);
    }

    /// Windows never go back, whatever a new allocator's clock says.
    pub(super) fn roll(&mut self, now: Timestamp) {
        self.advance_to(self.measure.period().window(now).starts);
    }

    fn advance_to(&mut self, starts: Timestamp) {
        if starts <= self.window.starts {
            return;
        }
        self.window = self.measure.period().window(starts);
        self.gone = 0;
        // Who is lost begins no further window.
        let removed = &mut self.removed;
        self.entries.retain(|holder, entry| {
            if entry.lost {
                removed.push(*holder);
            }
            !entry.lost
        });
        self.entries.values_mut().for_each(Entry::begin_window);
    }

    pub(super) fn set_amount(&mut self, amount: u64) {
        if self.amount != amount {
            self.amount = amount;
            self.entries.values_mut().for_each(|entry| entry.unsent = true);
        }
    }

    /// All that counts against the limit now.
    pub(super) fn taken(&self) -> u64 {
        self.entries.values().fold(self.gone, |sum, entry| sum.saturating_add(entry.taken()))
    }

    /// What nobody has.
    fn pool(&self) -> u64 {
        self.amount.saturating_sub(self.taken())
    }

    /// What is used, and what may be, by those who can no longer tell.
    fn used(&self) -> u64 {
        let of = |entry: &Entry| {
            if entry.lost { entry.taken() } else { entry.consumed.saturating_add(entry.held) }
        };
        self.entries.values().fold(self.gone, |sum, entry| sum.saturating_add(of(entry)))
    }

    /// See [`AccountUse`].
    pub(super) fn standing(&self) -> AccountUse {
        let live = self.entries.values().filter(|entry| !entry.lost);
        let lost = self.entries.values().filter(|entry| entry.lost);
        let sum = |sum: u64, units: u64| sum.saturating_add(units);
        let used = live.clone().map(|entry| entry.consumed.saturating_add(entry.held)).fold(self.gone, sum);
        AccountUse {
            account: self.account,
            window: self.window,
            amount: self.amount,
            used,
            lent: live.map(Entry::idle).fold(0, sum),
            in_doubt: lost.map(Entry::taken).fold(0, sum),
        }
    }

    /// Whether the next window would begin with anything.
    pub(super) fn is_idle(&self) -> bool {
        self.entries.is_empty() && self.gone == 0
    }

    pub(super) fn knows(&self, holder: HolderId) -> bool {
        self.entries.contains_key(&holder)
    }

    pub(super) fn waits(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Hears a holder's news. From one that is lost, only what makes its part smaller or tells of more use.
    pub(super) fn report(&mut self, holder: HolderId, report: &Report) {
        // Its clock is ahead of a new allocator's: it will tell again when this one has come so far.
        if report.window_starts > self.window.starts {
            return;
        }
        let same_window = report.window_starts == self.window.starts;
        let entry = self.entries.entry(holder).or_default();
        let before = (entry.taken(), entry.standing_most);
        if same_window {
            entry.opening = entry.opening.min(report.opening);
            // More than was stored, only where the store lost its tail.
            entry.extra = entry.extra.max(report.extra_seen);
            entry.returned = entry.returned.max(report.returned.min(entry.granted()));
            entry.consumed = entry.consumed.max(report.consumed);
            entry.held = report.held;
        }
        if report.standing_version >= entry.standing_version {
            entry.standing_most = entry.standing;
        }
        entry.unstored |= before != (entry.taken(), entry.standing_most);
        entry.recall_done = entry.recall_done.max(report.recall);
        if entry.lost {
            return;
        }
        entry.demand = report.demand;
        entry.unsent = true;
        // What is on its way to it need not be sent again.
        let seen = if same_window { report.extra_seen } else { 0 };
        entry.urgent = report.urgent.saturating_sub(entry.extra.saturating_sub(seen));
        if entry.urgent > 0 && !self.queue.contains(&holder) {
            self.queue.push_back(holder);
        }
    }

    /// The holder's last words are spoken: what it used is used, what it had is free.
    pub(super) fn leave(&mut self, holder: HolderId) {
        if let Some(entry) = self.entries.remove(&holder) {
            self.removed.push(holder);
            self.fold(if self.measure.is_parallel() { 0 } else { entry.taken() });
        }
    }

    /// The holder can take nothing more, and has not said what it used: all that it was granted counts as used.
    pub(super) fn lose(&mut self, holder: HolderId) {
        if let Some(entry) = self.entries.get_mut(&holder) {
            (entry.lost, entry.unstored) = (true, true);
            (entry.urgent, entry.demand, entry.standing, entry.standing_most) = (0, 0, 0, 0);
            self.queue.retain(|waiting| *waiting != holder);
        }
    }

    /// The holder's calls are over, too.
    pub(super) fn end_calls(&mut self, holder: HolderId) {
        if self.measure.is_parallel() {
            self.leave(holder);
        }
    }

    /// Whether a lost holder used something in a window that has not begun here: its clock was ahead of a new allocator's.
    pub(super) fn is_before(&self, used: &Consumed) -> bool {
        self.measure.is_money() && used.window_starts > self.window.starts
    }

    /// All that a lost holder used is known. What it used last was in this window, in an earlier one, or nothing at all. What it had told itself to be used stays used, also where its disk had lost the end of what it wrote. Only of money: a minute is over before its worker has come back.
    pub(super) fn settle(&mut self, holder: HolderId, used: Option<&Consumed>) {
        if !self.measure.is_money() {
            return;
        }
        let in_this = used.filter(|used| used.window_starts == self.window.starts);
        let written = in_this.map_or(0, |used| used.units);
        let told = self.entries.remove(&holder).map(|entry| entry.consumed);
        self.removed.extend(told.map(|_| holder));
        self.fold(written.max(told.unwrap_or_default()));
    }

    fn fold(&mut self, used: u64) {
        self.gone = self.gone.saturating_add(used);
        self.gone_unstored = true;
    }

    /// The only place where units leave the pool. Never more than are there.
    fn grant(&mut self, holder: HolderId, units: u64) {
        let pool = self.pool();
        let Some(entry) = self.entries.get_mut(&holder).filter(|entry| !entry.lost) else { return };
        let units = units.min(pool).min(MAX_GRANTED.saturating_sub(entry.extra));
        if units == 0 {
            return;
        }
        // What calls took beyond their reservations counts already: the grant stands on top of it.
        let lent = entry.granted().saturating_sub(entry.returned);
        let overdrawn = entry.taken().saturating_sub(lent);
        entry.extra = entry.extra.saturating_add(units).saturating_add(overdrawn);
        (entry.unstored, entry.unsent) = (true, true);
    }

    /// What has to be stored, and is taken to be from now on.
    pub(super) fn take_unstored(&mut self, rows: &mut Vec<Row>) {
        let account = self.account;
        rows.extend(self.removed.drain(..).map(|holder| Row::LeaseGone { account, holder }));
        if std::mem::take(&mut self.gone_unstored) {
            let row =
                AccountRow { account: self.account, window_starts: self.window.starts, gone: self.gone };
            rows.push(Row::Account(row));
        }
        for (holder, entry) in &mut self.entries {
            if std::mem::take(&mut entry.unstored) {
                rows.push(Row::Lease(LeaseRow {
                    account: self.account,
                    holder: *holder,
                    window_starts: self.window.starts,
                    opening: entry.opening,
                    extra: entry.extra,
                    returned: entry.returned,
                    consumed: entry.consumed,
                    standing: entry.standing,
                    standing_most: entry.standing_most,
                    standing_version: entry.standing_version,
                    lost: entry.lost,
                }));
            }
        }
    }

    /// What has to be sent, to whom.
    pub(super) fn take_unsent(&mut self, around: &Around<'_>) -> Vec<(HolderId, Lease)> {
        let unsent: Vec<HolderId> =
            self.entries.iter().filter(|(_, entry)| entry.unsent).map(|(holder, _)| *holder).collect();
        let lease = |holder: HolderId| {
            let keep = self.keep(holder, around);
            let entry = self.entries.get(&holder)?;
            Some((
                holder,
                Lease {
                    account: self.account,
                    window: self.window,
                    amount: self.amount,
                    extra: entry.extra,
                    standing: entry.standing,
                    standing_version: entry.standing_version,
                    keep,
                    recall: entry.recall,
                    exhausted: entry.exhausted,
                    left: self.pool(),
                },
            ))
        };
        let leases = unsent.iter().filter_map(|holder| lease(*holder)).collect();
        for holder in &unsent {
            if let Some(entry) = self.entries.get_mut(holder) {
                (entry.unsent, entry.exhausted) = (false, false);
            }
        }
        leases
    }
}
