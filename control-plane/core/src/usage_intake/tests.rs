use std::sync::Mutex;

use bailiwick_domain::{
    jurisdiction::Jurisdiction,
    key::ApiKey,
    money::NanoUsd,
    price::{MediaCounts, TokenCounts},
    region::Regions,
    time::Timestamp,
    usage::{CallEnd, CallType, EventId, RequestId, UsageSource},
};
use tokio::sync::Semaphore;

use super::*;

/// A store whose commits a test lets through one by one.
struct Gated {
    gate: Semaphore,
    commits: Mutex<Vec<usize>>,
    outcome: Box<Outcome>,
}

type Outcome = dyn Fn(&[Local<UsageEvent>]) -> Result<UsageInserted, StoreError> + Send + Sync;

#[async_trait]
impl UsageSink for Gated {
    async fn usage_insert(&self, events: &[Local<UsageEvent>]) -> Result<UsageInserted, StoreError> {
        self.gate.acquire().await.expect("open").forget();
        self.commits.lock().expect("unpoisoned").push(events.len());
        (self.outcome)(events)
    }
}

fn gated(
    commits: usize,
    outcome: impl Fn(&[Local<UsageEvent>]) -> Result<UsageInserted, StoreError> + Send + Sync + 'static,
) -> Arc<Gated> {
    Arc::new(Gated { gate: Semaphore::new(commits), commits: Mutex::default(), outcome: Box::new(outcome) })
}

fn all_new(events: &[Local<UsageEvent>]) -> Result<UsageInserted, StoreError> {
    Ok(UsageInserted {
        inserted: u32::try_from(events.len()).expect("few"),
        unknown_organization: Vec::new(),
    })
}

fn events(count: usize) -> Vec<Local<UsageEvent>> {
    let regions = Regions::builtin();
    let here = Jurisdiction::of(regions.by_name_str("eu-central-1").expect("builtin"));
    let now = Timestamp::from_micros(1_800_000_000_000_000);
    let event = || UsageEvent {
        event_id: EventId::new(now),
        request_id: RequestId::random(),
        organization: here.mint_random(now).into_inner(),
        key: ApiKey::generate(here.code()).key_id(),
        model: here.mint_random(now).into_inner(),
        deployment: here.mint_random(now).into_inner(),
        call_type: CallType::ChatCompletion,
        stream: false,
        status: 200,
        end: CallEnd::Completed,
        source: UsageSource::ProviderFinal,
        tokens: TokenCounts::default(),
        media: MediaCounts::default(),
        cost: NanoUsd::default(),
        priced: false,
        started: now,
        first_byte: None,
        finished: now,
        attempts: 1,
    };
    (0..count).map(|_| here.admit(event()).expect("of this region")).collect()
}

#[tokio::test]
async fn r10_a_batch_is_answered_only_after_its_commit() {
    let store = gated(0, all_new);
    let (intake, writer) = UsageIntake::new(Arc::clone(&store));
    let mut writer = std::pin::pin!(writer.run());
    let mut answer = std::pin::pin!(intake.store(events(2)));
    for _ in 0..100 {
        tokio::select! {
            biased;
            _ = &mut answer => panic!("answered before the commit"),
            () = &mut writer => panic!("the writer ended"),
            () = tokio::task::yield_now() => {}
        }
    }
    store.gate.add_permits(1);
    let stored =
        tokio::select! { stored = &mut answer => stored, () = &mut writer => panic!("the writer ended") };
    assert_eq!(stored.expect("stored").inserted, 2);
}

#[tokio::test]
async fn batches_that_arrive_during_a_commit_share_the_next_one() {
    let store = gated(8, all_new);
    let (intake, writer) = UsageIntake::new(Arc::clone(&store));
    let batches = async {
        let answers = tokio::join!(intake.store(events(1)), intake.store(events(2)), intake.store(events(3)));
        let counts = [answers.0, answers.1, answers.2].map(|answer| answer.expect("stored").inserted);
        drop(intake);
        counts
    };
    let (counts, ()) = tokio::join!(batches, writer.run());
    assert_eq!(counts, [1, 2, 3]);
    assert_eq!(store.commits.lock().expect("unpoisoned").as_slice(), [6]);
}

#[tokio::test]
async fn each_batch_hears_of_its_own_refused_events() {
    let store = gated(1, |_| Ok(UsageInserted { inserted: 4, unknown_organization: vec![1, 2, 5] }));
    let (intake, writer) = UsageIntake::new(store);
    let (two, five) = (events(2), events(5));
    let of = |events: &[Local<UsageEvent>], index: usize| events[index].organization;
    let refused = [vec![of(&two, 1)], vec![of(&five, 0), of(&five, 3)]];
    let batches = async {
        let answers = tokio::join!(intake.store(two), intake.store(five));
        drop(intake);
        answers
    };
    let ((first, second), ()) = tokio::join!(batches, writer.run());
    let [of_first, of_second] = refused;
    assert_eq!(first.expect("stored"), Stored { inserted: 1, unknown_organization: of_first });
    assert_eq!(second.expect("stored"), Stored { inserted: 3, unknown_organization: of_second });
}

#[tokio::test]
async fn one_batch_that_the_store_refuses_takes_no_other_with_it() {
    let store =
        gated(
            8,
            |events| {
                if events.len() == 2 { all_new(events) } else { Err(StoreError::Conflict("a rule")) }
            },
        );
    let (intake, writer) = UsageIntake::new(store);
    let batches = async {
        let answers = tokio::join!(intake.store(events(2)), intake.store(events(1)));
        drop(intake);
        answers
    };
    let ((good, bad), ()) = tokio::join!(batches, writer.run());
    assert_eq!(good.expect("stored").inserted, 2);
    assert!(matches!(bad, Err(IntakeError::Refused(_))));
}

#[tokio::test]
async fn a_store_that_is_away_says_so_to_every_batch() {
    let store = gated(8, |_| Err(StoreError::Unavailable("gone".into())));
    let (intake, writer) = UsageIntake::new(store);
    let batches = async {
        let answers = tokio::join!(intake.store(events(2)), intake.store(events(1)));
        drop(intake);
        answers
    };
    let ((first, second), ()) = tokio::join!(batches, writer.run());
    assert!(matches!(first, Err(IntakeError::Unavailable(_))));
    assert!(matches!(second, Err(IntakeError::Unavailable(_))));
}
