//! One core's connections to providers, by deployment.
//!
//! A provider that speaks HTTP/2 gets its calls as streams of few connections (`shared`); one that does not, and every form, a connection for each call at a time (`alone`).

mod alone;
mod shared;

use std::{pin::pin, sync::Arc, time::Duration};

use bailiwick_domain::usage::EventId;
use bailiwick_runtime::{
    calling::OutgoingRequest,
    http1::{self, IncomingResponse},
};
use http_body_util::Either;
use hyper::body::Incoming;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use super::{
    Timeouts,
    body::Outbound,
    connect::{ConnectError, Dialler, Offer, Spoken},
};
use crate::{metering::Meter, placement::Place, timing::within};

/// An answer's body: of a connection that the call drives, or of a stream that is driven beside it.
pub(crate) type AnswerBody = Either<http1::Body, Incoming>;

/// Providers close idle connections after a minute or more; one that is about to be closed is not worth the risk.
const LONGEST_IDLE: Duration = Duration::from_secs(45);
/// How long a connection is waited for that somebody else dials, before one is dialled beside it.
const LONGEST_DIAL: Duration = Duration::from_secs(1);
/// New connections on which a provider may leave a call undone, before it counts as one that cannot be reached.
const MOST_UNDONE: usize = 3;

pub(super) struct Pool {
    dialler: Dialler,
    meter: Meter,
    timeouts: Timeouts,
    alone: alone::Connections,
    shared: shared::Connections,
    _sweeping: AbortOnDropHandle<()>,
}

/// What came of a request.
#[expect(clippy::large_enum_variant, reason = "it is taken apart at once, and nearly always an answer")]
pub(super) enum Sent {
    Answered(IncomingResponse<AnswerBody>, Lease),
    /// Nothing reached the provider.
    Unreached(ConnectError),
    /// The connection broke when the request was on its way.
    Lost,
    /// No answer began in time.
    Late,
}

/// A connection in use, or a stream of one. Dropped, it is closed, and the provider's work with it; kept, it serves the next call.
pub(crate) enum Lease {
    Alone(alone::Lease),
    /// The stream ends with the answer that was read, or with the answer that is dropped.
    Shared(shared::Stream),
}

impl Lease {
    /// The answer was read to its end.
    pub(crate) fn keep(self) {
        match self {
            Self::Alone(lease) => lease.keep(),
            Self::Shared(stream) => drop(stream),
        }
    }

    /// Whether a form did not go out whole, because of its caller.
    pub(super) fn is_cut_by_caller(&self) -> bool {
        match self {
            Self::Alone(lease) => lease.is_cut_by_caller(),
            Self::Shared(_) => false,
        }
    }
}

/// A connection that was dialled.
enum Opened {
    Alone(alone::Connection),
    Shared(shared::Stream),
}

impl Pool {
    /// To be made in its core's runtime.
    pub(super) fn new(dialler: Dialler, meter: Meter, timeouts: Timeouts) -> Self {
        let alone = alone::Connections::new(&meter, timeouts.first_byte);
        let shared = shared::Connections::default();
        let swept = (alone.clone(), shared.clone());
        let sweeping = tokio::task::spawn_local(async move {
            let (alone, shared) = swept;
            alone.sweep(|| shared.forget_old()).await;
        });
        Self { dialler, meter, timeouts, alone, shared, _sweeping: AbortOnDropHandle::new(sweeping) }
    }

    /// Sends on an open connection, or on a new one. What a connection turns out not to have taken goes to another.
    pub(super) async fn send(
        &self,
        place: &Place<'_>,
        request: &mut OutgoingRequest<Outbound>,
        call: EventId,
    ) -> Sent {
        let timeouts = self.timeouts;
        // A form's bytes come but once, and end when their connection does.
        let speaks_http2 = self.dialler.speaks_http2() && place.deployment().prepared.is_tls;
        let may_share = speaks_http2 && request.body.progress().is_none();
        let mut undone = 0;
        while undone < MOST_UNDONE {
            let stream = if may_share { self.shared.join(place) } else { None };
            let opened = match stream {
                // One that leads nowhere any more is used by nobody after this, so there is an end of them.
                Some(stream) => Opened::Shared(stream),
                None => {
                    undone += 1;
                    while let Some(connection) = self.alone.take(place) {
                        let sent =
                            pin!(self.alone.send(connection, request, call, timeouts.first_byte)).await;
                        if let Some(sent) = sent {
                            return sent;
                        }
                    }
                    // In a place of its own: calls on connections that are open do not carry it along.
                    match timeout(timeouts.connect, Box::pin(self.open(place, may_share))).await {
                        Ok(Ok(opened)) => opened,
                        Ok(Err(refused)) => return Sent::Unreached(refused),
                        Err(_late) => return Sent::Unreached(ConnectError::Late),
                    }
                }
            };
            match opened {
                Opened::Alone(connection) => {
                    let sent = self.alone.send(connection, request, call, timeouts.first_byte).await;
                    return sent.unwrap_or(Sent::Lost);
                }
                Opened::Shared(stream) => {
                    if let Some(sent) = Box::pin(stream.send(request, &call, timeouts.first_byte)).await {
                        return sent;
                    }
                }
            }
        }
        Sent::Unreached(ConnectError::Undone)
    }

    /// A new connection, or a stream of one that somebody else dials at this moment.
    async fn open(&self, place: &Place<'_>, may_share: bool) -> Result<Opened, ConnectError> {
        if !may_share {
            return self.dial(place, Offer::Http1, None).await;
        }
        loop {
            let waits = match self.shared.turn(place.deployment()) {
                shared::Turn::Wait(dialled) => within(LONGEST_DIAL, dialled.end()).await,
                shared::Turn::Dial(turn) => return self.dial(place, Offer::Either, Some(turn)).await,
            };
            if let Some(stream) = self.shared.join(place) {
                return Ok(Opened::Shared(stream));
            }
            // What came of somebody else's dial, or does not come, is nobody else's fate.
            if waits != Some(shared::End::Opened) {
                let turn = self.shared.dials(place.deployment());
                return self.dial(place, Offer::Either, Some(turn)).await;
            }
        }
    }

    async fn dial(
        &self,
        place: &Place<'_>,
        offer: Offer,
        turn: Option<shared::Dialling>,
    ) -> Result<Opened, ConnectError> {
        let (stream, address, spoken) = self.dialler.dial(place, offer).await?;
        let deployment = Arc::clone(place.deployment());
        match (spoken, turn) {
            (Spoken::Http2, Some(turn)) => {
                Ok(Opened::Shared(turn.opened(stream, &self.meter, deployment, address).await?))
            }
            (_, turn) => {
                if let Some(turn) = turn {
                    turn.speaks_http1();
                }
                Ok(Opened::Alone(self.alone.open(stream, deployment, address)))
            }
        }
    }
}
