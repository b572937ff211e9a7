use super::*;
use crate::worker::v1 as wire;

/// The message as the contract has it.
#[derive(Clone, PartialEq, prost::Message)]
struct Plain {
    #[prost(string, tag = "1")]
    journal_id: String,
    #[prost(uint64, tag = "2")]
    first_sequence: u64,
    #[prost(message, repeated, tag = "3")]
    events: Vec<wire::UsageEvent>,
    #[prost(message, repeated, tag = "4")]
    subjects: Vec<wire::UsageSubject>,
}

fn event(status: u32) -> wire::UsageEvent {
    wire::UsageEvent { status, request_id: b"request".as_slice().into(), ..wire::UsageEvent::default() }
}

fn subject(key: &'static [u8]) -> wire::UsageSubject {
    wire::UsageSubject { key_id: key.into(), ..wire::UsageSubject::default() }
}

fn encoded(messages: &[impl Message], tag: u32) -> Encoded {
    let mut all = Encoded::default();
    for message in messages {
        all.push(tag, &message.encode_to_vec(), &[]);
    }
    all
}

fn same(plain: &Plain) -> ReportRequest {
    let events = EncodedEvents {
        events: encoded(&plain.events, EVENTS),
        subjects: encoded(&plain.subjects, SUBJECTS),
    };
    ReportRequest { journal_id: plain.journal_id.clone(), first_sequence: plain.first_sequence, events }
}

#[test]
fn a_report_of_encoded_events_is_a_report() {
    // The second is longer than what one byte tells the length of, the third empty.
    let long = wire::UsageEvent { request_id: vec![b'r'; 300].into(), ..event(404) };
    let full = Plain {
        journal_id: "journal".to_owned(),
        first_sequence: 7,
        events: vec![event(200), long, wire::UsageEvent::default()],
        subjects: vec![subject(b"one"), subject(b"")],
    };
    for plain in [full, Plain::default()] {
        let encoded = same(&plain);
        assert_eq!(encoded.encode_to_vec(), plain.encode_to_vec());
        assert_eq!(encoded.encoded_len(), plain.encoded_len());
        assert_eq!(ReportRequest::decode(&*plain.encode_to_vec()), Ok(encoded.clone()));
        let read: Vec<_> = encoded.events.iter().map(wire::UsageEvent::decode).collect();
        let expected: Vec<_> = plain.events.iter().cloned().map(Ok).collect();
        assert_eq!((read, encoded.events.len()), (expected, plain.events.len()));
        assert_eq!(encoded.events.is_empty(), plain.events.is_empty());
        let read: Vec<_> = encoded.events.subjects().map(wire::UsageSubject::decode).collect();
        let expected: Vec<_> = plain.subjects.iter().cloned().map(Ok).collect();
        assert_eq!((read, encoded.events.subject_count()), (expected, plain.subjects.len()));
    }
}

#[test]
fn a_report_is_the_same_in_however_many_pieces_it_comes() {
    let long = wire::UsageEvent { request_id: vec![b'r'; 300].into(), ..event(404) };
    let (events, subjects) = (vec![long, event(200), event(500)], vec![subject(b"one")]);
    let plain = Plain { journal_id: "j".to_owned(), first_sequence: 7, events, subjects };
    let bytes = plain.encode_to_vec();
    for cut in 0..=bytes.len() {
        let (one, other) = bytes.split_at(cut);
        assert_eq!(ReportRequest::decode(one.chain(other)), Ok(same(&plain)), "{cut}");
    }
}

#[test]
fn what_is_no_report_is_refused_and_what_is_not_known_passed_over() {
    let (journal_id, events, subjects) = ("j".to_owned(), vec![event(200)], vec![subject(b"one")]);
    let plain = Plain { journal_id, first_sequence: 7, events, subjects };
    let bytes = plain.encode_to_vec();
    for cut in 1..bytes.len() {
        let expected = Plain::decode(&bytes[..cut]).ok().map(|plain| same(&plain));
        assert_eq!(ReportRequest::decode(&bytes[..cut]).ok(), expected, "{cut}");
    }
    let with_more = [&bytes[..], &[0x7a, 2, 0, 0]].concat();
    assert_eq!(ReportRequest::decode(&*with_more), Ok(same(&plain)));
    for number in [0, 1] {
        assert!(ReportRequest::decode(&[0x18, number][..]).is_err(), "{number} where events stand");
        assert!(ReportRequest::decode(&[0x20, number][..]).is_err(), "{number} where subjects stand");
    }
    let mut cleared = same(&plain);
    cleared.clear();
    assert_eq!(cleared, ReportRequest::default());
}

#[test]
fn gathered_events_name_their_subjects_each_of_which_is_said_once() {
    let keys: [&[u8]; 8] = [b"one", b"", b"one", b"one", b"two", b"", b"one", b"two"];
    let mut gatherer = EventGatherer::with_capacity(100);
    assert!(gatherer.is_empty());
    for (status, key) in (0..).zip(keys) {
        gatherer.push(&subject(key).encode_to_vec(), &event(status).encode_to_vec());
    }
    assert_eq!(gatherer.len(), keys.len());
    let events = gatherer.finish();
    let subjects: Vec<_> =
        events.subjects().map(|bytes| wire::UsageSubject::decode(bytes).unwrap()).collect();
    assert_eq!(subjects, [subject(b"one"), subject(b""), subject(b"two")]);
    for ((bytes, key), status) in events.iter().zip(keys).zip(0..) {
        let read = wire::UsageEvent::decode(bytes).unwrap();
        assert_eq!(subjects[read.subject as usize], subject(key));
        // The first needs no number.
        assert_eq!(bytes == event(status).encode_to_vec(), read.subject == 0);
        assert_eq!(wire::UsageEvent { subject: 0, ..read }, event(status));
    }
}

#[test]
fn as_many_subjects_as_a_report_has_events_are_told_apart() {
    let mut gatherer = EventGatherer::default();
    let key = |number: u32| number.to_be_bytes();
    for number in (0..1000).chain((0..1000).rev()) {
        gatherer.push(&key(number), &event(number).encode_to_vec());
    }
    let events = gatherer.finish();
    assert_eq!((events.len(), events.subject_count()), (2000, 1000));
    let subjects: Vec<_> = events.subjects().collect();
    for bytes in events.iter() {
        let read = wire::UsageEvent::decode(bytes).unwrap();
        assert_eq!(subjects[read.subject as usize], key(read.status));
    }
}
