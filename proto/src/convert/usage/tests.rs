use proptest::prelude::*;
use prost::Message as _;

use super::*;
use crate::{
    convert::{
        tests::{event, jurisdiction},
        usage_event_to_wire, usage_subject_to_wire,
    },
    worker::v1 as wire,
};

fn subject(at: &Jurisdiction, sent: &UsageEvent) -> Result<UsageSubject, ConvertError> {
    usage_subject_from_wire(at, &usage_subject_to_wire(sent).encode_to_vec())
}

/// An event read in its own region, of its own subject.
fn read(at: &Jurisdiction, subject_of: &UsageEvent, encoded: &[u8]) -> Result<UsageEvent, ConvertError> {
    let subject = subject(at, subject_of)?;
    EncodedEvent::read(encoded)?.of(at, &subject).map(Local::into_inner)
}

#[test]
fn an_event_survives_the_wire() {
    let eu = jurisdiction("eu-central-1");
    let at = |micros| Timestamp::from_micros(micros);
    let full = event(&eu);
    for sent in [
        full,
        UsageEvent { first_byte: Some(full.started), ..full },
        UsageEvent { first_byte: Some(at(full.started.as_micros() - 1)), ..full },
        UsageEvent { started: at(i64::MAX), first_byte: Some(at(i64::MIN)), finished: at(i64::MAX), ..full },
        UsageEvent { started: at(i64::MIN), first_byte: None, finished: at(i64::MAX), ..full },
    ] {
        let encoded = usage_event_to_wire(&sent, 7).encode_to_vec();
        assert_eq!(EncodedEvent::read(&encoded).expect("an event").subject(), 7);
        assert_eq!(read(&eu, &sent, &encoded).expect("a good event"), sent);
    }
}

#[test]
fn what_is_near_takes_few_bytes() {
    let eu = jurisdiction("eu-central-1");
    let full = event(&eu);
    let later = |micros| Timestamp::from_micros(full.started.as_micros() + micros);
    let (first_byte, finished) = (Some(later(900_000)), later(1_000_000));
    let call = UsageEvent { first_byte, finished, ..full };
    assert!(usage_event_to_wire(&call, 0).encoded_len() < 100);
}

#[test]
fn r5_a_subject_with_any_foreign_identifier_is_refused() {
    let (eu, us) = (jurisdiction("eu-central-1"), jurisdiction("us-west-1"));
    let (mine, foreign) = (usage_subject_to_wire(&event(&eu)), usage_subject_to_wire(&event(&us)));
    let smuggled = [
        wire::UsageSubject { organization_id: foreign.organization_id.clone(), ..mine.clone() },
        wire::UsageSubject { key_id: foreign.key_id.clone(), ..mine.clone() },
        wire::UsageSubject { model_id: foreign.model_id.clone(), ..mine.clone() },
        wire::UsageSubject { deployment_id: foreign.deployment_id.clone(), ..mine.clone() },
    ];
    for subject in smuggled {
        let refused = usage_subject_from_wire(&eu, &subject.encode_to_vec());
        assert!(matches!(refused, Err(ConvertError::Foreign(_))), "{subject:?}");
    }
    assert!(usage_subject_from_wire(&eu, &mine.encode_to_vec()).is_ok());
}

#[test]
fn r5_an_event_of_a_subject_that_another_region_admitted_is_refused() {
    let (eu, us) = (jurisdiction("eu-central-1"), jurisdiction("us-west-1"));
    let foreign = event(&us);
    let subject = subject(&us, &foreign).expect("its own");
    let encoded = usage_event_to_wire(&foreign, 0).encode_to_vec();
    let refused = EncodedEvent::read(&encoded).expect("an event").of(&eu, &subject);
    assert!(matches!(refused, Err(ConvertError::Foreign(_))), "{refused:?}");
}

#[test]
fn malformed_fields_are_named() {
    let eu = jurisdiction("eu-central-1");
    let good = usage_event_to_wire(&event(&eu), 0);
    let cases = [
        ("event_id", wire::UsageEvent { event_id: vec![0; 16].into(), ..good.clone() }),
        ("event_id", wire::UsageEvent { event_id: vec![1; 15].into(), ..good.clone() }),
        ("request_id", wire::UsageEvent { request_id: vec![].into(), ..good.clone() }),
        ("prompt_tokens", wire::UsageEvent { prompt_tokens: u64::MAX, ..good.clone() }),
        ("cache_write_tokens", wire::UsageEvent { cache_write_tokens: u64::MAX, ..good.clone() }),
        ("images", wire::UsageEvent { images: u64::MAX, ..good.clone() }),
        ("audio_millis", wire::UsageEvent { audio_millis: u64::MAX, ..good.clone() }),
        ("cost_nanos_usd", wire::UsageEvent { cost_nanos_usd: -1, ..good.clone() }),
        ("status", wire::UsageEvent { status: 70_000, ..good.clone() }),
        ("call_type", wire::UsageEvent { call_type: 0, ..good.clone() }),
        ("end", wire::UsageEvent { end: 99, ..good.clone() }),
        ("source", wire::UsageEvent { source: 0, ..good.clone() }),
        ("attempts", wire::UsageEvent { attempts: 70_000, ..good }),
    ];
    for (field, malformed) in cases {
        match read(&eu, &event(&eu), &malformed.encode_to_vec()) {
            Err(ConvertError::Field { field: named, .. }) => assert_eq!(named, field),
            other => panic!("{field}: {other:?}"),
        }
    }
}

#[test]
fn malformed_identifiers_of_a_subject_are_named() {
    let eu = jurisdiction("eu-central-1");
    let good = usage_subject_to_wire(&event(&eu));
    let text = b"key_euc1_4Zb1Q0w9XyTn3KdR".as_slice();
    let cases = [
        ("organization_id", wire::UsageSubject { organization_id: "org".into(), ..good.clone() }),
        ("key_id", wire::UsageSubject { key_id: text.into(), ..good.clone() }),
        ("model_id", wire::UsageSubject { model_id: "".into(), ..good.clone() }),
        ("deployment_id", wire::UsageSubject { deployment_id: vec![0; 16].into(), ..good }),
    ];
    for (field, malformed) in cases {
        match usage_subject_from_wire(&eu, &malformed.encode_to_vec()) {
            Err(ConvertError::Field { field: named, .. }) => assert_eq!(named, field),
            other => panic!("{field}: {other:?}"),
        }
    }
}

#[test]
fn what_is_no_message_is_no_event_and_no_subject() {
    let eu = jurisdiction("eu-central-1");
    let good = usage_event_to_wire(&event(&eu), 0).encode_to_vec();
    // The third has a field without a number.
    let broken: [&[u8]; 5] = [
        &good[..good.len() - 1],
        &[good.as_slice(), &[7]].concat(),
        &[good.as_slice(), &[2, 0]].concat(),
        b"\x0d1234",
        b"\x0b",
    ];
    let is_refused =
        |error: Option<ConvertError>| matches!(error, Some(ConvertError::Field { field: "bytes", .. }));
    for encoded in broken {
        assert!(is_refused(EncodedEvent::read(encoded).err()), "{encoded:?}");
        assert!(is_refused(usage_subject_from_wire(&eu, encoded).err()), "{encoded:?}");
        assert_eq!(organization_named(encoded), "");
    }
}

#[test]
fn fields_of_a_later_version_are_passed_over() {
    let eu = jurisdiction("eu-central-1");
    let sent = event(&eu);
    let with_more = |mut encoded: Vec<u8>| {
        prost::encoding::string::encode(99, &"later".to_owned(), &mut encoded);
        prost::encoding::fixed64::encode(100, &1, &mut encoded);
        encoded
    };
    let encoded = with_more(usage_event_to_wire(&sent, 0).encode_to_vec());
    assert_eq!(read(&eu, &sent, &encoded).expect("a good event"), sent);
    let encoded = with_more(usage_subject_to_wire(&sent).encode_to_vec());
    assert_eq!(usage_subject_from_wire(&eu, &encoded), subject(&eu, &sent));
}

#[test]
fn the_organization_of_a_refused_event_is_told() {
    let us = jurisdiction("us-west-1");
    let foreign = event(&us);
    let encoded = usage_subject_to_wire(&foreign).encode_to_vec();
    assert_eq!(organization_named(&encoded), foreign.organization.to_string());
}

proptest! {
    #[test]
    fn numbers_are_read_as_the_library_reads_them(bytes in prop::collection::vec(prop_oneof![any::<u8>(), 0x80..=0xff_u8], 0..14)) {
        let (mut ours, mut theirs) = (&*bytes, &*bytes);
        let number = varint(&mut ours);
        prop_assert_eq!(number, prost::encoding::decode_varint(&mut theirs).ok());
        if number.is_some() {
            prop_assert_eq!(ours, theirs);
        }
    }

    #[test]
    fn an_event_is_read_as_its_message_would_be(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in any::<prop::sample::Index>(),
        is_cut: bool,
    ) {
        let eu = jurisdiction("eu-central-1");
        let mut encoded = usage_event_to_wire(&event(&eu), 1).encode_to_vec();
        for (place, byte) in changes {
            let place = place.index(encoded.len());
            encoded[place] = byte;
        }
        if is_cut {
            encoded.truncate(cut.index(encoded.len()));
        }
        if let Ok(event) = read(&eu, &event(&eu), &encoded)
            && let Ok(message) = wire::UsageEvent::decode(&*encoded)
        {
            prop_assert_eq!(usage_event_to_wire(&event, message.subject), message);
        }
    }
}
