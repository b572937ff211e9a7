//! One account's book: who was granted how much, and what is left.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bailiwick_domain::time::Timestamp;

use super::rows::{AccountRow, LeaseRow, Row};
use crate::{
    limit::{Account, Limit, Measure},
    policy::{Policy, micros},
    protocol::{HolderId, Lease, Report},
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

    /// The usage events of a lost holder are all there: so much it used in the window.
    pub(super) fn settle(&mut self, holder: HolderId, window_starts: Timestamp, consumed: u64) {
        let settled =
            self.window.starts == window_starts && self.entries.get(&holder).is_some_and(|entry| entry.lost);
        if settled {
            self.entries.remove(&holder);
            self.removed.push(holder);
            self.fold(consumed);
        }
    }

    fn fold(&mut self, used: u64) {
        self.gone = self.gone.saturating_add(used);
        self.gone_unstored = true;
    }

    /// Gives to those who wait, recalls for them what others hold idle, and lends ahead of demand to `reporter`.
    pub(super) fn serve(&mut self, around: &Around<'_>, reporter: Option<HolderId>) {
        self.serve_queue(around);
        if !self.queue.is_empty() {
            return;
        }
        if let Some(holder) = reporter.filter(|_| around.now >= self.calm_until) {
            self.top_up(holder, around);
            self.change_standing(holder, around);
        }
    }

    fn serve_queue(&mut self, around: &Around<'_>) {
        while let Some(&holder) = self.queue.front() {
            let urgent = self.entries.get(&holder).map_or(0, |entry| entry.urgent);
            if urgent <= self.pool() {
                self.answer(holder, urgent, false);
            } else if self.recall_is_due(holder, around) {
                return;
            } else {
                // All that could be found is found: what there is helps the smaller calls.
                self.answer(holder, urgent.min(self.pool()), true);
            }
        }
        self.recall = None;
    }

    fn answer(&mut self, holder: HolderId, units: u64, exhausted: bool) {
        self.queue.pop_front();
        self.grant(holder, units);
        if let Some(entry) = self.entries.get_mut(&holder) {
            (entry.urgent, entry.exhausted, entry.unsent) = (0, exhausted, true);
        }
    }

    /// Whether units may still come from a recall: from one that runs, or from one that begins now.
    fn recall_is_due(&mut self, waiting: HolderId, around: &Around<'_>) -> bool {
        if let Some(recall) = &self.recall {
            let owes = |holder: &HolderId| {
                around.connected.contains(holder)
                    && self.entries.get(holder).is_some_and(|entry| entry.recall_done < recall.number)
            };
            return around.now < recall.until && recall.asked.iter().any(owes);
        }
        let asked: BTreeSet<HolderId> = self
            .entries
            .iter()
            .filter(|(holder, entry)| **holder != waiting && !entry.lost && entry.idle() > 0)
            .map(|(holder, _)| *holder)
            .filter(|holder| around.connected.contains(holder))
            .collect();
        if asked.is_empty() {
            return false;
        }
        self.recalls = self.recalls.saturating_add(1);
        self.calm_until = around.now.saturating_add(around.policy.calm);
        for holder in &asked {
            if let Some(entry) = self.entries.get_mut(holder) {
                (entry.recall, entry.unsent) = (self.recalls, true);
            }
        }
        let until = around.now.saturating_add(around.policy.recall_patience);
        self.recall = Some(Recall { number: self.recalls, asked, until });
        true
    }

    /// How much may be idle at all workers together.
    fn lendable(&self, around: &Around<'_>) -> u64 {
        share(self.amount.saturating_sub(self.used()), 1, around.policy.lend_one_in)
    }

    /// How much is, as far as they have told.
    fn idle(&self) -> u64 {
        let live = self.entries.values().filter(|entry| !entry.lost);
        live.fold(0, |sum, entry| sum.saturating_add(entry.idle()))
    }

    /// Down to what a holder that has just spoken gives back. All that is idle beyond what may be: calls used less than they had reserved, or gave up. And what it has
    /// no demand for, when that is more than half: less would go to and fro.
    fn keep(&self, holder: HolderId, around: &Around<'_>) -> u64 {
        if around.now < self.calm_until {
            return 0;
        }
        let idle = self.entries.get(&holder).map_or(0, Entry::idle);
        let excess = self.idle().saturating_sub(self.lendable(around));
        let target = self.target(holder, around);
        let wanted = if idle > target.saturating_mul(2) { target } else { u64::MAX };
        if excess > 0 { wanted.min(idle.saturating_sub(excess)) } else { wanted }
    }

    /// What the holder should have idle.
    fn target(&self, holder: HolderId, around: &Around<'_>) -> u64 {
        let free = self.amount.saturating_sub(self.used());
        let span = match (self.measure.is_parallel(), self.window.is_endless()) {
            // Twice as many as were seen at once.
            (true, _) => 120_000_000,
            (false, true) => micros(around.policy.horizon),
            (false, false) => micros(around.policy.horizon).min(self.span_micros().saturating_mul(2)),
        };
        self.by_demand(holder, free, span, around)
    }

    /// What the holder should begin each further window with.
    fn standing_target(&self, holder: HolderId, around: &Around<'_>) -> u64 {
        if self.window.is_endless() {
            return 0;
        }
        let span = micros(around.policy.horizon).min(self.span_micros().saturating_mul(2));
        self.by_demand(holder, self.amount, span, around)
    }

    /// The holder's part of what may be lent of `free`. Three quarters go by demand, and no more than it needs in the span; the rest is the same for everyone
    /// who ever asked, so that a worker has something when demand or an outage begins.
    fn by_demand(&self, holder: HolderId, free: u64, span_micros: u64, around: &Around<'_>) -> u64 {
        let demand = self.entries.get(&holder).map_or(0, |entry| entry.demand);
        let all = self.entries.values().fold(0_u64, |sum, entry| sum.saturating_add(entry.demand));
        let lendable = share(free, 1, around.policy.lend_one_in);
        let holders = u64::try_from(around.connected.len()).unwrap_or(u64::MAX).max(1);
        let floor = share(lendable, 1, holders.saturating_mul(4));
        let by_demand = share(share(lendable, 3, 4), demand, all.max(1));
        by_demand.min(share(demand, span_micros, 60_000_000)).max(floor)
    }

    fn span_micros(&self) -> u64 {
        micros(self.window.ends.saturating_since(self.window.starts))
    }

    /// Lends ahead of demand, so that all idle units together stay within what may be lent.
    fn top_up(&mut self, holder: HolderId, around: &Around<'_>) {
        let target = self.target(holder, around);
        let Some(idle) = self.entries.get(&holder).filter(|entry| !entry.lost).map(Entry::idle) else {
            return;
        };
        if idle >= target.div_ceil(2) {
            return;
        }
        let room = self.lendable(around).saturating_sub(self.idle());
        self.grant(holder, (target - idle).min(room));
    }

    /// Changes what the holder begins each window with, when it is off by more than a quarter and the last change is known to have arrived.
    fn change_standing(&mut self, holder: HolderId, around: &Around<'_>) {
        let wanted = self.standing_target(holder, around);
        let others = self
            .entries
            .iter()
            .filter(|(other, _)| **other != holder)
            .fold(0_u64, |sum, (_, entry)| sum.saturating_add(entry.standing_most));
        let room = share(self.amount, 1, around.policy.lend_one_in).saturating_sub(others);
        let wanted = wanted.min(room);
        let Some(entry) = self.entries.get_mut(&holder).filter(|entry| !entry.lost) else { return };
        let settled = entry.standing_most == entry.standing;
        if !settled || wanted.abs_diff(entry.standing) <= entry.standing / 4 {
            return;
        }
        entry.standing = wanted;
        entry.standing_most = entry.standing_most.max(wanted);
        entry.standing_version = entry.standing_version.saturating_add(1);
        (entry.unstored, entry.unsent) = (true, true);
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

/// `whole × part ÷ of`, rounded down, without an overflow on the way.
fn share(whole: u64, part: u64, of: u64) -> u64 {
    let exact =
        u128::from(whole).saturating_mul(u128::from(part)).checked_div(u128::from(of)).unwrap_or_default();
    u64::try_from(exact).unwrap_or(u64::MAX)
}
