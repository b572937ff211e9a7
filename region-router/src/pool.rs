//! One core's connections to workers: HTTP/1.1 over mutual TLS, kept open between calls.

use std::{cell::RefCell, collections::HashMap, io, net::SocketAddr, time::Duration};

use bailiwick_domain::time::{Clock as _, SystemClock, Timestamp};
use bailiwick_runtime::identity::{Connector, Dial};
use http::{Request, Response};
use hyper::{
    body::Incoming,
    client::conn::http1::{self, SendRequest},
};
use hyper_util::rt::TokioIo;

/// Idle connections that are kept per worker.
const IDLE_PER_WORKER: usize = 256;
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// Idle connections by address.
pub(crate) struct Pool {
    connector: Connector,
    idle: RefCell<HashMap<SocketAddr, Vec<Sender>>>,
}

/// A connection to a worker.
pub(crate) struct Sender {
    requests: SendRequest<Incoming>,
    /// Fingerprint of the certificate that this router presented on it.
    presented: [u8; 32],
    /// When the worker's certificate expires.
    good_until: Timestamp,
}

/// What came of a call.
pub(crate) enum Sent {
    /// The worker's answer, and the connection that it came on.
    Answered(Response<Incoming>, Sender),
    /// Nothing reached the worker: the request is whole, and may go elsewhere.
    Unsent(Request<Incoming>),
    /// The connection broke when the request was on its way.
    Lost,
}

impl Pool {
    pub(crate) fn new(connector: &Connector) -> Self {
        Self { connector: connector.speaking(b"http/1.1"), idle: RefCell::default() }
    }

    /// Sends a request on an idle connection, or on a new one. An idle connection that turns out to be closed costs nothing: the request comes back
    /// and goes over a new one.
    pub(crate) async fn send(&self, address: SocketAddr, mut request: Request<Incoming>) -> Sent {
        while let Some(mut sender) = self.take(address) {
            if sender.requests.ready().await.is_err() {
                continue;
            }
            match try_send(sender, request).await {
                Sent::Unsent(whole) => request = whole,
                sent => return sent,
            }
        }
        match tokio::time::timeout(HANDSHAKE_TIMEOUT, self.dial(address)).await {
            Ok(Ok(sender)) => try_send(sender, request).await,
            Ok(Err(error)) => {
                tracing::warn!(%address, %error, "a worker cannot be reached");
                Sent::Unsent(request)
            }
            Err(_late) => {
                tracing::warn!(%address, "a worker did not shake hands in time");
                Sent::Unsent(request)
            }
        }
    }

    /// Keeps a connection whose answer was read to its end.
    pub(crate) fn keep(&self, address: SocketAddr, sender: Sender) {
        if sender.requests.is_closed() || self.is_outdated(&sender) {
            return;
        }
        let mut idle = self.idle.borrow_mut();
        let connections = idle.entry(address).or_default();
        if connections.len() < IDLE_PER_WORKER {
            connections.push(sender);
        }
    }

    fn take(&self, address: SocketAddr) -> Option<Sender> {
        let mut idle = self.idle.borrow_mut();
        let connections = idle.get_mut(&address)?;
        connections.retain(|sender| !self.is_outdated(sender));
        connections.pop()
    }

    /// Opened with a certificate that this router has renewed since: the worker ends it when that one expires, which may be when a call was just sent, so it
    /// is used no more, long before. Or the worker's has expired: then it is to show whether it has another.
    fn is_outdated(&self, sender: &Sender) -> bool {
        sender.presented != self.connector.identity().fingerprint() || sender.good_until <= SystemClock.now()
    }

    async fn dial(&self, address: SocketAddr) -> io::Result<Sender> {
        // Asked before: of two certificates, the older one is taken for what was presented.
        let presented = self.connector.identity().fingerprint();
        let stream = self.connector.connect(address).await?;
        let worker = stream.peer().clone();
        let good_until = worker.expires;
        let (requests, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        let mut connection = tokio::task::spawn_local(connection);
        // Both end with the connection, or with this core's runtime; how it ended, the call on it has heard.
        drop(tokio::task::spawn_local(async move {
            tokio::select! {
                _ended = &mut connection => {}
                () = worker.revoked() => {
                    tracing::warn!(%address, spiffe_id = %worker.spiffe, "a revoked worker's connection is closed");
                    connection.abort();
                }
            }
        }));
        Ok(Sender { requests, presented, good_until })
    }
}

async fn try_send(mut sender: Sender, request: Request<Incoming>) -> Sent {
    match sender.requests.try_send_request(request).await {
        Ok(response) => Sent::Answered(response, sender),
        Err(mut error) => match error.take_message() {
            Some(request) => Sent::Unsent(request),
            None => Sent::Lost,
        },
    }
}
