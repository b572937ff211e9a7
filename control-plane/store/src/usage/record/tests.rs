use bailiwick_domain::{
    key::ApiKey,
    region::Regions,
    usage::{CallEnd, CallType, UsageSource},
};
use proptest::prelude::*;

use super::*;
use crate::usage::block::{MOST, ids};

fn jurisdiction(name: &str) -> Jurisdiction {
    Jurisdiction::of(Regions::builtin().by_name_str(name).expect("a built-in region"))
}

fn home() -> Jurisdiction {
    jurisdiction("eu-central-1")
}

const NOW: Timestamp = Timestamp::from_micros(1_790_000_000_000_000);

fn event(of: &Jurisdiction) -> UsageEvent {
    UsageEvent {
        event_id: EventId::new(NOW),
        request_id: RequestId::random(),
        organization: of.mint_random(NOW).into_inner(),
        key: ApiKey::generate(of.code()).key_id(),
        model: of.mint_random(NOW).into_inner(),
        deployment: of.mint_random(NOW).into_inner(),
        call_type: CallType::Speech,
        stream: true,
        status: 200,
        end: CallEnd::CallerLeft,
        source: UsageSource::Partial,
        tokens: TokenCounts::default(),
        media: MediaCounts::default(),
        cost: NanoUsd::default(),
        priced: false,
        started: NOW,
        first_byte: None,
        finished: NOW,
        attempts: 1,
    }
}

/// Events with the same subject as one.
fn with_subject_of(subject: &UsageEvent) -> UsageEvent {
    let UsageEvent { organization, key, model, deployment, .. } = *subject;
    UsageEvent { organization, key, model, deployment, ..event(&home()) }
}

/// As long as they are usually.
fn usual(subject: &UsageEvent) -> UsageEvent {
    UsageEvent {
        tokens: TokenCounts { prompt: 1200, completion: 350, cached_prompt: 1024, ..TokenCounts::default() },
        cost: NanoUsd::from_nanos(6_500_000),
        priced: true,
        started: Timestamp::from_micros(NOW.as_micros() + 421),
        first_byte: Some(Timestamp::from_micros(NOW.as_micros() + 412_345)),
        finished: Timestamp::from_micros(NOW.as_micros() + 4_812_345),
        ..with_subject_of(subject)
    }
}

fn written(events: &[UsageEvent]) -> Vec<u8> {
    write(&home(), &events.iter().collect::<Vec<_>>()).expect("of this region")
}

fn ids_of(events: &[UsageEvent]) -> Vec<u8> {
    events.iter().flat_map(|event| *event.event_id.as_bytes()).collect()
}

/// With the identifiers and the organization of these events.
fn read_as(events: &[UsageEvent], records: &[u8]) -> Option<Vec<UsageEvent>> {
    let organization = events.first().map_or_else(|| event(&home()).organization, |event| event.organization);
    let organization = home().admit(organization).expect("of this region");
    read(NARROW, &home(), organization, ids(&ids_of(events)), records)
}

/// Whatever bytes there are, they are refused, or read as so many events that are written the same again.
fn check_any(events: &[UsageEvent], records: &[u8]) -> Result<(), TestCaseError> {
    if let Some(read) = read_as(events, records) {
        prop_assert_eq!(ids_of(&read), ids_of(events));
        prop_assert_eq!(written(&read), records);
    }
    Ok(())
}

fn any_event() -> impl Strategy<Value = UsageEvent> {
    let number = || (any::<i64>(), 0_u32..64).prop_map(|(number, shift)| number >> shift);
    let count = (any::<u64>(), 0_u32..64, any::<bool>())
        .prop_map(|(count, shift, is_there)| if is_there { count >> shift } else { 0 });
    let words = any::<[prop::sample::Index; 3]>();
    (
        prop::array::uniform8(count),
        prop::array::uniform3(number()),
        prop::option::of(number()),
        any::<[u16; 2]>(),
        any::<[bool; 2]>(),
        words,
    )
        .prop_map(|(counts, numbers, first_byte, small, flags, words)| {
            let [
                prompt,
                completion,
                cached_prompt,
                cache_write,
                cache_write_hour,
                reasoning,
                images,
                audio_millis,
            ] = counts;
            UsageEvent {
                call_type: *words[0].get(CallType::ALL),
                end: *words[1].get(CallEnd::ALL),
                source: *words[2].get(UsageSource::ALL),
                stream: flags[0],
                priced: flags[1],
                status: small[0],
                attempts: small[1],
                tokens: TokenCounts {
                    prompt,
                    completion,
                    cached_prompt,
                    cache_write,
                    cache_write_hour,
                    reasoning,
                },
                media: MediaCounts { images, audio_millis },
                cost: NanoUsd::from_nanos(numbers[0]),
                started: Timestamp::from_micros(numbers[1]),
                first_byte: first_byte.map(Timestamp::from_micros),
                finished: Timestamp::from_micros(numbers[2]),
                ..event(&home())
            }
        })
}

/// Events of one organization whose keys, models and deployments are of a few each.
fn any_block() -> impl Strategy<Value = Vec<UsageEvent>> {
    let events = prop::collection::vec((any_event(), any::<[prop::sample::Index; 3]>()), 1..=MOST);
    (events, 1_usize..5).prop_map(|(events, few)| {
        let some: Vec<_> = (0..few).map(|_| event(&home())).collect();
        let with = |(event, [key, model, deployment]): (UsageEvent, [prop::sample::Index; 3])| UsageEvent {
            organization: some[0].organization,
            key: key.get(&some).key,
            model: model.get(&some).model,
            deployment: deployment.get(&some).deployment,
            ..event
        };
        events.into_iter().map(with).collect()
    })
}

proptest! {
    #[test]
    fn a_block_comes_back_as_it_was_written(events in any_block()) {
        prop_assert_eq!(read_as(&events, &written(&events)), Some(events));
    }

    #[test]
    fn a_block_that_was_cut_off_or_went_on_is_refused(events in any_block(), cut: prop::sample::Index, more: u8) {
        let mut records = written(&events);
        prop_assert_eq!(read_as(&events, &records[..cut.index(records.len())]), None);
        prop_assert_eq!(read_as(&events[1..], &records), None, "of one event more");
        records.push(more);
        prop_assert_eq!(read_as(&events, &records), None);
    }

    #[test]
    fn a_block_with_other_bytes_is_read_or_refused(
        events in any_block(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut records = written(&events);
        for (at, byte) in changes {
            let at = at.index(records.len());
            records[at] = byte;
        }
        check_any(&events, &records)?;
    }

    #[test]
    fn whatever_bytes_there_are_they_are_read_or_refused(
        records in prop::collection::vec(any::<u8>(), 0..400),
        count in 0_usize..4,
    ) {
        let organization = event(&home());
        let events: Vec<_> = (0..count).map(|_| with_subject_of(&organization)).collect();
        check_any(&events, &records)?;
    }
}

/// Each bit and each byte, where proptest tries some.
#[test]
fn a_small_block_with_any_one_byte_changed_is_read_or_refused() {
    let one = usual(&event(&home()));
    let other = UsageEvent { organization: one.organization, ..event(&home()) };
    let events = [one, other, usual(&one)];
    let records = written(&events);
    for at in 0..records.len() {
        for change in 1..=u8::MAX {
            let mut records = records.clone();
            records[at] ^= change;
            check_any(&events, &records).unwrap_or_else(|error| panic!("byte {at} ^ {change}: {error}"));
        }
    }
}

const MOST_TOKENS: TokenCounts = TokenCounts {
    prompt: u64::MAX,
    completion: u64::MAX,
    cached_prompt: u64::MAX,
    cache_write: u64::MAX,
    cache_write_hour: u64::MAX,
    reasoning: u64::MAX,
};
const MOST_MEDIA: MediaCounts = MediaCounts { images: u64::MAX, audio_millis: u64::MAX };

#[test]
fn the_least_and_the_greatest_numbers_come_back() {
    for time in [i64::MIN, -1, 0, i64::MAX] {
        for other in [i64::MIN, 0, i64::MAX] {
            let greatest = UsageEvent {
                tokens: MOST_TOKENS,
                media: MOST_MEDIA,
                cost: NanoUsd::from_nanos(time),
                status: u16::MAX,
                attempts: u16::MAX,
                started: Timestamp::from_micros(time),
                first_byte: Some(Timestamp::from_micros(other)),
                finished: Timestamp::from_micros(other),
                ..event(&home())
            };
            let records = written(&[greatest]);
            assert_eq!(read_as(&[greatest], &records), Some(vec![greatest]));
        }
    }
}

/// What the table's schema takes, a block of the least and one of the greatest that there can be.
#[test]
fn a_block_is_as_long_as_its_table_allows() {
    let first = event(&home());
    let least = UsageEvent { status: 0, ..first };
    assert_eq!(written(&[least]).len(), 49 + 26);
    let far = i64::MIN / 2;
    let greatest = |subject: &UsageEvent| UsageEvent {
        tokens: MOST_TOKENS,
        media: MOST_MEDIA,
        cost: NanoUsd::from_nanos(-1),
        status: u16::MAX,
        attempts: u16::MAX,
        started: Timestamp::from_micros(far),
        first_byte: Some(Timestamp::from_micros(i64::MAX / 2)),
        finished: Timestamp::from_micros(i64::MAX / 2),
        ..*subject
    };
    let all: Vec<_> = (0..MOST).map(|_| greatest(&event(&home()))).collect();
    assert_eq!(written(&all).len(), 1 + MOST * 195);
}

/// On SQLite an event costs what its bytes cost.
#[test]
fn a_usual_event_takes_43_bytes_and_its_subject_48() {
    let (one, other) = (event(&home()), event(&home()));
    assert_eq!(written(&[usual(&one)]).len(), 1 + 48 + 43);
    assert_eq!(written(&[usual(&one); MOST]).len(), 1 + 48 + 43 * MOST);
    assert_eq!(written(&[usual(&one), usual(&other), usual(&one)]).len(), 1 + 2 * 48 + 3 * 43);
}

#[test]
fn a_subject_stands_once_wherever_its_events_are() {
    let organization = event(&home());
    let all: Vec<_> =
        (0..MOST).map(|_| UsageEvent { organization: organization.organization, ..event(&home()) }).collect();
    assert_eq!(written(&all)[0], 128);
    assert_eq!(read_as(&all, &written(&all)), Some(all.clone()), "one of its own for each");

    let few: Vec<_> = (0..MOST).map(|n| with_subject_of(&all[n * n % 7])).collect();
    assert_eq!(written(&few)[0], 4, "squares leave 0, 1, 4 and 2");
    assert_eq!(read_as(&few, &written(&few)), Some(few));

    // What differs in one of the three is another.
    let one = all[0];
    let near = [
        one,
        UsageEvent { key: all[1].key, ..one },
        UsageEvent { model: all[1].model, ..one },
        UsageEvent { deployment: all[1].deployment, ..one },
        one,
    ];
    assert_eq!(written(&near)[0], 4);
    assert_eq!(read_as(&near, &written(&near)), Some(near.to_vec()));
}

/// Of two subjects, the second one twice.
fn of_two_subjects() -> [UsageEvent; 3] {
    let one = event(&home());
    let other = UsageEvent { organization: one.organization, ..event(&home()) };
    [one, other, with_subject_of(&other)]
}

/// A block has one form. Each of these says the same as a good one, or nearly.
#[test]
fn another_form_of_subjects_is_refused() {
    let events = of_two_subjects();
    let good = written(&events);
    let (one, rest) = good[1..].split_at(48);
    let (other, records) = rest.split_at(48);
    let with = |subjects: &[&[u8]], places: [u8; 3]| {
        let count = u8::try_from(subjects.len()).expect("few");
        let mut bytes = [&[count], &subjects.concat()[..]].concat();
        for (event, place) in records.chunks(records.len() / 3).zip(places) {
            bytes.extend_from_slice(event);
            let at = bytes.len() - event.len() + 16;
            bytes[at] = place;
        }
        bytes
    };
    assert_eq!(with(&[one, other], [0, 1, 1]), good);
    assert!(read_as(&events, &with(&[one], [0, 0, 0])).is_some());
    for (wrong, why) in [
        (with(&[other, one], [1, 0, 0]), "not in the order of their first use"),
        (with(&[other, one], [1, 0, 1]), "not in the order of their first use"),
        (with(&[one, other], [0, 0, 0]), "one that no event has"),
        (with(&[one, one], [0, 1, 1]), "one twice"),
        (with(&[one], [0, 1, 1]), "one that is not there"),
        (with(&[one, other], [0, 1, 255]), "one that cannot be there"),
        (with(&[], [0, 0, 0]), "none"),
    ] {
        assert_eq!(read_as(&events, &wrong), None, "{why}");
    }
}

#[test]
fn another_form_of_an_event_is_refused() {
    let events = of_two_subjects();
    let good = written(&events);
    let first = 1 + 2 * 48;
    let changed = |at: usize, replaced: usize, by: &[u8]| {
        let mut bytes = good.clone();
        bytes.splice(first + at..first + at + replaced, by.iter().copied());
        bytes
    };
    let flags = good[first + 19];
    assert_eq!(changed(19, 3, &[flags, 0xc8, 1]), good);
    for (wrong, why) in [
        (changed(17, 1, &[0]), "a call type that is none"),
        (changed(17, 1, &[99]), "a call type that is none"),
        (changed(18, 1, &[0x10]), "no source"),
        (changed(18, 1, &[0x01]), "no end"),
        (changed(19, 1, &[flags | 8]), "a flag that there is not"),
        (changed(20, 2, &[0xc8, 0x81, 0]), "a number longer than it need be"),
        (changed(20, 2, &[0x80, 0x80, 4]), "a status that is none"),
        (changed(23, 1, &[1, 0]), "a count that is said to be there, and is 0"),
    ] {
        assert_eq!(read_as(&events, &wrong), None, "{why}");
    }
}

#[test]
fn a_key_that_nobody_can_have_is_refused() {
    let events = [event(&home())];
    let mut records = written(&events);
    records[1] = b'_';
    assert_eq!(read_as(&events, &records), None);
}

#[test]
fn a_form_that_is_none_is_refused() {
    let events = [event(&home())];
    let organization = home().admit(events[0].organization).expect("of this region");
    for form in [0, FIXED, 3, -1] {
        assert_eq!(
            read(form, &home(), organization, ids(&ids_of(&events)), &written(&events)),
            None,
            "{form}"
        );
    }
}

/// Read back, it would be taken for one of this region: also where this region has one of the same name, and where that one's event comes before it.
#[test]
fn r2_a_block_that_names_another_region_is_not_written() {
    let us = jurisdiction("us-west-1");
    let good = event(&home());
    let twin = |name: String| name.replacen("euc1", "usw1", 1);
    let namesake = UsageEvent {
        key: twin(good.key.to_string()).parse().expect("good"),
        model: twin(good.model.to_string()).parse().expect("good"),
        deployment: twin(good.deployment.to_string()).parse().expect("good"),
        ..good
    };
    assert_eq!(namesake.key.local_bytes(), good.key.local_bytes());
    assert_ne!(namesake.key, good.key);
    for foreign in [event(&us), namesake] {
        for smuggled in [
            UsageEvent { key: foreign.key, ..good },
            UsageEvent { model: foreign.model, ..good },
            UsageEvent { deployment: foreign.deployment, ..good },
        ] {
            let other = UsageEvent { organization: good.organization, ..event(&home()) };
            for block in [
                vec![&smuggled],
                vec![&good, &smuggled],
                vec![&smuggled, &good],
                vec![&good, &other, &smuggled],
                vec![&good, &other, &good, &other, &smuggled, &good],
            ] {
                assert!(write(&home(), &block).is_err(), "{smuggled:?}");
            }
        }
    }
}
