//! A core's connections, as the core sees them: what each does since when, and a way to tell it something.
//!
//! Timeouts are kept here instead of in timers: a request writes down what its connection does (a few stores into its own cells, no
//! system call), and once a second the core looks who overstayed.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::task::Waker;
use std::time::{Duration, UNIX_EPOCH};

use bailiwick_domain::time::{Clock, SystemClock, Timestamp};
use tokio::sync::Notify;

use super::HttpLimits;
use crate::identity::Peer;

/// How often a core looks at its connections; the unit of [`Registry::now`].
pub(super) const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// How long a drain waits for the first request of a connection that was accepted, or the rest of a head that had begun.
const FINISH_GRACE: Duration = Duration::from_secs(1);

/// A date as HTTP writes it (RFC 9110, section 5.6.7).
pub(super) type Date = [u8; 29];

fn date(now: Timestamp) -> Date {
    // The format ends with the year 9999.
    let since = u64::try_from(now.as_micros() / 1_000_000).unwrap_or_default().min(253_402_300_799);
    let written = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(since));
    written.as_bytes().try_into().unwrap_or([b'0'; 29])
}

/// What a connection does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// It shakes hands, or receives a request's head.
    Head,
    /// A request was received, and its response is not written yet.
    Busy,
    /// It waits for the next request.
    Idle,
}

/// What a connection is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Command {
    /// Nothing.
    GoOn,
    /// Finish the request that is under way, then close.
    Finish,
    /// Close now.
    Close,
}

/// One connection's notes. Shared by its task, its wire, and (weakly) the registry; all on one thread.
#[derive(Debug)]
pub(super) struct ConnectionState {
    registry: Rc<Registry>,
    phase: Cell<Phase>,
    /// Sweeps since the core began, when the phase did.
    since: Cell<u32>,
    write_stalled_since: Cell<Option<u32>>,
    peer: RefCell<Option<Peer>>,
    command: Cell<Command>,
    waker: RefCell<Option<Waker>>,
}

impl ConnectionState {
    pub(super) fn phase(&self) -> Phase {
        self.phase.get()
    }

    fn enter(&self, phase: Phase) {
        self.phase.set(phase);
        self.since.set(self.registry.now.get());
    }

    pub(super) fn limits(&self) -> &HttpLimits {
        &self.registry.limits
    }

    /// Whether the request that is answered now is the connection's last.
    pub(super) fn is_finishing(&self) -> bool {
        self.command.get() == Command::Finish
    }

    /// Bytes came; an idle connection thereby receives a head.
    pub(super) fn received(&self) {
        if self.phase.get() == Phase::Idle {
            self.enter(Phase::Head);
        }
    }

    /// A head was received.
    pub(super) fn request_begins(&self) {
        self.enter(Phase::Busy);
    }

    /// All of an answer is written.
    pub(super) fn answered(&self) {
        self.enter(Phase::Idle);
        if self.registry.wanted.get() {
            self.registry.changed.notify_one();
        }
    }

    /// For an answer's head (RFC 9110, section 6.6.1): at most as old as a sweep.
    pub(super) fn date(&self) -> Date {
        self.registry.date.get()
    }

    pub(super) fn write_is_stalled(&self, stalled: bool) {
        if stalled != self.write_stalled_since.get().is_some() {
            self.write_stalled_since.set(stalled.then(|| self.registry.now.get()));
        }
    }

    /// The connection ends with this peer's certificate: a peer is as good as what it presented.
    pub(super) fn opened_by(&self, peer: Peer) {
        *self.peer.borrow_mut() = Some(peer);
    }

    /// What the peer's certificate is still good for.
    fn certificate_allows(&self, wall: Timestamp) -> Command {
        match self.peer.borrow().as_ref() {
            Some(peer) if peer.is_revoked() => Command::Close,
            Some(peer) if peer.expires <= wall => Command::Finish,
            _ => Command::GoOn,
        }
    }

    /// What this connection is told; its task is woken when that changes.
    pub(super) fn command(&self, waker: &Waker) -> Command {
        let mut mine = self.waker.borrow_mut();
        if !mine.as_ref().is_some_and(|mine| mine.will_wake(waker)) {
            *mine = Some(waker.clone());
        }
        self.command.get()
    }

    fn tell(&self, command: Command) {
        if self.command.get() == Command::Close {
            return;
        }
        self.command.set(command);
        if let Some(waker) = self.waker.borrow().as_ref() {
            waker.wake_by_ref();
        }
    }

    fn verdict(&self, now: u32, wall: Timestamp, limits: &HttpLimits) -> Command {
        let overstayed = |since: u32, bound: Duration| u64::from(now.saturating_sub(since)) > bound.as_secs();
        let stalled =
            self.write_stalled_since.get().is_some_and(|since| overstayed(since, limits.write_stall));
        let late = match self.phase.get() {
            Phase::Head if self.registry.finishing.get() => overstayed(self.since.get(), FINISH_GRACE),
            Phase::Head => overstayed(self.since.get(), limits.header_read_timeout),
            Phase::Idle => overstayed(self.since.get(), limits.idle),
            Phase::Busy => false,
        };
        if stalled || late { Command::Close } else { self.certificate_allows(wall) }
    }
}

impl Drop for ConnectionState {
    fn drop(&mut self) {
        self.registry.open.set(self.registry.open.get().saturating_sub(1));
        self.registry.changed.notify_one();
    }
}

/// All connections of a core.
#[derive(Debug)]
pub(super) struct Registry {
    limits: HttpLimits,
    /// Sweeps since the core began: a clock that costs nothing to read.
    now: Cell<u32>,
    /// When the last sweep was.
    date: Cell<Date>,
    open: Cell<usize>,
    finishing: Cell<bool>,
    /// Somebody waits in [`Registry::room`].
    wanted: Cell<bool>,
    /// A connection closed or, while it is wanted, became idle.
    changed: Notify,
    connections: RefCell<Vec<Weak<ConnectionState>>>,
}

impl Registry {
    pub(super) fn new(limits: HttpLimits) -> Rc<Self> {
        Rc::new(Self {
            limits,
            now: Cell::new(0),
            date: Cell::new(date(SystemClock.now())),
            open: Cell::new(0),
            finishing: Cell::new(false),
            wanted: Cell::new(false),
            changed: Notify::new(),
            connections: RefCell::default(),
        })
    }

    pub(super) fn has_room(&self) -> bool {
        self.open.get() < self.limits.max_connections
    }

    /// Resolves when there is room for one more connection; makes room as soon as one is idle. Until then somebody waits, so do not ask before.
    pub(super) async fn room(&self) {
        self.wanted.set(true);
        while !self.has_room() {
            self.close_longest_idle();
            self.changed.notified().await;
        }
        self.wanted.set(false);
    }

    fn close_longest_idle(&self) {
        let connections = self.connections.borrow();
        let mut longest: Option<Rc<ConnectionState>> = None;
        for state in connections.iter().filter_map(Weak::upgrade) {
            if state.command.get() == Command::Close {
                return; // its room is as good as free
            }
            let longer = longest.as_ref().is_none_or(|longest| state.since.get() < longest.since.get());
            if state.phase.get() == Phase::Idle && longer {
                longest = Some(state);
            }
        }
        if let Some(longest) = longest {
            longest.tell(Command::Close);
        }
    }

    pub(super) fn open(self: &Rc<Self>) -> Rc<ConnectionState> {
        self.open.set(self.open.get() + 1);
        let command = if self.finishing.get() { Command::Finish } else { Command::GoOn };
        let state = Rc::new(ConnectionState {
            registry: Rc::clone(self),
            phase: Cell::new(Phase::Head),
            since: Cell::new(self.now.get()),
            write_stalled_since: Cell::new(None),
            peer: RefCell::new(None),
            command: Cell::new(command),
            waker: RefCell::new(None),
        });
        self.connections.borrow_mut().push(Rc::downgrade(&state));
        state
    }

    /// Tells every connection, also those to come, to finish.
    pub(super) fn finish_all(&self) {
        self.finishing.set(true);
        for state in self.connections.borrow().iter().filter_map(Weak::upgrade) {
            state.tell(Command::Finish);
        }
    }

    /// Once a second: who overstayed or was revoked is closed, whose certificate expired finishes, and who is gone is forgotten.
    pub(super) fn sweep(&self) {
        let now = self.now.get().saturating_add(1);
        self.now.set(now);
        let wall = SystemClock.now();
        self.date.set(date(wall));
        self.connections.borrow_mut().retain(|connection| {
            let Some(state) = connection.upgrade() else { return false };
            let verdict = state.verdict(now, wall, &self.limits);
            if verdict != Command::GoOn && verdict != state.command.get() {
                state.tell(verdict);
            }
            true
        });
    }
}
