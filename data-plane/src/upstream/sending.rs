//! A call's way from place to place, until one of them answers or nothing is left to try.
//!
//! What is tried, and in which order, stands here; one try in `trying`, what is made of its answer in `hearing`.

mod hearing;
mod trying;

use std::{
    pin::pin,
    time::{Duration, Instant},
};

use bailiwick_domain::{
    names::ModelName,
    routing::Fallbacks,
    usage::{CallEnd, CallType},
};
use bailiwick_runtime::{
    in_place,
    serving::{ApiError, HeaderSection},
};

use super::{Answer, Answered, Upstream, is_delimited, tell_attempts, verdict};
use crate::{
    body::Payload,
    error,
    limits::{Limited, Limiter},
    memory::Hold,
    metering::OpenCall,
    metrics::Routing,
    placement::{self, Attempt, Ill, Place, Places, Trail},
    request::Asked,
    snapshot::{DeploymentEntry, ModelEntry, Snapshot},
    timing::Timing,
};

/// Calls to providers that one call may cost.
const MOST_ATTEMPTS: u16 = 4;
/// No further one begins later than this after the call.
const LAST_BEGIN: Duration = Duration::from_secs(30);
/// Before a deployment is called once more that does not say when.
const SHORT_WAIT: Duration = Duration::from_millis(100);
/// A deployment that wants to be left alone for longer is not waited for.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// What the caller wants.
#[derive(Clone, Copy)]
pub(crate) struct Wish<'a> {
    pub(crate) headers: &'a HeaderSection,
    pub(crate) body: &'a Payload,
    pub(crate) asked: &'a Asked,
}

/// A call on its way. What it has of its snapshot it is lent, for `'s`: each count of who holds it would be one that all cores share.
pub(super) struct Sending<'a, 's> {
    pub(super) upstream: &'s Upstream,
    pub(super) limiter: &'a Limiter,
    /// What its limits were told of it, where it has any.
    pub(super) limited: Option<Box<Limited>>,
    pub(super) snapshot: &'s Snapshot,
    pub(super) wish: Wish<'a>,
    pub(super) hold: &'a mut Hold,
    pub(super) timing: &'a Timing,
    pub(super) call: OpenCall,
    pub(super) call_type: CallType,
    pub(super) attempts: u16,
    pub(super) trail: Trail,
    /// What the caller hears when nothing else comes.
    pub(super) last: Option<Last<'s>>,
}

/// How the last try ended. An answer goes before what came later and was none: it says most.
pub(super) enum Last<'s> {
    Answer(Heard<'s>),
    Failed(CallEnd, ApiError),
    /// No provider has heard of the call.
    NotSent(ApiError),
}

/// An answer, and whose it is.
pub(super) struct Heard<'s> {
    answer: Box<Answer>,
    model: &'s ModelEntry,
    deployment: &'s DeploymentEntry,
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

impl<'s> Sending<'_, 's> {
    /// Tries until there is an answer, or nothing is left to try: [`Self::end`] tells.
    pub(super) async fn run(&mut self, mut places: Places<'s>) {
        places.charge();
        loop {
            let model = places.model();
            let Some(why) = pin!(self.try_model(places, model)).await else { return };
            let Some(next) = self.fall_back(model, why) else { return };
            self.upstream.metrics.routed(why);
            places = next;
        }
    }

    /// Tries a model's places, one after the other; the last of them once more, when that may help. `None`: it is over. Otherwise which fallback shall be tried.
    async fn try_model(&mut self, places: Places<'s>, model: &'s ModelEntry) -> Option<Routing> {
        let forced = places.are_cooling();
        let is_well = |place: &Place<'_>| forced || place.standing().admits(Instant::now());
        let (mut places, mut again) = (places.into_iter().peekable(), None);
        let (mut is_repeated, mut refused) = (false, None);
        loop {
            let Some(place) = again.take().or_else(|| places.next()) else {
                return Some(Routing::FallbackModel);
            };
            let forced_here = forced || is_repeated || refused.is_some() || self.attempts == 0;
            // In a place of its own: most of what a call keeps while it is away is this, and all who wait for it would carry its room.
            let trying = in_place::pinned(|| self.try_place(&place, model, forced_here, refused.take()));
            let tried = trying.await;
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
    fn may_go_on(&self, failed: &Place<'_>) -> bool {
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

    fn fall_back(&mut self, model: &ModelEntry, why: Routing) -> Option<Places<'s>> {
        let name = behind(&model.fallbacks, why)?;
        let standings = &self.upstream.standings;
        placement::fall_back(self.snapshot, model, name, standings, &mut self.trail, Instant::now())
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

    /// A place that no call can be made for.
    fn not_sent(&mut self, error: ApiError) {
        if !matches!(self.last, Some(Last::Answer(_) | Last::Failed(..))) {
            self.last = Some(Last::NotSent(error));
        }
    }

    /// The answer that is passed on: the last. Errors: what was tried is settled.
    pub(super) fn end(self) -> Result<Answered<'s>, ApiError> {
        let Self { upstream, mut call, call_type, attempts, last, .. } = self;
        let told = |error: ApiError| tell_attempts(attempts, error);
        match last {
            Some(Last::Answer(Heard { mut answer, model, deployment })) => {
                call.goes_to(deployment.id, deployment.price);
                call.first_byte(answer.came);
                call.answered(answer.response.status().as_u16());
                let (metrics, delimited) = (&upstream.metrics, is_delimited(&answer.response));
                let made_as = std::mem::take(&mut answer.made_as);
                let reading = made_as.reading(deployment.dialect, &call, model);
                let answered = Answered {
                    answer,
                    call,
                    call_type,
                    reading,
                    delimited,
                    attempts,
                    metrics,
                    model,
                    deployment,
                };
                Ok(answered)
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
