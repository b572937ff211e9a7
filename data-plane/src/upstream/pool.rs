//! One core's idle connections to providers, by deployment.

use std::{
    cell::RefCell,
    collections::HashMap,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use bailiwick_domain::{egress::AdmittedAddress, id::DeploymentId};
use foldhash::fast::RandomState;
use http::{Request, Response};
use hyper::{
    body::Incoming,
    client::conn::http1::{self, SendRequest},
};
use hyper_util::rt::TokioIo;
use tokio::{task::AbortHandle, time::timeout};

use super::{
    Timeouts,
    body::Outbound,
    connect::{ConnectError, Dialler},
};
use crate::{
    metering::{Meter, Recorded},
    placement::Place,
    snapshot::DeploymentEntry,
    timing::within,
    upload::Progress,
};

/// Idle connections that are kept per deployment and core.
const IDLE_PER_DEPLOYMENT: usize = 256;
/// Providers close idle connections after a minute or more; one that is about to be closed is not worth the risk.
const LONGEST_IDLE: Duration = Duration::from_secs(45);
/// A connection whose answer was read to its end is ready within a turn of the event loop. One whose provider answered early, and does not read on, never is: nor, then, are the others that lead
/// there to be waited for, one after the other.
const READY_WITHIN: Duration = Duration::from_secs(1);
/// Bytes of an answer that are read ahead of the caller.
const READ_BUFFER: usize = 64 << 10;

type Sender = SendRequest<Outbound>;
type Idle = Rc<RefCell<HashMap<DeploymentId, Vec<(Connection, Instant)>, RandomState>>>;

/// A connection, and where it leads: what may be called can change while it is open.
struct Connection {
    sender: Sender,
    deployment: Arc<DeploymentEntry>,
    address: AdmittedAddress,
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

pub(super) struct Pool {
    dialler: Dialler,
    meter: Meter,
    idle: Idle,
}

/// What came of a request.
#[expect(clippy::large_enum_variant, reason = "it is taken apart at once, and nearly always an answer")]
pub(super) enum Sent {
    Answered(Response<Incoming>, Lease),
    /// Nothing reached the provider.
    Unreached(ConnectError),
    /// The connection broke when the request was on its way.
    Lost,
    /// No answer began in time.
    Late,
}

/// A connection in use. Dropped, it is closed, and the provider's work with it; kept, it serves the next call.
pub(crate) struct Lease {
    connection: Connection,
    idle: Idle,
    form: Option<Sending>,
}

impl Lease {
    /// The answer was read to its end.
    pub(crate) fn keep(self) {
        let is_sending = self.form.as_ref().is_some_and(|form| !form.progress.is_finished());
        if is_sending || self.connection.sender.is_closed() {
            return;
        }
        let mut idle = self.idle.borrow_mut();
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

impl Pool {
    pub(super) fn new(dialler: Dialler, meter: Meter) -> Self {
        Self { dialler, meter, idle: Idle::default() }
    }

    /// Sends on an idle connection, or on a new one. An idle connection that turns out to be closed gives the request back.
    pub(super) async fn send(
        &self,
        place: &Place,
        mut request: Request<Outbound>,
        timeouts: Timeouts,
    ) -> Sent {
        while let Some(mut connection) = self.take(place) {
            match within(READY_WITHIN, connection.sender.ready()).await {
                Some(Ok(())) => {}
                Some(Err(_closed)) => continue,
                None => {
                    self.idle.borrow_mut().remove(&place.deployment().id);
                    break;
                }
            }
            match self.try_send(connection, request, timeouts.first_byte).await {
                Err(whole) => request = whole,
                Ok(sent) => return sent,
            }
        }
        // In a place of its own: calls on connections that are open do not carry it along.
        let connection = match timeout(timeouts.connect, Box::pin(self.dial(place))).await {
            Ok(Ok(connection)) => connection,
            Ok(Err(refused)) => return Sent::Unreached(refused),
            Err(_late) => return Sent::Unreached(ConnectError::Late),
        };
        self.try_send(connection, request, timeouts.first_byte).await.unwrap_or(Sent::Lost)
    }

    /// Errors: the request, whole, when none of it was sent.
    async fn try_send(
        &self,
        mut connection: Connection,
        request: Request<Outbound>,
        bound: Duration,
    ) -> Result<Sent, Request<Outbound>> {
        let form = request.body().progress().map(Rc::clone);
        let form = form.map(|progress| Sending { progress, task: connection.task.clone() });
        let sent = connection.sender.try_send_request(request);
        let sent = match &form {
            None => timeout(bound, sent).await.ok(),
            Some(Sending { progress, .. }) => progress.answered_within(bound, sent).await,
        };
        match sent {
            Some(Ok(response)) => {
                Ok(Sent::Answered(response, Lease { connection, idle: Rc::clone(&self.idle), form }))
            }
            Some(Err(mut error)) => error.take_message().map_or(Ok(Sent::Lost), Err),
            None => Ok(Sent::Late),
        }
    }

    /// One that still leads where the deployment is, and where the policy admits it (R7): both may have changed since it was dialled.
    fn take(&self, place: &Place) -> Option<Connection> {
        let deployment = place.deployment();
        let mut idle = self.idle.borrow_mut();
        let connections = idle.get_mut(&deployment.id)?;
        // The newest is the likeliest to live.
        while let Some((connection, since)) = connections.pop() {
            let same = Arc::ptr_eq(&connection.deployment, deployment)
                || connection.deployment.prepared == deployment.prepared;
            if same && since.elapsed() < LONGEST_IDLE && place.host().address(connection.address.ip()).is_ok()
            {
                return Some(connection);
            }
        }
        idle.remove(&deployment.id);
        None
    }

    async fn dial(&self, place: &Place) -> Result<Connection, ConnectError> {
        let (stream, address) = self.dialler.dial(place).await?;
        self.forget_old();
        let mut handshake = http1::Builder::new();
        handshake.max_buf_size(READ_BUFFER);
        let (sender, connection) = handshake
            .handshake(TokioIo::new(Recorded::new(stream, self.meter.clone())))
            .await
            .map_err(|error| ConnectError::Io(std::io::Error::other(error)))?;
        // It ends with its connection, or with this core's runtime; how it ended, the call on it has heard.
        let task = tokio::task::spawn_local(connection).abort_handle();
        Ok(Connection { sender, deployment: Arc::clone(place.deployment()), address, task })
    }

    /// Deployments come and go; what is idle for long belongs to nobody.
    fn forget_old(&self) {
        self.idle.borrow_mut().retain(|_, connections| {
            connections.retain(|(connection, since)| {
                since.elapsed() < LONGEST_IDLE && !connection.sender.is_closed()
            });
            !connections.is_empty()
        });
    }
}
