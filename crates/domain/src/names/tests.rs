use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn model_names_survive_their_text_form(text in "[A-Za-z0-9._:/@+-]{1,128}") {
        prop_assert_eq!(text.parse::<ModelName>().map(|name| name.to_string()), Ok(text));
    }

    #[test]
    fn any_text_is_parsed_or_refused(text in "\\PC{0,300}") {
        if let Ok(name) = text.parse::<DisplayName>() {
            prop_assert_eq!(name.as_str(), text.as_str());
        }
        if let Ok(address) = text.parse::<EmailAddress>() {
            prop_assert_eq!(address.as_str().parse(), Ok(address.clone()));
        }
        let _ = text.parse::<ModelName>();
    }
}

#[test]
fn an_address_that_grows_past_its_bound_in_small_letters_is_refused() {
    let address = |letters| format!("a@{}.b", "Ⱥ".repeat(letters));
    assert!(address(83).parse::<EmailAddress>().is_ok());
    assert!(address(84).len() < 254);
    assert_eq!(address(84).parse::<EmailAddress>(), Err(NameError::Email));
}

#[test]
fn malformed_names_are_refused() {
    for text in ["", "a b", "modèle", "a\n", &"x".repeat(129)] {
        assert_eq!(text.parse::<ModelName>(), Err(NameError::Model), "{text:?}");
    }
    for text in ["", " a", "a ", "a\0b", "a\u{85}b", &"ö".repeat(129)] {
        assert_eq!(text.parse::<DisplayName>().err(), Some(NameError::Display), "{text:?}");
    }
    for text in
        ["", "a", "@b.c", "a@b", "a@b@c.d", "a@.c", "a@c.", "a b@c.d", &format!("{}@b.c", "a".repeat(251))]
    {
        assert_eq!(text.parse::<EmailAddress>().err(), Some(NameError::Email), "{text:?}");
    }
}

#[test]
fn the_bounds_themselves_are_admitted() {
    assert!("ö".repeat(128).parse::<DisplayName>().is_ok());
    assert!("x".repeat(128).parse::<ModelName>().is_ok());
    assert!(format!("{}@b.c", "a".repeat(250)).parse::<EmailAddress>().is_ok());
}

#[test]
fn a_domain_is_one_whatever_its_case() {
    let address: EmailAddress = "Ada@Example.ORG".parse().expect("good");
    assert_eq!(address.as_str(), "Ada@example.org");
}

#[test]
fn what_is_sealed_at_rest_does_not_print() {
    let name: DisplayName = "Ada Lovelace".parse().expect("good");
    let address: EmailAddress = "ada@example.org".parse().expect("good");
    assert_eq!(format!("{name:?} {address:?}"), "DisplayName([redacted]) EmailAddress([redacted])");
}
