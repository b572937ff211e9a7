use bailiwick_domain::id::OrganizationId;
use bailiwick_proto::convert::{usage_event_to_wire, usage_subject_to_wire};
use bailiwick_quota::limit::{Account, LimitId};
use prost::Message as _;

use super::*;
use crate::metering::{meter::if_nothing_follows, tests::call};

fn charge(organization: OrganizationId, number: u32) -> Charge {
    let limit = LimitId { organization, number };
    let account = Account { limit, key: None, member: None, model: None, deployment: None };
    Charge { account, window: Window::ALWAYS, holder: HolderId(u64::MAX), units: u64::MAX }
}

fn encoded(event: &UsageEvent, charges: &[Charge]) -> EncodedCall {
    let mut encoded = EncodedCall::default();
    encoded.set(None, event, charges);
    encoded
}

fn record(group: &Group) -> Vec<u8> {
    let mut bytes = Vec::new();
    group.append(&mut bytes);
    assert_eq!(bytes.len(), group.record_bytes());
    bytes
}

fn payload(record: &[u8]) -> &[u8] {
    let record = record::first(record).unwrap();
    assert_eq!(record.kind, Kind::Calls);
    record.payload
}

#[test]
fn a_call_is_recorded_as_it_is_sent_and_with_it_what_it_was_charged() {
    let event = if_nothing_follows(&call());
    let plain = charge(event.organization, 7);
    let of = |account: Account| Charge { account, units: 5, ..plain };
    let charges = [
        plain,
        of(Account { key: Some(event.key), ..plain.account }),
        of(Account { model: Some(event.model), ..plain.account }),
        of(Account { deployment: Some(event.deployment), ..plain.account }),
    ];
    let mut group = Group::default();
    group.push(&encoded(&event, &charges).says(Said::End));
    let record = record(&group);
    let RecordedGroup { ends, mut calls } = RecordedGroup::read(payload(&record)).unwrap();
    let call = calls.next().unwrap();
    assert!(calls.is_at_end());
    assert_eq!((ends, call.said), (1, Said::End));
    assert_eq!(call.subject, usage_subject_to_wire(&event).encode_to_vec());
    assert_eq!(call.event, usage_event_to_wire(&event, 0).encode_to_vec());
    let read: Vec<RecordedCharge> = call.charges().collect();
    let parts: Vec<_> =
        read.iter().map(|charge| (charge.of_key, charge.of_model, charge.of_deployment)).collect();
    assert_eq!(
        parts,
        [(false, false, false), (true, false, false), (false, true, false), (false, false, true)]
    );
    for (read, charge) in read.iter().zip(charges) {
        assert_eq!((read.limit, read.window), (7, charge.window));
        assert_eq!((read.holder, read.units), (charge.holder, charge.units));
    }
}

#[test]
fn a_call_that_is_served_elsewhere_says_so_and_what_it_asked_as_it_was_encoded() {
    let event = if_nothing_follows(&call());
    let started = encoded(&event, &[]).kept();
    let elsewhere = UsageEvent { deployment: call().deployment, ..event };
    let mut ended = EncodedCall::default();
    ended.set(Some(started.asked()), &elsewhere, &[charge(event.organization, 1)]);
    assert_eq!(ended.says(Said::End), encoded(&elsewhere, &[charge(event.organization, 1)]).says(Said::End));
    assert_eq!(started.call(), encoded(&event, &[]).says(Said::Start));
    assert_eq!(Started::of(&started.call()).call(), started.call());
}

#[test]
fn a_subject_is_said_once_and_each_call_has_its_own() {
    let (one, other) = (if_nothing_follows(&call()), if_nothing_follows(&call()));
    let pushed = [(Said::Start, &one), (Said::Start, &other), (Said::End, &one), (Said::End, &other)];
    let mut group = Group::default();
    for (said, event) in pushed {
        group.push(&encoded(event, &[]).says(said));
    }
    let record = record(&group);
    let RecordedGroup { ends, calls } = RecordedGroup::read(payload(&record)).unwrap();
    assert_eq!(ends, 2);
    let subjects: Vec<_> = calls.map(|call| (call.said, call.subject.to_vec())).collect();
    let expected = pushed.map(|(said, event)| (said, usage_subject_to_wire(event).encode_to_vec()));
    assert_eq!(subjects, expected);
    assert_eq!(group.subjects.len(), expected[0].1.len() + expected[1].1.len() + 2);
    assert!(group.calls().eq(calls));

    group.clear();
    assert_eq!((group.is_empty(), group.record_bytes(), group.ends()), (true, 0, 0));
    group.push(&encoded(&other, &[]).says(Said::Start));
    assert_eq!((group.calls().next().unwrap().subject, group.places.len()), (&*expected[1].1, 1));
}

#[test]
fn of_many_subjects_each_call_has_its_own() {
    let events: Vec<UsageEvent> = (0..3 * LOOKED_AT).map(|_| if_nothing_follows(&call())).collect();
    let mut group = Group::default();
    for _ in 0..2 {
        events.iter().for_each(|event| group.push(&encoded(event, &[]).says(Said::End)));
    }
    let expected: Vec<_> =
        events.iter().chain(&events).map(|event| usage_subject_to_wire(event).encode_to_vec()).collect();
    assert!(group.calls().map(|call| call.subject.to_vec()).eq(expected));
}

#[test]
fn the_largest_call_fits_the_largest_group() {
    let event = if_nothing_follows(&call());
    let largest = UsageEvent {
        status: u16::MAX,
        attempts: u16::MAX,
        started: Timestamp::from_micros(i64::MIN),
        first_byte: Some(Timestamp::from_micros(i64::MAX / 2)),
        finished: Timestamp::from_micros(i64::MAX / 2),
        ..event
    };
    let charges = vec![charge(event.organization, u32::MAX); MAX_LIMITS];
    let largest = encoded(&largest, &charges);
    let said = largest.says(Said::End);
    assert!(said.subject.len() <= MAX_SUBJECT_BYTES && said.event.len() <= MAX_EVENT_BYTES);
    let mut group = Group::default();
    while group.record_bytes() < GATHERED_BYTES {
        group.push(&encoded(&if_nothing_follows(&call()), &[]).says(Said::Start));
    }
    group.push(&said);
    let record = record(&group);
    let last = RecordedGroup::read(payload(&record)).unwrap().calls.last().unwrap();
    assert_eq!((last, last.charges().count()), (said, MAX_LIMITS));
}

#[test]
fn what_is_cut_is_no_group_or_shorter_and_says_that_it_is_not_whole() {
    let (one, other) = (if_nothing_follows(&call()), if_nothing_follows(&call()));
    let mut group = Group::default();
    group.push(&encoded(&one, &[]).says(Said::Start));
    let first_call = group.calls.len();
    group.push(&encoded(&other, &[charge(one.organization, 1)]).says(Said::End));
    let record = record(&group);
    let whole = payload(&record);
    let before_calls = HEAD_BYTES + group.subjects.len();
    for cut in 0..whole.len() {
        let Some(RecordedGroup { mut calls, .. }) = RecordedGroup::read(&whole[..cut]) else {
            assert!(cut < before_calls);
            continue;
        };
        let read: Vec<_> = calls.by_ref().collect();
        assert!(group.calls().take(read.len()).eq(read));
        assert_eq!(calls.is_at_end(), cut == before_calls || cut == before_calls + first_call);
    }
    assert_eq!(RecordedGroup::read(whole).unwrap().calls.count(), 2);
}

#[test]
fn what_says_neither_start_nor_end_or_has_no_subject_is_no_call() {
    let event = if_nothing_follows(&call());
    let mut group = Group::default();
    group.push(&encoded(&event, &[]).says(Said::End));
    let at = HEAD_BYTES + group.subjects.len();
    let record = record(&group);
    for (place, byte) in [(at, b'X'), (at + 2, 0xFF)] {
        let mut bytes = payload(&record).to_vec();
        bytes[place] = byte;
        let mut calls = RecordedGroup::read(&bytes).unwrap().calls;
        assert_eq!((calls.next(), calls.is_at_end()), (None, false));
    }
}
