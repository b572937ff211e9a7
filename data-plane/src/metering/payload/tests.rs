use bailiwick_domain::id::OrganizationId;
use bailiwick_proto::{
    convert::{usage_event_to_wire, usage_subject_to_wire},
    encoded::{MAX_EVENT_BYTES, MAX_SUBJECT_BYTES},
};
use bailiwick_quota::limit::{Account, LimitId, MAX_LIMITS};
use prost::Message as _;

use super::*;
use crate::metering::{meter::if_nothing_follows, tests::call};

fn charge(organization: OrganizationId, number: u32) -> Charge {
    let limit = LimitId { organization, number };
    let account = Account { limit, key: None, member: None, model: None, deployment: None };
    Charge { account, window: Window::ALWAYS, holder: HolderId(u64::MAX), units: u64::MAX }
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
    let mut bytes = b"before".to_vec();
    let asked = append(&mut bytes, None, &event, &charges);
    let payload = Payload::read(&bytes[6..]).unwrap();
    assert_eq!(payload.subject, usage_subject_to_wire(&event).encode_to_vec());
    assert_eq!(payload.event, usage_event_to_wire(&event, 0).encode_to_vec());
    let read: Vec<RecordedCharge> = payload.charges().collect();
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

    // Served elsewhere, with what was asked as it was encoded.
    let elsewhere = UsageEvent { deployment: call().deployment, ..event };
    let mut again = Vec::new();
    append(&mut again, Some(&bytes[6..][asked]), &elsewhere, &charges);
    let mut anew = Vec::new();
    append(&mut anew, None, &elsewhere, &charges);
    assert_eq!(again, anew);
}

#[test]
fn the_largest_call_fits_a_record() {
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
    let mut bytes = Vec::new();
    append(&mut bytes, None, &largest, &charges);
    let payload = Payload::read(&bytes).unwrap();
    assert!(payload.subject.len() <= MAX_SUBJECT_BYTES && payload.event.len() <= MAX_EVENT_BYTES);
    assert_eq!(payload.charges().count(), MAX_LIMITS);
    let mut record = Vec::new();
    crate::metering::record::append_event(&mut record, None, &largest, &charges);
    assert!(crate::metering::record::first(&record).is_some());
}

#[test]
fn what_is_cut_is_no_call_or_a_shorter_event() {
    let event = if_nothing_follows(&call());
    let mut bytes = Vec::new();
    append(&mut bytes, None, &event, &[charge(event.organization, 1)]);
    let whole = Payload::read(&bytes).unwrap();
    for cut in 0..bytes.len() {
        match Payload::read(&bytes[..cut]) {
            None => assert!(cut < bytes.len() - whole.event.len()),
            Some(read) => {
                assert_eq!((read.subject, read.charges), (whole.subject, whole.charges));
                assert!(whole.event.starts_with(read.event));
            }
        }
    }
}
