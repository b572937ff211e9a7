//! One connection, and its streams.

use std::{
    cell::Cell,
    error::Error,
    future::poll_fn,
    io,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use bailiwick_domain::{egress::AdmittedAddress, usage::EventId};
use bailiwick_runtime::{calling::OutgoingRequest, http1::IncomingResponse};
use http::{HeaderName, HeaderValue, Request, Uri, header, uri};
use hyper::{
    client::conn::http2::{Builder, SendRequest},
    rt::Executor,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::time::timeout;

use crate::{
    metering::Meter,
    placement::Place,
    snapshot::DeploymentEntry,
    upstream::{
        body::Outbound,
        connect::{self, ConnectError},
        pool::{AnswerBody, LONGEST_IDLE, Lease, Sent},
    },
};

/// Streams of one connection at once: what RFC 9113, section 6.5.2, recommends that a server allows at the least.
pub(super) const MOST_STREAMS: u32 = 100;
/// Until a server has said how many it allows, one goes out. It says so at once, and the others go with it.
const BEFORE_SETTINGS: usize = 1;
/// Bytes of an answer that are read ahead of its caller.
const STREAM_WINDOW: u32 = 128 << 10;
const CONNECTION_WINDOW: u32 = STREAM_WINDOW * MOST_STREAMS;
/// Bytes of an answer's head.
const LARGEST_HEAD: u32 = 64 << 10;
/// A connection with streams that says nothing for so long is asked whether it lives, and given up when it does not say so in time.
const PING_AFTER: Duration = Duration::from_secs(30);
const PONG_WITHIN: Duration = Duration::from_secs(10);

/// What is the same in every call, and no secret.
const NO_SECRETS: [HeaderName; 4] =
    [header::ACCEPT, header::ACCEPT_ENCODING, header::CONTENT_TYPE, header::USER_AGENT];

/// Where it leads: what may be called can change while it is open.
pub(super) struct Connection {
    sender: SendRequest<Outbound>,
    meter: Meter,
    authority: uri::Authority,
    deployment: Arc<DeploymentEntry>,
    address: AdmittedAddress,
    streams: Cell<u32>,
    /// Of no use for further calls.
    is_over: Cell<bool>,
    rests_since: Cell<Instant>,
}

/// A stream of one, or the right to one.
pub(crate) struct Stream(Rc<Connection>);

impl Drop for Stream {
    fn drop(&mut self) {
        self.0.streams.set(self.0.streams.get().saturating_sub(1));
        if self.0.streams.get() == 0 {
            self.0.rests_since.set(Instant::now());
        }
    }
}

/// Runs on this core what a connection is made of.
#[derive(Clone, Copy)]
struct OnThisCore;

impl<F: Future<Output = ()> + 'static> Executor<F> for OnThisCore {
    fn execute(&self, future: F) {
        // It ends with its connection, or with this core's runtime.
        drop(tokio::task::spawn_local(future));
    }
}

impl Connection {
    /// `allowed` is told how many streams the server takes, as soon as it is known.
    pub(super) async fn open(
        stream: Box<dyn connect::Stream>,
        meter: &Meter,
        deployment: Arc<DeploymentEntry>,
        address: AdmittedAddress,
        allowed: Rc<Cell<u32>>,
    ) -> Result<Self, ConnectError> {
        let authority = uri::Authority::try_from(deployment.prepared.host_header.as_bytes());
        let authority = authority.map_err(io::Error::other)?;
        let io = TokioIo::new(stream);
        let handshake = Builder::new(OnThisCore)
            .timer(TokioTimer::new())
            .initial_max_send_streams(BEFORE_SETTINGS)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(LARGEST_HEAD)
            .keep_alive_interval(PING_AFTER)
            .keep_alive_timeout(PONG_WITHIN)
            .handshake(io)
            .await;
        let (sender, mut connection) = handshake.map_err(io::Error::other)?;
        OnThisCore.execute(async move {
            // How it ended, the calls on it have heard.
            let _ended = poll_fn(|context| {
                let polled = Pin::new(&mut connection).poll(context);
                let most = connection.current_max_send_streams();
                if most > BEFORE_SETTINGS {
                    allowed.set(u32::try_from(most).unwrap_or(MOST_STREAMS).min(MOST_STREAMS));
                }
                polled
            })
            .await;
        });
        let (streams, is_over, rests_since) = (Cell::new(0), Cell::new(false), Cell::new(Instant::now()));
        let meter = meter.clone();
        Ok(Self { sender, meter, authority, deployment, address, streams, is_over, rests_since })
    }

    pub(super) fn has_room(&self, allowed: u32) -> bool {
        self.streams.get() < allowed
    }

    /// Whether a call for this place may go on it.
    pub(super) fn is_good(&self, place: &Place<'_>) -> bool {
        !self.is_over.get()
            && !self.is_old()
            && self.deployment.leads_where(place.deployment())
            && place.host().address(self.address.ip()).is_ok()
    }

    /// Whether it has ended, or rests for long.
    pub(super) fn is_old(&self) -> bool {
        let rests = self.streams.get() == 0 && self.rests_since.get().elapsed() >= LONGEST_IDLE;
        rests || self.sender.is_closed()
    }
}

impl Stream {
    pub(super) fn of(connection: &Rc<Connection>) -> Self {
        connection.streams.set(connection.streams.get() + 1);
        Self(Rc::clone(connection))
    }

    /// `None`: the provider has not begun with it, and it may go elsewhere.
    pub(in crate::upstream::pool) async fn send(
        self,
        request: &OutgoingRequest<Outbound>,
        call: &EventId,
        bound: Duration,
    ) -> Option<Sent> {
        let Some(adapted) = adapted(request, &self.0.authority) else { return Some(Sent::Lost) };
        // Others of this turn of the event loop add their records, for one write. Were it the connection that wrote them, a disk that takes none would end all streams on it.
        tokio::task::yield_now().await;
        if self.0.meter.write_for(call).is_err() {
            return Some(Sent::Lost);
        }
        match timeout(bound, self.0.sender.clone().try_send_request(adapted)).await {
            Ok(Ok(response)) => {
                let response = IncomingResponse::from(response).map(AnswerBody::Right);
                Some(Sent::Answered(response, Lease::Shared(self)))
            }
            Ok(Err(mut failed)) => {
                let is_undone = failed.take_message().is_some() || is_undone(failed.error());
                if !is_undone {
                    return Some(Sent::Lost);
                }
                self.0.is_over.set(true);
                None
            }
            Err(_late) => {
                // Whether it is the connection that is dead, nobody knows: no further call shall find out.
                self.0.is_over.set(true);
                Some(Sent::Late)
            }
        }
    }
}

/// The same request as HTTP/2 says it: its host stands in its target.
fn adapted(request: &OutgoingRequest<Outbound>, authority: &uri::Authority) -> Option<Request<Outbound>> {
    let mut adapted = Request::new(request.body.again()?);
    let mut parts = uri::Parts::default();
    parts.scheme = Some(uri::Scheme::HTTPS);
    parts.authority = Some(authority.clone());
    parts.path_and_query = Some(request.target.clone());
    *adapted.uri_mut() = Uri::from_parts(parts).ok()?;
    adapted.method_mut().clone_from(&request.method);
    for (name, value) in request.fields.iter() {
        let name = HeaderName::from_bytes(name).ok()?;
        if name == header::HOST {
            continue;
        }
        let mut value = HeaderValue::from_bytes(value).ok()?;
        // Whatever could be a secret, no table of the connection remembers (RFC 7541, section 7.1.3).
        value.set_sensitive(!NO_SECRETS.contains(&name));
        adapted.headers_mut().append(name, value);
    }
    Some(adapted)
}

/// RFC 9113, section 8.7: a stream that was refused, or that came behind the last which a closing server takes, was not processed.
fn is_undone(error: &hyper::Error) -> bool {
    let Some(error) = error.source().and_then(|source| source.downcast_ref::<h2::Error>()) else {
        return false;
    };
    let refused = error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
    let closing = error.is_go_away() && error.reason() == Some(h2::Reason::NO_ERROR);
    error.is_remote() && (refused || closing)
}

#[cfg(test)]
mod tests {
    use bailiwick_runtime::serving::Fields;
    use http::Method;

    use super::*;

    #[test]
    fn a_request_is_the_same_but_for_its_host_and_no_table_remembers_a_secret() {
        let mut fields = Fields::default();
        let said = [
            ("host", "elsewhere"),
            ("content-type", "application/json"),
            ("authorization", "Bearer x"),
            ("x-api-key", "x"),
            ("x-amz-security-token", "x"),
            ("accept", "a/b"),
        ];
        for (name, value) in said {
            assert!(fields.add(&HeaderName::from_static(name), value.as_bytes()));
        }
        let target = "/v1/chat?a=b".parse().unwrap();
        let body = Outbound::from(bytes::Bytes::from_static(b"said"));
        let request = OutgoingRequest { method: Method::POST, target, fields, body };
        let adapted = adapted(&request, &"there:8443".parse().unwrap()).unwrap();
        assert_eq!(
            (adapted.method(), adapted.uri().to_string().as_str()),
            (&Method::POST, "https://there:8443/v1/chat?a=b")
        );
        let headers: Vec<_> = adapted
            .headers()
            .iter()
            .map(|(name, value)| (name.as_str(), value.to_str().unwrap(), value.is_sensitive()))
            .collect();
        let is_secret = |name: &str| !["content-type", "accept"].contains(&name);
        let expected: Vec<_> =
            said.iter().skip(1).map(|(name, value)| (*name, *value, is_secret(name))).collect();
        assert_eq!(headers, expected);
    }
}
