use bailiwick_domain::region::Regions;

use super::*;
use crate::usage::{block::ids, record};

#[path = "../../../../tests/conformance/fixed_records.rs"]
mod fixed_records;

fn events() -> [UsageEvent; 3] {
    fixed_records::events(organization().into_inner())
}

fn home() -> Jurisdiction {
    Jurisdiction::of(Regions::builtin().by_name_str("eu-central-1").expect("a built-in region"))
}

fn written() -> (Vec<u8>, Vec<u8>) {
    let bytes = |hex: &str| -> Vec<u8> {
        let digits = hex.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).expect("digits"));
        digits.map(|pair| u8::from_str_radix(pair, 16).expect("digits")).collect()
    };
    let lines = fixed_records::WRITTEN.lines().map(|line| line.split_once(' ').expect("two"));
    let (ids, records): (Vec<_>, Vec<_>) = lines.map(|(id, record)| (bytes(id), bytes(record))).unzip();
    (ids.concat(), records.concat())
}

fn organization() -> Local<OrganizationId> {
    home().admit("org_euc1_01JD0W6KQ4V6J5T6T9N2X8Y3ZB".parse().expect("good")).expect("of this region")
}

fn read_block(event_ids: &[u8], records: &[u8]) -> Option<Vec<UsageEvent>> {
    record::read(record::FIXED, &home(), organization(), ids(event_ids), records)
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
