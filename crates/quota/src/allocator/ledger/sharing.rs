//! Who gets how much: those who wait first, then by demand, never past what is left.

use std::collections::BTreeSet;

use super::{Around, Entry, Ledger, Recall};
use crate::{policy::micros, protocol::HolderId};

impl Ledger {
    /// Gives to those who wait, recalls for them what others hold idle, and lends ahead of demand to `reporter`.
    pub(in crate::allocator) fn serve(&mut self, around: &Around<'_>, reporter: Option<HolderId>) {
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
    pub(super) fn keep(&self, holder: HolderId, around: &Around<'_>) -> u64 {
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
}

/// `whole × part ÷ of`, rounded down, without an overflow on the way.
fn share(whole: u64, part: u64, of: u64) -> u64 {
    let exact =
        u128::from(whole).saturating_mul(u128::from(part)).checked_div(u128::from(of)).unwrap_or_default();
    u64::try_from(exact).unwrap_or(u64::MAX)
}
