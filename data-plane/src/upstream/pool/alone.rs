//! HTTP/1.1 (RFC 9112): connections that serve one call at a time, each driven by its call.
//!
//! A library's client has a task for each connection, and two ways between it and the call; that was a fifth of a call's instructions. What may be large or takes long (a form, a stream) passes here as it does there: nothing is
//! read ahead of the caller, and nothing is taken from a form that the provider does not take.
//!
//! `request` writes, `reading` reads (the head in `response`, the body in `decoding`); neither knows of sockets. `line` moves bytes, `outbox` those of several calls at once.

mod answer;
mod decoding;
mod line;
mod outbox;
mod reading;
mod request;
mod response;

use std::{
    cell::RefCell,
    collections::HashMap,
    future::poll_fn,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use bailiwick_domain::{egress::AdmittedAddress, id::DeploymentId, usage::EventId};
use foldhash::fast::RandomState;
use http::Request;

pub(crate) use self::answer::Body;
use self::{
    line::{Failed, Line, Scratch},
    outbox::Outbox,
};
use super::{AnswerBody, LONGEST_IDLE, Sent};
use crate::{
    metering::Meter,
    placement::Place,
    snapshot::DeploymentEntry,
    timing::within,
    upload::Progress,
    upstream::{body::Outbound, connect::Stream},
};

/// Idle connections that are kept per deployment and core.
const IDLE_PER_DEPLOYMENT: usize = 256;

type OfDeployment = HashMap<DeploymentId, Vec<(Connection, Instant)>, RandomState>;

/// One core's connections.
#[derive(Clone)]
pub(super) struct Connections {
    idle: Rc<RefCell<OfDeployment>>,
    meter: Meter,
    outbox: Outbox,
    scratch: Scratch,
}

/// A connection, and where it leads: what may be called can change while it is open. Dropped, it is closed, and the provider's work with it.
pub(super) struct Connection {
    line: Rc<Line>,
    deployment: Arc<DeploymentEntry>,
    address: AdmittedAddress,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.line.hang_up();
    }
}

/// A connection in use. Dropped, it is closed; kept, it serves the next call.
pub(crate) struct Lease {
    connection: Connection,
    connections: Connections,
    form: Option<Rc<Progress>>,
}

impl Lease {
    /// The answer was read to its end.
    pub(super) fn keep(self) {
        if !self.connection.line.is_at_rest() {
            return;
        }
        let mut idle = self.connections.idle.borrow_mut();
        let connections = idle.entry(self.connection.deployment.id).or_default();
        if connections.len() < IDLE_PER_DEPLOYMENT {
            connections.push((self.connection, Instant::now()));
        }
    }

    /// Whether a form did not go out whole, because of its caller.
    pub(super) fn is_cut_by_caller(&self) -> bool {
        self.form.as_ref().is_some_and(|form| form.fault().is_some())
    }
}

impl Connections {
    pub(super) fn new(meter: &Meter) -> Self {
        let meter = meter.clone();
        Self { idle: Rc::default(), meter, outbox: Outbox::default(), scratch: Scratch::default() }
    }

    /// A new one.
    pub(super) fn open(
        &self,
        stream: Box<dyn Stream>,
        deployment: Arc<DeploymentEntry>,
        address: AdmittedAddress,
    ) -> Connection {
        Connection { line: Line::new(stream, &self.meter, &self.scratch), deployment, address }
    }

    /// Errors: the request, whole, when none of it was sent: an idle connection can turn out to be closed.
    pub(super) async fn send(
        &self,
        connection: Connection,
        mut request: Request<Outbound>,
        call: EventId,
        bound: Duration,
    ) -> Result<Sent, Request<Outbound>> {
        let form = request.body().progress().map(Rc::clone);
        let waits_for_others = self.meter.has_several_calls();
        let line = &connection.line;
        line.begin(&mut request, call, waits_for_others);
        if waits_for_others {
            self.outbox.push(line);
        }
        let answer = poll_fn(|cx| line.poll_answer(&mut request, cx));
        let answered = match &form {
            None => within(bound, answer).await,
            Some(progress) => progress.answered_within(bound, answer).await,
        };
        match answered {
            Some(Ok(response)) => {
                let lease = Lease { connection, connections: self.clone(), form };
                Ok(Sent::Answered(response.map(AnswerBody::Alone), super::Lease::Alone(lease)))
            }
            // Where the disk took no record, no other connection is let out either.
            Some(Err(Failed::Unsent)) if self.meter.is_open(&call) => Err(request),
            Some(Err(Failed::Unsent | Failed::Lost)) => Ok(Sent::Lost),
            None => Ok(Sent::Late),
        }
    }

    /// An idle one that still leads where the deployment is, and where the policy admits it (R7): both may have changed since it was dialled.
    pub(super) fn take(&self, place: &Place) -> Option<Connection> {
        let deployment = place.deployment();
        let mut idle = self.idle.borrow_mut();
        let connections = idle.get_mut(&deployment.id)?;
        // The newest is the likeliest to live.
        while let Some((connection, since)) = connections.pop() {
            let same = connection.deployment.leads_where(deployment);
            if same && since.elapsed() < LONGEST_IDLE && place.host().address(connection.address.ip()).is_ok()
            {
                return Some(connection);
            }
        }
        idle.remove(&deployment.id);
        None
    }

    /// Lets go of what has been idle for long, or was closed by its provider. Deployments come and go, so nobody else might.
    pub(super) fn forget_old(&self) {
        self.idle.borrow_mut().retain(|_, connections| {
            connections
                .retain(|(connection, since)| since.elapsed() < LONGEST_IDLE && connection.line.is_quiet());
            !connections.is_empty()
        });
    }
}

#[cfg(test)]
mod tests;
