//! The log's one writer.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bailiwick_core::{
    configuration::{Configuration, ConfigurationError, ConfigurationStep, OpenedResource},
    ports::store::StoreError,
    records::{ChangedResource, Revision},
};
use bailiwick_domain::{
    address::AllowedRanges,
    egress::{EgressPolicy, Residency},
    id::OrganizationId,
    jurisdiction::{Jurisdiction, Local},
    organization::OnStale,
    region::Regions,
    time::Timestamp,
};
use bailiwick_proto::config::v1::ResourceKind;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::super::{
    Log, encode,
    follow::{Follower, Source},
    metrics::LogMetrics,
};

/// A store of organizations, one change a revision.
#[derive(Clone)]
struct Fake(Arc<Mutex<Inside>>);

struct Inside {
    epoch: &'static str,
    /// What the revision put in (true) or took out.
    log: Vec<(Local<OrganizationId>, bool)>,
    /// Revisions that the log no longer has.
    trimmed: usize,
    away: bool,
    unopened: Vec<ChangedResource>,
}

impl Fake {
    fn new() -> Self {
        let inside = Inside { epoch: "one", log: Vec::new(), trimmed: 0, away: false, unopened: Vec::new() };
        Self(Arc::new(Mutex::new(inside)))
    }

    fn with<T>(&self, act: impl FnOnce(&mut Inside) -> T) -> T {
        act(&mut self.0.lock().expect("unpoisoned"))
    }

    fn commit(&self, id: Local<OrganizationId>, there: bool) -> Revision {
        self.with(|inside| {
            inside.log.push((id, there));
            Revision(inside.log.len() as u64)
        })
    }
}

impl Inside {
    fn checked(&self) -> Result<&Self, ConfigurationError> {
        if self.away { Err(StoreError::Unavailable("away".into()).into()) } else { Ok(self) }
    }
}

fn opened(id: Local<OrganizationId>) -> OpenedResource {
    OpenedResource::Organization {
        id,
        suspended: false,
        on_stale: OnStale::Refuse,
        residency: Residency::Region,
        allowed_ranges: AllowedRanges::default(),
        limits: Vec::new(),
    }
}

#[async_trait]
impl Source for Fake {
    async fn epoch(&self) -> Result<String, ConfigurationError> {
        self.with(|inside| Ok(inside.checked()?.epoch.to_owned()))
    }

    async fn revision(&self) -> Result<Revision, ConfigurationError> {
        self.with(|inside| Ok(Revision(inside.checked()?.log.len() as u64)))
    }

    async fn all(&self) -> Result<Configuration, ConfigurationError> {
        self.with(|inside| {
            let inside = inside.checked()?;
            let mut there: Vec<Local<OrganizationId>> = Vec::new();
            for (id, put) in &inside.log {
                there.retain(|held| held != id);
                there.extend(put.then_some(*id));
            }
            Ok(Configuration {
                revision: Revision(inside.log.len() as u64),
                resources: there.into_iter().map(opened).collect(),
                unopened: inside.unopened.clone(),
            })
        })
    }

    async fn since(&self, since: Revision, limit: u32) -> Result<ConfigurationStep, ConfigurationError> {
        self.with(|inside| {
            let inside = inside.checked()?;
            let from = usize::try_from(since.0).expect("small");
            if from < inside.trimmed {
                return Ok(ConfigurationStep {
                    from: since,
                    to: since,
                    truncated: true,
                    ..Default::default()
                });
            }
            let part: Vec<_> = inside.log.iter().skip(from).take(limit as usize).collect();
            Ok(ConfigurationStep {
                from: since,
                to: Revision(since.0 + part.len() as u64),
                changes: part
                    .iter()
                    .map(|(id, put)| (ChangedResource::Organization(*id), put.then(|| opened(*id))))
                    .collect(),
                unopened: Vec::new(),
                truncated: false,
            })
        })
    }
}

fn here() -> Jurisdiction {
    Jurisdiction::of(Regions::builtin().by_name_str("eu-central-1").expect("builtin"))
}

fn organization(n: u128) -> Local<OrganizationId> {
    here().mint(Timestamp::from_micros(1_800_000_000_000_000), n)
}

async fn follower(store: &Fake) -> Follower {
    let settings =
        encode::region_settings(here().code(), &[1; 32], &EgressPolicy::default()).expect("content");
    let started =
        Follower::start(Box::new(store.clone()), here().code(), settings, LogMetrics::default()).await;
    started.expect("the store is there")
}

fn holds(log: &Log, id: Local<OrganizationId>) -> bool {
    let name = super::super::entry::Name::new(ResourceKind::Organization, &id.to_string());
    log.read(|state| state.resources.find(&name).is_some())
}

#[tokio::test]
async fn a_published_revision_is_in_the_log_without_waiting_for_the_poll() {
    let store = Fake::new();
    let follower = follower(&store).await;
    let log = follower.log();
    let (publish, revisions) = watch::channel(Revision(0));
    let stop = CancellationToken::new();
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(follower.run(revisions, stop.clone()));
    let mut states = log.subscribe();
    let committed = std::time::Instant::now();
    publish.send_replace(store.commit(organization(1), true));
    states.wait_for(|state| state.revision == Revision(1)).await.expect("open");
    assert!(committed.elapsed() < std::time::Duration::from_millis(500));
    assert!(holds(&log, organization(1)));
    stop.cancel();
    tasks.join_all().await;
}

#[tokio::test(start_paused = true)]
async fn a_revision_that_nobody_published_is_found_by_polling_also_after_an_outage() {
    let store = Fake::new();
    let follower = follower(&store).await;
    let log = follower.log();
    let (publish, revisions) = watch::channel(Revision(0));
    drop(publish);
    let stop = CancellationToken::new();
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(follower.run(revisions, stop.clone()));
    let mut states = log.subscribe();
    store.commit(organization(1), true);
    states.wait_for(|state| state.revision == Revision(1)).await.expect("open");

    store.with(|inside| inside.away = true);
    store.commit(organization(1), false);
    for _ in 0..5 {
        tokio::time::advance(std::time::Duration::from_secs(1)).await;
    }
    assert_eq!(log.revision(), Revision(1));
    store.with(|inside| inside.away = false);
    states.wait_for(|state| state.revision == Revision(2)).await.expect("open");
    assert!(!holds(&log, organization(1)));
    stop.cancel();
    tasks.join_all().await;
}

#[tokio::test]
async fn many_revisions_are_read_in_parts_without_a_gap() {
    let store = Fake::new();
    let mut follower = follower(&store).await;
    (0..1999).for_each(|n| assert!(store.commit(organization(n), true) > Revision(0)));
    let last = store.commit(organization(1999), true);
    follower.advance(last).await.expect("read");
    let log = follower.log();
    assert_eq!(log.revision(), Revision(2000));
    let steps = log.read(|state| state.history.since(Revision(0), Revision(2000))).expect("reaches back");
    let ends: Vec<_> = steps.iter().map(|step| (step.from.0, step.to.0)).collect();
    assert_eq!(ends, [(0, 512), (512, 1024), (1024, 1536), (1536, 2000)]);
}

#[tokio::test]
async fn a_store_whose_log_was_trimmed_is_read_whole_and_the_difference_is_one_step() {
    let store = Fake::new();
    store.commit(organization(1), true);
    let mut follower = follower(&store).await;
    store.commit(organization(1), false);
    let newest = store.commit(organization(2), true);
    store.with(|inside| inside.trimmed = 2);
    follower.advance(newest).await.expect("read");
    let log = follower.log();
    assert!(holds(&log, organization(2)) && !holds(&log, organization(1)));
    let steps = log.read(|state| state.history.since(Revision(1), newest)).expect("reaches back");
    assert_eq!(steps.len(), 1);
    assert_eq!(steps[0].operations.len(), 2, "the settings did not change");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_went_back_begins_a_new_epoch() {
    let store = Fake::new();
    store.commit(organization(1), true);
    store.commit(organization(2), true);
    let follower = follower(&store).await;
    let log = follower.log();
    let (_publish, revisions) = watch::channel(Revision(2));
    let stop = CancellationToken::new();
    let mut tasks = tokio::task::JoinSet::new();
    store.with(|inside| {
        inside.log.pop();
        inside.epoch = "two";
    });
    let mut states = log.subscribe();
    tasks.spawn(follower.run(revisions, stop.clone()));
    states.wait_for(|state| &*state.epoch == "two").await.expect("open");
    assert_eq!(log.revision(), Revision(1));
    assert!(!holds(&log, organization(2)));
    stop.cancel();
    tasks.join_all().await;
}

#[tokio::test]
async fn a_resource_that_does_not_open_is_left_out_and_the_log_goes_on() {
    let store = Fake::new();
    let credential = here().mint(Timestamp::from_micros(1_800_000_000_000_000), 9);
    store.with(|inside| inside.unopened.push(ChangedResource::Credential(credential)));
    store.commit(organization(1), true);
    let mut follower = follower(&store).await;
    let newest = store.commit(organization(2), true);
    follower.advance(newest).await.expect("read");
    assert!(holds(&follower.log(), organization(2)));
}

#[tokio::test]
async fn a_revision_that_the_store_does_not_show_is_not_waited_for() {
    let store = Fake::new();
    store.commit(organization(1), true);
    let mut follower = follower(&store).await;
    follower.advance(Revision(9)).await.expect("read");
    assert_eq!(follower.log().revision(), Revision(1));
    // The store went back, and its log no longer reaches where we stand.
    store.with(|inside| {
        inside.log.clear();
        inside.trimmed = 5;
    });
    follower.advance(Revision(9)).await.expect("read");
    assert_eq!(follower.log().revision(), Revision(1));
}
