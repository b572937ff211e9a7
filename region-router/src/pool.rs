//! One core's connections to workers, kept open between calls.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    io,
    pin::pin,
    rc::{Rc, Weak},
    time::Duration,
};

use bailiwick_domain::time::{Clock as _, SystemClock};
use bailiwick_runtime::{
    identity::{Connector, Dial},
    serving::{HttpLimits, RequestBody},
};
use http::Request;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::task::AbortOnDropHandle;

use crate::{
    balance::InFlight,
    connection::{Connection, Line, Sent},
};

/// Idle connections that are kept per worker.
const IDLE_PER_WORKER: usize = 256;
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// How often lines are looked at, at most and at least. A call waits for a sixteenth longer than it must, or for so long.
const SWEEPS: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// One core's way to connections.
pub(crate) struct Pool {
    connector: Connector,
    lines: Rc<Lines>,
    _sweeping: AbortOnDropHandle<()>,
}

impl Pool {
    /// Made inside its core's runtime. A worker has `response_timeout` to begin an answer.
    pub(crate) fn new(connector: &Connector, response_timeout: Duration) -> Self {
        let every = (response_timeout / 16).clamp(SWEEPS.0, SWEEPS.1);
        let sweeps =
            |time: Duration| u32::try_from(time.as_millis().div_ceil(every.as_millis())).unwrap_or(u32::MAX);
        let lines = Rc::new(Lines {
            longest_wait: sweeps(response_timeout),
            // Before its worker closes it: a call that is sent at that moment is lost.
            longest_idle: sweeps(HttpLimits::default().idle * 3 / 5),
            now: Cell::new(0),
            open: RefCell::default(),
        });
        let sweeping = tokio::task::spawn_local(Rc::clone(&lines).sweep(every));
        Self {
            connector: connector.speaking(b"http/1.1"),
            lines,
            _sweeping: AbortOnDropHandle::new(sweeping),
        }
    }

    /// Sends a request on an idle connection, or on a new one. An idle connection that turns out to be closed costs nothing: the request comes back
    /// and goes over another one.
    pub(crate) async fn send(&self, worker: &InFlight, mut request: Request<RequestBody>) -> Sent {
        loop {
            let idle = self.take(worker.idle());
            let is_new = idle.is_none();
            let connection = match idle {
                Some(connection) => connection,
                // Rarely, so it takes no room in the call.
                None => match Box::pin(self.dial(worker)).await {
                    Some(connection) => connection,
                    None => return Sent::Unsent(request),
                },
            };
            let sent = pin!(connection.call(request, self.lines.now.get())).await;
            match sent {
                Sent::Unsent(whole) if !is_new => request = whole,
                sent => return sent,
            }
        }
    }

    fn take(&self, idle: &Idle) -> Option<Connection> {
        let mut idle = idle.connections.borrow_mut();
        std::iter::from_fn(|| idle.pop_back())
            .find(|connection| !connection.line.is_over() && !self.is_outdated(connection))
    }

    /// Opened with a certificate that this router has renewed since: the worker ends it when that one expires, which may be when a call was just sent, so it
    /// is used no more, long before. Or the worker's has expired: then it is to show whether it has another.
    fn is_outdated(&self, connection: &Connection) -> bool {
        connection.presented != self.connector.identity().fingerprint()
            || connection.good_until <= SystemClock.now()
    }

    async fn dial(&self, worker: &InFlight) -> Option<Connection> {
        let address = worker.address();
        match tokio::time::timeout(HANDSHAKE_TIMEOUT, self.connect(worker)).await {
            Ok(Ok(connection)) => return Some(connection),
            Ok(Err(error)) => tracing::warn!(%address, %error, "a worker cannot be reached"),
            Err(_late) => tracing::warn!(%address, "a worker did not shake hands in time"),
        }
        None
    }

    async fn connect(&self, worker: &InFlight) -> io::Result<Connection> {
        let address = worker.address();
        // Asked before: of two certificates, the older one is taken for what was presented.
        let presented = self.connector.identity().fingerprint();
        let stream = self.connector.connect(address).await?;
        let peer = stream.peer().clone();
        let good_until = peer.expires;
        let (requests, http) = http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        let line = Line::new(http);
        self.lines.open.borrow_mut().push(Rc::downgrade(&line));
        let watched = Rc::downgrade(&line);
        let watching = tokio::task::spawn_local(async move {
            peer.revoked().await;
            if let Some(line) = watched.upgrade() {
                tracing::warn!(%address, spiffe_id = %peer.spiffe, "a revoked worker's connection is closed");
                line.hang_up();
            }
        });
        Ok(Connection { requests, line, presented, good_until, _watching: AbortOnDropHandle::new(watching) })
    }
}

/// Connections to one worker that nobody uses now.
#[derive(Default)]
pub(crate) struct Idle {
    /// The one that was used last stands last, and is used first.
    connections: RefCell<VecDeque<Connection>>,
}

impl Idle {
    /// Keeps a connection whose answer was read to its end.
    pub(crate) fn keep(&self, connection: Connection) {
        if !connection.rests() {
            return;
        }
        let mut connections = self.connections.borrow_mut();
        // What the worker has closed is let go of, the longest unused first.
        while connections.front().is_some_and(|unused| unused.line.is_over()) {
            drop(connections.pop_front());
        }
        if connections.len() < IDLE_PER_WORKER {
            connections.push_back(connection);
        }
    }
}

/// All lines of a core. What each waits for is looked at now and then, which costs a call no timer.
struct Lines {
    /// Sweeps that a call may wait for.
    longest_wait: u32,
    longest_idle: u32,
    /// Sweeps since the core began.
    now: Cell<u32>,
    open: RefCell<Vec<Weak<Line>>>,
}

impl Lines {
    async fn sweep(self: Rc<Self>, every: Duration) {
        let mut ticks = interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            let _tick = ticks.tick().await;
            let now = self.now.get().saturating_add(1);
            self.now.set(now);
            self.open.borrow_mut().retain(|line| {
                let Some(line) = line.upgrade() else { return false };
                line.sweep(now, self.longest_wait, self.longest_idle);
                !line.is_over()
            });
        }
    }
}
