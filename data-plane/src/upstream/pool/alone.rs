//! HTTP/1.1 (RFC 9112): connections that serve one call at a time, each driven by its call.
//!
//! A library's client has a task for each connection, and ways between it and the call, which a call pays for. Nothing is read ahead of the caller here, and nothing is taken from a form that the provider
//! does not take.
//!
//! `request` writes, `reading` reads (the head in `response`); neither knows of sockets. `line` moves bytes, `outbox` those of several calls at once.

mod line;
mod outbox;
mod reading;
mod request;
mod response;

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    future::poll_fn,
    rc::{Rc, Weak},
    sync::Arc,
    time::Duration,
};

use bailiwick_domain::{egress::AdmittedAddress, id::DeploymentId, usage::EventId};
use foldhash::fast::RandomState;
use http::Request;

use self::{
    line::{Failed, Line, Scratch},
    outbox::Outbox,
};
use super::{AnswerBody, LONGEST_IDLE, Sent};
use crate::{
    metering::Meter,
    placement::Place,
    snapshot::DeploymentEntry,
    upload::Progress,
    upstream::{body::Outbound, connect::Stream},
};

/// Idle connections that are kept per deployment and core.
const IDLE_PER_DEPLOYMENT: usize = 256;

/// With the sweep in which they were last used.
type OfDeployment = HashMap<DeploymentId, Vec<(Connection, u32)>, RandomState>;

/// One core's connections.
#[derive(Clone)]
pub(super) struct Connections {
    idle: Rc<RefCell<OfDeployment>>,
    meter: Meter,
    outbox: Outbox,
    scratch: Scratch,
    sweeps: Rc<Sweeps>,
}

/// What takes too long is found now and then, which costs a call no timer.
struct Sweeps {
    /// How many there were.
    now: Cell<u32>,
    /// How many a call may wait for an answer's first byte: it waits for a sixteenth longer than it must.
    longest_wait: u32,
    longest_idle: u32,
    open: RefCell<Vec<Weak<Line>>>,
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
            connections.push((self.connection, self.connections.sweeps.now.get()));
        }
    }

    /// Whether a form did not go out whole, because of its caller.
    pub(super) fn is_cut_by_caller(&self) -> bool {
        self.form.as_ref().is_some_and(|form| form.fault().is_some())
    }
}

impl Connections {
    /// Swept so often, and no answer waited for longer than about `first_byte`.
    pub(super) fn new(meter: &Meter, first_byte: Duration, every: Duration) -> Self {
        let sweeps = |time: Duration| {
            u32::try_from(time.as_millis().div_ceil(every.as_millis().max(1))).unwrap_or(u32::MAX)
        };
        let sweeps = Rc::new(Sweeps {
            now: Cell::new(0),
            longest_wait: sweeps(first_byte),
            longest_idle: sweeps(LONGEST_IDLE),
            open: RefCell::default(),
        });
        let meter = meter.clone();
        Self { idle: Rc::default(), meter, outbox: Outbox::default(), scratch: Scratch::default(), sweeps }
    }

    /// A new one.
    pub(super) fn open(
        &self,
        stream: Box<dyn Stream>,
        deployment: Arc<DeploymentEntry>,
        address: AdmittedAddress,
    ) -> Connection {
        let line = Line::new(stream, &self.meter, &self.scratch);
        self.sweeps.open.borrow_mut().push(Rc::downgrade(&line));
        Connection { line, deployment, address }
    }

    /// Waits for an answer's first byte; of a form, for so long after its last piece was taken. Errors: the request, whole, when none of it was sent: an idle connection can turn out to be closed.
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
        // A form keeps time by itself.
        let since = form.is_none().then(|| self.sweeps.now.get());
        line.begin(&mut request, call, waits_for_others, since);
        if waits_for_others {
            self.outbox.push(line);
        }
        let answer = poll_fn(|cx| line.poll_answer(&mut request, cx));
        let answered = match &form {
            None => Some(answer.await),
            Some(progress) => progress.answered_within(bound, answer).await,
        };
        match answered {
            Some(Ok(response)) => {
                let lease = Lease { connection, connections: self.clone(), form };
                Ok(Sent::Answered(response.map(AnswerBody::Left), super::Lease::Alone(lease)))
            }
            Some(Err(Failed::Unsent)) => Err(request),
            Some(Err(Failed::Lost)) => Ok(Sent::Lost),
            Some(Err(Failed::Late)) | None => Ok(Sent::Late),
        }
    }

    /// An idle one that still leads where the deployment is, and where the policy admits it (R7): both may have changed since it was dialled.
    pub(super) fn take(&self, place: &Place) -> Option<Connection> {
        let deployment = place.deployment();
        let mut idle = self.idle.borrow_mut();
        let connections = idle.get_mut(&deployment.id)?;
        // The newest is the likeliest to live.
        while let Some((connection, since)) = connections.pop() {
            let is_good = connection.deployment.leads_where(deployment) && !self.sweeps.are_long_ago(since);
            if is_good && place.host().address(connection.address.ip()).is_ok() {
                return Some(connection);
            }
        }
        idle.remove(&deployment.id);
        None
    }

    /// Ends the waiting of calls that wait for too long, and lets go of what has been idle for long, or was closed by its provider: deployments come and go, so nobody else might.
    pub(super) fn sweep(&self) {
        let Sweeps { now, longest_wait, open, .. } = &*self.sweeps;
        now.set(now.get().saturating_add(1));
        open.borrow_mut().retain(|line| {
            let Some(line) = line.upgrade() else { return false };
            line.sweep(now.get(), *longest_wait);
            !line.is_closed()
        });
        self.idle.borrow_mut().retain(|_, connections| {
            connections.retain(|(connection, since)| {
                !self.sweeps.are_long_ago(*since) && connection.line.is_quiet()
            });
            !connections.is_empty()
        });
    }
}

impl Sweeps {
    fn are_long_ago(&self, since: u32) -> bool {
        self.now.get().saturating_sub(since) > self.longest_idle
    }
}

#[cfg(test)]
mod tests;
