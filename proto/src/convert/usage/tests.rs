use proptest::prelude::*;
use prost::Message as _;

use super::*;
use crate::{
    convert::{
        tests::{event, jurisdiction},
        usage_event_to_wire,
    },
    worker::v1 as wire,
};

#[test]
fn an_event_survives_the_wire() {
    let eu = jurisdiction("eu-central-1");
    let sent = event(&eu);
    let received =
        usage_event_from_wire(&eu, &usage_event_to_wire(&sent).encode_to_vec()).expect("a good event");
    assert_eq!(received.into_inner(), sent);
}

#[test]
fn r5_an_event_with_any_foreign_identifier_is_refused() {
    let (eu, us) = (jurisdiction("eu-central-1"), jurisdiction("us-west-1"));
    let (mine, foreign) = (usage_event_to_wire(&event(&eu)), usage_event_to_wire(&event(&us)));
    let smuggled = [
        wire::UsageEvent { organization_id: foreign.organization_id.clone(), ..mine.clone() },
        wire::UsageEvent { key_id: foreign.key_id.clone(), ..mine.clone() },
        wire::UsageEvent { model_id: foreign.model_id.clone(), ..mine.clone() },
        wire::UsageEvent { deployment_id: foreign.deployment_id.clone(), ..mine.clone() },
    ];
    for event in smuggled {
        assert!(
            matches!(usage_event_from_wire(&eu, &event.encode_to_vec()), Err(ConvertError::Foreign(_))),
            "{event:?}"
        );
    }
}

#[test]
fn malformed_fields_are_named() {
    let eu = jurisdiction("eu-central-1");
    let good = usage_event_to_wire(&event(&eu));
    let cases = [
        ("event_id", wire::UsageEvent { event_id: vec![0; 16].into(), ..good.clone() }),
        ("event_id", wire::UsageEvent { event_id: vec![1; 15].into(), ..good.clone() }),
        ("request_id", wire::UsageEvent { request_id: vec![].into(), ..good.clone() }),
        ("organization_id", wire::UsageEvent { organization_id: "org".into(), ..good.clone() }),
        (
            "key_id",
            wire::UsageEvent { key_id: b"key_euc1_4Zb1Q0w9XyTn3KdR".as_slice().into(), ..good.clone() },
        ),
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
    for (field, event) in cases {
        match usage_event_from_wire(&eu, &event.encode_to_vec()) {
            Err(ConvertError::Field { field: named, .. }) => assert_eq!(named, field),
            other => panic!("{field}: {other:?}"),
        }
    }
}

#[test]
fn what_is_no_message_is_no_event() {
    let eu = jurisdiction("eu-central-1");
    let good = usage_event_to_wire(&event(&eu)).encode_to_vec();
    // The third has a field without a number.
    let broken: [&[u8]; 5] = [
        &good[..good.len() - 1],
        &[good.as_slice(), &[7]].concat(),
        &[good.as_slice(), &[2, 0]].concat(),
        b"\x0d1234",
        b"\x0b",
    ];
    for encoded in broken {
        let refused = usage_event_from_wire(&eu, encoded);
        assert!(
            matches!(refused, Err(ConvertError::Field { field: "bytes", .. })),
            "{encoded:?}: {refused:?}"
        );
        assert_eq!(organization_named(encoded), "");
    }
}

#[test]
fn fields_of_a_later_version_and_charges_are_passed_over() {
    let eu = jurisdiction("eu-central-1");
    let sent = event(&eu);
    let charges = vec![wire::UsageCharge { limit: 1, units: 5, ..wire::UsageCharge::default() }];
    let mut encoded = wire::UsageEvent { charges, ..usage_event_to_wire(&sent) }.encode_to_vec();
    prost::encoding::string::encode(99, &"later".to_owned(), &mut encoded);
    prost::encoding::fixed64::encode(100, &1, &mut encoded);
    assert_eq!(usage_event_from_wire(&eu, &encoded).expect("a good event").into_inner(), sent);
}

#[test]
fn the_organization_of_a_refused_event_is_told() {
    let us = jurisdiction("us-west-1");
    let foreign = event(&us);
    let encoded = usage_event_to_wire(&foreign).encode_to_vec();
    assert_eq!(organization_named(&encoded), foreign.organization.to_string());
}

/// What prost reads in the same bytes.
fn by_way_of_its_message(encoded: &[u8]) -> Option<wire::UsageEvent> {
    let charges = Vec::new();
    wire::UsageEvent::decode(encoded).ok().map(|message| wire::UsageEvent { charges, ..message })
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
        let mut encoded = usage_event_to_wire(&event(&eu)).encode_to_vec();
        for (place, byte) in changes {
            let place = place.index(encoded.len());
            encoded[place] = byte;
        }
        if is_cut {
            encoded.truncate(cut.index(encoded.len()));
        }
        if let Ok(event) = usage_event_from_wire(&eu, &encoded) {
            let again = usage_event_to_wire(&event);
            if let Some(message) = by_way_of_its_message(&encoded) {
                prop_assert_eq!(again, message);
            }
        }
    }
}
