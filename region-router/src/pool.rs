//! One core's connections to workers, kept open between calls.

use std::{cell::RefCell, collections::VecDeque, io, pin::pin, rc::Rc, time::Duration};

use bailiwick_domain::time::{Clock as _, SystemClock};
use bailiwick_runtime::{
    calling::{Failed, OutgoingRequest},
    identity::{Connector, Dial},
    serving::{HttpLimits, RequestBody},
};
use tokio_util::task::AbortOnDropHandle;

use crate::{
    balance::InFlight,
    connection::{Answered, Connection, Lines},
};

/// Idle connections that are kept per worker.
const IDLE_PER_WORKER: usize = 256;
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// One core's way to connections.
pub(crate) struct Pool {
    connector: Connector,
    lines: Rc<Lines>,
    _sweeping: AbortOnDropHandle<()>,
}

impl Pool {
    /// Made inside its core's runtime. A worker has `response_timeout` to begin an answer.
    pub(crate) fn new(connector: &Connector, response_timeout: Duration) -> Self {
        // Before its worker closes it: a call that is sent at that moment is lost.
        let longest_rest = HttpLimits::default().idle * 3 / 5;
        let lines = Rc::new(Lines::new(response_timeout, longest_rest));
        let swept = Rc::clone(&lines);
        let sweeping = tokio::task::spawn_local(async move { swept.sweep(|| ()).await });
        Self {
            connector: connector.speaking(b"http/1.1"),
            lines,
            _sweeping: AbortOnDropHandle::new(sweeping),
        }
    }

    /// Sends a request on an idle connection, or on a new one. An idle connection that turns out to be closed costs nothing: the request comes back
    /// and goes over another one.
    pub(crate) async fn send(
        &self,
        worker: &InFlight,
        request: &mut OutgoingRequest<RequestBody>,
    ) -> Result<Answered, Failed> {
        loop {
            let idle = self.take(worker.idle());
            let is_new = idle.is_none();
            let connection = match idle {
                Some(connection) => connection,
                // Rarely, so it takes no room in the call.
                None => match Box::pin(self.dial(worker)).await {
                    Some(connection) => connection,
                    None => return Err(Failed::Unsent),
                },
            };
            let sent = pin!(connection.call(request)).await;
            match sent {
                Err(Failed::Unsent) if !is_new => {}
                sent => return sent,
            }
        }
    }

    fn take(&self, idle: &Idle) -> Option<Connection> {
        let mut idle = idle.connections.borrow_mut();
        std::iter::from_fn(|| idle.pop_back()).find(|connection| !self.is_outdated(connection))
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
        let line = self.lines.open(stream);
        let watched = Rc::downgrade(&line);
        let watching = tokio::task::spawn_local(async move {
            peer.revoked().await;
            if let Some(line) = watched.upgrade() {
                tracing::warn!(%address, spiffe_id = %peer.spiffe, "a revoked worker's connection is closed");
                line.hang_up();
            }
        });
        Ok(Connection { line, presented, good_until, _watching: AbortOnDropHandle::new(watching) })
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
        if !connection.line.rest() {
            return;
        }
        let mut connections = self.connections.borrow_mut();
        // What the worker has closed is let go of, the longest unused first.
        while connections.front().is_some_and(|unused| unused.line.is_closed()) {
            drop(connections.pop_front());
        }
        if connections.len() < IDLE_PER_WORKER {
            connections.push_back(connection);
        }
    }
}
