//! A call's way from place to place, until one of them answers or nothing is left to try.

use std::{
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use bailiwick_dialects::{Class, Failure};
use bailiwick_domain::{
    names::ModelName,
    routing::Fallbacks,
    time::Timestamp,
    usage::{CallEnd, CallType},
};
use bailiwick_quota::holder::Reservation;
use bailiwick_runtime::serving::ApiError;
use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};
use hyper::body::Incoming;

use super::{
    Answered, Lease, Told, Upstream,
    connect::ConnectError,
    is_delimited,
    leftover::discard,
    outgoing::{self, MadeAs, NotMade},
    pool::Sent,
    token::NotShown,
    verdict::{self, Verdict},
};
use crate::{
    answer::{Held, hold},
    body::Payload,
    error,
    limits::{Limited, Limiter},
    memory::Hold,
    metering::OpenCall,
    metrics::{Routing, UpstreamFailure},
    placement::{self, Attempt, Ill, Place, Places, Trail},
    request::Asked,
    snapshot::{DeploymentEntry, ModelEntry, Snapshot},
    timing::Timing,
    upload::Fault,
};

/// Calls to providers that one call may cost.
const MOST_ATTEMPTS: u16 = 4;
/// No further one begins later than this after the call.
const LAST_BEGIN: Duration = Duration::from_secs(30);
/// Before a deployment is called once more that does not say when.
const SHORT_WAIT: Duration = Duration::from_millis(100);
/// A deployment that wants to be left alone for longer is not waited for.
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// Bytes of a refusal that are read to tell which it is.
const LARGEST_REFUSAL: usize = 64 << 10;

/// What the caller wants.
#[derive(Clone, Copy)]
pub(crate) struct Wish<'a> {
    pub(crate) headers: &'a HeaderMap,
    pub(crate) body: &'a Payload,
    pub(crate) asked: &'a Asked,
}

/// A call on its way.
pub(super) struct Sending<'a> {
    pub(super) upstream: &'a Upstream,
    pub(super) limiter: &'a Limiter,
    /// What its limits were told of it, where it has any.
    pub(super) limited: Option<Limited>,
    pub(super) snapshot: &'a Snapshot,
    pub(super) wish: Wish<'a>,
    pub(super) hold: &'a mut Hold,
    pub(super) timing: &'a Timing,
    pub(super) call: OpenCall,
    pub(super) call_type: CallType,
    pub(super) attempts: u16,
    pub(super) trail: Trail,
    /// What the caller hears when nothing else comes.
    pub(super) last: Option<Last>,
}

/// How the last try ended. An answer goes before what came later and was none: it says most.
pub(super) enum Last {
    Answer(Box<Answer>),
    Failed(CallEnd, ApiError),
    /// No provider has heard of the call.
    NotSent(ApiError),
}

/// An answer, before anything of it is passed on.
pub(super) struct Answer {
    response: Response<Incoming>,
    /// What was read of its body.
    begun: Bytes,
    lease: Lease,
    made_as: MadeAs,
    model: Arc<ModelEntry>,
    deployment: Arc<DeploymentEntry>,
    came: Timestamp,
}

/// How a try at one place ended.
enum Tried {
    /// To be passed on.
    Answered,
    /// The model refuses what another might not.
    Refused(Routing),
    /// Nobody answered, nor can have.
    Failed(Ill),
    /// The provider refused the token that this names, and a newer one may be had.
    Stale(u64),
    /// The place takes no such call, or none now; no provider has heard of it.
    Skipped,
    /// Nothing more may be tried.
    Over,
}

impl Sending<'_> {
    /// Tries until there is an answer, or nothing is left to try: [`Self::end`] tells.
    pub(super) async fn run(&mut self, mut places: Places) {
        places.charge();
        loop {
            let model = Arc::clone(places.model());
            let Some(why) = self.try_model(places, &model).await else { return };
            let Some(next) = self.fall_back(&model, why) else { return };
            self.upstream.metrics.routed(why);
            places = next;
        }
    }

    /// Tries a model's places, one after the other; the last of them once more, when that may help. `None`: it is over. Otherwise which fallback shall be tried.
    async fn try_model(&mut self, places: Places, model: &Arc<ModelEntry>) -> Option<Routing> {
        let forced = places.are_cooling();
        let is_well = |place: &Place| forced || place.standing().admits(Instant::now());
        let (mut places, mut again) = (places.into_iter().peekable(), None);
        let (mut is_repeated, mut refused) = (false, None);
        loop {
            let Some(place) = again.take().or_else(|| places.next()) else {
                return Some(Routing::FallbackModel);
            };
            let forced_here = forced || is_repeated || refused.is_some() || self.attempts == 0;
            let tried = self.try_place(&place, model, forced_here, refused.take()).await;
            let was_repeated = std::mem::take(&mut is_repeated);
            let ill = match tried {
                Tried::Answered | Tried::Over => return None,
                Tried::Refused(why) => return Some(why),
                Tried::Skipped => continue,
                // Nothing speaks against the deployment, so no budget is asked: once a token, and there are few.
                Tried::Stale(token) => {
                    self.upstream.metrics.routed(Routing::Repeated);
                    (again, is_repeated, refused) = (Some(place), was_repeated, Some(token));
                    continue;
                }
                Tried::Failed(ill) => ill,
            };
            // Those that cool down stand last, and are tried only where no other could be.
            while places.next_if(|place| !is_well(place)).is_some() {}
            let is_last = places.peek().is_none();
            let wait = verdict::worth_repeating(ill).filter(|_| is_last && !was_repeated && !forced);
            let wait = wait.and_then(|after| self.worth_waiting(after));
            let goes_on = !is_last || wait.is_some() || model.fallbacks.general.is_some();
            if !goes_on || !self.may_go_on(&place) {
                return None;
            }
            if !is_last {
                self.upstream.metrics.routed(Routing::NextDeployment);
            } else if let Some(wait) = wait {
                self.upstream.metrics.routed(Routing::Repeated);
                self.timing.waiting(tokio::time::sleep(wait)).await;
                (again, is_repeated) = (Some(place), true);
            }
        }
    }

    pub(super) fn has_attempts_left(&self) -> bool {
        self.attempts < MOST_ATTEMPTS
    }

    /// Whether a call that failed at a place may be tried again, within all bounds.
    fn may_go_on(&self, failed: &Place) -> bool {
        let now = Instant::now();
        if self.attempts >= MOST_ATTEMPTS || now.duration_since(self.timing.begun()) > LAST_BEGIN {
            return false;
        }
        // What of a form was sent without being held is gone.
        if !self.wish.body.can_be_sent() {
            return false;
        }
        let may = failed.standing().may_retry(now);
        if may {
            self.wish.body.reclaim();
        } else {
            self.upstream.metrics.routed(Routing::BudgetSpent);
        }
        may
    }

    fn worth_waiting(&self, after: Option<Duration>) -> Option<Duration> {
        let wait = match after {
            Some(after) => after.max(SHORT_WAIT).mul_f64(1.01),
            None => self.upstream.standings.spread(SHORT_WAIT),
        };
        let over = self.timing.begun().elapsed() + wait;
        (wait <= LONGEST_WAIT && over <= LAST_BEGIN).then_some(wait)
    }

    fn fall_back(&mut self, model: &ModelEntry, why: Routing) -> Option<Places> {
        let name = behind(&model.fallbacks, why)?;
        let standings = &self.upstream.standings;
        placement::fall_back(self.snapshot, model, name, standings, &mut self.trail, Instant::now())
    }

    fn not_shown(&mut self, why: NotShown, attempt: Attempt) -> Tried {
        match why {
            NotShown::Unfit => {
                self.not_sent(error::credential_unfit());
                Tried::Skipped
            }
            NotShown::None(ill, error) => {
                self.failed(attempt, ill, CallEnd::ProviderFailed, error);
                Tried::Failed(ill)
            }
        }
    }

    /// `refused`: the token that was shown there just now, and not taken.
    async fn try_place(
        &mut self,
        place: &Place,
        model: &Arc<ModelEntry>,
        forced: bool,
        refused: Option<u64>,
    ) -> Tried {
        let upstream = self.upstream;
        let deployment = place.deployment();
        let of_place = match self.reserve(deployment).await {
            Ok(of_place) => of_place,
            Err(refused) => {
                self.not_sent(refused);
                return Tried::Skipped;
            }
        };
        let Some(attempt) = upstream.standings.begin(place.standing(), forced, Instant::now()) else {
            of_place.into_iter().for_each(Reservation::cancel);
            return Tried::Skipped;
        };
        let shown = match self.shown(place, refused).await {
            Ok(shown) => shown,
            Err(not_shown) => {
                of_place.into_iter().for_each(Reservation::cancel);
                return self.not_shown(not_shown, attempt);
            }
        };
        // From here on it is this place's, should its caller leave: a call that waits for a token is still what it was.
        self.call.goes_to(deployment.id, deployment.price);
        self.call.holding_of_place(of_place);
        let token = shown.as_ref();
        let made = outgoing::make(place, token, self.call_type, self.wish, self.hold, &*upstream.clock);
        let (request, made_as) = match made {
            Ok(made) => made,
            // Another place may be able to do it.
            Err(NotMade::Refused(refused)) => {
                self.call.not_sent_to_place();
                self.not_sent(error::refused(&refused));
                return Tried::Skipped;
            }
            Err(NotMade::Unfit) => {
                self.call.not_sent_to_place();
                self.not_sent(error::credential_unfit());
                return Tried::Skipped;
            }
            Err(NotMade::Failed(error)) => {
                self.call.not_sent_to_place();
                self.not_sent(error);
                return Tried::Over;
            }
        };
        self.attempts += 1;
        self.call.attempts(self.attempts);
        let form = request.body().progress().map(Rc::clone);
        self.call.sends(form.clone());
        let begun = Instant::now();
        let sent = self.timing.waiting(upstream.pool.send(place, request, upstream.timeouts)).await;
        let now = Instant::now();
        if let (Sent::Lost | Sent::Late, Some(fault)) = (&sent, form.as_ref().and_then(|form| form.fault())) {
            return self.cut_by_caller(fault);
        }
        match sent {
            Sent::Answered(response, connection) => {
                // How long a caller takes to send is not the provider's doing.
                let begun = form.map_or(begun, |form| form.moved().into_std().min(now));
                let mut lease = Lease::new(connection, attempt, &upstream.standings);
                let may_repeat = refused.is_none() && self.wish.body.can_be_sent();
                if let Some(token) = token.filter(|_| may_repeat)
                    && self.is_stale(place, response.status(), token)
                {
                    lease.says_nothing();
                    self.wish.body.reclaim();
                    discard(response, lease);
                    self.fails(CallEnd::ProviderFailed, error::provider_refused_credential());
                    return Tried::Stale(token.serial);
                }
                let answer = Answer {
                    response,
                    begun: Bytes::new(),
                    lease,
                    made_as,
                    model: Arc::clone(model),
                    deployment: Arc::clone(deployment),
                    came: upstream.clock.now(),
                };
                self.answered(answer, now - begun, now).await
            }
            Sent::Unreached(refused) => {
                upstream.metrics.upstream_failed(refused.class());
                tracing::warn!(deployment = %deployment.id, reason = %refused, "a provider cannot be reached");
                let outside = matches!(refused, ConnectError::Egress);
                let ill = if outside { Ill::Outside } else { Ill::Unreachable };
                self.failed(attempt, ill, CallEnd::ProviderFailed, refused.into());
                Tried::Failed(ill)
            }
            // The disk did not take its record, so the provider has heard of nothing.
            Sent::Lost if !self.call.is_recorded() => {
                self.attempts = 0;
                self.last = Some(Last::NotSent(error::journal_full()));
                Tried::Over
            }
            Sent::Lost => {
                upstream.metrics.upstream_failed(UpstreamFailure::InvalidResponse);
                self.failed(attempt, Ill::Broken, CallEnd::ProviderFailed, error::provider_invalid());
                if verdict::costs_nothing(self.call_type) { Tried::Failed(Ill::Broken) } else { Tried::Over }
            }
            Sent::Late => {
                upstream.metrics.upstream_failed(UpstreamFailure::TimedOut);
                self.failed(attempt, Ill::Late, CallEnd::TimedOut, error::provider_timeout());
                Tried::Over
            }
        }
    }

    /// What the call may use at a place beyond what it holds: of the place's own limits, and where it is dearer than those that the call was admitted for.
    async fn reserve(&mut self, deployment: &DeploymentEntry) -> Result<Option<Reservation>, ApiError> {
        self.call.leaves_place();
        let Some(limited) = self.limited else { return Ok(None) };
        let (id, price, limiter) = (deployment.id, deployment.price, self.limiter);
        let is_covered = limited.covers(price);
        if is_covered && !limited.of_deployments {
            return Ok(None);
        }
        let organization = self.snapshot.organization(&limited.call.organization);
        let limits = organization.and_then(|organization| organization.limits.as_ref());
        let (Some(limits), Some(held)) = (limits, self.call.reservation()) else { return Ok(None) };
        let reserving = async {
            let of_place = limiter.reserve_place(&limited, limits, id, price).await?;
            if !is_covered && let Err(refused) = limiter.reserve_dearer(&limited, limits, price, held).await {
                of_place.into_iter().for_each(Reservation::cancel);
                return Err(refused);
            }
            Ok(of_place)
        };
        // On its own, because few calls come here, and all would carry its room.
        self.timing.waiting(Box::pin(reserving)).await
    }

    async fn answered(&mut self, mut answer: Answer, waited: Duration, now: Instant) -> Tried {
        let clock = &*self.upstream.clock;
        let tried = match verdict::of(answer.response.status(), answer.response.headers(), clock) {
            Verdict::Failure(ill) => {
                self.note(answer.response.status());
                answer.lease.failed(ill, now);
                Tried::Failed(ill)
            }
            Verdict::MayBeRefusal if answer.model.fallbacks.refusals() => {
                answer.lease.answered(waited, now);
                match Box::pin(self.read_refusal(&mut answer)).await {
                    Ok(tried) => tried,
                    Err((ill, end, error)) => {
                        answer.lease.failed(ill, Instant::now());
                        self.last = Some(Last::Failed(end, error));
                        return Tried::Over;
                    }
                }
            }
            Verdict::Answer | Verdict::MayBeRefusal => {
                answer.lease.answered(waited, now);
                Tried::Answered
            }
        };
        if let Some(Last::Answer(before)) = self.last.replace(Last::Answer(Box::new(answer))) {
            let Answer { response, lease, .. } = *before;
            discard(response, lease);
        }
        tried
    }

    fn note(&self, status: StatusCode) {
        if status == StatusCode::TOO_MANY_REQUESTS {
            self.upstream.metrics.upstream_failed(UpstreamFailure::RateLimited);
        } else if status.is_server_error() {
            self.upstream.metrics.upstream_failed(UpstreamFailure::ServerError);
        }
    }

    /// Which refusal it is, where the model has a fallback for it.
    async fn read_refusal(&mut self, answer: &mut Answer) -> Result<Tried, (Ill, CallEnd, ApiError)> {
        let idle = self.upstream.timeouts.idle;
        let body = answer.response.body_mut();
        let read = self.timing.waiting(hold(body, Bytes::new(), LARGEST_REFUSAL, idle, self.hold)).await;
        match read {
            Held::Whole(bytes) => answer.begun = bytes,
            Held::Large(begun) => {
                answer.begun = begun;
                return Ok(Tried::Answered);
            }
            Held::Broken => return Err((Ill::Broken, CallEnd::ProviderFailed, error::provider_invalid())),
            Held::Late => return Err((Ill::Late, CallEnd::TimedOut, error::provider_timeout())),
        }
        let (status, headers) = (answer.response.status().as_u16(), answer.response.headers());
        let word = headers.get("x-amzn-errortype").and_then(|value| value.to_str().ok());
        let why = match Failure::read(answer.deployment.dialect, status, word, &answer.begun).class {
            Class::ContextLength => Routing::ContextWindow,
            Class::ContentPolicy => Routing::ContentPolicy,
            _ => return Ok(Tried::Answered),
        };
        let has_one = behind(&answer.model.fallbacks, why).is_some();
        let may = has_one && self.attempts < MOST_ATTEMPTS && self.wish.body.can_be_sent();
        if may {
            self.wish.body.reclaim();
        }
        Ok(if may { Tried::Refused(why) } else { Tried::Answered })
    }

    /// A try without an answer.
    fn failed(&mut self, mut attempt: Attempt, ill: Ill, end: CallEnd, error: ApiError) {
        self.upstream.standings.failed(&mut attempt, ill, Instant::now());
        if matches!(ill, Ill::Late | Ill::Broken) {
            self.last = None;
        }
        self.fails(end, error);
    }

    /// Without an answer, unless there was one.
    fn fails(&mut self, end: CallEnd, error: ApiError) {
        if !matches!(self.last, Some(Last::Answer(_))) {
            self.last = Some(Last::Failed(end, error));
        }
    }

    /// The form broke off on its way here.
    fn cut_by_caller(&mut self, fault: Fault) -> Tried {
        let end = match fault {
            Fault::Refused(_) => CallEnd::Completed,
            Fault::Cut => CallEnd::CallerLeft,
        };
        self.last = Some(Last::Failed(end, fault.into()));
        Tried::Over
    }

    /// A place that no call can be made for.
    fn not_sent(&mut self, error: ApiError) {
        if !matches!(self.last, Some(Last::Answer(_) | Last::Failed(..))) {
            self.last = Some(Last::NotSent(error));
        }
    }

    /// The answer that is passed on: the last. Errors: what was tried is settled.
    pub(super) fn end(self) -> Result<Answered, ApiError> {
        let Self { upstream, mut call, call_type, attempts, last, .. } = self;
        let told = |error: ApiError| Told::tell_error(attempts, error);
        match last {
            Some(Last::Answer(answer)) => {
                let Answer { response, begun, lease, made_as, model, deployment, came } = *answer;
                call.goes_to(deployment.id, deployment.price);
                call.first_byte(came);
                call.answered(response.status().as_u16());
                let (metrics, delimited) = (upstream.metrics.clone(), is_delimited(&response));
                let reading = made_as.reading(deployment.dialect, &call, &model);
                let told = Told::of(&model, &deployment, attempts);
                Ok(Answered { response, begun, lease, call, call_type, reading, delimited, told, metrics })
            }
            Some(Last::Failed(end, error)) => Err(told(upstream.failed(call, end, error))),
            Some(Last::NotSent(error)) => Err(told(upstream.not_sent(call, attempts, error))),
            None => Err(told(upstream.not_sent(call, attempts, error::no_deployment()))),
        }
    }
}

/// The model that stands behind another in this case.
fn behind(fallbacks: &Fallbacks, why: Routing) -> Option<&ModelName> {
    match why {
        Routing::ContextWindow => fallbacks.context_window.as_ref(),
        Routing::ContentPolicy => fallbacks.content_policy.as_ref(),
        _ => fallbacks.general.as_ref(),
    }
}
