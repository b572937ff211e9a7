//! Step 5: the call goes to a provider. One core's connections, timeouts, and what it knows of how deployments fare.
//!
//! `verdict` says which failures may be tried again, `sending` in which order what is tried. Connections are kept by deployment, so no two tenants ever share
//! one.

mod body;
mod connect;
mod leftover;
mod outgoing;
mod pool;
mod sending;
mod token;
mod verdict;

use std::{
    pin::pin,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use bailiwick_dialects::{Context, Dialect, Reply};
use bailiwick_domain::{
    time::{Clock, Timestamp},
    usage::{CallEnd, CallType, UsageSource},
};
use bailiwick_runtime::{
    http1::IncomingResponse,
    serving::{ApiError, Fields},
};
use bytes::Bytes;
use http::{HeaderValue, Version, header};
use http_body::Body as _;

use crate::{
    admission::Admitted,
    body::Payload,
    error,
    estimate::Prompt,
    limits::Limiter,
    memory::Hold,
    metering::{Meter, OpenCall, Outcome, Used},
    metrics::CoreMetrics,
    placement::{Attempt, Ill, Standings},
    settings::UpstreamSection,
    snapshot::{DeploymentEntry, ModelEntry, Snapshot},
    timing::Timing,
    tokens::Tokens,
};

pub(crate) use connect::{ConnectError, Dialler};
use outgoing::MadeAs;
pub(crate) use pool::AnswerBody;
use pool::Pool;
use sending::Sending;
pub(crate) use sending::Wish;

/// How long providers may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timeouts {
    /// For name resolution, TCP and TLS together.
    pub(crate) connect: Duration,
    /// From the last byte of the request to the first of the answer.
    pub(crate) first_byte: Duration,
    /// Between two pieces of the answer.
    pub(crate) idle: Duration,
}

impl From<&UpstreamSection> for Timeouts {
    fn from(section: &UpstreamSection) -> Self {
        Self {
            connect: section.connect_timeout,
            first_byte: section.first_byte_timeout,
            idle: section.idle_timeout,
        }
    }
}

/// One core's way to providers.
pub(crate) struct Upstream {
    pool: Pool,
    tokens: Tokens,
    standings: Rc<Standings>,
    timeouts: Timeouts,
    clock: Arc<dyn Clock>,
    metrics: CoreMetrics,
}

/// A provider's answer, before anything of it is passed on.
pub(crate) struct Answer {
    pub(crate) response: IncomingResponse<AnswerBody>,
    /// What was read of its body.
    pub(crate) begun: Bytes,
    /// The connection; it goes back into its place when the answer was read to its end.
    pub(crate) lease: Lease,
    made_as: MadeAs,
    came: Timestamp,
}

/// A call that a provider has begun to answer.
pub(crate) struct Answered<'a> {
    /// In a place of its own: it is handed from step to step, and what is handed on is copied.
    pub(crate) answer: Box<Answer>,
    pub(crate) call: OpenCall,
    pub(crate) call_type: CallType,
    /// How the answer is read, and what of it goes on.
    pub(crate) reading: Reading,
    /// Whether the answer says itself where it ends. Where only the connection's end ends it, a cut looks the same.
    pub(crate) delimited: bool,
    /// Calls to providers that were made for it.
    pub(crate) attempts: u16,
    pub(crate) metrics: &'a CoreMetrics,
    model: &'a ModelEntry,
    deployment: &'a DeploymentEntry,
}

impl Answered<'_> {
    /// What the answer's head says of the way that the call took.
    pub(crate) fn tell_way(&self, told: &mut Fields) {
        told.put(&error::MODEL, self.model.name_header.as_bytes());
        told.put(&error::DEPLOYMENT, self.deployment.id_header.as_bytes());
        if let Some(number) = attempts_as_text(self.attempts) {
            told.put(&error::ATTEMPTS, number.as_bytes());
        }
    }
}

/// In the head of an error that stands in a provider's place: how many were called.
pub(crate) fn tell_attempts(attempts: u16, error: ApiError) -> ApiError {
    match attempts_as_text(attempts) {
        Some(number) => error.with_header(error::ATTEMPTS, HeaderValue::from_static(number)),
        None => error,
    }
}

/// A number of calls to providers. `None`: there was none.
fn attempts_as_text(number: u16) -> Option<&'static str> {
    const NUMBERS: [&str; 4] = ["1", "2", "3", "4"];
    NUMBERS.get(usize::from(number.checked_sub(1)?)).copied()
}

/// A connection in use, and the call at its deployment. Dropped, the connection is closed, and the provider's work with it; kept, it serves the next call.
pub(crate) struct Lease {
    connection: pool::Lease,
    attempt: Attempt,
    standings: Rc<Standings>,
}

impl Lease {
    fn new(connection: pool::Lease, attempt: Attempt, standings: &Rc<Standings>) -> Self {
        Self { connection, attempt, standings: Rc::clone(standings) }
    }

    /// The answer was read to its end.
    pub(crate) fn keep(self) {
        self.attempt.finished();
        self.connection.keep();
    }

    /// The deployment failed the call, by its status or later. Where the caller broke off, it is not to blame.
    pub(crate) fn failed(&mut self, ill: Ill, now: Instant) {
        if self.connection.is_cut_by_caller() {
            return;
        }
        self.standings.failed(&mut self.attempt, ill, now);
    }

    /// What came speaks of the call's token, and not of the deployment.
    fn says_nothing(&mut self) {
        self.attempt.says_nothing();
    }

    /// The answer has begun.
    fn answered(&mut self, waited: Duration, now: Instant) {
        self.standings.answered(&mut self.attempt, waited, now);
    }
}

/// How an answer is read.
pub(crate) enum Reading {
    /// It passes. `withhold_usage`: usage was asked for by us alone, and is to be kept from the caller.
    Passing { withhold_usage: bool },
    /// It is translated.
    Translated(Box<Translation>),
}

/// How an answer is written for the caller.
pub(crate) struct Translation {
    pub(crate) wanted: Wanted,
    pub(crate) provider: Dialect,
    /// The public name of the model.
    pub(crate) model: String,
    /// When the call was admitted: seconds since the epoch.
    pub(crate) created_seconds: u64,
    pub(crate) request_id: String,
}

/// What an answer is translated into.
pub(crate) enum Wanted {
    /// A chat's.
    Chat(Reply),
    /// A count of tokens.
    Count,
}

impl Translation {
    pub(crate) fn context(&self) -> Context<'_> {
        Context { request_id: &self.request_id, model: &self.model, created: self.created_seconds }
    }

    /// Whether a stream is expected.
    pub(crate) fn stream(&self) -> Option<&Reply> {
        match &self.wanted {
            Wanted::Chat(reply) if reply.stream => Some(reply),
            _ => None,
        }
    }
}

impl Upstream {
    /// The seed decides what is left to chance.
    pub(crate) fn new(
        dialler: Dialler,
        meter: Meter,
        tokens: Tokens,
        timeouts: Timeouts,
        clock: Arc<dyn Clock>,
        metrics: CoreMetrics,
        seed: u64,
    ) -> Self {
        let standings = Rc::new(Standings::new(seed, metrics.clone()));
        Self { pool: Pool::new(dialler, meter, timeouts), tokens, standings, timeouts, clock, metrics }
    }

    pub(crate) fn timeouts(&self) -> Timeouts {
        self.timeouts
    }

    /// How deployments fare, as far as this core knows.
    pub(crate) fn standings(&self) -> &Standings {
        &self.standings
    }

    /// Sends the call to one place after another, until one answers. What none has answered is settled as failed.
    pub(crate) async fn send<'a>(
        &'a self,
        admitted: Admitted<'a>,
        limiter: &Limiter,
        snapshot: &'a Snapshot,
        wish: Wish<'_>,
        hold: &mut Hold,
        timing: &Timing,
    ) -> Result<Answered<'a>, ApiError> {
        let (placed, mut call, call_type, limited) = admitted.into_parts();
        if let Payload::Whole(body) = wish.body {
            call.asks(Prompt::Body(body.clone()));
        }
        let (places, trail) = placed.into_parts();
        let (attempts, last) = (0, None);
        let upstream = self;
        let mut sending = Sending {
            upstream,
            limiter,
            limited,
            snapshot,
            wish,
            hold,
            timing,
            call,
            call_type,
            attempts,
            trail,
            last,
        };
        pin!(sending.run(places)).await;
        sending.end()
    }

    /// Settles a call that no provider has heard of: it is answered in full, and cost nothing.
    fn not_sent(&self, call: OpenCall, attempts: u16, error: ApiError) -> ApiError {
        if attempts > 0 {
            return self.failed(call, CallEnd::ProviderFailed, error);
        }
        let (status, end) = (error.status.as_u16(), CallEnd::Completed);
        let used = Used::nothing(UsageSource::ProviderFinal);
        call.settle(Outcome { status, end, used }, self.clock.now()).at_once();
        error
    }

    /// Settles a call that no provider has answered.
    fn failed(&self, call: OpenCall, end: CallEnd, error: ApiError) -> ApiError {
        // One that took too long has read what was asked, and charges for it; one that could not be reached, or broke off before it answered, does not.
        let used = match end {
            CallEnd::TimedOut => call.used_without_answer(),
            _ => Used::nothing(UsageSource::Estimated),
        };
        let status = error.status.as_u16();
        call.settle(Outcome { status, end, used }, self.clock.now()).at_once();
        error
    }
}

/// RFC 9112, section 6.3. In HTTP/2 a stream that says its end has ended; one that was reset without an error has, too, for hyper.
fn is_delimited(response: &IncomingResponse<AnswerBody>) -> bool {
    response.version() != Version::HTTP_2
        && (response.body().size_hint().exact().is_some()
            || response.headers().contains(&header::TRANSFER_ENCODING))
}
