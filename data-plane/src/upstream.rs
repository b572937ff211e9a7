//! Step 5: the call goes to a provider. One core's connections, timeouts, and what is tried when a provider cannot be reached.
//!
//! Only a connection that cannot be made is tried elsewhere: then nobody can have answered, or charged. Connections are kept by
//! deployment, so no two tenants ever share one.

mod connect;
mod pool;

use std::{sync::Arc, time::Duration};

use bailiwick_domain::{
    time::Clock,
    usage::{CallEnd, CallType, UsageSource},
};
use bailiwick_runtime::serving::ApiError;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri, header, request::Parts};
use http_body::Body as _;
use http_body_util::Full;
use hyper::body::Incoming;

use crate::{
    admission::Admitted,
    dialects::openai,
    error,
    metering::{OpenCall, Outcome},
    metrics::{CoreMetrics, UpstreamFailure},
    placement::Place,
    request::{Asked, splice},
    settings::UpstreamSection,
};

pub(crate) use connect::Dialler;
pub(crate) use pool::Lease;
use pool::{Pool, Sent};

const USER_AGENT: HeaderValue = HeaderValue::from_static(concat!("bailiwick/", env!("CARGO_PKG_VERSION")));
const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// Usage is read in passing, so answers come uncompressed.
const IDENTITY: HeaderValue = HeaderValue::from_static("identity");
/// What of a caller's head concerns the provider. Everything else (keys, cookies, addresses) stays here.
const PASSED_ON: [HeaderName; 2] = [header::ACCEPT, HeaderName::from_static("openai-beta")];

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
    /// Whether usage was asked for by us alone, and is to be kept from the caller.
    pub(crate) withhold_usage: bool,
    /// Whether the answer says itself where it ends. Where only the connection's end ends it, a cut looks the same.
    pub(crate) delimited: bool,
    pub(crate) model: HeaderValue,
    pub(crate) metrics: CoreMetrics,
}

impl Upstream {
    pub(crate) fn new(
        dialler: Dialler,
        timeouts: Timeouts,
        clock: Arc<dyn Clock>,
        metrics: CoreMetrics,
    ) -> Self {
        Self { pool: Pool::new(dialler), timeouts, clock, metrics }
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
    ) -> Result<Answered, ApiError> {
        let (placed, mut call, call_type) = admitted.into_parts();
        let withhold_usage = asked.stream && call_type != CallType::Embedding && !asked.asks_for_usage();
        let model = HeaderValue::try_from(placed.permitted().model().name.as_str());
        let model = model.map_err(|_| ApiError::internal("the model's name is no header"))?;
        let (mut attempts, mut failure) = (0_u16, error::no_deployment());
        for place in placed.into_places() {
            attempts += 1;
            call.attempts(attempts);
            let deployment = place.deployment();
            call.goes_to(deployment.id, deployment.price);
            let spliced = splice(body, asked, deployment.upstream_model.as_str(), withhold_usage);
            let request = outgoing(&place, call_type, &head.headers, spliced)?;
            let sent = self.pool.send(&place, request, self.timeouts);
            match sent.await {
                Sent::Answered(response, lease) => {
                    call.first_byte(self.clock.now());
                    call.answered(response.status().as_u16());
                    let (metrics, delimited) = (self.metrics.clone(), is_delimited(&response));
                    return Ok(Answered { response, lease, call, withhold_usage, delimited, model, metrics });
                }
                Sent::Unreached(refused) => {
                    self.metrics.upstream_failed(refused.class());
                    tracing::warn!(deployment = %deployment.id, reason = %refused, "a provider cannot be reached");
                    failure = refused.into();
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
        Err(self.failed(call, CallEnd::ProviderFailed, failure))
    }

    /// Settles a call that no provider has answered.
    fn failed(&self, call: OpenCall, end: CallEnd, error: ApiError) -> ApiError {
        let outcome = Outcome {
            status: error.status.as_u16(),
            end,
            source: UsageSource::Estimated,
            tokens: bailiwick_domain::price::TokenCounts::default(),
        };
        call.settle(outcome, self.clock.now());
        error
    }
}

/// RFC 9112, section 6.3.
fn is_delimited(response: &Response<Incoming>) -> bool {
    response.body().size_hint().exact().is_some()
        || response.headers().contains_key(header::TRANSFER_ENCODING)
}

/// The request for a provider: made anew, with nothing of the caller's head but what is listed.
fn outgoing(
    place: &Place,
    call_type: CallType,
    given: &HeaderMap,
    body: Bytes,
) -> Result<Request<Full<Bytes>>, ApiError> {
    let endpoint = &place.deployment().prepared;
    let path = format!("{}{}", endpoint.path_prefix, openai::path(call_type));
    let uri: Uri = path.parse().map_err(|_| ApiError::internal("the endpoint has no path"))?;
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = uri;
    let headers = request.headers_mut();
    headers.insert(header::HOST, endpoint.host_header.clone());
    headers.insert(header::AUTHORIZATION, place.credential().authorization.clone());
    headers.insert(header::CONTENT_TYPE, JSON);
    headers.insert(header::ACCEPT_ENCODING, IDENTITY);
    headers.insert(header::USER_AGENT, USER_AGENT);
    for name in PASSED_ON {
        if let Some(value) = given.get(&name) {
            headers.insert(name, value.clone());
        }
    }
    Ok(request)
}
