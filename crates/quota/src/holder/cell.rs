//! One account at one worker: its slice of the present window, what calls wait for, and what the control plane knows of it.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use arc_swap::ArcSwap;

use super::{
    clock::{Bounds, Monotonic},
    refusal::Reason,
    slice::Slice,
};
use crate::{
    limit::{Account, Limit, Measure},
    policy::{Policy, micros},
    protocol::{HolderId, Lease, Report},
    window::Window,
};

/// One account at one worker. Calls hold it by reference, found once when their key's configuration is applied: no look-up on their path.
#[derive(Debug)]
pub struct Cell {
    account: Account,
    measure: Measure,
    amount: AtomicU64,
    /// Units of the present window that were lent to nobody, as last heard.
    left: AtomicU64,
    current: ArcSwap<Current>,
    /// Units of calls that wait now.
    waiting: AtomicU64,
    /// Units that were ever asked for.
    asked: AtomicU64,
    /// Until then the limit is known to be used up. Microseconds of the monotonic clock.
    exhausted_until: AtomicU64,
    control: Mutex<Control>,
}

/// A window, and what there is of it.
#[derive(Debug)]
pub(super) struct Current {
    window: Option<Window>,
    slice: Slice,
    /// In whose name it was lent; 0 as long as nothing was.
    holder: AtomicU64,
}

impl Current {
    fn new(window: Option<Window>, standing: u64, holder: u64) -> Self {
        Self { window, slice: Slice::new(standing), holder: AtomicU64::new(holder) }
    }

    fn holder(&self) -> Option<HolderId> {
        Some(self.holder.load(Ordering::Relaxed)).filter(|holder| *holder != 0).map(HolderId)
    }
}

/// What a call used of an account, and in whose name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Charge {
    /// Which.
    pub account: Account,
    /// In this window.
    pub window: Window,
    /// The life of the worker that it was lent to.
    pub holder: HolderId,
    /// Units, more than 0.
    pub units: u64,
}

/// What only the one who exchanges looks at, and a call at the beginning of a window.
#[derive(Debug, Default)]
struct Control {
    /// Who the leases are of, once there were any.
    holder: u64,
    extra: u64,
    standing: u64,
    standing_version: u64,
    recall: u64,
    demand: Demand,
    /// What the control plane is known to know, and what was last sent to it.
    known: Option<Report>,
    sent: Option<(u64, Report)>,
}

/// Units asked for per minute, smoothed; of parallel calls, their number.
#[derive(Clone, Copy, Debug, Default)]
struct Demand {
    asked: u64,
    at: Monotonic,
    smooth: u64,
}

/// Why units could not be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shortage {
    /// They may come: with the next answer, or when the window begins for certain.
    Wait {
        /// How long until the window begins; 0 when it has.
        window_in_micros: u64,
    },
    /// They will not, at least for so long.
    Refused(Reason),
}

impl Cell {
    pub(super) fn new(account: Account, limit: &Limit) -> Self {
        let nothing = Current::new(None, 0, 0);
        Self {
            account,
            measure: limit.measure(),
            amount: AtomicU64::new(limit.amount()),
            left: AtomicU64::new(limit.amount()),
            current: ArcSwap::from_pointee(nothing),
            waiting: AtomicU64::new(0),
            asked: AtomicU64::new(0),
            exhausted_until: AtomicU64::new(0),
            control: Mutex::default(),
        }
    }

    /// Which.
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// What it counts.
    pub fn measure(&self) -> Measure {
        self.measure
    }

    /// How much of it the limit allows.
    pub fn amount(&self) -> u64 {
        self.amount.load(Ordering::Relaxed)
    }

    /// The limit as it is configured now. Leases tell the same, and later ones of another amount win.
    pub(super) fn set_amount(&self, amount: u64) {
        self.amount.store(amount, Ordering::Relaxed);
    }

    /// What a caller may hope for: what is idle here, and what the control plane had lent to nobody when it last spoke of this window. What is idle at other workers is
    /// missing from it, and what they have taken since then is not; of a window that nothing was heard of it is what nobody could have taken before.
    pub(super) fn remaining(&self) -> u64 {
        self.available().saturating_add(self.left.load(Ordering::Relaxed)).min(self.amount())
    }

    /// What this worker can still take without asking.
    pub fn available(&self) -> u64 {
        self.current.load().slice.available()
    }

    /// Counts a call that asks. Once for each call, however often it tries.
    pub(super) fn ask(&self, units: u64) {
        self.asked.fetch_add(units, Ordering::Relaxed);
    }

    pub(super) fn wait(&self, units: u64) {
        self.waiting.fetch_add(units, Ordering::AcqRel);
    }

    pub(super) fn wait_no_more(&self, units: u64) {
        self.waiting.fetch_sub(units, Ordering::AcqRel);
    }

    /// Takes units of the window that it is now for certain.
    pub(super) fn take(
        &self,
        units: u64,
        bounds: &Bounds,
        policy: &Policy,
        connected: bool,
        now: Monotonic,
    ) -> Result<Arc<Current>, Shortage> {
        if units > self.amount() {
            return Err(Shortage::Refused(Reason::LargerThanLimit));
        }
        if !bounds.alive(now) {
            return Err(if connected {
                Shortage::Wait { window_in_micros: 0 }
            } else {
                Shortage::Refused(Reason::CutOff)
            });
        }
        let mut current = self.current.load();
        let (earliest, latest) = (bounds.earliest(policy, now), bounds.latest(policy, now));
        if current.window.is_none_or(|window| window.ends <= earliest) {
            self.begin(self.measure.period().window(earliest));
            current = self.current.load();
        }
        if let Some(window) = current.window
            && window.ends <= latest
        {
            return Err(Shortage::Wait { window_in_micros: micros(window.ends.saturating_since(earliest)) });
        }
        if current.slice.take(units) {
            return Ok(Arc::clone(&current));
        }
        if now.as_micros() < self.exhausted_until.load(Ordering::Relaxed) {
            return Err(Shortage::Refused(Reason::UsedUp));
        }
        Err(if connected {
            Shortage::Wait { window_in_micros: 0 }
        } else {
            Shortage::Refused(Reason::CutOff)
        })
    }

    /// A call is over. What it did not use is free again within its window; what it used beyond is owed in the present one. Tells what is charged to which.
    pub(super) fn settle(&self, taken_from: &Current, units: u64, used: u64, tell: &mut dyn FnMut(Charge)) {
        let over = used.saturating_sub(units);
        let current = self.current.load();
        if over > 0 && !std::ptr::eq(&raw const **current, taken_from) {
            taken_from.slice.settle(units, units);
            current.slice.charge(over);
            self.tell(taken_from, units, taken_from, tell);
            self.tell(&current, over, taken_from, tell);
        } else {
            taken_from.slice.settle(units, used);
            self.tell(taken_from, used, taken_from, tell);
        }
    }

    /// Where nothing was lent yet in the name that is charged, it is told in the one before: that counts twice what a worker owes that had lost its name, and never too little.
    fn tell(&self, charged: &Current, units: u64, before: &Current, tell: &mut dyn FnMut(Charge)) {
        let named = |of: &Current| Some((of.window?, of.holder()?));
        if units > 0
            && let Some((window, holder)) = named(charged).or_else(|| named(before))
        {
            tell(Charge { account: self.account, window, holder, units });
        }
    }

    /// Begins the window, unless it or a later one has begun.
    fn begin(&self, window: Window) {
        let mut control = self.control.lock().unwrap_or_else(PoisonError::into_inner);
        self.begin_locked(&mut control, window);
    }

    fn begin_locked(&self, control: &mut Control, window: Window) {
        if self.current.load().window.is_some_and(|present| present.starts >= window.starts) {
            return;
        }
        control.extra = 0;
        let current = Current::new(Some(window), control.standing, control.holder);
        self.current.store(Arc::new(current));
        self.left.store(self.amount().saturating_sub(control.standing), Ordering::Relaxed);
        self.exhausted_until.store(0, Ordering::Relaxed);
    }

    /// What the control plane has to hear in exchange `sequence`, if anything.
    pub(super) fn report(
        &self,
        sequence: u64,
        bounds: &Bounds,
        policy: &Policy,
        now: Monotonic,
    ) -> Option<Report> {
        let mut control = self.control.lock().unwrap_or_else(PoisonError::into_inner);
        let earliest = bounds.earliest(policy, now);
        let ended = self.current.load().window.is_none_or(|window| window.ends <= earliest);
        if ended && bounds.alive(now) {
            self.begin_locked(&mut control, self.measure.period().window(earliest));
        }
        let current = self.current.load();
        let waiting = self.waiting.load(Ordering::Acquire);
        let demand = self.demand(&mut control.demand, &current.slice, waiting, policy, now);
        let report = Report {
            account: self.account,
            window_starts: current.window.map_or(Window::ALWAYS.starts, |window| window.starts),
            opening: current.slice.opening,
            extra_seen: control.extra,
            returned: current.slice.returned(),
            held: current.slice.held(),
            consumed: current.slice.consumed(),
            urgent: waiting.saturating_sub(current.slice.available()),
            demand,
            standing_version: control.standing_version,
            recall: control.recall,
        };
        if is_blank(&report)
            || (report.urgent == 0 && control.known.is_some_and(|known| is_old_news(&known, &report)))
        {
            // What was sent before and is not known to have arrived is no news any more.
            control.sent = None;
            return None;
        }
        control.sent = Some((sequence, report));
        Some(report)
    }

    fn demand(
        &self,
        demand: &mut Demand,
        slice: &Slice,
        waiting: u64,
        policy: &Policy,
        now: Monotonic,
    ) -> u64 {
        let asked = self.asked.load(Ordering::Relaxed);
        let passed = u128::from(now.micros_since(demand.at).max(1));
        let present = if self.measure.is_parallel() {
            u128::from(slice.held().saturating_add(waiting))
        } else {
            u128::from(asked.saturating_sub(demand.asked)).saturating_mul(60_000_000) / passed
        };
        // The first measure has no past to be smoothed with.
        let smoothing = u128::from(micros(policy.smoothing));
        let old = u128::from(demand.smooth);
        let smooth = (old.saturating_mul(smoothing).saturating_add(present.saturating_mul(passed)))
            / (smoothing + passed);
        *demand = Demand { asked, at: now, smooth: u64::try_from(smooth).unwrap_or(u64::MAX) };
        demand.smooth
    }

    /// The control plane has considered all exchanges up to this.
    pub(super) fn considered(&self, sequence: u64) {
        let mut control = self.control.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, report)) = control.sent.take_if(|(sent, _)| *sent <= sequence) {
            control.known = Some(report);
        }
    }

    /// Takes a lease in that `holder` was given. Says whether it was a recall.
    pub(super) fn apply(&self, holder: HolderId, lease: &Lease, policy: &Policy, now: Monotonic) -> bool {
        let mut control = self.control.lock().unwrap_or_else(PoisonError::into_inner);
        control.holder = holder.0;
        self.amount.store(lease.amount, Ordering::Relaxed);
        // In this order: a standing slice is of later windows than the one in which it was granted.
        self.begin_locked(&mut control, lease.window);
        if lease.standing_version > control.standing_version {
            (control.standing, control.standing_version) = (lease.standing, lease.standing_version);
        }
        let current = self.current.load();
        if current.holder().is_none() {
            // It had begun before anything was lent. Units of it can be taken only from here on.
            current.holder.store(holder.0, Ordering::Relaxed);
        }
        if current.window == Some(lease.window) {
            if let Some(more) = lease.extra.checked_sub(control.extra) {
                current.slice.add(more);
                control.extra = lease.extra;
            }
            if lease.exhausted {
                let until = now.after(policy.ask_again).as_micros();
                self.exhausted_until.store(until, Ordering::Relaxed);
            }
            self.give_back(&current.slice, lease, lease.recall > control.recall);
            self.left.store(lease.left, Ordering::Relaxed);
        }
        let recalled = lease.recall > control.recall;
        control.recall = control.recall.max(lease.recall);
        recalled
    }

    fn give_back(&self, slice: &Slice, lease: &Lease, recalled: bool) {
        let waiting = self.waiting.load(Ordering::Acquire);
        let keep = if recalled { 0 } else { lease.keep };
        // Who waits here is as good as who waits elsewhere.
        slice.give_back(keep.max(waiting));
    }

    /// No further call will come.
    pub(super) fn give_all_back(&self) {
        self.current.load().slice.give_back(0);
    }

    /// The worker has lost its name, and with it its leases. Calls that run keep what they hold.
    pub(super) fn begin_anew(&self) {
        let mut control = self.control.lock().unwrap_or_else(PoisonError::into_inner);
        *control = Control { demand: control.demand, ..Control::default() };
        self.current.store(Arc::new(Current::new(None, 0, 0)));
    }

    /// Nothing is known of what the control plane knows: everything is to be told again.
    pub(super) fn tell_again(&self) {
        let mut control = self.control.lock().unwrap_or_else(PoisonError::into_inner);
        (control.known, control.sent) = (None, None);
    }

    /// When the present window ends, in the control plane's time.
    pub(super) fn window(&self) -> Option<Window> {
        self.current.load().window
    }
}

/// Of an account that nobody has used, nor lent anything of.
fn is_blank(report: &Report) -> bool {
    let Report { opening, extra_seen, consumed, held, urgent, demand, standing_version, recall, .. } =
        *report;
    [opening, extra_seen, consumed, held, urgent, demand, standing_version, recall] == [0; 8]
}

/// A demand that differs by less than an eighth is no news.
fn is_old_news(known: &Report, report: &Report) -> bool {
    let same_demand = known.demand.abs_diff(report.demand) <= known.demand / 8;
    same_demand && Report { demand: report.demand, ..*known } == *report
}
