//! R10 from the meter to the store: whatever dies in between, every call is counted, and once.

mod store;

use std::{path::Path, sync::Arc, time::Duration};

use bailiwick_domain::{
    jurisdiction::Jurisdiction,
    key::ApiKey,
    money::NanoUsd,
    price::{PerMillion, Price, TokenCounts},
    region::Regions,
    time::{Clock, ManualClock, Timestamp},
    usage::{CallEnd, CallType, EventId, RequestId, UsageSource},
};
use bailiwick_proto::worker::v1 as wire;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use self::store::FakeStore;
use super::{Journals, Meter, OpenCall, Outcome, Reporter, StartedCall, Used, account::Standing};
use crate::polling::eventually;

const MAX_BYTES: u64 = 64 * 1024 * 1024;

pub(crate) fn now() -> Timestamp {
    Timestamp::from_micros(1_790_000_000_000_000)
}

pub(crate) fn clock() -> Arc<dyn Clock> {
    Arc::new(ManualClock::at(now().saturating_add(Duration::from_secs(5))))
}

/// One dollar a million tokens, either way.
pub(crate) fn price() -> Price {
    let dollar = PerMillion::from_usd(NanoUsd::from_nanos(1_000_000_000)).unwrap();
    Price::of_tokens(dollar, dollar)
}

/// What a call asks.
const ASKED_BYTES: usize = 400;

pub(crate) fn call() -> StartedCall {
    let region = Jurisdiction::of(Regions::builtin().by_name_str("eu-central-1").unwrap());
    StartedCall {
        event_id: EventId::new(now()),
        request_id: RequestId::random(),
        organization: region.mint_random(now()).into_inner(),
        key: ApiKey::generate(region.code()).key_id(),
        model: region.mint_random(now()).into_inner(),
        deployment: region.mint_random(now()).into_inner(),
        call_type: CallType::ChatCompletion,
        stream: true,
        price: Some(price()),
        asked_bytes: ASKED_BYTES,
        started: now(),
    }
}

pub(crate) fn completed(tokens: u64) -> Outcome {
    let tokens = TokenCounts { prompt: tokens, completion: tokens, ..TokenCounts::default() };
    Outcome {
        status: 200,
        end: CallEnd::Completed,
        used: Used::told(UsageSource::ProviderFinal, tokens.into()),
    }
}

/// Journals of two cores.
fn open(folder: &Path) -> Journals {
    Journals::open(folder, 2, MAX_BYTES, now()).unwrap()
}

fn meters(journals: &mut Journals) -> Vec<Meter> {
    std::mem::take(&mut journals.writers)
        .into_iter()
        .map(|writer| Meter::new(Some(writer), clock()))
        .collect()
}

fn segments(folder: &Path) -> usize {
    let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    names.filter(|name| name.to_str().unwrap().ends_with(".journal")).count()
}

/// Sends what a process has, until everything is acknowledged. The writers must be gone.
async fn flush(journals: Journals, store: &FakeStore) {
    let finish = CancellationToken::new();
    finish.cancel();
    let reporter = Reporter::new(store.channel(), journals.queue);
    reporter.run(finish, Duration::from_secs(60)).await;
}

/// What the store is to hold of a call.
struct Expected {
    id: [u8; 16],
    end: wire::CallEnd,
    tokens: u64,
}

fn assert_stored_once(store: &FakeStore, expected: &[Expected]) {
    let events = store.events();
    assert_eq!(events.len(), expected.len());
    for call in expected {
        let event = events.get(call.id.as_slice()).unwrap_or_else(|| panic!("a call is lost"));
        assert_eq!((event.end(), event.prompt_tokens), (call.end, call.tokens));
    }
}

fn settled(meter: &Meter, tokens: u64) -> Expected {
    let started = call();
    meter.start(started).unwrap().settle(completed(tokens), now()).at_once();
    Expected { id: *started.event_id.as_bytes(), end: wire::CallEnd::Completed, tokens }
}

/// A call that is under way when its process dies.
fn left_open(meter: &Meter) -> (Expected, OpenCall) {
    let started = call();
    let open = meter.start(started).unwrap();
    meter.write().unwrap();
    (
        Expected {
            id: *started.event_id.as_bytes(),
            end: wire::CallEnd::Interrupted,
            tokens: ASKED_BYTES as u64 / 4,
        },
        open,
    )
}

#[tokio::test]
async fn r10_every_call_of_a_crashed_worker_is_stored_once() {
    let folder = tempfile::tempdir().unwrap();
    let store = FakeStore::start().await;
    let mut journals = open(folder.path());
    let meters = meters(&mut journals);
    let mut expected = Vec::new();
    for tokens in 0..1500 {
        expected.push(settled(&meters[0], tokens));
        expected.push(settled(&meters[1], tokens));
    }
    for meter in &meters {
        let (call, open) = left_open(meter);
        expected.push(call);
        // Nothing is closed, nothing is told: the process is gone.
        std::mem::forget(open);
    }
    std::mem::forget(meters);
    drop(journals);

    let mut restarted = open(folder.path());
    drop(std::mem::take(&mut restarted.writers));
    flush(restarted, &store).await;
    assert_stored_once(&store, &expected);
    assert_eq!(segments(folder.path()), 0, "what is acknowledged is deleted");
}

#[tokio::test]
async fn r10_a_store_that_loses_acknowledgements_stores_nothing_twice_and_misses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = FakeStore::start().await;
    // Refused before storing; stored and not acknowledged; acknowledged twice.
    store.misbehave(&["refuse", "lose", "ok", "refuse", "twice", "lose", "ok"]);
    let mut journals = open(folder.path());
    let meters = meters(&mut journals);
    let expected: Vec<Expected> = (0..5000).map(|tokens| settled(&meters[0], tokens)).collect();
    drop(meters);
    flush(journals, &store).await;
    assert_stored_once(&store, &expected);
    assert!(store.delivered() > expected.len(), "some came twice, or this tests nothing");
    assert_eq!(segments(folder.path()), 0);
}

#[tokio::test]
async fn r10_a_crash_while_an_earlier_crash_is_settled_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = FakeStore::start().await;
    let mut journals = open(folder.path());
    let meters_of_first = meters(&mut journals);
    let mut expected = vec![settled(&meters_of_first[0], 7)];
    let (call, open_call) = left_open(&meters_of_first[0]);
    expected.push(call);
    std::mem::forget((open_call, meters_of_first));
    drop(journals);

    // The second process sends everything, hears nothing, and dies.
    store.misbehave(&["silent"; 8]);
    let mut second = open(folder.path());
    let meters_of_second = meters(&mut second);
    expected.push(settled(&meters_of_second[1], 9));
    let reporter = Reporter::new(store.channel(), second.queue);
    let mut tasks = JoinSet::new();
    tasks.spawn(reporter.run(CancellationToken::new(), Duration::from_secs(60)));
    store.wait_for(expected.len()).await;
    tasks.shutdown().await;
    std::mem::forget(meters_of_second);
    drop((second.lock, second.syncer));

    store.misbehave(&[]);
    let mut third = open(folder.path());
    drop(std::mem::take(&mut third.writers));
    flush(third, &store).await;
    assert_stored_once(&store, &expected);
}

#[tokio::test]
async fn usage_arrives_while_the_worker_serves_and_disk_is_given_back() {
    let folder = tempfile::tempdir().unwrap();
    let store = FakeStore::start().await;
    let mut journals = open(folder.path());
    let writer = journals.writers.pop().unwrap().with_segments_of(4096);
    let meter = Meter::new(Some(writer), clock());
    let reporter = Reporter::new(store.channel(), journals.queue);
    let finish = CancellationToken::new();
    let mut tasks = JoinSet::new();
    tasks.spawn(reporter.run(finish.clone(), Duration::from_secs(60)));

    // A long call, whose record every segment carries on.
    let (mut of_long, long) = left_open(&meter);
    let mut expected: Vec<Expected> = (0..200).map(|tokens| settled(&meter, tokens)).collect();
    assert!(segments(folder.path()) > 10);
    store.wait_for(200).await;
    let account = Arc::clone(&journals.account);
    eventually(|| account.unsent() == 0 && segments(folder.path()) <= 2).await;
    assert_eq!(account.acknowledged(), 200);

    long.settle(completed(1), now()).at_once();
    (of_long.end, of_long.tokens) = (wire::CallEnd::Completed, 1);
    expected.push(of_long);
    drop((meter, journals.writers));
    finish.cancel();
    tasks.join_next().await;
    assert_stored_once(&store, &expected);
    assert_eq!((segments(folder.path()), account.bytes()), (0, 0));
}

#[tokio::test]
async fn a_journal_at_its_bound_takes_calls_again_when_its_usage_was_sent() {
    let folder = tempfile::tempdir().unwrap();
    let store = FakeStore::start().await;
    let mut journals = Journals::open(folder.path(), 2, 1 << 20, now()).unwrap();
    let account = Arc::clone(&journals.account);
    let meters = meters(&mut journals);
    while let Ok(open) = meters[0].start(call()) {
        open.settle(completed(1), now()).at_once();
    }
    assert_eq!(account.standing(), Standing::AtBound);
    let finish = CancellationToken::new();
    let mut sending = JoinSet::new();
    sending
        .spawn(Reporter::new(store.channel(), journals.queue).run(finish.clone(), Duration::from_secs(60)));
    // The segment that is being written stays; there is room beside it.
    eventually(|| account.standing() == Standing::Good).await;
    assert!(meters[0].start(call()).is_ok() && meters[1].start(call()).is_ok());
    drop(meters);
    finish.cancel();
    sending.join_next().await.unwrap().unwrap();
}
