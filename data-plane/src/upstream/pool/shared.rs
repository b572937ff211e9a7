//! HTTP/2 (RFC 9113): connections that serve many calls at once, each as a stream.
//!
//! A stream that its caller does not read holds up no other: a connection's window is the sum of its streams'. So windows do not adapt to the way, as they could: both would grow to the same size,
//! and one stream would fill them.

mod connection;
mod dialling;

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    rc::Rc,
    sync::Arc,
    time::Instant,
};

use bailiwick_domain::id::DeploymentId;
use foldhash::fast::RandomState;

use super::LONGEST_IDLE;
use crate::{placement::Place, snapshot::DeploymentEntry};

pub(crate) use connection::Stream;
use connection::{Connection, MOST_STREAMS};
pub(super) use dialling::{Dialling, End, Turn};

/// One core's connections, by deployment.
#[derive(Clone, Default)]
pub(super) struct Connections(Rc<RefCell<HashMap<DeploymentId, Known, RandomState>>>);

/// What is known of one deployment.
struct Known {
    open: Vec<Rc<Connection>>,
    dialled: Vec<Rc<dialling::Dialled>>,
    /// When it was last seen to speak HTTP/1.1 alone. Then nobody waits for a connection that somebody else dials.
    alone_since: Option<Instant>,
    /// Streams that its provider takes on one connection.
    allowed: Rc<Cell<u32>>,
}

impl Default for Known {
    fn default() -> Self {
        let allowed = Rc::new(Cell::new(MOST_STREAMS));
        Self { open: Vec::new(), dialled: Vec::new(), alone_since: None, allowed }
    }
}

impl Connections {
    /// A stream of an open connection that has room, still leads where the deployment is, and where the policy admits it (R7): both may have changed since it was dialled. The first that has room, so
    /// that those no longer needed come to rest.
    pub(super) fn join(&self, place: &Place<'_>) -> Option<Stream> {
        let mut all = self.0.borrow_mut();
        let known = all.get_mut(&place.deployment().id)?;
        // Calls that are on one of the others go on; it ends with the last of them.
        known.open.retain(|connection| connection.is_good(place));
        let allowed = known.allowed.get();
        known.open.iter().find(|connection| connection.has_room(allowed)).map(Stream::of)
    }

    /// Whether to dial, or to wait for somebody who does.
    pub(super) fn turn(&self, deployment: &Arc<DeploymentEntry>) -> Turn {
        let mut all = self.0.borrow_mut();
        let known = all.entry(deployment.id).or_default();
        let room = known.allowed.get();
        match known.dialled.iter().find(|dialled| known.alone_since.is_none() && dialled.has_room(room)) {
            Some(dialled) => Turn::Wait(dialled.join()),
            None => Turn::Dial(Dialling::begin(self, deployment.id, known)),
        }
    }

    /// The turn to dial, whoever else does.
    pub(super) fn dials(&self, deployment: &Arc<DeploymentEntry>) -> Dialling {
        let mut all = self.0.borrow_mut();
        Dialling::begin(self, deployment.id, all.entry(deployment.id).or_default())
    }

    /// Deployments come and go; what is idle for long belongs to nobody.
    pub(super) fn forget_old(&self) {
        self.0.borrow_mut().retain(|_, known| {
            known.open.retain(|connection| !connection.is_old());
            known.alone_since = known.alone_since.filter(|since| since.elapsed() < LONGEST_IDLE);
            !known.open.is_empty() || !known.dialled.is_empty() || known.alone_since.is_some()
        });
    }
}
