//! `UsageService`: batches up, cumulative acknowledgements down, each only after its commit (R10).
//!
//! Several batches of a stream are under way at once, and are answered in their order: an acknowledgement says that everything before it is
//! stored too.

use std::sync::Arc;

use bailiwick_core::{
    enrollment::Enrollment,
    process_audit::ProcessAuditError,
    usage_intake::{IntakeError, Stored, UsageIntake, refusal::UsageRefusals},
};
use bailiwick_domain::{
    jurisdiction::{Jurisdiction, Local},
    region::Regions,
    spiffe::SpiffeId,
    usage::UsageEvent,
};
use bailiwick_proto::{
    convert::{
        ConvertError,
        usage::{EncodedEvent, UsageSubject, organization_named, usage_subject_from_wire},
    },
    encoded::{EncodedEvents, MAX_EVENT_BYTES, MAX_SUBJECT_BYTES},
    status::Refusal,
    worker::v1::{ReportRequest, ReportResponse, usage_service_server::UsageService},
};
use futures_util::{StreamExt as _, stream::BoxStream};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Response, Status, Streaming};

use super::{attendance::Standing, membership};
use crate::metrics::UsageMetrics;

/// Batches of one stream that are under way at once.
const PIPELINE: usize = 4;
const MAX_EVENTS: usize = 1000;
/// A report that was refused for its size would be sent again for ever: so it has room for the most and largest events, each of a subject of its own, and for what stands around them.
pub(crate) const MAX_REPORT_BYTES: usize = 1 << 20;
const _: () = assert!(MAX_EVENTS * (MAX_EVENT_BYTES + MAX_SUBJECT_BYTES + 32) < MAX_REPORT_BYTES);
/// A journal's name is a ULID.
const MAX_JOURNAL_ID: usize = 26;

/// The service.
#[derive(Clone)]
pub(crate) struct UsageGrpc(Arc<Parts>);

/// What it needs.
pub(crate) struct Parts {
    pub(crate) enrollment: Arc<Enrollment>,
    pub(crate) jurisdiction: Jurisdiction,
    pub(crate) regions: Regions,
    pub(crate) intake: UsageIntake,
    pub(crate) refusals: UsageRefusals,
    pub(crate) metrics: UsageMetrics,
    pub(crate) drain: CancellationToken,
}

impl From<Parts> for UsageGrpc {
    fn from(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }
}

#[tonic::async_trait]
impl UsageService for UsageGrpc {
    type ReportStream = BoxStream<'static, Result<ReportResponse, Status>>;

    async fn report(
        &self,
        request: Request<Streaming<ReportRequest>>,
    ) -> Result<Response<Self::ReportStream>, Status> {
        let reporter = membership::peer(&request)?.spiffe.clone();
        let member = self.0.enrollment.member(&reporter).await;
        member.map_err(|error| membership::refusal(error, &self.0.regions))?;

        let standing = Standing { enrollment: Arc::clone(&self.0.enrollment), spiffe: reporter.clone() };
        let (service, drain) = (self.clone(), self.0.drain.clone());
        let answers = request
            .into_inner()
            .take_until(drain.cancelled_owned())
            .map(move |batch| {
                let (service, reporter) = (service.clone(), reporter.clone());
                async move { service.take(&reporter, batch?).await.map_err(Status::from) }
            })
            .buffered(PIPELINE)
            .boxed();
        Ok(Response::new(standing.guard(answers)))
    }
}

impl UsageGrpc {
    /// One batch, whole: converted, stored or refused, and only then answered.
    async fn take(&self, reporter: &SpiffeId, batch: ReportRequest) -> Result<ReportResponse, Refusal> {
        let acknowledged_sequence = last_sequence(&batch)?;
        let (events, mut foreign) = self.admit(&batch.events)?;
        let unpriced = events.iter().filter(|event| !event.priced).count();
        let ours = events.len();
        let stored = if events.is_empty() { Stored::default() } else { self.store(events).await? };
        let duplicates = ours - stored.unknown_organization.len() - stored.inserted as usize;
        foreign.extend(stored.unknown_organization.iter().map(ToString::to_string));

        if let Some(first) = foreign.first() {
            let recorded = self.0.refusals.record(reporter, first).await.map_err(unrecorded)?;
            if recorded {
                tracing::warn!(%reporter, events = foreign.len(), "usage of organizations that are not this region's was refused");
            }
        }
        let refused = u32::try_from(foreign.len()).unwrap_or(u32::MAX);
        self.0.metrics.count_unpriced(unpriced as u64);
        self.0.metrics.count(stored.inserted.into(), duplicates as u64, refused.into());
        Ok(ReportResponse {
            journal_id: batch.journal_id,
            acknowledged_sequence,
            inserted: stored.inserted,
            refused,
        })
    }

    /// The events of this region, and the organizations of those that are not.
    fn admit(&self, batch: &EncodedEvents) -> Result<(Vec<Local<UsageEvent>>, Vec<String>), Refusal> {
        let subjects = self.subjects(batch)?;
        let (mut events, mut foreign) = (Vec::with_capacity(batch.len()), Vec::new());
        for (index, encoded) in batch.iter().enumerate() {
            let malformed = |error| malformed(&format!("events[{index}]"), error);
            let event = EncodedEvent::read(encoded).map_err(malformed)?;
            match subjects.get(event.subject()) {
                Some(Subject::Ours(subject)) => {
                    events.push(event.of(&self.0.jurisdiction, subject).map_err(malformed)?);
                }
                Some(Subject::Foreign { organization }) => foreign.push(organization.clone()),
                None => {
                    let problem = format!("is not under {}, as many as there are", subjects.len());
                    return Err(Refusal::invalid(format!("events[{index}].subject"), problem));
                }
            }
        }
        Ok((events, foreign))
    }

    fn subjects(&self, batch: &EncodedEvents) -> Result<Vec<Subject>, Refusal> {
        let subject = |(index, encoded)| match usage_subject_from_wire(&self.0.jurisdiction, encoded) {
            Ok(subject) => Ok(Subject::Ours(subject)),
            Err(ConvertError::Foreign(_)) => {
                Ok(Subject::Foreign { organization: organization_named(encoded) })
            }
            Err(error) => Err(malformed(&format!("subjects[{index}]"), error)),
        };
        batch.subjects().enumerate().map(subject).collect()
    }

    async fn store(&self, events: Vec<Local<UsageEvent>>) -> Result<Stored, Refusal> {
        self.0.intake.store(events).await.map_err(|error| match error {
            IntakeError::Stopped => {
                Refusal::new(Code::Unavailable, "stopping", "the control plane is stopping: send it again")
            }
            IntakeError::Unavailable(error) | IntakeError::Refused(error) => {
                self.0.metrics.store_errors.inc();
                membership::store(&error)
            }
        })
    }
}

/// Whose calls events of a batch were.
enum Subject {
    Ours(UsageSubject),
    Foreign { organization: String },
}

fn malformed(place: &str, error: ConvertError) -> Refusal {
    match error {
        ConvertError::Field { field, problem } => Refusal::invalid(format!("{place}.{field}"), problem),
        ConvertError::Foreign(error) => Refusal::invalid(place.to_owned(), error.to_string()),
    }
}

/// What an acknowledgement of the batch says.
fn last_sequence(batch: &ReportRequest) -> Result<u64, Refusal> {
    let count = batch.events.len();
    if !(1..=MAX_EVENTS).contains(&count) {
        return Err(Refusal::invalid("events", format!("holds {count} events, not 1 to {MAX_EVENTS}")));
    }
    let subjects = batch.events.subject_count();
    if subjects > count {
        return Err(Refusal::invalid("subjects", format!("holds {subjects}, and there are {count} events")));
    }
    if batch.journal_id.is_empty() || batch.journal_id.len() > MAX_JOURNAL_ID {
        return Err(Refusal::invalid("journal_id", "is not a ULID of 26 characters"));
    }
    let last = batch.first_sequence.checked_add(count as u64 - 1);
    last.ok_or_else(|| Refusal::invalid("first_sequence", "does not fit 64 bits with the events after it"))
}

/// R5 is kept by refusing, and the record of it by not acknowledging until it is written.
fn unrecorded(error: ProcessAuditError) -> Refusal {
    match error {
        ProcessAuditError::Store(error) => membership::store(&error),
        other => membership::internal(&other),
    }
}
