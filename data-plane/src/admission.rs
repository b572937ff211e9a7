//! Step 4: the call is taken on. What it may use is reserved, and from here on it is metered, whatever becomes of it: its start is on disk before the provider hears of it (R10).

use bailiwick_domain::{
    time::Clock,
    usage::{CallType, EventId, RequestId},
};
use bailiwick_quota::limit::Limit;
use bailiwick_runtime::serving::{ApiError, ErrorShape};

use crate::{
    error,
    limits::{Estimate, Limited, LimitedCall, Limiter, Reserved, Told},
    metering::{Meter, OpenCall, StartedCall},
    placement::Placed,
    request::Asked,
    snapshot::Snapshot,
};

/// Proof that the call has what it may use, and is being metered. Only [`Admission::admit`] makes one.
pub(crate) struct Admitted<'a> {
    placed: Placed<'a>,
    call: OpenCall,
    call_type: CallType,
    told: Option<Told>,
    limited: Option<Box<Limited>>,
}

impl<'a> Admitted<'a> {
    /// What its caller is told of its limits, if it has any.
    pub(crate) fn told(&self) -> Option<Told> {
        self.told
    }

    /// `None` of the last: its organization has no limits.
    pub(crate) fn into_parts(self) -> (Placed<'a>, OpenCall, CallType, Option<Box<Limited>>) {
        (self.placed, self.call, self.call_type, self.limited)
    }
}

/// What calls are taken on with.
pub(crate) struct Admission<'a> {
    pub(crate) limiter: &'a Limiter,
    pub(crate) meter: &'a Meter,
    pub(crate) clock: &'a dyn Clock,
}

/// What is asked for.
pub(crate) struct Asking<'a> {
    pub(crate) call_type: CallType,
    pub(crate) request_id: RequestId,
    pub(crate) asked: &'a Asked,
    pub(crate) body_bytes: usize,
    pub(crate) shape: ErrorShape,
}

impl Admission<'_> {
    /// Waits a moment where units of a limit have to be asked for.
    ///
    /// # Errors
    /// 429 when a limit does not cover the call; 503 when the journal is full: what cannot be metered is not served.
    pub(crate) async fn admit<'a>(
        &self,
        snapshot: &Snapshot,
        placed: Placed<'a>,
        asking: Asking<'_>,
    ) -> Result<Admitted<'a>, ApiError> {
        let (reservation, told, limited) = match self.reserve(snapshot, &placed, &asking).await? {
            Some((Reserved { reservation, told, .. }, limited)) => {
                (Some(reservation), Some(told), Some(limited))
            }
            None => (None, None, None),
        };
        match self.meter.start(self.started(&placed, &asking)) {
            Ok(call) => {
                let call = call.holding(reservation);
                Ok(Admitted { placed, call, call_type: asking.call_type, told, limited })
            }
            Err(_full) => {
                if let Some(reservation) = reservation {
                    reservation.cancel();
                }
                Err(error::journal_full())
            }
        }
    }

    /// `None` where the organization has no limits.
    async fn reserve(
        &self,
        snapshot: &Snapshot,
        placed: &Placed<'_>,
        asking: &Asking<'_>,
    ) -> Result<Option<(Reserved, Box<Limited>)>, ApiError> {
        let (key, model) = (placed.permitted().key(), placed.permitted().model().id);
        let organization = snapshot.organization(&key.organization);
        let Some(limits) = organization.and_then(|organization| organization.limits.as_ref()) else {
            return Ok(None);
        };
        let call = LimitedCall { organization: key.organization, key: key.id, model, deployment: None };
        let estimate = Estimate::of(asking.call_type, asking.asked, asking.body_bytes, placed);
        let now = self.clock.now();
        let reserved = self.limiter.reserve(&call, limits, &estimate, asking.shape, now).await?;
        let of_deployments = limits.iter().any(Limit::is_of_deployments);
        let limited = Limited { call, estimate, of_money: reserved.of_money, of_deployments };
        Ok(Some((reserved, Box::new(limited))))
    }

    fn started(&self, placed: &Placed<'_>, asking: &Asking<'_>) -> StartedCall {
        let (key, deployment) = (placed.permitted().key(), placed.first().deployment());
        let now = self.clock.now();
        StartedCall {
            event_id: EventId::new(now),
            request_id: asking.request_id,
            organization: key.organization,
            key: key.id,
            model: placed.permitted().model().id,
            deployment: deployment.id,
            call_type: asking.call_type,
            stream: asking.asked.stream,
            price: deployment.price,
            asked_bytes: asking.body_bytes,
            started: now,
        }
    }
}
