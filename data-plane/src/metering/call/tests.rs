use std::time::Duration;

use bailiwick_domain::{money::NanoUsd, packed::Packed as _, price::MediaCounts};
use bailiwick_proto::worker::v1 as wire;
use bailiwick_runtime::serving::ResponseBody;

use super::*;
use crate::metering::{
    Journals, StartedCall,
    meter::if_nothing_follows,
    settled::{Metered, events},
    tests::{call, clock, completed, now},
    writer::JournalFull,
};

fn metered(during: impl FnOnce(OpenCall)) -> Metered {
    metered_as(call(), during)
}

fn metered_as(started: StartedCall, during: impl FnOnce(OpenCall)) -> Metered {
    let folder = tempfile::tempdir().unwrap();
    let mut journals = Journals::open(folder.path(), 1, 1 << 20, now()).unwrap();
    let meter = Meter::new(journals.writers.pop(), clock());
    during(meter.start(started).unwrap());
    let mut events = events(folder.path());
    assert_eq!(events.len(), 1, "a call is settled once");
    events.remove(0)
}

#[test]
fn a_completed_call_has_its_numbers_and_its_cost() {
    let later = now().saturating_add(Duration::from_secs(1));
    let event = metered(|mut call| {
        call.attempts(2);
        call.first_byte(now());
        call.first_byte(later);
        call.settle(completed(100), later).at_once();
    });
    assert_eq!((event.status, event.attempts, event.end()), (200, 2, wire::CallEnd::Completed));
    assert_eq!((event.source(), event.prompt_tokens), (wire::UsageSource::ProviderFinal, 100));
    // 200 tokens at a dollar a million.
    assert_eq!((event.cost_nanos_usd, event.priced), (200_000, true));
    assert_eq!(
        (event.started_after_micros, event.first_byte_after_micros, event.finished_after_micros),
        (0, Some(0), 1_000_000)
    );
}

#[test]
fn a_caller_who_leaves_before_the_answer_is_metered_with_what_the_provider_had_read() {
    let asked =
        Prompt::Body(r#"{"model":"m","messages":[{"role":"user","content":"a word or two"}]}"#.into());
    let event = metered(|mut call| {
        call.asks(asked);
        call.attempts(1);
        drop(call);
    });
    assert_eq!((event.end(), event.source()), (wire::CallEnd::CallerLeft, wire::UsageSource::Estimated));
    assert!((8..=16).contains(&event.prompt_tokens), "{}", event.prompt_tokens);
    assert_eq!(
        (event.completion_tokens, event.cost_nanos_usd),
        (0, 1000 * event.prompt_tokens.cast_signed())
    );
    let took = clock().now().saturating_since(now());
    assert_eq!(event.finished_after_micros, i64::try_from(took.as_micros()).unwrap());
}

#[test]
fn a_call_whose_worker_dies_counts_with_what_it_asked_and_says_no_money() {
    let event = |call_type, asked_bytes| {
        let event = if_nothing_follows(&StartedCall { call_type, asked_bytes, ..call() });
        assert_eq!((event.end, event.source), (CallEnd::Interrupted, UsageSource::Estimated));
        assert_eq!(event.cost, NanoUsd::default(), "as limits have it");
        (event.tokens.prompt, event.priced)
    };
    assert_eq!(event(CallType::ChatCompletion, 401), (101, true));
    // Most of what is larger is pictures.
    assert_eq!(event(CallType::Message, 10 << 20), (16_384, true));
    assert_eq!(event(CallType::TokenCount, 400), (0, true));
    for unknown in [CallType::Image, CallType::Speech, CallType::Transcription] {
        assert!(!event(unknown, 400).1, "{unknown:?}");
    }
    assert_eq!(event(CallType::AudioTranslation, 10 << 20).0, 0, "bytes of sound are no tokens");
    // What is known in the end says nothing of it.
    assert_eq!(metered(drop).prompt_tokens, 0);
}

#[test]
fn a_form_that_never_came_whole_cost_nothing_and_one_that_did_nobody_knows_what() {
    for (is_whole, is_priced) in [(false, true), (true, false)] {
        let started = StartedCall { call_type: CallType::Transcription, ..call() };
        let event = metered_as(started, |mut call| {
            let form = Rc::new(Progress::begin());
            call.sends(Some(Rc::clone(&form)));
            call.attempts(1);
            if is_whole {
                form.finishes();
            }
            drop(call);
        });
        assert_eq!(
            (event.end(), event.priced, event.cost_nanos_usd),
            (wire::CallEnd::CallerLeft, is_priced, 0)
        );
    }
}

#[test]
fn what_nobody_has_measured_has_no_price() {
    let event = metered(|call| {
        let used = Used { is_measured: false, ..completed(100).used };
        call.settle(Outcome { used, ..completed(100) }, now()).at_once();
    });
    assert_eq!((event.priced, event.cost_nanos_usd, event.prompt_tokens), (false, 0, 100));
}

#[test]
fn images_are_unpriced_where_nothing_says_what_one_costs() {
    let event = metered(|call| {
        let media = MediaCounts { images: 2, audio_millis: 0 };
        let used = Used { media, ..Used::nothing(UsageSource::ProviderFinal) };
        call.settle(Outcome { used, ..completed(0) }, now()).at_once();
    });
    assert_eq!((event.priced, event.cost_nanos_usd, event.images), (false, 0, 2));
}

#[test]
fn a_caller_who_leaves_before_anything_came_is_metered_too() {
    let event = metered(drop);
    assert_eq!((event.status, event.attempts, event.prompt_tokens), (499, 0, 0));
    assert_eq!((event.end(), event.source()), (wire::CallEnd::CallerLeft, wire::UsageSource::Estimated));
}

#[test]
fn r10_an_end_is_written_with_what_others_add_until_its_answer_goes_or_its_caller_has_left() {
    let folder = tempfile::tempdir().unwrap();
    let mut journals = Journals::open(folder.path(), 1, 1 << 20, now()).unwrap();
    let meter = Meter::new(journals.writers.pop(), clock());
    let open = [(); 2].map(|()| meter.start(call()).unwrap());
    let [first, second] = open.map(|call| call.settle(completed(1), now()).ahead_of(ResponseBody::empty()));
    assert_eq!(events(folder.path()).len(), 0, "they let others add theirs");
    drop(first);
    assert_eq!(events(folder.path()).len(), 2);
    drop(second);
    assert_eq!(events(folder.path()).len(), 2);
}

#[test]
fn an_event_begins_with_what_named_its_call_at_its_start() {
    let folder = tempfile::tempdir().unwrap();
    let mut journals = Journals::open(folder.path(), 1, 1 << 20, now()).unwrap();
    let meter = Meter::new(journals.writers.pop(), clock());
    let started = [call(), call()];
    let open: Vec<OpenCall> = started.iter().map(|call| meter.start(*call).unwrap()).collect();
    let served_at = call().deployment;
    for mut call in open {
        call.goes_to(served_at, None);
        call.settle(completed(1), now()).at_once();
    }
    let events = events(folder.path());
    let names = events.iter().map(|event| {
        let (key, model) = (event.subject.key_id.to_vec(), event.subject.model_id.to_vec());
        (event.event_id.to_vec(), event.request_id.to_vec(), key, model)
    });
    let expected = started.iter().map(|call| {
        let (event, request) = (call.event_id.as_bytes().to_vec(), call.request_id.as_bytes().to_vec());
        (event, request, call.key.to_packed(), call.model.to_packed())
    });
    assert_eq!(names.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
    assert!(
        events.iter().all(|event| event.subject.deployment_id == served_at.to_packed()),
        "what changed is new"
    );
}

#[test]
fn without_a_journal_every_call_is_refused() {
    let meter = Meter::new(None, clock());
    assert!(matches!(meter.start(call()), Err(JournalFull::Missing)));
}
