//! A call that has started: what is learned of it on its way, and how it ends.

use std::rc::Rc;

use bailiwick_domain::{
    id::DeploymentId,
    price::Price,
    time::Timestamp,
    usage::{CallEnd, CallType, EventId, RequestId, UsageEvent, UsageSource},
};
use bailiwick_quota::holder::{self, Charge, Reservation};
use bailiwick_runtime::in_place;
use smallvec::SmallVec;

use super::{
    meter::{Meter, Settled, StartedCall, if_nothing_follows},
    used::Used,
};
use crate::{estimate::Prompt, upload::Progress};

/// What one call is charged; calls have a limit of money or two.
type Charges = SmallVec<[Charge; 2]>;

/// What a call is answered with when its caller left before anything else was: nobody sees it, and nginx's logs call it this.
const CLIENT_CLOSED_REQUEST: u16 = 499;

/// How a call ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outcome {
    /// HTTP status that the caller was answered with.
    pub(crate) status: u16,
    /// How it ended.
    pub(crate) end: CallEnd,
    /// What it used.
    pub(crate) used: Used,
}

/// What a call holds of the limits of one place.
struct OfPlace {
    deployment: DeploymentId,
    reservation: Reservation,
}

/// A call that has started. It settles once: by [`Self::settle`], or, when it is dropped first, as left by its caller with what is
/// known by then.
#[must_use = "a call that is dropped at once is settled as left by its caller"]
pub(crate) struct OpenCall(Box<Open>);

/// In a place of its own: the call is handed from step to step, and what is handed on is copied.
pub(super) struct Open {
    meter: Meter,
    event: UsageEvent,
    price: Option<Price>,
    /// What it holds of its limits.
    reservation: Option<Reservation>,
    /// What it holds of the limits of the place that it was sent to last.
    of_place: Option<Box<OfPlace>>,
    /// What was asked, as long as its tokens may have to be estimated.
    prompt: Prompt,
    /// How far what was asked went out, where that takes long.
    form: Option<Rc<Progress>>,
    /// What came of an answer that is not whole.
    so_far: Option<Used>,
    settled: bool,
}

impl Open {
    /// Its event is what stands should nothing more be heard of it.
    pub(super) fn boxed(meter: Meter, call: &StartedCall) -> Box<Self> {
        in_place::boxed(|| Self {
            meter,
            event: if_nothing_follows(call),
            price: call.price,
            reservation: None,
            of_place: None,
            prompt: Prompt::default(),
            form: None,
            so_far: None,
            settled: false,
        })
    }

    pub(super) fn event(&self) -> &UsageEvent {
        &self.event
    }
}

impl OpenCall {
    /// It is on record. Its event is what stands should nothing more become of it: left by its caller.
    pub(super) fn begin(mut open: Box<Open>) -> Self {
        let event = &mut open.event;
        (event.status, event.end, event.attempts) = (CLIENT_CLOSED_REQUEST, CallEnd::CallerLeft, 0);
        Self(open)
    }

    /// The call holds this of its limits, until it is recorded.
    pub(crate) fn holding(mut self, reservation: Option<Reservation>) -> Self {
        self.0.reservation = reservation;
        self
    }

    /// What it holds of its limits, if it has any.
    pub(crate) fn reservation(&mut self) -> Option<&mut Reservation> {
        self.0.reservation.as_mut()
    }

    /// It is about to be sent to the place that it goes to, and holds this of that one's limits.
    pub(crate) fn holding_of_place(&mut self, reservation: Option<Reservation>) {
        let deployment = self.0.event.deployment;
        self.0.of_place = reservation.map(|reservation| Box::new(OfPlace { deployment, reservation }));
    }

    /// The last place answered nothing that costs; that was a request.
    pub(crate) fn leaves_place(&mut self) {
        if let Some(last) = self.0.of_place.take() {
            last.reservation.settle(holder::Used::default());
        }
    }

    /// Nothing was sent to the place after all.
    pub(crate) fn not_sent_to_place(&mut self) {
        if let Some(last) = self.0.of_place.take() {
            last.reservation.cancel();
        }
    }

    /// Names the call, to the caller too.
    pub(crate) fn request_id(&self) -> RequestId {
        self.0.event.request_id
    }

    /// Endpoint.
    pub(crate) fn call_type(&self) -> CallType {
        self.0.event.call_type
    }

    /// When it was admitted.
    pub(crate) fn started(&self) -> Timestamp {
        self.0.event.started
    }

    /// The provider's first byte came. Later calls change nothing.
    pub(crate) fn first_byte(&mut self, now: Timestamp) {
        self.0.event.first_byte.get_or_insert(now);
    }

    /// Calls to providers that were made so far.
    pub(crate) fn attempts(&mut self, attempts: u16) {
        self.0.event.attempts = attempts;
    }

    /// The deployment that is called: another than the first, when that one cannot be reached.
    pub(crate) fn goes_to(&mut self, deployment: DeploymentId, price: Option<Price>) {
        self.0.event.deployment = deployment;
        self.0.price = price;
    }

    /// The caller was answered with this status; its body may still be under way.
    pub(crate) fn answered(&mut self, status: u16) {
        self.0.event.status = status;
    }

    /// What is asked of the provider.
    pub(crate) fn asks(&mut self, prompt: Prompt) {
        self.0.prompt = prompt;
    }

    /// What is asked is on its way, and goes out as far as this says.
    pub(crate) fn sends(&mut self, form: Option<Rc<Progress>>) {
        self.0.form = form;
    }

    /// What is asked of the provider.
    pub(crate) fn prompt(&self) -> &Prompt {
        &self.0.prompt
    }

    /// What the call has used by what came of its answer, unless more comes.
    pub(crate) fn used_so_far(&mut self, used: Used) {
        self.0.so_far = Some(used);
    }

    /// What the call has used without an answer that could be passed on. Its provider has read what was asked, and charges for it; what has not come whole, it cannot have done.
    pub(crate) fn used_without_answer(&self) -> Used {
        if let Some(used) = self.0.so_far {
            return used;
        }
        match &self.0.form {
            Some(form) if !form.is_finished() => Used::nothing(UsageSource::Estimated),
            _ => Used::of_no_answer(self.0.event.call_type, &self.0.prompt),
        }
    }

    /// An answer begins that may take long: no more is kept of what was asked than has to be.
    pub(crate) fn waits_long(&mut self) {
        self.0.prompt.shrink();
    }

    /// By what it is metered.
    pub(crate) fn event_id(&self) -> EventId {
        self.0.event.event_id
    }

    /// Whether the call could be recorded when it started.
    pub(crate) fn is_recorded(&self) -> bool {
        self.0.meter.is_open(&self.0.event.event_id)
    }

    /// Records how the call ended. To be called before the last bytes go to the caller: what was served was recorded.
    pub(crate) fn settle(mut self, outcome: Outcome, now: Timestamp) -> Settled {
        let Outcome { status, end, used } = outcome;
        let open = &mut *self.0;
        (open.event.status, open.event.end) = (status, end);
        open.event.stream |= open.form.as_ref().is_some_and(|form| form.asks_for_stream());
        self.record(used, now);
        Settled::new(&self.0.meter, self.0.event.priced.then_some(self.0.event.cost))
    }

    fn record(&mut self, used: Used, now: Timestamp) {
        self.0.settled = true;
        let Used { source, tokens, media, is_measured } = used;
        let cost = self.0.price.filter(|_| is_measured).and_then(|price| price.cost(&tokens, &media));
        // Field by field: made anew, all of it would be copied.
        let event = &mut self.0.event;
        (event.source, event.tokens, event.media) = (source, tokens, media);
        (event.priced, event.cost) = (cost.is_some(), cost.unwrap_or_default());
        event.finished = now.max(event.started);
        let charges = self.settle_limits();
        self.0.meter.settle(&self.0.event, &charges);
    }

    /// By what the event says, on every way out: so limits and usage never differ. A call that no provider was asked for uses nothing, not even a request. Gives what limits of money are charged.
    fn settle_limits(&mut self) -> Charges {
        let mut charges = Charges::new();
        let served_at = self.0.event.deployment;
        // Where what answered before is passed on after all, the last place has told nothing.
        if self.0.of_place.as_ref().is_some_and(|last| last.deployment != served_at) {
            self.leaves_place();
        }
        let of_place = self.0.of_place.take().map(|of_place| of_place.reservation);
        let held = [self.0.reservation.take(), of_place].into_iter().flatten();
        let UsageEvent { tokens, cost, attempts, .. } = &self.0.event;
        if *attempts == 0 {
            held.for_each(Reservation::cancel);
            return charges;
        }
        let used = holder::Used {
            tokens: tokens.prompt.saturating_add(tokens.completion),
            nano_usd: u64::try_from(cost.as_nanos()).unwrap_or_default(),
        };
        held.for_each(|reservation| reservation.settle_telling(used, |charge| charges.push(charge)));
        charges
    }
}

impl Drop for OpenCall {
    fn drop(&mut self) {
        if self.0.settled {
            return;
        }
        let used = match self.0.event.attempts {
            0 => Used::nothing(UsageSource::Estimated),
            _ => self.used_without_answer(),
        };
        self.record(used, self.0.meter.now());
        // Nobody waits for it; what the disk does not take is owed.
        let _ = self.0.meter.write();
    }
}

#[cfg(test)]
mod tests;
