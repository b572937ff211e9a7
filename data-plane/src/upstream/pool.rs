//! One core's idle connections to providers, by deployment.

use std::{
    cell::RefCell,
    collections::HashMap,
    rc::Rc,
    time::{Duration, Instant},
};

use bailiwick_domain::{egress::EgressPolicy, id::DeploymentId};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::{
    body::Incoming,
    client::conn::http1::{self, SendRequest},
};
use hyper_util::rt::TokioIo;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::{
    Timeouts,
    connect::{ConnectError, connect},
};
use crate::placement::Place;

/// Idle connections that are kept per deployment and core.
const IDLE_PER_DEPLOYMENT: usize = 256;
/// Providers close idle connections after a minute or more; one that is about to be closed is not worth the risk.
const LONGEST_IDLE: Duration = Duration::from_secs(45);
/// Bytes of an answer that are read ahead of the caller.
const READ_BUFFER: usize = 64 << 10;

type Sender = SendRequest<Full<Bytes>>;
type Idle = Rc<RefCell<HashMap<DeploymentId, Vec<(Sender, Instant)>>>>;

pub(super) struct Pool {
    tls: TlsConnector,
    idle: Idle,
}

/// What came of a request.
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
    sender: Sender,
    deployment: DeploymentId,
    idle: Idle,
}

impl Lease {
    /// The answer was read to its end.
    pub(crate) fn keep(self) {
        if self.sender.is_closed() {
            return;
        }
        let mut idle = self.idle.borrow_mut();
        let connections = idle.entry(self.deployment).or_default();
        if connections.len() < IDLE_PER_DEPLOYMENT {
            connections.push((self.sender, Instant::now()));
        }
    }
}

impl Pool {
    pub(super) fn new(tls: TlsConnector) -> Self {
        Self { tls, idle: Idle::default() }
    }

    /// Sends on an idle connection, or on a new one. An idle connection that turns out to be closed gives the request back.
    pub(super) async fn send(
        &self,
        place: &Place,
        egress: &EgressPolicy,
        mut request: Request<Full<Bytes>>,
        timeouts: Timeouts,
    ) -> Sent {
        let deployment = place.deployment.id;
        while let Some(mut sender) = self.take(deployment) {
            if sender.ready().await.is_err() {
                continue;
            }
            match self.try_send(sender, deployment, request, timeouts.first_byte).await {
                Err(whole) => request = whole,
                Ok(sent) => return sent,
            }
        }
        let sender = match timeout(timeouts.connect, self.dial(place, egress)).await {
            Ok(Ok(sender)) => sender,
            Ok(Err(refused)) => return Sent::Unreached(refused),
            Err(_late) => return Sent::Unreached(ConnectError::Late),
        };
        self.try_send(sender, deployment, request, timeouts.first_byte).await.unwrap_or(Sent::Lost)
    }

    /// Errors: the request, whole, when none of it was sent.
    async fn try_send(
        &self,
        mut sender: Sender,
        deployment: DeploymentId,
        request: Request<Full<Bytes>>,
        bound: Duration,
    ) -> Result<Sent, Request<Full<Bytes>>> {
        match timeout(bound, sender.try_send_request(request)).await {
            Ok(Ok(response)) => {
                let lease = Lease { sender, deployment, idle: Rc::clone(&self.idle) };
                Ok(Sent::Answered(response, lease))
            }
            Ok(Err(mut error)) => error.take_message().map_or(Ok(Sent::Lost), Err),
            Err(_late) => Ok(Sent::Late),
        }
    }

    fn take(&self, deployment: DeploymentId) -> Option<Sender> {
        let mut idle = self.idle.borrow_mut();
        let connections = idle.get_mut(&deployment)?;
        // The newest is the likeliest to live; when it is too old, all are.
        match connections.pop() {
            Some((sender, since)) if since.elapsed() < LONGEST_IDLE => Some(sender),
            _ => {
                idle.remove(&deployment);
                None
            }
        }
    }

    async fn dial(&self, place: &Place, egress: &EgressPolicy) -> Result<Sender, ConnectError> {
        let stream = connect(&place.deployment.prepared, egress, &self.tls).await?;
        self.forget_old();
        let mut handshake = http1::Builder::new();
        handshake.max_buf_size(READ_BUFFER);
        let (sender, connection) = handshake
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| ConnectError::Io(std::io::Error::other(error)))?;
        // It ends with its connection, or with this core's runtime; how it ended, the call on it has heard.
        drop(tokio::task::spawn_local(connection));
        Ok(sender)
    }

    /// Deployments come and go; what is idle for long belongs to nobody.
    fn forget_old(&self) {
        self.idle.borrow_mut().retain(|_, connections| {
            connections.retain(|(sender, since)| since.elapsed() < LONGEST_IDLE && !sender.is_closed());
            !connections.is_empty()
        });
    }
}
