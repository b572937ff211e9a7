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
    let malformed = Err(KeyFormatError::Id { name: "an API key's id", prefix: "key" });
    assert_eq!("key_euc1_with-hyphens-in_".parse::<KeyId>(), malformed);
}

#[test]
fn a_region_is_told_from_the_prefix_alone() {
    assert_eq!(region_of_prefix("bw_usw1_nonsense"), "usw1".parse().ok());
    for text in ["", "sk-abc", "bw_", "bw_usw1", "bw_USW1_x", "bwjoin_usw1_x"] {
        assert_eq!(region_of_prefix(text), None, "{text}");
    }
}

/// Every change of one character to any other that a key may have, in a key and in a join token.
#[test]
fn no_single_typing_error_passes_the_checksum() {
    let key = ApiKey::generate(euc1());
    let token = JoinToken::generate(euc1(), CaFingerprint([0x5a; 32]));
    let typed: Vec<char> = (' '..='~').collect();
    for place in 0..key.expose().len() {
        for changed in
            typed.iter().map(|to| replaced(key.expose(), place, *to)).filter(|text| text != key.expose())
        {
            assert!(PresentedKey::parse(&changed).is_err(), "place {place}");
        }
    }
    for place in 0..token.expose().len() {
        for changed in
            typed.iter().map(|to| replaced(token.expose(), place, *to)).filter(|text| text != token.expose())
        {
            assert!(JoinToken::parse(&changed).is_err(), "place {place}");
        }
    }
}

fn replaced(text: &str, place: usize, to: char) -> String {
    text.chars().enumerate().map(|(at, c)| if at == place { to } else { c }).collect()
}

proptest! {
    #[test]
    fn a_key_with_one_changed_character_is_refused_offline(place in 0_usize..63, to: char) {
        let key = ApiKey::generate(euc1());
        prop_assert_eq!(key.expose().len(), 63);
        let changed = replaced(key.expose(), place, to);
        prop_assume!(changed != key.expose());
        prop_assert!(PresentedKey::parse(&changed).is_err());
    }

    #[test]
    fn a_fingerprint_survives_its_text_form(bytes: [u8; 32]) {
        let fingerprint = CaFingerprint(bytes);
        prop_assert_eq!(fingerprint.to_string().parse(), Ok(fingerprint));
        let token = JoinToken::generate(euc1(), fingerprint);
        prop_assert_eq!(JoinToken::parse(token.expose()).map(|parsed| parsed.ca_fingerprint()), Ok(fingerprint));
    }

    #[test]
    fn a_pepper_verifies_what_it_digested_and_nothing_else(pepper: [u8; 32], flipped in 0_usize..256) {
        let pepper = Pepper::from_bytes(pepper);
        let key = ApiKey::generate(euc1());
        let presented = PresentedKey::parse(key.expose()).expect("good");
        let digest = pepper.digest(&presented);
        prop_assert!(pepper.verify(&presented, &digest));
        let mut other = digest;
        other.0[flipped / 8] ^= 1 << (flipped % 8);
        prop_assert!(!pepper.verify(&presented, &other));
    }

    #[test]
    fn r1_the_region_of_a_key_is_the_one_that_its_prefix_names(code in "[a-z0-9]{3,6}") {
        let code: RegionCode = code.parse().expect("good");
        let (key, token) = (ApiKey::generate(code), JoinToken::generate(code, CaFingerprint([3; 32])));
        prop_assert_eq!(region_of_prefix(key.expose()), Some(code));
        prop_assert_eq!(PresentedKey::parse(key.expose()).expect("good").region_code(), code);
        prop_assert_eq!(JoinToken::parse(token.expose()).expect("good").region_code(), code);
        prop_assert_eq!(key.expose().len(), "bw__".len() + code.as_str().len() + 16 + 1 + 32 + 6);
        // With another region written over it, it is no key at all: the checksum covers the prefix.
        let moved = key.expose().replacen(code.as_str(), "xyz", 1);
        prop_assume!(code.as_str() != "xyz");
        prop_assert!(PresentedKey::parse(&moved).is_err());
    }

    /// One pepper, several purposes: what is hashed for one is worth nothing for another, whatever text somebody chooses.
    #[test]
    fn what_is_hashed_for_one_purpose_is_worth_nothing_for_another(pepper: [u8; 32], text in ".{0,80}", other in ".{0,80}") {
        let pepper = Pepper::from_bytes(pepper);
        let key = ApiKey::generate(euc1());
        for text in [text.as_str(), key.expose()] {
            let purposes = [Purpose::EmailAddress, Purpose::IdempotencyKey];
            let [one, two] = purposes.map(|purpose| pepper.digest_for(purpose, text.as_bytes()));
            prop_assert_ne!(one, two);
            prop_assert!(one != key.digest(&pepper) && two != key.digest(&pepper));
            prop_assert_eq!(one == pepper.digest_for(Purpose::EmailAddress, other.as_bytes()), text == other);
        }
    }

    #[test]
    fn no_text_is_a_key_and_a_token_at_once(text in "(bw|bwjoin)_euc1_[0-9A-Za-z]{16}_[0-9A-Za-z]{38,81}") {
        prop_assert!(PresentedKey::parse(&text).is_err() || JoinToken::parse(&text).is_err());
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
    let secret = part(key.expose(), 25, 32);
    let printed = format!("{key:?} {token:?} {presented:?} {:?}", Pepper::from_bytes([7; 32]));
    assert!(!printed.contains(&secret) && !printed.contains(&part(token.expose(), 29, 32)), "{printed}");
    let error = PresentedKey::parse(&part(key.expose(), 0, 60)).expect_err("cut short");
    assert!(!format!("{error} {error:?}").contains(&secret));
}

fn part(text: &str, from: usize, length: usize) -> String {
    text.chars().skip(from).take(length).collect()
}

#[test]
fn a_key_id_is_found_by_its_hash() {
    let ids: Vec<KeyId> = (0..1000).map(|_| ApiKey::generate(euc1()).key_id()).collect();
    let set: std::collections::HashSet<KeyId> = ids.iter().copied().collect();
    assert_eq!(set.len(), ids.len());
    assert!(ids.iter().all(|id| set.contains(&id.to_string().parse().expect("good"))));
}

#[test]
fn fingerprints_in_any_other_form_are_refused() {
    for text in [
        "",
        &"A".repeat(64),
        &"a".repeat(63),
        &"a".repeat(65),
        &format!("+{}", "a".repeat(63)),
        &"é".repeat(32),
    ] {
        assert_eq!(text.parse::<CaFingerprint>(), Err(CaFingerprintError), "{text:?}");
    }
}

#[test]
fn r1_a_service_secret_names_its_region_and_its_account_and_another_one_the_same() {
    let first = ServiceSecret::generate(euc1());
    let second = ServiceSecret::another(first.account());
    assert_ne!(first.expose(), second.expose());
    let pepper = Pepper::from_bytes([7; 32]);
    for secret in [&first, &second] {
        let parsed = ServiceSecret::parse(secret.expose()).expect("what was made parses");
        assert_eq!((parsed.account(), parsed.region_code()), (first.account(), euc1()));
        assert!(parsed.is(&secret.digest(&pepper), &pepper));
    }
    assert!(!first.is(&second.digest(&pepper), &pepper));
    assert!(!format!("{first:?}").contains(first.expose().rsplit('_').next().expect("a secret")));
    assert_eq!(first.account().to_string().parse::<ServiceAccountId>(), Ok(first.account()));
}

#[test]
fn one_kind_of_secret_is_not_taken_for_another() {
    let (key, secret) = (ApiKey::generate(euc1()), ServiceSecret::generate(euc1()));
    assert!(ServiceSecret::parse(key.expose()).is_err());
    assert!(PresentedKey::parse(secret.expose()).is_err());
    assert_eq!(region_of_prefix(secret.expose()), None);
}
