//! A call's meter: starts with a record on disk and ends with one, whatever happens between.
//!
//! Records of calls that begin or end in the same turn of a core's event loop go to disk together. What waits for them says so: [`Meter::write`] comes before the first
//! byte to a provider, and [`Settled`] before the end of an answer.

use std::{cell::RefCell, future::poll_fn, rc::Rc, sync::Arc, task::Poll, time::Duration};

use bailiwick_domain::{
    id::{DeploymentId, ModelId, OrganizationId},
    key::KeyId,
    money::NanoUsd,
    price::Price,
    time::{Clock, Timestamp},
    usage::{CallEnd, CallType, EventId, RequestId, UsageEvent, UsageSource},
};
use bailiwick_quota::holder::{self, Charge, Reservation};
use smallvec::SmallVec;

use super::{
    used::Used,
    writer::{JournalFull, Writer},
};
use crate::{estimate::Prompt, upload::Progress};

/// How often a disk that failed is tried again, where no call does it.
const RETRY_INTERVAL: Duration = Duration::from_millis(500);
/// What a call is answered with when its caller left before anything else was: nobody sees it, and nginx's logs call it this.
const CLIENT_CLOSED_REQUEST: u16 = 499;
/// A call whose worker died has no status; nothing was answered, or nobody knows what.
const UNKNOWN_STATUS: u16 = 0;

/// What one call is charged; calls have a limit of money or two.
type Charges = SmallVec<[Charge; 2]>;

/// What is known of a call before its provider is called.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StartedCall {
    /// Names the event; its time is the call's start.
    pub(crate) event_id: EventId,
    /// Names the call, to the caller too.
    pub(crate) request_id: RequestId,
    /// Whose call.
    pub(crate) organization: OrganizationId,
    /// Made with this key.
    pub(crate) key: KeyId,
    /// Public model.
    pub(crate) model: ModelId,
    /// Where it is served.
    pub(crate) deployment: DeploymentId,
    /// Endpoint.
    pub(crate) call_type: CallType,
    /// Whether the caller asked for a stream.
    pub(crate) stream: bool,
    /// What its tokens cost; `None`: unknown, the call is metered as unpriced.
    pub(crate) price: Option<Price>,
    /// Bytes of what it asks.
    pub(crate) asked_bytes: usize,
    /// When it was admitted.
    pub(crate) started: Timestamp,
}

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

/// Meters the calls of one core. All clones write to the same journal.
#[derive(Clone)]
pub(crate) struct Meter {
    writer: Rc<RefCell<Option<Writer>>>,
    clock: Arc<dyn Clock>,
}

impl Meter {
    /// A meter over a core's journal; without one, every call is refused. The clock settles calls that are dropped.
    pub(crate) fn new(writer: Option<Writer>, clock: Arc<dyn Clock>) -> Self {
        Self { writer: Rc::new(RefCell::new(writer)), clock }
    }

    /// Tries a journal that cannot be written again and again, until it can; for as long as the meter is used.
    pub(crate) fn recovery(&self) -> impl Future<Output = ()> + use<> {
        let writer = Rc::downgrade(&self.writer);
        async move {
            loop {
                tokio::time::sleep(RETRY_INTERVAL).await;
                let Some(writer) = writer.upgrade() else { return };
                if let Some(writer) = &mut *writer.borrow_mut() {
                    writer.try_again();
                }
            }
        }
    }

    /// Records that a call starts. The record is on disk before a provider hears of it, because connections to providers write what waits first
    /// ([`super::Recorded`]): a crash cannot hide the call.
    ///
    /// # Errors
    /// [`JournalFull`]: refuse the call, because it could not be metered.
    pub(crate) fn start(&self, call: StartedCall) -> Result<OpenCall, JournalFull> {
        let event = if_nothing_follows(&call);
        match &mut *self.writer.borrow_mut() {
            Some(writer) => writer.start(call.event_id, &event)?,
            None => return Err(JournalFull::Missing),
        }
        let event =
            UsageEvent { status: CLIENT_CLOSED_REQUEST, end: CallEnd::CallerLeft, attempts: 0, ..event };
        let (price, prompt) = (call.price, Prompt::default());
        let (meter, reservation, of_place, form, so_far) = (self.clone(), None, None, None, None);
        let settled = false;
        let open = Open { meter, event, price, prompt, form, so_far, reservation, of_place, settled };
        Ok(OpenCall(Box::new(open)))
    }
}

impl Meter {
    /// Brings to disk what waits.
    ///
    /// # Errors
    /// The disk does not take it: what depends on it must not happen.
    pub(crate) fn write(&self) -> std::io::Result<()> {
        match &mut *self.writer.borrow_mut() {
            Some(writer) if writer.is_behind() => writer.write(),
            _ => Ok(()),
        }
    }

    fn is_behind(&self) -> bool {
        self.writer.borrow().as_ref().is_some_and(Writer::is_behind)
    }
}

/// The event that stands for a call when its worker dies: it was sent, or about to be, so what it asked counts. What came of it, and what it cost, nobody knows: no money is said, as none is
/// charged to limits, which get back what the worker held.
pub(super) fn if_nothing_follows(call: &StartedCall) -> UsageEvent {
    let Used { source, tokens, media, is_measured } = Used::by_size(call.call_type, call.asked_bytes);
    UsageEvent {
        event_id: call.event_id,
        request_id: call.request_id,
        organization: call.organization,
        key: call.key,
        model: call.model,
        deployment: call.deployment,
        call_type: call.call_type,
        stream: call.stream,
        status: UNKNOWN_STATUS,
        end: CallEnd::Interrupted,
        source,
        tokens,
        media,
        cost: NanoUsd::default(),
        priced: is_measured && call.price.is_some(),
        started: call.started,
        first_byte: None,
        finished: call.started,
        attempts: 1,
    }
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
struct Open {
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

impl OpenCall {
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

    /// Whether the call could be recorded when it started.
    pub(crate) fn is_recorded(&self) -> bool {
        self.0.meter.writer.borrow().as_ref().is_some_and(|writer| writer.is_open(&self.0.event.event_id))
    }

    /// Records how the call ended. To be called before the last bytes go to the caller: what was served was recorded.
    pub(crate) fn settle(mut self, outcome: Outcome, now: Timestamp) -> Settled {
        let Outcome { status, end, used } = outcome;
        let open = &self.0;
        let stream = open.event.stream || open.form.as_ref().is_some_and(|form| form.asks_for_stream());
        self.0.event = UsageEvent { status, end, stream, ..self.0.event };
        self.record(used, now);
        Settled { meter: self.0.meter.clone(), cost: self.0.event.priced.then_some(self.0.event.cost) }
    }

    fn record(&mut self, used: Used, now: Timestamp) {
        self.0.settled = true;
        let Used { source, tokens, media, is_measured } = used;
        let cost = self.0.price.filter(|_| is_measured).and_then(|price| price.cost(&tokens, &media));
        let (priced, cost) = (cost.is_some(), cost.unwrap_or_default());
        self.0.event = UsageEvent { source, tokens, media, priced, cost, ..self.0.event };
        self.0.event.finished = now.max(self.0.event.started);
        let charges = self.settle_limits();
        if let Some(writer) = &mut *self.0.meter.writer.borrow_mut() {
            writer.settle(self.0.event.event_id, &self.0.event, &charges);
        }
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
        self.record(used, self.0.meter.clock.now());
        // Nobody waits for it; what the disk does not take is owed.
        let _ = self.0.meter.write();
    }
}

/// A call's end, which goes to disk with the next records, and when this is dropped at the latest: also when its caller leaves while others are waited for.
#[must_use = "what was served must have been recorded: wait for it, or write it at once"]
pub(crate) struct Settled {
    meter: Meter,
    /// `None`: no price is known.
    cost: Option<NanoUsd>,
}

impl Settled {
    /// What it cost, where a price is known.
    pub(crate) fn cost(&self) -> Option<NanoUsd> {
        self.cost
    }

    /// Lets others who are ready add their records, and then writes all of them at once, if nobody did.
    pub(crate) async fn recorded(self) {
        let mut has_waited = false;
        poll_fn(|context| {
            if has_waited || !self.meter.is_behind() {
                return Poll::Ready(());
            }
            has_waited = true;
            // Behind everybody who is ready now.
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }

    /// Writes it.
    pub(crate) fn at_once(self) {}
}

impl Drop for Settled {
    fn drop(&mut self) {
        // What the disk does not take is owed.
        let _ = self.meter.write();
    }
}

#[cfg(test)]
mod tests;
