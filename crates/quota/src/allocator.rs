//! The control plane's side: who may use how much of each account. A deterministic state machine; one allocator is in office in a region at a time.
//!
//! - Every input is a method that takes the time and gives a [`Step`]: rows to store, and messages that can be had only once they are.
//! - What counts against a limit is what was *granted and not given back*. Reports of use change nothing about that sum, so no report has to be timely, and losing one does no harm.
//! - Nobody's silence frees anything. A holder that is silent for longer than its lease lives can use nothing more, and what it had counts as used: until the window ends, or, for money, until its
//!   worker's next life has told what the dead one wrote down ([`Allocator::settle`]).

use std::collections::{BTreeMap, BTreeSet};

use bailiwick_domain::time::Timestamp;

use self::ledger::{Around, Ledger};
pub use self::{
    rows::{AccountRow, Committed, HolderRow, LeaseRow, Row, Step, Stored},
    standing::{AccountUse, Overview},
};
use crate::{
    limit::{Account, Limit, LimitId},
    policy::{Policy, micros},
    protocol::{Consumed, Exchange, FromHolder, Hello, HolderId, Lease, Leases, Settlement, ToHolder},
    window::Period,
};

mod ledger;
mod rows;
mod standing;

/// Lends a region's limits to its workers.
#[derive(Clone, Debug)]
pub struct Allocator {
    term: u64,
    policy: Policy,
    /// The latest time that was heard of: it never goes back.
    now: Timestamp,
    named: u64,
    limits: BTreeMap<LimitId, Limit>,
    holders: BTreeMap<HolderId, Holder>,
    connected: BTreeSet<HolderId>,
    ledgers: BTreeMap<Account, Ledger>,
    /// Accounts of which somebody waits for units.
    waiting: BTreeSet<Account>,
    unstored: Vec<Row>,
    /// The minute in which books were last rolled and cleaned.
    cleaned: Timestamp,
}

#[derive(Clone, Copy, Debug)]
struct Holder {
    last_heard: Timestamp,
    last_sequence: u64,
    lost: bool,
}

impl Allocator {
    /// Takes office. The term must be higher than any before, and stored. Leases that others lent are honoured: their holders count as heard of just now.
    /// Accounts of limits that are not given are forgotten.
    pub fn take_office(
        term: u64,
        policy: Policy,
        limits: impl IntoIterator<Item = Limit>,
        stored: &Stored,
        now: Timestamp,
    ) -> Self {
        let limits = limits.into_iter().map(|limit| (limit.id(), limit)).collect();
        let mut allocator = Self {
            term,
            policy,
            now,
            named: 0,
            limits,
            holders: BTreeMap::new(),
            connected: BTreeSet::new(),
            ledgers: BTreeMap::new(),
            waiting: BTreeSet::new(),
            unstored: Vec::new(),
            cleaned: now,
        };
        for row in &stored.holders {
            let holder = Holder { last_heard: now, last_sequence: 0, lost: row.lost };
            allocator.holders.insert(row.holder, holder);
        }
        for row in &stored.accounts {
            allocator.ledger(row.account).into_iter().for_each(|ledger| ledger.load_account(row));
        }
        for row in &stored.leases {
            allocator.ledger(row.account).into_iter().for_each(|ledger| ledger.load_lease(row));
        }
        let lost: Vec<HolderId> =
            allocator.holders.iter().filter(|(_, state)| state.lost).map(|(holder, _)| *holder).collect();
        for holder in lost {
            allocator.ledgers.values_mut().for_each(|ledger| ledger.lose(holder));
        }
        allocator
    }

    /// Its number among those who were in office.
    pub fn term(&self) -> u64 {
        self.term
    }

    /// A limit is new, or has another amount. What is lent already stays lent: a lower amount lets nothing more out until enough has come back.
    pub fn set_limit(&mut self, limit: Limit) {
        self.limits.insert(limit.id(), limit);
        let of_limit = self.ledgers.iter_mut().filter(|(account, _)| account.limit == limit.id());
        of_limit.for_each(|(_, ledger)| ledger.set_amount(limit.amount()));
    }

    /// A limit is no more.
    pub fn remove_limit(&mut self, limit: LimitId) {
        self.limits.remove(&limit);
        self.ledgers.retain(|account, _| account.limit != limit);
        self.waiting.retain(|account| account.limit != limit);
    }

    /// Hears a worker.
    pub fn hear(&mut self, message: &FromHolder, now: Timestamp) -> Step {
        self.now = self.now.max(now);
        match message {
            FromHolder::Hello(hello) => self.welcome(hello),
            FromHolder::Exchange(exchange) => self.exchange(exchange),
            FromHolder::Settlement(settlement) => self.settle(settlement),
        }
    }

    /// A worker's stream has ended: no recall waits for it. Its leases live on.
    pub fn disconnected(&mut self, holder: HolderId) {
        self.connected.remove(&holder);
    }

    /// Time has passed. To be called a few times a second: ends recalls that are not answered, and leases that are not renewed.
    pub fn tick(&mut self, now: Timestamp) -> Step {
        self.now = self.now.max(now);
        self.end_leases();
        let minute = Period::Minute.window(self.now).starts;
        if std::mem::replace(&mut self.cleaned, minute) == minute {
            return self.step(self.waiting.clone(), None, Vec::new());
        }
        let step = self.step(self.ledgers.keys().copied().collect(), None, Vec::new());
        self.clean();
        step
    }

    /// The worker's life is over for certain: it has shut down, its successor holds its journal's lock, or an operator says so.
    pub fn retire(&mut self, holder: HolderId, now: Timestamp) -> Step {
        self.now = self.now.max(now);
        self.lose(holder);
        self.ledgers.values_mut().for_each(|ledger| ledger.end_calls(holder));
        let waiting = self.waiting.clone();
        self.step(waiting, None, Vec::new())
    }

    /// A lost holder's successor tells how much it used of each account of money: the rest of what it was lent is free. Its name goes with it, so that hearing this twice counts nothing twice.
    /// Nothing happens, and nothing is answered, while the holder lives, or may for all that is known here; nor before a window has begun here that it used something in: it says so again.
    fn settle(&mut self, settlement: &Settlement) -> Step {
        let holder = settlement.holder;
        match self.holders.get(&holder) {
            Some(state) if !state.lost => return self.step(BTreeSet::new(), None, Vec::new()),
            Some(_) => {}
            None => return self.step(BTreeSet::new(), None, vec![ToHolder::Settled { holder }]),
        }
        let mut told = settlement.used.iter();
        if told.any(|used| self.ledger(used.account).is_some_and(|ledger| ledger.is_before(used))) {
            return self.step(BTreeSet::new(), None, Vec::new());
        }
        let used: BTreeMap<Account, &Consumed> =
            settlement.used.iter().map(|used| (used.account, used)).collect();
        let known = self.ledgers.iter().filter(|(_, ledger)| ledger.knows(holder));
        let accounts: BTreeSet<Account> =
            known.map(|(account, _)| *account).chain(used.keys().copied()).collect();
        for account in &accounts {
            if let Some(ledger) = self.ledger(*account) {
                ledger.end_calls(holder);
                ledger.settle(holder, used.get(account).copied());
            }
        }
        self.forget(holder);
        self.step(accounts, None, vec![ToHolder::Settled { holder }])
    }

    fn welcome(&mut self, hello: &Hello) -> Step {
        for superseded in &hello.supersedes {
            self.lose(*superseded);
            self.ledgers.values_mut().for_each(|ledger| ledger.end_calls(*superseded));
        }
        self.named = self.named.saturating_add(1);
        // The term is stored and never comes again; neither does a name that begins with it.
        let holder = HolderId(self.term << 32 | self.named);
        let state = Holder { last_heard: self.now, last_sequence: 0, lost: false };
        self.holders.insert(holder, state);
        self.connected.insert(holder);
        self.unstored.push(Row::Holder(HolderRow { holder, lost: false }));
        let waiting = self.waiting.clone();
        self.step(waiting, None, vec![ToHolder::Welcome { nonce: hello.nonce, holder }])
    }

    fn exchange(&mut self, exchange: &Exchange) -> Step {
        let holder = exchange.holder;
        let now = self.now;
        let Some(state) = self.holders.get_mut(&holder) else {
            return self.step(BTreeSet::new(), None, vec![ToHolder::Unknown { holder }]);
        };
        let lost = state.lost;
        if exchange.sequence <= state.last_sequence {
            return self.step(BTreeSet::new(), None, Vec::new());
        }
        state.last_sequence = exchange.sequence;
        if !lost {
            state.last_heard = now;
            self.connected.insert(holder);
        }
        let mut accounts = BTreeSet::new();
        for report in &exchange.reports {
            // What a lost holder said last may come after its end is known.
            if let Some(ledger) = self.ledger(report.account).filter(|ledger| !lost || ledger.knows(holder)) {
                ledger.report(holder, report);
                accounts.insert(report.account);
            }
        }
        if lost {
            return self.step(accounts, None, vec![ToHolder::Unknown { holder }]);
        }
        if exchange.leaving {
            self.ledgers.values_mut().for_each(|ledger| ledger.leave(holder));
            self.forget(holder);
            let every = self.ledgers.keys().copied().collect();
            return self.step(every, None, Vec::new());
        }
        self.step(accounts, Some(holder), Vec::new())
    }

    /// Serves the accounts, and gathers what is to be stored and sent.
    fn step(
        &mut self,
        accounts: BTreeSet<Account>,
        reporter: Option<HolderId>,
        first: Vec<ToHolder>,
    ) -> Step {
        let around = Around { now: self.now, policy: &self.policy, connected: &self.connected };
        let mut rows = std::mem::take(&mut self.unstored);
        let mut leases: BTreeMap<HolderId, Vec<Lease>> = BTreeMap::new();
        // Who reports is answered, if only to say that it was heard.
        leases.extend(reporter.map(|holder| (holder, Vec::new())));
        for account in accounts {
            let Some(ledger) = self.ledgers.get_mut(&account) else { continue };
            ledger.roll(self.now);
            ledger.serve(&around, reporter);
            ledger.take_unstored(&mut rows);
            for (holder, lease) in ledger.take_unsent(&around) {
                leases.entry(holder).or_default().push(lease);
            }
            if ledger.waits() {
                self.waiting.insert(account);
            } else {
                self.waiting.remove(&account);
            }
        }
        let mut messages = first;
        messages.extend(leases.into_iter().filter_map(|(holder, leases)| {
            let answers = self.holders.get(&holder).filter(|state| !state.lost)?.last_sequence;
            Some(ToHolder::Leases(Leases { holder, term: self.term, answers, now: self.now, leases }))
        }));
        Step { rows, messages }
    }

    /// The account's book, in its present window; `None` when no limit has such an account.
    fn ledger(&mut self, account: Account) -> Option<&mut Ledger> {
        let limit = self.limits.get(&account.limit).filter(|limit| limit.owns(&account))?;
        let (term, now) = (self.term, self.now);
        let ledger = self.ledgers.entry(account).or_insert_with(|| Ledger::new(account, limit, term, now));
        ledger.roll(now);
        Some(ledger)
    }

    /// The worker's count of its lease's life began earlier, and runs faster.
    fn end_leases(&mut self) {
        let lease_micros = self.policy.stretched_micros(micros(self.policy.lease_life));
        let calls_micros = lease_micros.saturating_add(micros(self.policy.longest_call));
        let silent = |state: &Holder| micros(self.now.saturating_since(state.last_heard));
        let silent: Vec<(HolderId, u64, bool)> = self
            .holders
            .iter()
            .map(|(holder, state)| (*holder, silent(state), state.lost))
            .filter(|(_, micros, _)| *micros > lease_micros)
            .collect();
        for (holder, micros, lost) in silent {
            if !lost {
                self.lose(holder);
            }
            if micros > calls_micros {
                self.ledgers.values_mut().for_each(|ledger| ledger.end_calls(holder));
            }
        }
    }

    fn lose(&mut self, holder: HolderId) {
        let Some(state) = self.holders.get_mut(&holder).filter(|state| !state.lost) else { return };
        state.lost = true;
        self.connected.remove(&holder);
        self.ledgers.values_mut().for_each(|ledger| ledger.lose(holder));
        self.unstored.push(Row::Holder(HolderRow { holder, lost: true }));
    }

    /// Forgets accounts that nobody uses, and lost holders of which nothing is in doubt any more.
    fn clean(&mut self) {
        self.ledgers.retain(|_, ledger| !ledger.is_idle());
        let lost = self.holders.iter().filter(|(_, state)| state.lost).map(|(holder, _)| *holder);
        let settled: Vec<HolderId> =
            lost.filter(|holder| !self.ledgers.values().any(|ledger| ledger.knows(*holder))).collect();
        settled.into_iter().for_each(|holder| self.forget(holder));
    }

    fn forget(&mut self, holder: HolderId) {
        self.holders.remove(&holder);
        self.connected.remove(&holder);
        self.unstored.push(Row::HolderGone(holder));
    }
}

#[cfg(test)]
mod tests;
