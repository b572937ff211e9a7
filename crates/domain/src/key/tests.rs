use proptest::prelude::*;

use super::*;

fn euc1() -> RegionCode {
    "euc1".parse().expect("good")
}

#[test]
fn r1_a_key_names_its_region_and_has_a_fixed_length() {
    let key = ApiKey::generate(euc1());
    let presented = PresentedKey::parse(key.expose()).expect("what was made parses");
    assert_eq!(presented.key_id(), key.key_id());
    assert_eq!(presented.region_code(), euc1());
    assert_eq!(region_of_prefix(key.expose()), Some(euc1()));
    assert_eq!(key.expose().len(), 8 + 16 + 1 + 32 + 6);
    assert_eq!(key.key_id().to_string().parse::<KeyId>(), Ok(key.key_id()));
}

#[test]
fn a_region_is_told_from_the_prefix_alone() {
    assert_eq!(region_of_prefix("bw_usw1_nonsense"), "usw1".parse().ok());
    for text in ["", "sk-abc", "bw_", "bw_usw1", "bw_USW1_x", "bwjoin_usw1_x"] {
        assert_eq!(region_of_prefix(text), None, "{text}");
    }
}

proptest! {
    #[test]
    fn a_key_with_one_changed_character_is_refused_offline(place in 0_usize..63, to in "[0-9A-Za-z_]") {
        let key = ApiKey::generate(euc1());
        let mut changed = key.expose().to_owned();
        changed.replace_range(place..=place, &to);
        prop_assume!(changed != key.expose());
        prop_assert!(PresentedKey::parse(&changed).is_err());
    }

    #[test]
    fn any_text_is_parsed_or_refused(text in "(bw_euc1_)?\\PC{0,80}") {
        let _ = PresentedKey::parse(&text);
        let _ = JoinToken::parse(&text);
        let _ = region_of_prefix(&text);
    }
}

#[test]
fn only_the_pepper_of_its_own_region_verifies_a_key() {
    let (ours, theirs) = (Pepper::from_bytes([1; 32]), Pepper::from_bytes([2; 32]));
    let key = ApiKey::generate(euc1());
    let presented = PresentedKey::parse(key.expose()).expect("good");
    let digest = key.digest(&ours);
    assert!(ours.verify(&presented, &digest));
    assert!(!theirs.verify(&presented, &digest));
    let other = ApiKey::generate(euc1());
    assert!(!ours.verify(&PresentedKey::parse(other.expose()).expect("good"), &digest));
}

#[test]
fn a_join_token_carries_the_fingerprint_of_its_authority() {
    let fingerprint = CaFingerprint([0xab; 32]);
    let token = JoinToken::generate(euc1(), fingerprint);
    let parsed = JoinToken::parse(token.expose()).expect("what was made parses");
    assert_eq!((parsed.id(), parsed.ca_fingerprint()), (token.id(), fingerprint));
    assert!(PresentedKey::parse(token.expose()).is_err());
}

#[test]
fn nothing_prints_a_secret() {
    let key = ApiKey::generate(euc1());
    let token = JoinToken::generate(euc1(), CaFingerprint([1; 32]));
    let presented = PresentedKey::parse(key.expose()).expect("good");
    let secret = key.expose().get(25..57).expect("long enough");
    let token_secret = token.expose().get(29..61).expect("long enough");
    let printed = format!("{key:?} {token:?} {presented:?} {:?}", Pepper::from_bytes([7; 32]));
    assert!(!printed.contains(secret) && !printed.contains(token_secret), "{printed}");
    let error = PresentedKey::parse(key.expose().get(..60).expect("long enough")).expect_err("cut short");
    assert!(!error.to_string().contains(secret));
}
