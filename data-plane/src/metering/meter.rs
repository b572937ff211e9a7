//! A call's meter: starts with a record on disk and ends with one, whatever happens between.
//!
//! Records of calls that begin or end in the same turn of a core's event loop go to disk together. What waits for them says so: [`Meter::write`] comes before the first
//! byte to a provider, and [`Settled`] before the end of an answer. A call in between is `call`'s.

use std::{cell::RefCell, rc::Rc, sync::Arc, time::Duration};

use bailiwick_domain::{
    id::{DeploymentId, ModelId, OrganizationId},
    key::KeyId,
    money::NanoUsd,
    price::Price,
    time::{Clock, Timestamp},
    usage::{CallEnd, CallType, EventId, RequestId, UsageEvent},
};
use bailiwick_quota::holder::Charge;
use bailiwick_runtime::serving::{Ahead, ResponseBody, WriteAhead};

use super::{
    call::{Open, OpenCall},
    used::Used,
    writer::{JournalFull, Writer},
};

/// How often a disk that failed is tried again, where no call does it.
const RETRY_INTERVAL: Duration = Duration::from_millis(500);
/// A call whose worker died has no status; nothing was answered, or nobody knows what.
const UNKNOWN_STATUS: u16 = 0;

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

/// Meters the calls of one core. All clones write to the same journal.
#[derive(Clone)]
pub(crate) struct Meter(Rc<Parts>);

struct Parts {
    writer: RefCell<Option<Writer>>,
    clock: Arc<dyn Clock>,
}

impl Meter {
    /// A meter over a core's journal; without one, every call is refused. The clock settles calls that are dropped.
    pub(crate) fn new(writer: Option<Writer>, clock: Arc<dyn Clock>) -> Self {
        Self(Rc::new(Parts { writer: RefCell::new(writer), clock }))
    }

    /// Tries a journal that cannot be written again and again, until it can; for as long as the meter is used.
    pub(crate) fn recovery(&self) -> impl Future<Output = ()> + use<> {
        let parts = Rc::downgrade(&self.0);
        async move {
            loop {
                tokio::time::sleep(RETRY_INTERVAL).await;
                let Some(parts) = parts.upgrade() else { return };
                if let Some(writer) = &mut *parts.writer.borrow_mut() {
                    writer.try_again();
                }
            }
        }
    }

    /// Records that a call starts. The record is on disk before a provider hears of it, because connections to providers write it first
    /// ([`super::Recorded`], [`Self::write_for`]): a crash cannot hide the call.
    ///
    /// # Errors
    /// [`JournalFull`]: refuse the call, because it could not be metered.
    pub(crate) fn start(&self, call: StartedCall) -> Result<OpenCall, JournalFull> {
        let open = Open::boxed(self.clone(), &call);
        match &mut *self.0.writer.borrow_mut() {
            Some(writer) => writer.start(call.event_id, open.event())?,
            None => return Err(JournalFull::Missing),
        }
        Ok(OpenCall::begin(open))
    }

    /// Whether the call's start is on disk, or may still come there.
    pub(super) fn is_open(&self, id: &EventId) -> bool {
        self.0.writer.borrow().as_ref().is_some_and(|writer| writer.is_open(id))
    }

    /// Records how a call ended, and what that was charged to limits of money.
    pub(super) fn settle(&self, event: &UsageEvent, charges: &[Charge]) {
        if let Some(writer) = &mut *self.0.writer.borrow_mut() {
            writer.settle(event.event_id, event, charges);
        }
    }

    /// The time.
    pub(super) fn now(&self) -> Timestamp {
        self.0.clock.now()
    }

    /// Whether several calls have started, and not ended: their records may go to disk together.
    pub(crate) fn has_several_calls(&self) -> bool {
        self.0.writer.borrow().as_ref().is_some_and(|writer| writer.open_calls() > 1)
    }

    /// Brings to disk what waits.
    ///
    /// # Errors
    /// The disk does not take it: what depends on it must not happen.
    pub(crate) fn write(&self) -> std::io::Result<()> {
        self.0.write()
    }

    /// Brings to disk what waits, and with it the start of this call.
    ///
    /// # Errors
    /// The disk does not take that, or did not when another's was written with it: no provider may hear of the call.
    pub(crate) fn write_for(&self, call: &EventId) -> std::io::Result<()> {
        // What it was that the disk did not take, the call's own record or others', is told by what is open afterwards.
        let _others_too = self.write();
        if self.is_open(call) { Ok(()) } else { Err(std::io::Error::other("the call is not on record")) }
    }

    /// To another disk.
    #[cfg(test)]
    pub(crate) fn write_to(&self, file: std::fs::File) {
        let _good = self.0.writer.borrow_mut().as_mut().map(|writer| writer.write_to(Arc::new(file)));
    }
}

impl Parts {
    fn write(&self) -> std::io::Result<()> {
        match &mut *self.writer.borrow_mut() {
            Some(writer) if writer.is_behind() => writer.write(),
            _ => Ok(()),
        }
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

/// A call's end, which goes to disk with the next records, and when this is dropped at the latest.
#[must_use = "what was served must have been recorded: have it written ahead of the answer, or at once"]
pub(crate) struct Settled {
    ahead: Ahead,
    /// `None`: no price is known.
    cost: Option<NanoUsd>,
}

impl Settled {
    pub(super) fn new(meter: &Meter, cost: Option<NanoUsd>) -> Self {
        let Meter(parts) = meter.clone();
        Self { ahead: Ahead::new(parts), cost }
    }

    /// What it cost, where a price is known.
    pub(crate) fn cost(&self) -> Option<NanoUsd> {
        self.cost
    }

    /// Has it written before the answer is, with what others add until then, or when its caller has left.
    pub(crate) fn ahead_of(self, body: ResponseBody) -> ResponseBody {
        body.behind(self.ahead)
    }

    /// Writes it.
    pub(crate) fn at_once(self) {}
}

impl WriteAhead for Parts {
    fn write_ahead(&self) {
        // What the disk does not take is owed.
        let _ = self.write();
    }
}
