use proptest::prelude::*;

use super::*;
use crate::{key::KeyId, region::Regions, spiffe::SpiffeId, usage::EventId};

fn jurisdiction(name: &str) -> Jurisdiction {
    Jurisdiction::of(Regions::builtin().by_name_str(name).expect("built in"))
}

proptest! {
    #[test]
    fn r1_an_identifier_names_its_region_and_survives_its_text_form(millis in 0_i64..281_474_976_710, entropy: u128) {
        let eu = jurisdiction("eu-central-1");
        let id: Local<OrganizationId> = eu.mint(Timestamp::from_micros(millis * 1000), entropy);
        let text = id.to_string();
        prop_assert!(text.starts_with("org_euc1_") && text.len() == 35);
        prop_assert_eq!(text.parse::<OrganizationId>(), Ok(id.into_inner()));
        prop_assert_eq!(id.created_at().as_micros(), millis * 1000);
    }

    #[test]
    fn r1_what_is_kept_without_its_region_comes_back_in_it(local: [u8; 16]) {
        let eu = jurisdiction("eu-central-1");
        let id: Local<ModelId> = eu.identified(local);
        prop_assert_eq!((id.local_bytes(), id.region_code()), (local, eu.code()));
        prop_assert_eq!(id.to_string().parse::<ModelId>(), Ok(id.into_inner()));
    }

    #[test]
    fn r2_a_foreign_identifier_is_never_admitted(entropy: u128) {
        let (eu, us) = (jurisdiction("eu-central-1"), jurisdiction("us-west-1"));
        let foreign = us.mint::<Organization>(Timestamp::default(), entropy).into_inner();
        prop_assert!(eu.admit(foreign).is_err());
        prop_assert!(us.admit(foreign).is_ok());
    }

    #[test]
    fn any_text_is_parsed_or_refused(text in "\\PC{0,60}") {
        if let Ok(id) = text.parse::<ModelId>() {
            prop_assert_eq!(id.to_string(), text);
        }
    }
}

/// What a typing error makes of an identifier: nothing, or another identity whose text it is.
fn check_changed<T: FromStr + fmt::Display + PartialEq + fmt::Debug>(
    text: &str,
    place: prop::sample::Index,
    to: char,
) -> Result<Option<T>, TestCaseError> {
    let original = text.parse::<T>().ok();
    prop_assert!(original.is_some());
    let place = place.index(text.chars().count());
    let changed: String = text.chars().enumerate().map(|(at, c)| if at == place { to } else { c }).collect();
    prop_assume!(changed != text);
    let Ok(other) = changed.parse::<T>() else { return Ok(None) };
    prop_assert_eq!(other.to_string(), changed, "one identity has one text");
    prop_assert_ne!(Some(&other), original.as_ref());
    Ok(Some(other))
}

/// Likely ones, and any.
fn typed() -> impl Strategy<Value = char> {
    prop_oneof![9 => prop::char::range('!', '~'), 1 => any::<char>()]
}

proptest! {
    #[test]
    fn r1_a_changed_character_is_refused_or_names_another_and_never_hides_its_region(
        entropy: u128, place: prop::sample::Index, to in typed(),
    ) {
        let text = jurisdiction("eu-central-1").mint::<Organization>(Timestamp::from_micros(1_790_000_000_000_000), entropy).to_string();
        if let Some(other) = check_changed::<OrganizationId>(&text, place, to)? {
            let region = other.to_string().split('_').nth(1).map(str::to_owned);
            prop_assert_eq!(region, Some(other.region_code().to_string()));
            prop_assert_eq!(other.to_string().len(), text.len());
        }
        let key = format!("key_euc1_{}", text.chars().skip(text.len() - 16).collect::<String>());
        if let Some(other) = check_changed::<KeyId>(&key, place, to)? {
            let region = other.to_string().split('_').nth(1).map(str::to_owned);
            prop_assert_eq!(region, Some(other.region_code().to_string()));
        }
        check_changed::<EventId>("0193a5b0-7c1e-7d3a-8f00-0123456789ab", place, to)?;
        check_changed::<SpiffeId>("spiffe://eu-central-1.local/worker/worker-1", place, to)?;
    }

    #[test]
    fn an_identifier_of_one_length_is_accepted_and_no_other(entropy: u128, more in "[0-9A-Z]{1,8}", less in 1_usize..35) {
        let text = jurisdiction("us-east-1").mint::<Model>(Timestamp::default(), entropy).to_string();
        prop_assert!((text.clone() + &more).parse::<ModelId>().is_err());
        prop_assert!(text.chars().take(text.len() - less).collect::<String>().parse::<ModelId>().is_err());
    }
}

#[test]
fn other_kinds_regions_and_shapes_are_refused() {
    for text in [
        "",
        "org_euc1_",
        "mdl_euc1_01JD0W6KQ4V6J5T6T9N2X8Y3ZB",
        "org_EUC1_01JD0W6KQ4V6J5T6T9N2X8Y3ZB",
        "org_euc1_01jd0w6kq4v6j5t6t9n2x8y3zb",
        "org_euc1_81JD0W6KQ4V6J5T6T9N2X8Y3ZB",
        "org_euc1_01JD0W6KQ4V6J5T6T9N2X8Y3ZB_x",
        "org_euc1_01JD0W6KQ4V6J5T6T9N2X8Y3Z",
        " org_euc1_01JD0W6KQ4V6J5T6T9N2X8Y3ZB",
    ] {
        assert!(text.parse::<OrganizationId>().is_err(), "{text}");
    }
}
