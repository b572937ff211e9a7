use proptest::prelude::*;

use super::*;
use crate::region::Regions;

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
