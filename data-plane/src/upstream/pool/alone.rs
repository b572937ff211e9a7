//! HTTP/1.1: connections that serve one call at a time.

use std::{
    cell::RefCell,
    collections::HashMap,
    io,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use bailiwick_domain::{egress::AdmittedAddress, id::DeploymentId, usage::EventId};
use foldhash::fast::RandomState;
use http::Request;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::{task::AbortHandle, time::timeout};

use super::{LONGEST_IDLE, Sent};
use crate::{
    metering::{Carried, Meter, Recorded},
    placement::Place,
    snapshot::DeploymentEntry,
    timing::within,
    upload::Progress,
    upstream::{
        body::Outbound,
        connect::{ConnectError, Stream},
    },
};

/// Idle connections that are kept per deployment and core.
const IDLE_PER_DEPLOYMENT: usize = 256;
/// A connection whose answer was read to its end is ready within a turn of the event loop. One whose provider answered early, and does not read on, never is: nor, then, are the others that lead
/// there to be waited for, one after the other.
const READY_WITHIN: Duration = Duration::from_secs(1);
/// Bytes of an answer that are read ahead of the caller.
const READ_BUFFER: usize = 64 << 10;

type OfDeployment = HashMap<DeploymentId, Vec<(Connection, Instant)>, RandomState>;

/// One core's idle connections.
#[derive(Clone, Default)]
pub(super) struct Idle(Rc<RefCell<OfDeployment>>);

/// A connection, and where it leads: what may be called can change while it is open.
pub(super) struct Connection {
    sender: SendRequest<Outbound>,
    deployment: Arc<DeploymentEntry>,
    address: AdmittedAddress,
    carried: Carried,
    task: AbortHandle,
}

/// A form on its way on a connection. Dropped before it has gone out, it ends the connection, whatever its provider does: nobody wants the rest.
struct Sending {
    progress: Rc<Progress>,
    task: AbortHandle,
}

impl Drop for Sending {
    fn drop(&mut self) {
        if !self.progress.is_finished() {
            self.task.abort();
        }
    }
}

/// A connection in use. Dropped, it is closed, and the provider's work with it; kept, it serves the next call.
pub(crate) struct Lease {
    connection: Connection,
    idle: Idle,
    form: Option<Sending>,
}

impl Lease {
    /// The answer was read to its end.
    pub(super) fn keep(self) {
        let is_sending = self.form.as_ref().is_some_and(|form| !form.progress.is_finished());
        if is_sending || self.connection.sender.is_closed() {
            return;
        }
        let mut idle = self.idle.0.borrow_mut();
        let connections = idle.entry(self.connection.deployment.id).or_default();
        if connections.len() < IDLE_PER_DEPLOYMENT {
            connections.push((self.connection, Instant::now()));
        }
    }

    /// Whether a form did not go out whole, because of its caller.
    pub(super) fn is_cut_by_caller(&self) -> bool {
        self.form.as_ref().is_some_and(|form| form.progress.fault().is_some())
    }
}

impl Connection {
    pub(super) async fn open(
        stream: Box<dyn Stream>,
        meter: &Meter,
        deployment: Arc<DeploymentEntry>,
        address: AdmittedAddress,
    ) -> Result<Self, ConnectError> {
        let mut handshake = http1::Builder::new();
        handshake.max_buf_size(READ_BUFFER);
        let carried = Carried::default();
        let io = TokioIo::new(Recorded::new(stream, meter.clone(), carried.clone()));
        let (sender, connection) =
            handshake.handshake(io).await.map_err(|error| ConnectError::Io(io::Error::other(error)))?;
        // It ends with its connection, or with this core's runtime; how it ended, the call on it has heard.
        let task = tokio::task::spawn_local(connection).abort_handle();
        Ok(Self { sender, deployment, address, carried, task })
    }

    /// Errors: the request, whole, when none of it was sent: an idle connection can turn out to be closed.
    pub(super) async fn send(
        mut self,
        request: Request<Outbound>,
        call: EventId,
        bound: Duration,
        idle: &Idle,
    ) -> Result<Sent, Request<Outbound>> {
        let form = request.body().progress().map(Rc::clone);
        let form = form.map(|progress| Sending { progress, task: self.task.clone() });
        self.carried.carries(call);
        let sent = self.sender.try_send_request(request);
        let sent = match &form {
            None => timeout(bound, sent).await.ok(),
            Some(Sending { progress, .. }) => progress.answered_within(bound, sent).await,
        };
        match sent {
            Some(Ok(response)) => {
                let lease = Lease { connection: self, idle: idle.clone(), form };
                Ok(Sent::Answered(response, super::Lease::Alone(lease)))
            }
            Some(Err(mut error)) => error.take_message().map_or(Ok(Sent::Lost), Err),
            None => Ok(Sent::Late),
        }
    }
}

impl Idle {
    /// One that is ready, and still leads where the deployment is.
    pub(super) async fn take(&self, place: &Place) -> Option<Connection> {
        while let Some(mut connection) = self.take_any(place) {
            match within(READY_WITHIN, connection.sender.ready()).await {
                Some(Ok(())) => return Some(connection),
                Some(Err(_closed)) => {}
                None => {
                    self.0.borrow_mut().remove(&place.deployment().id);
                    return None;
                }
            }
        }
        None
    }

    /// One that still leads where the deployment is, and where the policy admits it (R7): both may have changed since it was dialled.
    fn take_any(&self, place: &Place) -> Option<Connection> {
        let deployment = place.deployment();
        let mut idle = self.0.borrow_mut();
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

    /// Deployments come and go; what is idle for long belongs to nobody.
    pub(super) fn forget_old(&self) {
        self.0.borrow_mut().retain(|_, connections| {
            connections.retain(|(connection, since)| {
                since.elapsed() < LONGEST_IDLE && !connection.sender.is_closed()
            });
            !connections.is_empty()
        });
    }
}
