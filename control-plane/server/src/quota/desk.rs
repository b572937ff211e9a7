//! The one task that owns the allocator: hears, stores, and only then answers.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bailiwick_core::{
    ports::{
        coordination::Coordination,
        quota::{LimitsChanged, Office, QuotaStore},
        store::StoreError,
    },
    records::Revision,
};
use bailiwick_domain::{id::OrganizationId, time::Clock};
use bailiwick_quota::{
    allocator::{Allocator, Committed, Row, Step},
    limit::{Limit, LimitId},
    policy::Policy,
    protocol::{FromHolder, ToHolder},
};
use tokio::{
    sync::{mpsc, watch},
    time::{Interval, MissedTickBehavior},
};
use tokio_util::sync::CancellationToken;

use super::{
    Heard, Quota, QuotaMetrics, RETRY, StreamId, nobody_in_office,
    streams::{Admitted, Owners, Streams},
};

/// How often recalls that nobody answers and leases that nobody renews are looked at.
const TICK: Duration = Duration::from_millis(100);
/// The fallback where a published revision went missing.
const POLL: Duration = Duration::from_secs(1);
/// Messages that are heard for one transaction.
const GROUP: usize = 512;
/// The coordination's name of the job.
const JOB: &str = "quota";
const MINUTE_MICROS: i64 = 60_000_000;

/// Everything that lending needs.
pub(crate) struct Desk {
    pub(crate) store: Arc<dyn QuotaStore>,
    pub(crate) coordination: Arc<dyn Coordination>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) metrics: QuotaMetrics,
    pub(crate) stop: CancellationToken,
}

impl Desk {
    /// The way to the desk, and its task.
    pub(crate) fn open(self) -> (Quota, impl Future<Output = ()>) {
        let (quota, heard) = Quota::new();
        (quota, self.run(heard))
    }

    /// Until stopped: takes office, serves, and begins anew when the term is over or the store was away.
    async fn run(self, mut heard: mpsc::Receiver<Heard>) {
        let stop = self.stop.clone();
        let serve = async {
            let _leading = self.coordination.lead(JOB).await;
            let mut failing = false;
            loop {
                // A clock's minutes are larger than any term of a store that was restored meanwhile.
                let at_least = u64::try_from(self.clock.now().as_micros() / MINUTE_MICROS).unwrap_or(0);
                let ended = match self.store.take_office(at_least).await {
                    Ok(office) => {
                        failing = false;
                        tracing::info!(term = office.term, "lending the region's limits");
                        let error = self.serve(office, &mut heard).await;
                        self.metrics.offices_lost.inc();
                        error
                    }
                    Err(error) => error,
                };
                if !std::mem::replace(&mut failing, true) {
                    let error: &dyn std::error::Error = &ended;
                    tracing::warn!(error, "limits are not lent at the moment; what is lent lives on");
                }
                refuse(&mut heard, &ended).await;
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = serve => {}
        }
    }

    /// One term. It ends with the error that ended it.
    async fn serve(&self, office: Office, heard: &mut mpsc::Receiver<Heard>) -> StoreError {
        let mut term = Term::of(self, office);
        let mut ticks = every(TICK);
        let mut polls = every(POLL);
        let mut revisions = Some(self.coordination.revisions());
        let error = loop {
            let outcome = tokio::select! {
                biased;
                () = changed(&mut revisions) => term.follow_limits().await,
                _ = polls.tick() => term.follow_limits().await,
                _ = ticks.tick() => term.tick().await,
                first = heard.recv() => match first {
                    Some(first) => term.hear(first, heard).await,
                    // The process stops: whoever stops it ends this.
                    None => std::future::pending().await,
                },
            };
            if let Err(error) = outcome {
                break error;
            }
        };
        term.streams.refuse_all(nobody_in_office);
        self.metrics.show(0, 0, bailiwick_quota::allocator::Overview::default());
        error
    }
}

/// Says to whoever comes that nobody is in office, for as long as it makes no sense to try again. Who lost office to another control plane waits for a worker that wants this one.
async fn refuse(heard: &mut mpsc::Receiver<Heard>, ended: &StoreError) {
    let mut wanted = !matches!(ended, StoreError::Conflict(_));
    let pause = tokio::time::sleep(RETRY);
    tokio::pin!(pause);
    loop {
        tokio::select! {
            () = &mut pause, if wanted => return,
            next = heard.recv() => match next {
                Some(Heard::Opened { answers, .. }) => {
                    wanted = true;
                    let _ = answers.try_send(Err(nobody_in_office().into()));
                }
                // Whoever asks is told by the channel's end.
                Some(_) => {}
                None => std::future::pending().await,
            },
        }
    }
}

fn every(period: Duration) -> Interval {
    let mut ticks = tokio::time::interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// Resolves with each new revision; never where nobody tells of them.
async fn changed(revisions: &mut Option<watch::Receiver<Revision>>) {
    if let Some(receiver) = revisions {
        if receiver.changed().await.is_ok() {
            return;
        }
        *revisions = None;
    }
    std::future::pending().await
}

/// A term in office.
struct Term<'a> {
    desk: &'a Desk,
    allocator: Allocator,
    owners: Owners,
    streams: Streams,
    /// Of the limits.
    revision: Revision,
    /// Those of each organization that the allocator knows.
    limits: BTreeMap<OrganizationId, Vec<LimitId>>,
}

/// What was decided, and who asked.
type Decided = (Step, Option<StreamId>);

impl<'a> Term<'a> {
    fn of(desk: &'a Desk, office: Office) -> Self {
        let mut limits: BTreeMap<OrganizationId, Vec<LimitId>> = BTreeMap::new();
        for limit in &office.limits {
            limits.entry(limit.id().organization).or_default().push(limit.id());
        }
        let (policy, now) = (Policy::default(), desk.clock.now());
        let allocator = Allocator::take_office(office.term, policy, office.limits, &office.stored, now);
        Self {
            desk,
            allocator,
            owners: office.workers,
            streams: Streams::default(),
            revision: office.revision,
            limits,
        }
    }

    /// Hears what waits, all of it for one transaction.
    async fn hear(&mut self, first: Heard, heard: &mut mpsc::Receiver<Heard>) -> Result<(), StoreError> {
        let mut group = vec![first];
        while group.len() < GROUP
            && let Ok(next) = heard.try_recv()
        {
            group.push(next);
        }
        let (mut decided, mut leaving) = (Vec::new(), Vec::new());
        for one in group {
            match one {
                Heard::Opened { stream, worker, answers } => {
                    let lost = self.streams.open(stream, worker, answers);
                    lost.into_iter().for_each(|holder| self.allocator.disconnected(holder));
                }
                Heard::Closed { stream } => self.close(stream),
                Heard::Said { stream, message } => {
                    let leaves = matches!(&message, FromHolder::Exchange(exchange) if exchange.leaving);
                    let step = self.said(stream, message);
                    leaving.extend(step.as_ref().filter(|_| leaves).map(|_| stream));
                    decided.extend(step);
                }
                Heard::Asked { organization, answer } => {
                    // Who asked may have gone.
                    let _ = answer.send(self.allocator.accounts_of(organization));
                }
            }
        }
        self.store(decided).await?;
        // Its last words are stored: that the stream ends tells the worker so.
        leaving.into_iter().for_each(|stream| self.close(stream));
        Ok(())
    }

    fn said(&mut self, stream: StreamId, message: FromHolder) -> Option<Decided> {
        self.desk.metrics.messages.inc();
        let now = self.desk.clock.now();
        let claimed = match &message {
            FromHolder::Hello(hello) => hello.supersedes.len(),
            FromHolder::Exchange(_) | FromHolder::Settlement(_) => 0,
        };
        match self.streams.admit(stream, message, &self.owners) {
            Admitted::Hear(message) => {
                if matches!(&message, FromHolder::Hello(hello) if hello.supersedes.len() < claimed) {
                    self.desk.metrics.foreign_names.inc();
                }
                Some((self.allocator.hear(&message, now), Some(stream)))
            }
            Admitted::Unknown(holder) => {
                if self.owners.contains_key(&holder) {
                    self.desk.metrics.foreign_names.inc();
                    let worker = self.streams.worker(stream).unwrap_or_default();
                    tracing::warn!(worker, holder = holder.0, "a worker spoke in the name of another one");
                }
                self.send(&ToHolder::Unknown { holder }, Some(stream));
                None
            }
            Admitted::Nobody => None,
        }
    }

    async fn tick(&mut self) -> Result<(), StoreError> {
        let step = self.allocator.tick(self.desk.clock.now());
        self.store(vec![(step, None)]).await?;
        let (term, overview) = (self.allocator.term(), self.allocator.overview());
        self.desk.metrics.show(term, self.streams.len(), overview);
        Ok(())
    }

    /// Stores what was decided, and then says it.
    async fn store(&mut self, decided: Vec<Decided>) -> Result<(), StoreError> {
        let rows: Vec<Row> = decided.iter().flat_map(|(step, _)| step.rows()).cloned().collect();
        self.note_owners(&decided);
        if !rows.is_empty() {
            self.desk.store.write_quota(self.allocator.term(), &rows, &self.owners).await?;
            self.desk.metrics.transactions.inc();
            self.desk.metrics.rows.inc_by(rows.len() as u64);
        }
        for row in &rows {
            if let Row::HolderGone(holder) = row {
                self.owners.remove(holder);
            }
        }
        for (step, asked) in decided {
            for message in step.stored(Committed::after_the_transaction()) {
                self.send(&message, asked);
            }
        }
        Ok(())
    }

    /// A name that is given in answer to a hello is the name of the worker that said it, and of no other.
    fn note_owners(&mut self, decided: &[Decided]) {
        for (step, asked) in decided {
            let Some(worker) = asked.and_then(|stream| self.streams.worker(stream)) else { continue };
            for row in step.rows() {
                if let Row::Holder(row) = row {
                    self.owners.entry(row.holder).or_insert_with(|| worker.to_owned());
                }
            }
        }
    }

    fn send(&mut self, message: &ToHolder, asked: Option<StreamId>) {
        if let Err(slow) = self.streams.send(message, asked) {
            self.desk.metrics.slow_streams.inc();
            self.close(slow);
        }
    }

    fn close(&mut self, stream: StreamId) {
        let lost = self.streams.close(stream);
        lost.into_iter().for_each(|holder| self.allocator.disconnected(holder));
    }

    /// Takes over what administrators changed.
    async fn follow_limits(&mut self) -> Result<(), StoreError> {
        let LimitsChanged { to, changed, truncated } = match self.desk.store.limits_since(self.revision).await
        {
            // What is known of limits holds until more is: it is asked again in a moment.
            Err(StoreError::Unavailable(_)) => return Ok(()),
            answer => answer?,
        };
        if truncated {
            // The store was restored, or the log is shorter than what was missed: all is read anew.
            return Err(StoreError::Conflict("a log of changes that reaches back"));
        }
        self.revision = to;
        for (organization, limits) in changed {
            self.set_limits(organization, &limits);
        }
        Ok(())
    }

    fn set_limits(&mut self, organization: OrganizationId, limits: &[Limit]) {
        let known = self.limits.remove(&organization).unwrap_or_default();
        let gone = known.iter().filter(|id| !limits.iter().any(|limit| limit.id() == **id));
        gone.for_each(|id| self.allocator.remove_limit(*id));
        limits.iter().for_each(|limit| self.allocator.set_limit(*limit));
        if !limits.is_empty() {
            self.limits.insert(organization, limits.iter().map(Limit::id).collect());
        }
    }
}
