//! The worker's side: takes units for calls out of slices that the control plane lent, and never more.
//!
//! A call's path is [`Holder::try_reserve`] and [`Reservation::settle`]: a few atomic steps on the cells that the call's key has, without lock, allocation or look-up; only the first call in a window
//! begins it under a lock. Everything else, [`Holder::exchange`] and [`Holder::hear`], is for the one task that talks with the control plane.
//!
//! R9: nothing here waits for the control plane when it is not there. A worker that is cut off uses what it has, begins further windows with its standing slices, and stops when its leases end.

use std::{
    collections::{BTreeMap, VecDeque},
    ops::Bound,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;

use self::{cell::Shortage, clock::Bounds};
pub use self::{
    cell::{Cell, Charge},
    clock::Monotonic,
    refusal::{Reason, Refusal},
    reservation::{Reservation, Used, Waiting, Want},
};
use crate::{
    limit::{Account, Limit},
    policy::Policy,
    protocol::{Exchange, FromHolder, Hello, HolderId, Leases, MAX_REPORTS, MAX_SUPERSEDED, ToHolder},
};

mod atomic;
mod cell;
mod clock;
mod refusal;
mod reservation;
mod slice;

/// Exchanges whose times of sending are remembered. One that is answered later tells nothing about the time.
const REMEMBERED: usize = 64;
/// When units come back with calls that end, and nobody knows when.
const TRY_SOON: Duration = Duration::from_secs(1);

/// What a worker was lent. One for all cores.
#[derive(Debug)]
pub struct Holder {
    policy: Policy,
    bounds: ArcSwap<Bounds>,
    connected: AtomicBool,
    cells: Mutex<BTreeMap<Account, Arc<Cell>>>,
    talk: Mutex<Talk>,
}

/// Where the conversation stands.
#[derive(Debug, Default)]
struct Talk {
    name: Option<HolderId>,
    nonce: u64,
    supersedes: Vec<HolderId>,
    sequence: u64,
    term: u64,
    sent: VecDeque<(u64, Monotonic)>,
    /// Whose news the next exchange begins with: not always the same ones are left out of one that is full.
    next_reported: Option<Account>,
}

/// What becomes of a call.
#[derive(Debug)]
pub enum Outcome {
    /// It may go on.
    Reserved(Reservation),
    /// The control plane has to be asked: send an [`Holder::exchange`] now, and try again with [`Holder::try_again`] when it is answered.
    Wait(Waiting),
    /// It may not.
    Refused(Refusal),
}

/// How an account stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The whole limit.
    pub amount: u64,
    /// What a caller may hope for in the present window, as far as this worker knows: what is idle here, and what the control plane had lent to nobody when it last spoke
    /// of it. What is idle at other workers is missing from it, and what they have taken since then is not.
    pub remaining: u64,
    /// Until the limit begins anew; `None` where it never does, or nothing is known of its window yet.
    pub resets_in: Option<Duration>,
}

impl Holder {
    /// One that holds nothing yet. `nonce` is random. `supersedes` are this worker's earlier names, where it is certain that those lives are over; of more than
    /// [`MAX_SUPERSEDED`] the last are told.
    pub fn new(policy: Policy, nonce: u64, mut supersedes: Vec<HolderId>) -> Self {
        supersedes.drain(..supersedes.len().saturating_sub(MAX_SUPERSEDED));
        let talk = Talk { nonce, supersedes, ..Talk::default() };
        Self {
            policy,
            bounds: ArcSwap::from_pointee(Bounds::UNKNOWN),
            connected: AtomicBool::new(false),
            cells: Mutex::default(),
            talk: Mutex::new(talk),
        }
    }

    /// The account's cell, made at its first use; the amount is the limit's from now on. For configuration, not for a call's path.
    pub fn cell(&self, account: Account, limit: &Limit) -> Arc<Cell> {
        let mut cells = self.cells.lock().unwrap_or_else(PoisonError::into_inner);
        let cell = cells.entry(account).or_insert_with(|| Arc::new(Cell::new(account, limit)));
        cell.set_amount(limit.amount());
        Arc::clone(cell)
    }

    /// Forgets the cells of accounts that will never be used again: those of limits, keys and models that are gone. What a call still holds goes on to be settled, and is told to nobody.
    pub fn retain(&self, is_there: impl Fn(&Account) -> bool) {
        let mut cells = self.cells.lock().unwrap_or_else(PoisonError::into_inner);
        cells.retain(|account, _| is_there(account));
    }

    /// Its name, once it has one.
    pub fn name(&self) -> Option<HolderId> {
        self.talk.lock().unwrap_or_else(PoisonError::into_inner).name
    }

    /// How many accounts it knows.
    pub fn accounts(&self) -> usize {
        self.cells.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Takes all that the call wants, or nothing.
    pub fn try_reserve(&self, wants: &[Want<'_>], now: Monotonic) -> Outcome {
        wants.iter().for_each(|want| want.cell.ask(want.units));
        self.attempt(wants, now, now.after(self.policy.patience))
    }

    /// For a call that waited, with the same wants.
    pub fn try_again(&self, waiting: Waiting, wants: &[Want<'_>], now: Monotonic) -> Outcome {
        let until = waiting.until;
        // What waited is what asks now: it must not count twice.
        drop(waiting);
        match self.attempt(wants, now, until) {
            Outcome::Wait(waiting) if now >= until => match waiting.first() {
                Some(cell) => Outcome::Refused(self.refusal(cell, Reason::NoAnswer, now)),
                None => Outcome::Wait(waiting),
            },
            outcome => outcome,
        }
    }

    /// For a call that cannot go on waiting: why it is refused. `None` where it waits for nothing.
    pub fn give_up(&self, waiting: Waiting, now: Monotonic) -> Option<Refusal> {
        waiting.first().map(|cell| self.refusal(cell, Reason::NoAnswer, now))
    }

    /// How an account stands, to be told to callers.
    pub fn standing(&self, cell: &Cell, now: Monotonic) -> Standing {
        Standing {
            amount: cell.amount(),
            remaining: cell.remaining(),
            resets_in: self.until_window_ends(cell, now),
        }
    }

    fn until_window_ends(&self, cell: &Cell, now: Monotonic) -> Option<Duration> {
        let window = cell.window().filter(|window| !window.is_endless())?;
        Some(window.ends.saturating_since(self.bounds.load().earliest(&self.policy, now)))
    }

    fn attempt(&self, wants: &[Want<'_>], now: Monotonic, until: Monotonic) -> Outcome {
        let bounds = self.bounds.load();
        let connected = self.connected.load(Ordering::Relaxed);
        let mut reservation = Reservation::new();
        let mut waiting = Waiting::new(until);
        for want in wants {
            match want.cell.take(want.units, &bounds, &self.policy, connected, now) {
                Ok(taken_from) => reservation.push(want.cell, taken_from, want.units),
                Err(Shortage::Refused(reason)) => {
                    reservation.cancel();
                    return Outcome::Refused(self.refusal(want.cell, reason, now));
                }
                // Further limits are looked at all the same: one exchange asks for all that lack.
                Err(Shortage::Wait { window_in_micros }) => {
                    waiting.push(want.cell, want.units);
                    if window_in_micros > 0 {
                        waiting.try_again_at = Some(now.after(Duration::from_micros(window_in_micros)));
                    }
                }
            }
        }
        if waiting.is_empty() {
            return Outcome::Reserved(reservation);
        }
        // It waits for those that it could have had, too: they shall not be given back meanwhile as if nobody wanted them.
        reservation.wait_with(&mut waiting);
        Outcome::Wait(waiting)
    }

    fn refusal(&self, cell: &Cell, reason: Reason, now: Monotonic) -> Refusal {
        let endless = cell.window().is_none_or(|window| window.is_endless());
        let window_ends = || self.until_window_ends(cell, now);
        let retry_after = match reason {
            Reason::LargerThanLimit => None,
            Reason::UsedUp if !endless => window_ends(),
            Reason::UsedUp if !cell.measure().is_parallel() => None,
            Reason::CutOff if !endless && !cell.measure().is_money() => window_ends(),
            Reason::UsedUp | Reason::CutOff | Reason::NoAnswer => Some(TRY_SOON),
        };
        let (account, measure, amount) = (*cell.account(), cell.measure(), cell.amount());
        Refusal { account, measure, amount, reason, retry_after }
    }

    /// The next message, to be sent at once.
    pub fn exchange(&self, now: Monotonic) -> FromHolder {
        self.next_message(now, false)
    }

    /// The last message: for a worker whose calls are over.
    pub fn leave(&self, now: Monotonic) -> FromHolder {
        self.next_message(now, true)
    }

    fn next_message(&self, now: Monotonic, leaving: bool) -> FromHolder {
        let mut talk = self.talk.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(holder) = talk.name else {
            return FromHolder::Hello(Hello { nonce: talk.nonce, supersedes: talk.supersedes.clone() });
        };
        talk.sequence = talk.sequence.saturating_add(1);
        let sequence = talk.sequence;
        if talk.sent.len() >= REMEMBERED {
            talk.sent.pop_front();
        }
        talk.sent.push_back((sequence, now));
        let bounds = self.bounds.load();
        let cells = self.cells.lock().unwrap_or_else(PoisonError::into_inner);
        if leaving {
            cells.values().for_each(|cell| cell.give_all_back());
        }
        let first = talk.next_reported.take();
        let after = cells.range((first.map_or(Bound::Unbounded, Bound::Included), Bound::Unbounded));
        let before = cells.iter().take_while(|(account, _)| first.is_some_and(|first| **account < first));
        let mut reports = Vec::new();
        for (account, cell) in after.chain(before) {
            if reports.len() >= MAX_REPORTS {
                talk.next_reported = Some(*account);
                break;
            }
            reports.extend(cell.report(sequence, &bounds, &self.policy, now));
        }
        FromHolder::Exchange(Exchange { holder, sequence, leaving, reports })
    }

    /// A stream to the control plane stands: whoever is there now is told everything.
    pub fn connected(&self) {
        self.for_each_cell(Cell::tell_again);
        self.connected.store(true, Ordering::Relaxed);
    }

    /// The stream has ended: calls no longer wait for answers.
    pub fn disconnected(&self) {
        self.connected.store(false, Ordering::Relaxed);
    }

    /// Takes in what the control plane says. Calls that wait should then try again; and where this answers true, the next exchange should go at once: something is recalled.
    pub fn hear(&self, message: &ToHolder, now: Monotonic) -> bool {
        let mut talk = self.talk.lock().unwrap_or_else(PoisonError::into_inner);
        match message {
            ToHolder::Welcome { nonce, holder } => {
                if talk.name.is_none() && talk.nonce == *nonce {
                    talk.name = Some(*holder);
                    talk.supersedes.clear();
                }
                true
            }
            ToHolder::Unknown { holder } => {
                if talk.name == Some(*holder) {
                    self.begin_anew(&mut talk);
                }
                true
            }
            ToHolder::Leases(leases) => {
                talk.name == Some(leases.holder) && self.take_in(&mut talk, leases, now)
            }
            // It is about a life that is over.
            ToHolder::Settled { .. } => false,
        }
    }

    fn begin_anew(&self, talk: &mut Talk) {
        *talk = Talk { nonce: talk.nonce.wrapping_add(1), ..Talk::default() };
        self.bounds.store(Arc::new(Bounds::UNKNOWN));
        self.for_each_cell(Cell::begin_anew);
    }

    fn take_in(&self, talk: &mut Talk, leases: &Leases, now: Monotonic) -> bool {
        if leases.term < talk.term {
            return false;
        }
        let sent = talk.sent.iter().find(|(sequence, _)| *sequence == leases.answers).map(|(_, at)| *at);
        if let Some(sent) = sent {
            let heard = Bounds::heard(&self.policy, leases.now, sent, now);
            // Another allocator, another clock.
            let bounds = if leases.term == talk.term {
                self.bounds.load().and(heard, &self.policy, now)
            } else {
                heard
            };
            self.bounds.store(Arc::new(bounds));
        } else if leases.term > talk.term {
            return false;
        }
        talk.term = leases.term;
        let cells = self.cells.lock().unwrap_or_else(PoisonError::into_inner);
        cells.values().for_each(|cell| cell.considered(leases.answers));
        let mut recalled = false;
        for lease in &leases.leases {
            if let Some(cell) = cells.get(&lease.account) {
                recalled |= cell.apply(leases.holder, lease, &self.policy, now);
            }
        }
        recalled
    }

    fn for_each_cell(&self, act: impl Fn(&Cell)) {
        let cells = self.cells.lock().unwrap_or_else(PoisonError::into_inner);
        cells.values().for_each(|cell| act(cell));
    }

    /// How long its leases will live without an answer.
    pub fn lease_left(&self, now: Monotonic) -> Duration {
        self.bounds.load().left(now)
    }
}

#[cfg(test)]
mod tests;
