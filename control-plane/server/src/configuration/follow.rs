//! The one writer of the log: reads from the store what was committed, as soon as it hears of it.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use async_trait::async_trait;
use bailiwick_core::{
    configuration::{Configuration, ConfigurationError, ConfigurationReader, ConfigurationStep},
    records::{ChangedResource, Revision},
};
use bailiwick_domain::region::RegionCode;
use tokio::{sync::watch, time::MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::{
    Log, encode,
    entry::Entry,
    history::Operation,
    metrics::LogMetrics,
    resources::Resources,
    state::{Change, State},
};

/// The fallback where a published revision went missing: the store's own counter is asked this often.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// Revisions that are read at once.
const DELTA_REVISIONS: u32 = 512;

/// Where the log comes from; the store, outside of tests.
#[async_trait]
pub(crate) trait Source: Send + Sync {
    async fn epoch(&self) -> Result<String, ConfigurationError>;
    async fn revision(&self) -> Result<Revision, ConfigurationError>;
    async fn all(&self) -> Result<Configuration, ConfigurationError>;
    async fn since(&self, since: Revision, limit: u32) -> Result<ConfigurationStep, ConfigurationError>;
}

#[async_trait]
impl Source for ConfigurationReader {
    async fn epoch(&self) -> Result<String, ConfigurationError> {
        Ok(Self::epoch(self).await?)
    }

    async fn revision(&self) -> Result<Revision, ConfigurationError> {
        Ok(Self::revision(self).await?)
    }

    async fn all(&self) -> Result<Configuration, ConfigurationError> {
        Self::all(self).await
    }

    async fn since(&self, since: Revision, limit: u32) -> Result<ConfigurationStep, ConfigurationError> {
        Self::since(self, since, limit).await
    }
}

/// Keeps a log at its source's newest revision.
pub(crate) struct Follower {
    log: Arc<Log>,
    source: Box<dyn Source>,
    code: RegionCode,
    settings: Arc<Entry>,
    metrics: LogMetrics,
    /// Resources that are withdrawn because they did not open.
    withdrawn: BTreeSet<String>,
    /// Whether the last attempt failed: an outage is logged once, not every second.
    failing: bool,
}

impl Follower {
    /// Reads everything and begins a log with it. `settings` is the region's settings resource.
    pub(crate) async fn start(
        source: Box<dyn Source>,
        code: RegionCode,
        settings: Entry,
        metrics: LogMetrics,
    ) -> Result<Self, ConfigurationError> {
        let settings = Arc::new(settings);
        let epoch = source.epoch().await?;
        let read = source.all().await?;
        let state = State::new(&epoch, read.revision, resources(&settings, &read));
        let log = Arc::new(Log::new(state));
        let mut follower =
            Self { log, source, code, settings, metrics, withdrawn: BTreeSet::new(), failing: false };
        follower.show_withdrawn(read.unopened.iter());
        follower.show();
        Ok(follower)
    }

    pub(crate) fn log(&self) -> Arc<Log> {
        Arc::clone(&self.log)
    }

    /// Follows until stopped. Nothing that the store says or does not say ends it.
    pub(crate) async fn run(mut self, mut revisions: watch::Receiver<Revision>, stop: CancellationToken) {
        let mut poll = tokio::time::interval(POLL_INTERVAL);
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut coordinated = true;
        loop {
            let outcome = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                changed = revisions.changed(), if coordinated => {
                    coordinated = changed.is_ok();
                    let heard = *revisions.borrow_and_update();
                    self.advance(heard).await
                }
                _ = poll.tick() => self.poll().await,
            };
            self.note(outcome);
        }
    }

    async fn poll(&mut self) -> Result<(), ConfigurationError> {
        let (newest, epoch) = (self.source.revision().await?, self.source.epoch().await?);
        let of_this_epoch = self.log.read(|state| *state.epoch == *epoch);
        if newest < self.log.revision() || !of_this_epoch {
            return self.begin_anew().await;
        }
        self.advance(newest).await
    }

    /// Reads steps until the log has reached `newest`.
    pub(crate) async fn advance(&mut self, newest: Revision) -> Result<(), ConfigurationError> {
        while self.log.revision() < newest {
            let since = self.log.revision();
            let step = self.source.since(since, DELTA_REVISIONS).await?;
            if step.truncated {
                self.catch_up_whole().await?;
            } else if step.to > since {
                self.take(step);
            }
            self.show();
            if self.log.revision() == since {
                // Heard of a revision that the store does not show: it reads behind, or was restored. The next poll sees which.
                break;
            }
        }
        Ok(())
    }

    fn take(&mut self, step: ConfigurationStep) {
        let settings = &self.settings;
        let operations = step.changes.iter().map(|(changed, resource)| match (changed, resource) {
            (ChangedResource::RegionSettings, _) => Operation::Put(Arc::clone(settings)),
            (_, Some(resource)) => match encode::entry(resource) {
                Some(entry) => Operation::Put(Arc::new(entry)),
                None => Operation::Gone(encode::name(changed, self.code)),
            },
            (_, None) => Operation::Gone(encode::name(changed, self.code)),
        });
        let change = Change { from: step.from, to: step.to, operations: operations.collect() };
        self.log.apply(change);
        for (changed, _) in &step.changes {
            self.withdrawn.remove(encode::name(changed, self.code).id.as_ref());
        }
        self.show_withdrawn(step.unopened.iter());
    }

    /// The store's log is shorter than our distance: read everything, and go there in one step.
    async fn catch_up_whole(&mut self) -> Result<(), ConfigurationError> {
        let read = self.source.all().await?;
        let resources = resources(&self.settings, &read);
        let change = self.log.read(|state| state.difference(read.revision, &resources));
        self.log.apply(change);
        self.withdrawn.clear();
        self.show_withdrawn(read.unopened.iter());
        Ok(())
    }

    /// The store is another one: it was restored, while this process ran or so that its revision went back. Its epoch is another one then, and
    /// workers take a snapshot.
    async fn begin_anew(&mut self) -> Result<(), ConfigurationError> {
        let epoch = self.source.epoch().await?;
        let read = self.source.all().await?;
        let before = self.log.revision();
        tracing::error!(before = before.0, now = read.revision.0, %epoch, "the store's epoch is another one, or its revision went back: was it restored?");
        self.log.replace(State::new(&epoch, read.revision, resources(&self.settings, &read)));
        self.withdrawn.clear();
        self.show_withdrawn(read.unopened.iter());
        self.show();
        Ok(())
    }

    fn show_withdrawn<'a>(&mut self, unopened: impl Iterator<Item = &'a ChangedResource>) {
        for changed in unopened {
            let name = encode::name(changed, self.code);
            tracing::error!(kind = ?name.kind, id = %name.id, "a sealed value does not open: the resource is withdrawn from workers");
            self.withdrawn.insert(name.id.to_string());
        }
    }

    fn show(&self) {
        self.log.read(|state| self.metrics.show(state, self.withdrawn.len()));
    }

    fn note(&mut self, outcome: Result<(), ConfigurationError>) {
        match outcome {
            Ok(()) if self.failing => {
                self.failing = false;
                tracing::info!(
                    revision = self.log.revision().0,
                    "the configuration log follows the store again"
                );
            }
            Ok(()) => {}
            Err(error) => {
                self.metrics.store_errors.inc();
                if !self.failing {
                    self.failing = true;
                    let error: &dyn std::error::Error = &error;
                    tracing::warn!(error, "the configuration cannot be read; workers serve what they have");
                }
            }
        }
    }
}

fn resources(settings: &Arc<Entry>, read: &Configuration) -> Resources {
    let entries = read.resources.iter().filter_map(encode::entry).map(Arc::new);
    std::iter::once(Arc::clone(settings)).chain(entries).collect()
}
