//! Step 4: the call is taken on. From here on it is metered, whatever becomes of it: its start is on disk before the provider hears of it (R10).

use bailiwick_domain::{
    time::Timestamp,
    usage::{CallType, EventId, RequestId},
};
use bailiwick_runtime::serving::ApiError;

use crate::{
    error,
    metering::{Meter, OpenCall, StartedCall},
    placement::Placed,
};

/// Proof that the call is being metered. Only [`admit`] makes one.
pub(crate) struct Admitted {
    placed: Placed,
    call: OpenCall,
    call_type: CallType,
}

impl Admitted {
    pub(crate) fn into_parts(self) -> (Placed, OpenCall, CallType) {
        (self.placed, self.call, self.call_type)
    }
}

/// Errors: 503 when the journal is full: what cannot be metered is not served.
pub(crate) fn admit(
    meter: &Meter,
    placed: Placed,
    call_type: CallType,
    stream: bool,
    request_id: RequestId,
    now: Timestamp,
) -> Result<Admitted, ApiError> {
    let (key, deployment) = (placed.permitted().key(), placed.first().deployment());
    let started = StartedCall {
        event_id: EventId::new(now),
        request_id,
        organization: key.organization,
        key: key.id,
        model: placed.permitted().model().id,
        deployment: deployment.id,
        call_type,
        stream,
        price: deployment.price,
        started: now,
    };
    let call = meter.start(started).map_err(|_full| error::journal_full())?;
    Ok(Admitted { placed, call, call_type })
}
