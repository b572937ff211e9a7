//! One try at one place.

use std::{pin::pin, rc::Rc, time::Instant};

use bailiwick_domain::usage::CallEnd;
use bailiwick_quota::holder::Reservation;
use bailiwick_runtime::{calling::OutgoingRequest, http1::IncomingResponse, in_place, serving::ApiError};
use bytes::Bytes;

use super::{Answer, Heard, Last, Sending, Tried};
use crate::{
    error,
    metrics::UpstreamFailure,
    placement::{Attempt, Ill, Place},
    snapshot::{DeploymentEntry, ModelEntry},
    tokens::Shown,
    upload::Fault,
    upstream::{
        Lease,
        body::Outbound,
        connect::ConnectError,
        leftover::discard,
        outgoing::{self, MadeAs, NotMade},
        pool::{self, AnswerBody, Sent},
        token::NotShown,
        verdict,
    },
};

/// A try whose request is made.
struct Try<'a, 's> {
    place: &'a Place<'s>,
    model: &'s ModelEntry,
    attempt: Attempt,
    made_as: MadeAs,
    /// What is shown, where the credential is exchanged for tokens.
    token: Option<Shown>,
    /// Whether a token was refused there just now: no further one is tried.
    was_refused: bool,
}

impl<'s> Sending<'_, 's> {
    /// `refused`: the token that was shown there just now, and not taken.
    pub(super) async fn try_place(
        &mut self,
        place: &Place<'s>,
        model: &'s ModelEntry,
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
        let token = match self.shown(place, refused).await {
            Ok(token) => token,
            Err(not_shown) => {
                of_place.into_iter().for_each(Reservation::cancel);
                return self.not_shown(not_shown, attempt);
            }
        };
        // From here on it is this place's, should its caller leave: a call that waits for a token is still what it was.
        self.call.goes_to(deployment.id, deployment.price);
        self.call.holding_of_place(of_place);
        let (shown, clock) = (token.as_ref(), &*upstream.clock);
        let mut request = OutgoingRequest::default();
        match outgoing::make(&mut request, place, shown, self.call_type, self.wish, self.hold, clock) {
            Ok(made_as) => {
                let was_refused = refused.is_some();
                let one = Try { place, model, attempt, made_as, token, was_refused };
                // Lent, because whoever is handed it on the way to a connection would copy it.
                pin!(self.send(one, &mut request)).await
            }
            Err(why) => self.not_made(why),
        }
    }

    async fn send(&mut self, one: Try<'_, 's>, request: &mut OutgoingRequest<Outbound>) -> Tried {
        let upstream = self.upstream;
        self.attempts += 1;
        self.call.attempts(self.attempts);
        let form = request.body.progress().map(Rc::clone);
        self.call.sends(form.clone());
        let begun = Instant::now();
        let sent = pin!(upstream.pool.send(one.place, request, self.call.event_id())).await;
        // What was sent is kept no longer: a further try makes its own.
        request.body = Outbound::default();
        let now = Instant::now();
        // All of it: a provider is never there at once.
        self.timing.waited(now - begun);
        if let (Sent::Lost | Sent::Late, Some(fault)) = (&sent, form.as_ref().and_then(|form| form.fault())) {
            return self.cut_by_caller(fault);
        }
        match sent {
            Sent::Answered(response, connection) => {
                // How long a caller takes to send is not the provider's doing.
                let begun = form.map_or(begun, |form| form.moved().into_std().min(now));
                match self.heard(one, response, connection) {
                    Ok(answer) => self.answered(answer, now - begun, now).await,
                    Err(stale) => stale,
                }
            }
            Sent::Unreached(refused) => self.unreached(one, refused),
            Sent::Lost => self.lost(one),
            Sent::Late => {
                upstream.metrics.upstream_failed(UpstreamFailure::TimedOut);
                self.failed(one.attempt, Ill::Late, CallEnd::TimedOut, error::provider_timeout());
                Tried::Over
            }
        }
    }

    /// An answer to be judged. Errors: it speaks of the token that was shown, and is thrown away.
    fn heard(
        &mut self,
        one: Try<'_, 's>,
        response: IncomingResponse<AnswerBody>,
        connection: pool::Lease,
    ) -> Result<Heard<'s>, Tried> {
        let upstream = self.upstream;
        let mut lease = Lease::new(connection, one.attempt, &upstream.standings);
        let may_repeat = !one.was_refused && self.wish.body.can_be_sent();
        if let Some(token) = one.token.filter(|_| may_repeat)
            && self.is_stale(one.place, response.status(), &token)
        {
            lease.says_nothing();
            self.wish.body.reclaim();
            discard(response, lease);
            self.fails(CallEnd::ProviderFailed, error::provider_refused_credential());
            return Err(Tried::Stale(token.serial));
        }
        let answer = in_place::boxed(|| Answer {
            response,
            begun: Bytes::new(),
            lease,
            made_as: one.made_as,
            came: upstream.clock.now(),
        });
        Ok(Heard { answer, model: one.model, deployment: one.place.deployment() })
    }

    fn unreached(&mut self, one: Try<'_, 's>, refused: ConnectError) -> Tried {
        self.upstream.metrics.upstream_failed(refused.class());
        tracing::warn!(deployment = %one.place.deployment().id, reason = %refused, "a provider cannot be reached");
        let outside = matches!(refused, ConnectError::Egress);
        let ill = if outside { Ill::Outside } else { Ill::Unreachable };
        self.failed(one.attempt, ill, CallEnd::ProviderFailed, refused.into());
        Tried::Failed(ill)
    }

    fn lost(&mut self, one: Try<'_, 's>) -> Tried {
        if !self.call.is_recorded() {
            // The disk did not take its record, so the provider has heard of nothing.
            self.attempts = 0;
            self.last = Some(Last::NotSent(error::journal_full()));
            return Tried::Over;
        }
        self.upstream.metrics.upstream_failed(UpstreamFailure::InvalidResponse);
        self.failed(one.attempt, Ill::Broken, CallEnd::ProviderFailed, error::provider_invalid());
        if verdict::costs_nothing(self.call_type) { Tried::Failed(Ill::Broken) } else { Tried::Over }
    }

    /// What the call may use at a place beyond what it holds: of the place's own limits, and where it is dearer than those that the call was admitted for.
    async fn reserve(&mut self, deployment: &DeploymentEntry) -> Result<Option<Reservation>, ApiError> {
        self.call.leaves_place();
        let Some(limited) = &self.limited else { return Ok(None) };
        let (id, price, limiter) = (deployment.id, deployment.price, self.limiter);
        let is_covered = limited.covers(price);
        if is_covered && !limited.of_deployments {
            return Ok(None);
        }
        let organization = self.snapshot.organization(&limited.call.organization);
        let limits = organization.and_then(|organization| organization.limits.as_ref());
        let (Some(limits), Some(held)) = (limits, self.call.reservation()) else { return Ok(None) };
        let reserving = async {
            let of_place = limiter.reserve_place(limited, limits, id, price).await?;
            if !is_covered && let Err(refused) = limiter.reserve_dearer(limited, limits, price, held).await {
                of_place.into_iter().for_each(Reservation::cancel);
                return Err(refused);
            }
            Ok(of_place)
        };
        // On its own, because few calls come here, and all would carry its room.
        self.timing.waiting(Box::pin(reserving)).await
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

    fn not_made(&mut self, why: NotMade) -> Tried {
        self.call.not_sent_to_place();
        let (error, tried) = match why {
            // Another place may be able to do it.
            NotMade::Refused(refused) => (error::refused(&refused), Tried::Skipped),
            NotMade::Unfit => (error::credential_unfit(), Tried::Skipped),
            NotMade::Failed(error) => (error, Tried::Over),
        };
        self.not_sent(error);
        tried
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
}
