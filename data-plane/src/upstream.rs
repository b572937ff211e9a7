//! Step 5: the call goes to a provider. One core's connections, timeouts, and what is tried when a provider cannot be reached.
//!
//! Only a connection that cannot be made is tried elsewhere: then nobody can have answered, or charged. Connections are kept by
//! deployment, so no two tenants ever share one.

mod connect;
mod outgoing;
mod pool;

use std::{sync::Arc, time::Duration};

use bailiwick_dialects::{Context, Dialect, Reply};
use bailiwick_domain::{
    time::Clock,
    usage::{CallEnd, CallType, UsageSource},
};
use bailiwick_runtime::serving::ApiError;
use bytes::Bytes;
use http::{HeaderValue, Response, header, request::Parts};
use http_body::Body as _;
use hyper::body::Incoming;

use crate::{
    admission::Admitted,
    error,
    estimate::Prompt,
    memory::Hold,
    metering::{Meter, OpenCall, Outcome, Used},
    metrics::{CoreMetrics, UpstreamFailure},
    request::Asked,
    settings::UpstreamSection,
};

pub(crate) use connect::Dialler;
use outgoing::NotMade;
pub(crate) use pool::Lease;
use pool::{Pool, Sent};

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

impl From<UpstreamSection> for Timeouts {
    fn from(section: UpstreamSection) -> Self {
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
    timeouts: Timeouts,
    clock: Arc<dyn Clock>,
    metrics: CoreMetrics,
}

/// A call that a provider has begun to answer.
pub(crate) struct Answered {
    pub(crate) response: Response<Incoming>,
    /// The connection; it goes back into its place when the answer was read to its end.
    pub(crate) lease: Lease,
    pub(crate) call: OpenCall,
    pub(crate) call_type: CallType,
    /// How the answer is read, and what of it goes on.
    pub(crate) reading: Reading,
    /// Whether the answer says itself where it ends. Where only the connection's end ends it, a cut looks the same.
    pub(crate) delimited: bool,
    pub(crate) model: HeaderValue,
    pub(crate) metrics: CoreMetrics,
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
    pub(crate) fn new(
        dialler: Dialler,
        meter: Meter,
        timeouts: Timeouts,
        clock: Arc<dyn Clock>,
        metrics: CoreMetrics,
    ) -> Self {
        Self { pool: Pool::new(dialler, meter), timeouts, clock, metrics }
    }

    pub(crate) fn timeouts(&self) -> Timeouts {
        self.timeouts
    }

    /// Sends the call to the first place that can be reached. What cannot be sent is settled as failed.
    pub(crate) async fn send(
        &self,
        admitted: Admitted,
        head: &Parts,
        body: &Bytes,
        asked: &Asked,
        hold: &mut Hold,
    ) -> Result<Answered, ApiError> {
        let (placed, mut call, call_type) = admitted.into_parts();
        let placed_model = Arc::clone(placed.permitted().model());
        let model = HeaderValue::try_from(placed_model.name.as_str());
        let model = model.map_err(|_| ApiError::internal("the model's name is no header"))?;
        if asked.form().is_none() {
            call.asks(Prompt::Body(body.clone()));
        }
        let (mut attempts, mut failure) = (0_u16, error::no_deployment());
        for place in placed.into_places() {
            let deployment = place.deployment();
            call.goes_to(deployment.id, deployment.price);
            let made = outgoing::make(&place, call_type, &head.headers, body, asked, hold, &*self.clock);
            let (request, made_as) = match made {
                Ok(made) => made,
                // Another place may be able to do it.
                Err(NotMade::Refused(refused)) => {
                    failure = error::refused(&refused);
                    continue;
                }
                Err(NotMade::Failed(error)) => return Err(self.not_sent(call, attempts, error)),
            };
            attempts += 1;
            call.attempts(attempts);
            let sent = self.pool.send(&place, request, self.timeouts);
            match sent.await {
                Sent::Answered(response, lease) => {
                    call.first_byte(self.clock.now());
                    call.answered(response.status().as_u16());
                    let (metrics, delimited) = (self.metrics.clone(), is_delimited(&response));
                    let reading = made_as.reading(deployment.dialect, &call, &placed_model);
                    return Ok(Answered {
                        response,
                        lease,
                        call,
                        call_type,
                        reading,
                        delimited,
                        model,
                        metrics,
                    });
                }
                Sent::Unreached(refused) => {
                    self.metrics.upstream_failed(refused.class());
                    tracing::warn!(deployment = %deployment.id, reason = %refused, "a provider cannot be reached");
                    failure = refused.into();
                }
                // The disk did not take its record, so the provider has heard of nothing.
                Sent::Lost if !call.is_recorded() => {
                    return Err(self.not_sent(call, 0, error::journal_full()));
                }
                Sent::Lost => {
                    self.metrics.upstream_failed(UpstreamFailure::InvalidResponse);
                    return Err(self.failed(call, CallEnd::ProviderFailed, error::provider_invalid()));
                }
                Sent::Late => {
                    self.metrics.upstream_failed(UpstreamFailure::TimedOut);
                    return Err(self.failed(call, CallEnd::TimedOut, error::provider_timeout()));
                }
            }
        }
        if attempts == 0 {
            return Err(self.not_sent(call, attempts, failure));
        }
        Err(self.failed(call, CallEnd::ProviderFailed, failure))
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
            CallEnd::TimedOut => Used::of_no_answer(call.call_type(), call.prompt()),
            _ => Used::nothing(UsageSource::Estimated),
        };
        let status = error.status.as_u16();
        call.settle(Outcome { status, end, used }, self.clock.now()).at_once();
        error
    }
}

/// RFC 9112, section 6.3.
fn is_delimited(response: &Response<Incoming>) -> bool {
    response.body().size_hint().exact().is_some()
        || response.headers().contains_key(header::TRANSFER_ENCODING)
}
