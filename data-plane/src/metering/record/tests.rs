use proptest::prelude::*;

use super::*;

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        Just(Kind::Header),
        Just(Kind::Calls),
        Just(Kind::Sum),
        Just(Kind::SumsUnknown),
        Just(Kind::SumsEnd)
    ]
}

fn record(kind: Kind, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    append(&mut bytes, kind, |out| out.extend_from_slice(payload));
    bytes
}

proptest! {
    #[test]
    fn records_survive(kind in kind(), payload in prop::collection::vec(any::<u8>(), 0..=MAX_PAYLOAD_BYTES), more: [u8; 3]) {
        let mut bytes = record(kind, &payload);
        bytes.extend_from_slice(&more);
        let found = first(&bytes).unwrap();
        prop_assert_eq!((found.kind, found.payload, found.size()), (kind, payload.as_slice(), bytes.len() - 3));
    }

    #[test]
    fn a_flipped_bit_is_noticed(kind in kind(), payload in prop::collection::vec(any::<u8>(), 0..400), bit: prop::sample::Index) {
        let mut bytes = record(kind, &payload);
        let bit = bit.index(bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        prop_assert_eq!(first(&bytes), None);
    }

    #[test]
    fn anything_is_a_record_or_not(bytes: Vec<u8>) {
        let _ = first(&bytes);
        prop_assert!(damage(&bytes) <= bytes.len());
    }

    #[test]
    fn the_next_record_is_found_behind_damage(garbage in prop::collection::vec(any::<u8>(), 0..100), payload: [u8; 20]) {
        let mut bytes = garbage.clone();
        bytes.extend(record(Kind::Calls, &payload));
        prop_assert_eq!(damage(&bytes), garbage.len());
    }
}

#[test]
fn what_claims_to_be_too_large_is_none() {
    assert_eq!(first(&record(Kind::Calls, &[0; MAX_PAYLOAD_BYTES + 1])), None);
}
