//! HTTP/1.1 (RFC 9112): connections that serve one call at a time, each driven by its call, behind the journal.
//!
//! `outbox` moves the bytes of several calls at once.

mod outbox;

use std::{cell::RefCell, collections::HashMap, future::poll_fn, rc::Rc, sync::Arc, time::Duration};

use bailiwick_domain::{egress::AdmittedAddress, id::DeploymentId, usage::EventId};
use bailiwick_runtime::{
    calling::{self, Failed, Lines, OutgoingRequest},
    turn,
};
use foldhash::fast::RandomState;

use self::outbox::Outbox;
use super::{AnswerBody, LONGEST_IDLE, Sent};
use crate::{
    metering::{Carried, Meter, Recorded},
    placement::Place,
    snapshot::DeploymentEntry,
    upload::Progress,
    upstream::{body::Outbound, connect::Stream},
};

/// Idle connections that are kept per deployment and core.
const IDLE_PER_DEPLOYMENT: usize = 256;

type Line = calling::Line<Recorded<Box<dyn Stream>>, Outbound>;

type OfDeployment = HashMap<DeploymentId, Vec<Connection>, RandomState>;

/// One core's connections.
#[derive(Clone)]
pub(super) struct Connections {
    idle: Rc<RefCell<OfDeployment>>,
    meter: Meter,
    outbox: Outbox,
    lines: Rc<Lines<Recorded<Box<dyn Stream>>, Outbound>>,
}

/// A connection, and where it leads: what may be called can change while it is open. Dropped, it is closed, and the provider's work with it.
pub(super) struct Connection {
    line: Rc<Line>,
    carried: Carried,
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
        if !self.connection.line.rest() {
            return;
        }
        let mut idle = self.connections.idle.borrow_mut();
        let connections = idle.entry(self.connection.deployment.id).or_default();
        if connections.len() < IDLE_PER_DEPLOYMENT {
            connections.push(self.connection);
        }
    }

    /// Whether a form did not go out whole, because of its caller.
    pub(super) fn is_cut_by_caller(&self) -> bool {
        self.form.as_ref().is_some_and(|form| form.fault().is_some())
    }
}

impl Connections {
    /// No answer is waited for longer than about `first_byte`.
    pub(super) fn new(meter: &Meter, first_byte: Duration) -> Self {
        let lines = Rc::new(Lines::new(first_byte, LONGEST_IDLE));
        Self { idle: Rc::default(), meter: meter.clone(), outbox: Outbox::default(), lines }
    }

    /// A new one.
    pub(super) fn open(
        &self,
        stream: Box<dyn Stream>,
        deployment: Arc<DeploymentEntry>,
        address: AdmittedAddress,
    ) -> Connection {
        let carried = Carried::default();
        let line = self.lines.open(Recorded::new(stream, self.meter.clone(), carried.clone()));
        Connection { line, carried, deployment, address }
    }

    /// Waits for an answer's first byte; of a form, for so long after its last piece was taken. `None`: nothing of the request was sent, and it is whole: an idle connection can turn out to be closed.
    pub(super) async fn send(
        &self,
        connection: Connection,
        request: &mut OutgoingRequest<Outbound>,
        call: EventId,
        bound: Duration,
    ) -> Option<Sent> {
        let form = request.body.progress().map(Rc::clone);
        let waits_for_others = self.meter.has_several_calls();
        let line = &connection.line;
        turn::give_way().await;
        connection.carried.carries(call);
        // A form keeps time by itself.
        line.begin(request, waits_for_others, form.is_none());
        if waits_for_others {
            self.outbox.push(line);
        }
        let answer = poll_fn(|cx| line.poll_answer(request, cx));
        let answered = match &form {
            None => Some(answer.await),
            Some(progress) => progress.answered_within(bound, answer).await,
        };
        match answered {
            Some(Ok(response)) => {
                let lease = Lease { connection, connections: self.clone(), form };
                Some(Sent::Answered(response.map(AnswerBody::Left), super::Lease::Alone(lease)))
            }
            Some(Err(failed)) => became(failed, &connection.carried),
            None => Some(Sent::Late),
        }
    }

    /// An idle one that still leads where the deployment is, and where the policy admits it (R7): both may have changed since it was dialled.
    pub(super) fn take(&self, place: &Place<'_>) -> Option<Connection> {
        let deployment = place.deployment();
        let mut idle = self.idle.borrow_mut();
        let connections = idle.get_mut(&deployment.id)?;
        // The newest is the likeliest to live.
        while let Some(connection) = connections.pop() {
            let is_good = connection.deployment.leads_where(deployment);
            if is_good && place.host().address(connection.address.ip()).is_ok() {
                return Some(connection);
            }
        }
        idle.remove(&deployment.id);
        None
    }

    /// Finds what rests or waits for too long, and what a provider has closed: deployments come and go, so nobody else might. `behind` is called after each time. Never ends.
    pub(super) async fn sweep(&self, behind: impl Fn()) {
        let forget_closed = || {
            self.idle.borrow_mut().retain(|_, connections| {
                connections.retain(|connection| !connection.line.is_closed());
                !connections.is_empty()
            });
            behind();
        };
        self.lines.sweep(forget_closed).await;
    }
}

/// What became of a call that failed. `None`: it may go over another connection.
fn became(failed: Failed, carried: &Carried) -> Option<Sent> {
    match failed {
        // Not on record: no other connection lets it out either.
        Failed::Unsent if carried.is_refused() => Some(Sent::Lost),
        Failed::Unsent => None,
        Failed::Lost(_) | Failed::Broken => Some(Sent::Lost),
        Failed::Late => Some(Sent::Late),
    }
}

#[cfg(test)]
mod tests;
