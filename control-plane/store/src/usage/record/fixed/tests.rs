use bailiwick_domain::{
    region::Regions,
    usage::{CallEnd, CallType, UsageSource},
};

use super::*;
use crate::usage::{block::ids, record};

/// Events as builds of before wrote them: identifier and record.
const WRITTEN: &str = include_str!("../../../../tests/conformance/fixed_records.txt");

fn home() -> Jurisdiction {
    Jurisdiction::of(Regions::builtin().by_name_str("eu-central-1").expect("a built-in region"))
}

fn written() -> (Vec<u8>, Vec<u8>) {
    let bytes = |hex: &str| -> Vec<u8> {
        let digits = hex.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).expect("digits"));
        digits.map(|pair| u8::from_str_radix(pair, 16).expect("digits")).collect()
    };
    let lines = WRITTEN.lines().map(|line| line.split_once(' ').expect("two"));
    let (ids, records): (Vec<_>, Vec<_>) = lines.map(|(id, record)| (bytes(id), bytes(record))).unzip();
    (ids.concat(), records.concat())
}

fn organization() -> Local<OrganizationId> {
    home().admit("org_euc1_01JD0W6KQ4V6J5T6T9N2X8Y3ZB".parse().expect("good")).expect("of this region")
}

fn read_block(event_ids: &[u8], records: &[u8]) -> Option<Vec<UsageEvent>> {
    record::read(record::FIXED, &home(), organization(), ids(event_ids), records)
}

/// What the three say.
fn events() -> [UsageEvent; 3] {
    let at = |micros: i64| Timestamp::from_micros(1_790_000_000_000_000 + micros);
    let usual = UsageEvent {
        event_id: "01a0c450-6c00-7a22-93d8-0aff654ccf12".parse().expect("good"),
        request_id: "req_0123456789abcdeffedcba9876543210".parse().expect("good"),
        organization: organization().into_inner(),
        key: "key_euc1_0123456789abcDEF".parse().expect("good"),
        model: "mdl_euc1_01JD0W6KQ4V6J5T6T9N2X8Y3ZC".parse().expect("good"),
        deployment: "dep_euc1_01JD0W6KQ4V6J5T6T9N2X8Y3ZD".parse().expect("good"),
        call_type: CallType::ChatCompletion,
        stream: true,
        status: 200,
        end: CallEnd::Completed,
        source: UsageSource::ProviderFinal,
        tokens: TokenCounts {
            prompt: 1234,
            completion: 567,
            cached_prompt: 1024,
            cache_write: 30,
            cache_write_hour: 4,
            reasoning: 500,
        },
        media: MediaCounts { images: 2, audio_millis: 1500 },
        cost: NanoUsd::from_nanos(1_000_000_007),
        priced: true,
        started: at(123),
        first_byte: Some(at(250_456)),
        finished: at(1_750_789),
        attempts: 1,
    };
    let without_numbers = UsageEvent {
        event_id: "01a0c450-6c01-728d-8770-a84af068e072".parse().expect("good"),
        key: "key_euc1_ZYXWVUTSRQ987654".parse().expect("good"),
        call_type: CallType::AudioTranslation,
        stream: false,
        status: 504,
        end: CallEnd::Interrupted,
        source: UsageSource::Estimated,
        tokens: TokenCounts::default(),
        media: MediaCounts::default(),
        cost: NanoUsd::default(),
        priced: false,
        first_byte: None,
        attempts: 3,
        ..usual
    };
    let greatest = UsageEvent {
        event_id: "01a0c450-73d0-70f9-8d9e-aad18b05c0db".parse().expect("good"),
        status: u16::MAX,
        tokens: TokenCounts { prompt: u64::MAX, ..TokenCounts::default() },
        cost: NanoUsd::from_nanos(i64::MAX),
        started: Timestamp::from_micros(i64::MAX),
        first_byte: Some(Timestamp::from_micros(-1)),
        finished: Timestamp::from_micros(i64::MIN),
        attempts: u16::MAX,
        ..usual
    };
    [usual, without_numbers, greatest]
}

#[test]
fn records_that_builds_of_before_wrote_are_read() {
    let (ids, records) = written();
    assert_eq!(read_block(&ids, &records), Some(events().to_vec()));
    for (one, event) in events().iter().enumerate() {
        let record = &records[one * BYTES..(one + 1) * BYTES];
        assert_eq!(read_block(event.event_id.as_bytes(), record), Some(vec![*event]));
    }
}

#[test]
fn a_block_of_more_or_fewer_events_than_its_records_is_refused() {
    let (ids, records) = written();
    assert_eq!(read_block(&ids, &records[BYTES..]), None);
    assert_eq!(read_block(&ids[16..], &records), None);
    assert_eq!(read_block(&ids, &[]), None);
    for length in [records.len() - 1, records.len() - BYTES + 1] {
        assert_eq!(read_block(&ids, &records[..length]), None);
    }
    assert_eq!(read_block(&ids, &[&records[..], &[0]].concat()), None);
}

#[test]
fn records_with_any_one_byte_changed_are_read_as_other_events_or_refused() {
    let (ids, records) = written();
    for at in 0..records.len() {
        for change in 1..=u8::MAX {
            let mut changed = records.clone();
            changed[at] ^= change;
            if let Some(read) = read_block(&ids, &changed) {
                assert_eq!(read.len(), 3);
                assert_ne!(read, events(), "byte {at} ^ {change} says nothing");
            }
        }
    }
    for (at, flags) in [(67, 4), (67, 0x80), (64, 0xff), (65, 0xff), (66, 0xff)] {
        let mut changed = records.clone();
        changed[at] ^= flags;
        assert_eq!(read_block(&ids, &changed), None, "byte {at} ^ {flags}");
    }
}
