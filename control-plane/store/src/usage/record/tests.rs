use bailiwick_domain::{key::ApiKey, region::Regions};
use proptest::prelude::*;

use super::*;

fn jurisdiction(name: &str) -> Jurisdiction {
    Jurisdiction::of(Regions::builtin().by_name_str(name).expect("a built-in region"))
}

fn event(of: &Jurisdiction, now: Timestamp) -> UsageEvent {
    UsageEvent {
        event_id: EventId::new(now),
        request_id: RequestId::random(),
        organization: of.mint_random(now).into_inner(),
        key: ApiKey::generate(of.code()).key_id(),
        model: of.mint_random(now).into_inner(),
        deployment: of.mint_random(now).into_inner(),
        call_type: CallType::Speech,
        stream: true,
        status: 200,
        end: CallEnd::CallerLeft,
        source: UsageSource::Partial,
        tokens: TokenCounts::default(),
        media: MediaCounts::default(),
        cost: NanoUsd::default(),
        priced: false,
        started: now,
        first_byte: None,
        finished: now,
        attempts: 1,
    }
}

fn there_and_back(home: &Jurisdiction, event: &UsageEvent) -> Option<UsageEvent> {
    let mut record = Vec::new();
    append(&mut record, home, event).expect("of this region");
    assert_eq!(record.len(), BYTES);
    read(home, home.admit(event.organization).expect("of this region"), event.event_id, &record)
}

proptest! {
    #[test]
    fn an_event_comes_back_as_it_was_packed(
        counts: [u64; 8],
        numbers: [i64; 3],
        first_byte in prop::option::of((i64::MIN + 1)..=i64::MAX),
        small: [u16; 2],
        flags: [bool; 2],
        words: [prop::sample::Index; 3],
    ) {
        let home = jurisdiction("eu-central-1");
        let [prompt, completion, cached_prompt, cache_write, cache_write_hour, reasoning, images, audio_millis] = counts;
        let event = UsageEvent {
            call_type: *words[0].get(CallType::ALL),
            end: *words[1].get(CallEnd::ALL),
            source: *words[2].get(UsageSource::ALL),
            stream: flags[0],
            priced: flags[1],
            status: small[0],
            attempts: small[1],
            tokens: TokenCounts { prompt, completion, cached_prompt, cache_write, cache_write_hour, reasoning },
            media: MediaCounts { images, audio_millis },
            cost: NanoUsd::from_nanos(numbers[0]),
            started: Timestamp::from_micros(numbers[1]),
            first_byte: first_byte.map(Timestamp::from_micros),
            finished: Timestamp::from_micros(numbers[2]),
            ..event(&home, Timestamp::from_micros(1_790_000_000_000_000))
        };
        prop_assert_eq!(there_and_back(&home, &event), Some(event));
    }

    #[test]
    fn whatever_bytes_there_are_they_are_read_or_refused(record in prop::collection::vec(any::<u8>(), 0..200)) {
        let home = jurisdiction("eu-central-1");
        let (organization, event_id) = (home.mint_random(Timestamp::default()), EventId::new(Timestamp::default()));
        if let Some(event) = read(&home, organization, event_id, &record) {
            let mut again = Vec::new();
            append(&mut again, &home, &event).expect("of this region");
            prop_assert_eq!(again, record);
        }
    }
}

/// A word that is in none of the lists would be stored as none.
#[test]
fn every_word_has_a_place() {
    fn check<T: Copy + PartialEq + std::fmt::Debug>(all: &[T], words: &[T]) {
        assert_eq!(all.len(), words.len());
        for known in all {
            assert_eq!(word(words, place(words, *known)), Some(*known));
        }
    }
    check(CallType::ALL, CALL_TYPES);
    check(CallEnd::ALL, ENDS);
    check(UsageSource::ALL, SOURCES);
}

/// Read back, it would be taken for one of this region.
#[test]
fn r2_an_event_that_names_another_region_is_not_packed() {
    let (home, us) = (jurisdiction("eu-central-1"), jurisdiction("us-west-1"));
    let now = Timestamp::default();
    let (good, foreign) = (event(&home, now), event(&us, now));
    for smuggled in [
        UsageEvent { key: foreign.key, ..good },
        UsageEvent { model: foreign.model, ..good },
        UsageEvent { deployment: foreign.deployment, ..good },
    ] {
        assert!(append(&mut Vec::new(), &home, &smuggled).is_err(), "{smuggled:?}");
    }
}
