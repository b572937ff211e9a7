//! A connection's life: handshake, requests one after the other, end.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;

use bailiwick_domain::address::ClientAddress;
use http::Response;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::answer::{self, Asked, Cut};
use super::preface::{self, PrefaceError};
use super::registry::{Command, ConnectionState};
use super::stream::Stream;
use super::wire::Wire;
use super::{ConnectionInfo, ResponseBody, Service, Transport, TrustedHops, panicked, refusal};
use crate::http1::stock::Stock;
use crate::http1::{Fields, IncomingRequest};
use crate::identity::{HANDSHAKE_TIMEOUT, Peer};
use crate::turn;

/// Serves one connection to its end.
pub(super) async fn serve<S: Service>(
    stream: TcpStream,
    remote: SocketAddr,
    entrance: Entrance,
    stock: Rc<Stock>,
    service: Rc<S>,
    state: Rc<ConnectionState>,
) {
    let Some((stream, peer, announced)) = entrance.pass(stream, remote).await else { return };
    if let Some(peer) = &peer {
        state.opened_by(peer.clone());
    }
    let info = ConnectionInfo { peer, remote, announced };
    let wire = HangUp(Wire::new(stream, Rc::clone(&state), stock));
    let HangUp(wire) = &wire;
    let mut conversation = pin!(converse(wire, &info, &*service));
    poll_fn(|cx| match state.command(cx.waker()) {
        Command::Close => Poll::Ready(()),
        // To finish is the wire's to do: whoever is answered now is answered to the end.
        Command::GoOn | Command::Finish => conversation.as_mut().poll(cx),
    })
    .await;
}

/// Whoever still holds the wire, with a body above all, has a closed one.
struct HangUp(Rc<Wire>);

impl Drop for HangUp {
    fn drop(&mut self) {
        self.0.hang_up();
    }
}

/// One request after the other, until the caller leaves or the connection shall end.
async fn converse<S: Service>(wire: &Rc<Wire>, info: &ConnectionInfo, service: &S) {
    let mut request = IncomingRequest::default();
    while let Some(next) = wire.next(&mut request).await {
        let _under_way = turn::UnderWay::new();
        let mut told = Fields::default();
        let (response, asked) = match next {
            Ok(keeps) => {
                wire.state().request_begins();
                let asked = Asked::new(request.method(), request.version(), keeps);
                let response = {
                    let called = pin!(service.call(&mut request, info, &mut told));
                    let Some(response) = answered(wire, called).await else { return };
                    response
                };
                let response = response.unwrap_or_else(|Panicked| {
                    told.clear();
                    panicked()
                });
                // A body that is still coming, above all: whoever waits for it holds the wire.
                request.let_go();
                turn::give_way().await;
                (response, asked)
            }
            Err(refused) => (refusal::response(refused, wire.state().limits()), Asked::NOTHING),
        };
        match pin!(answer::write(wire, response, told, asked)).await {
            Ok(true) => {}
            Ok(false) => return wire.close(true).await,
            Err(Cut) => return,
        }
    }
    wire.close(false).await;
}

/// The service did.
struct Panicked;

/// The answer to a request. `None`: its caller has left before there was one.
async fn answered(
    wire: &Wire,
    mut called: Pin<&mut impl Future<Output = Response<ResponseBody>>>,
) -> Option<Result<Response<ResponseBody>, Panicked>> {
    poll_fn(|cx| {
        // What a panic leaves behind is dropped with the call; a service keeps nothing half changed across an await.
        let poll = || catch_unwind(AssertUnwindSafe(|| called.as_mut().poll(cx)));
        match turn::polled(poll) {
            (Ok(Poll::Ready(response)), _) => Poll::Ready(Some(Ok(response))),
            (Ok(Poll::Pending), true) => Poll::Pending,
            (Ok(Poll::Pending), false) => wire.poll_left(cx).map(|()| None),
            (Err(_panic), _) => Poll::Ready(Some(Err(Panicked))),
        }
    })
    .await
}

/// What a connection passes before its first request.
#[derive(Clone)]
pub(super) struct Entrance {
    pub(super) transport: Transport,
    pub(super) preface_from: Option<TrustedHops>,
}

impl Entrance {
    /// `None`: it was not let in.
    async fn pass(
        &self,
        mut stream: TcpStream,
        remote: SocketAddr,
    ) -> Option<(Stream, Option<Peer>, Option<ClientAddress>)> {
        let mut announced = None;
        if self.preface_from.as_ref().is_some_and(|hops| hops.trust(remote.ip().into())) {
            announced = match timeout(HANDSHAKE_TIMEOUT, preface::read(&mut stream)).await {
                Ok(Ok(announced)) => announced,
                Ok(Err(PrefaceError::Unused)) => return None,
                Ok(Err(error)) => {
                    // A machine of the operator's own, and no caller's: whoever mends it has to know which.
                    tracing::warn!(hop = %remote.ip(), %error, "a connection was refused");
                    return None;
                }
                Err(_late) => {
                    tracing::warn!(hop = %remote.ip(), "a trusted hop said nothing in time");
                    return None;
                }
            };
        }
        match secure(stream, &self.transport).await {
            Ok((stream, peer)) => Some((stream, peer, announced)),
            Err(error) => {
                // An address inside the region is a machine's; one outside is somebody's, and is written nowhere.
                let remote = matches!(self.transport, Transport::Mutual(_)).then_some(remote);
                tracing::warn!(remote = remote.map(tracing::field::display), %error, "a caller's handshake was refused");
                None
            }
        }
    }
}

async fn secure(stream: TcpStream, transport: &Transport) -> io::Result<(Stream, Option<Peer>)> {
    Ok(match transport {
        Transport::Plain => (Stream::Left(stream.into()), None),
        Transport::Public(acceptor) => (Stream::Right(Box::new(acceptor.accept(stream).await?.0)), None),
        Transport::Mutual(acceptor) => {
            let (stream, peer) = acceptor.accept(stream).await?;
            (Stream::Right(Box::new(stream)), Some(peer))
        }
    })
}
