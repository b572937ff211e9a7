//! A connection that is dialled, and those who wait for it: a burst of calls dials as many connections as it needs, and no more.

use std::{cell::Cell, rc::Rc, sync::Arc, time::Instant};

use bailiwick_domain::{egress::AdmittedAddress, id::DeploymentId};
use tokio::sync::Notify;

use super::{Connection, Connections, Known, Stream};
use crate::{
    metering::Meter,
    snapshot::DeploymentEntry,
    upstream::connect::{self, ConnectError},
};

/// Whose turn it is to dial.
pub(in crate::upstream::pool) enum Turn {
    Dial(Dialling),
    Wait(Rc<Dialled>),
}

/// A connection that somebody dials.
pub(in crate::upstream::pool) struct Dialled {
    /// Calls that it is for.
    calls: Cell<u32>,
    end: Cell<End>,
    ended: Notify,
}

/// What came of it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::upstream::pool) enum End {
    /// It is open, or HTTP/2 is not spoken there.
    Opened,
    /// Neither is known.
    Failed,
}

impl Dialled {
    pub(super) fn has_room(&self, allowed: u32) -> bool {
        self.calls.get() < allowed
    }

    pub(super) fn join(self: &Rc<Self>) -> Rc<Self> {
        self.calls.set(self.calls.get() + 1);
        Rc::clone(self)
    }

    /// Until it is open, or is known not to be.
    pub(in crate::upstream::pool) async fn end(&self) -> End {
        self.ended.notified().await;
        self.end.get()
    }
}

/// The turn to dial. Dropped, whoever waited goes on.
pub(in crate::upstream::pool) struct Dialling {
    connections: Connections,
    deployment: DeploymentId,
    dialled: Rc<Dialled>,
    allowed: Rc<Cell<u32>>,
}

impl Dialling {
    pub(super) fn begin(connections: &Connections, deployment: DeploymentId, known: &mut Known) -> Self {
        let dialled =
            Rc::new(Dialled { calls: Cell::new(1), end: Cell::new(End::Failed), ended: Notify::new() });
        known.dialled.push(Rc::clone(&dialled));
        let allowed = Rc::clone(&known.allowed);
        Self { connections: connections.clone(), deployment, dialled, allowed }
    }

    /// It speaks HTTP/2; gives a stream for whoever dialled.
    pub(in crate::upstream::pool) async fn opened(
        self,
        stream: Box<dyn connect::Stream>,
        meter: &Meter,
        deployment: Arc<DeploymentEntry>,
        address: AdmittedAddress,
    ) -> Result<Stream, ConnectError> {
        let allowed = Rc::clone(&self.allowed);
        let connection = Rc::new(Connection::open(stream, meter, deployment, address, allowed).await?);
        let stream = Stream::of(&connection);
        self.dialled.end.set(End::Opened);
        self.note(|known| {
            known.alone_since = None;
            known.open.push(connection);
        });
        Ok(stream)
    }

    /// It speaks HTTP/1.1 alone.
    pub(in crate::upstream::pool) fn speaks_http1(self) {
        self.dialled.end.set(End::Opened);
        self.note(|known| known.alone_since = Some(Instant::now()));
    }

    fn note(&self, what: impl FnOnce(&mut Known)) {
        if let Some(known) = self.connections.0.borrow_mut().get_mut(&self.deployment) {
            what(known);
        }
    }
}

impl Drop for Dialling {
    fn drop(&mut self) {
        self.note(|known| known.dialled.retain(|dialled| !Rc::ptr_eq(dialled, &self.dialled)));
        self.dialled.ended.notify_waiters();
    }
}
