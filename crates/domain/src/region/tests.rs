use proptest::prelude::*;

use super::*;

fn region(name: &str, code: &str) -> Region {
    let (name, code) = (name.parse().expect("name"), code.parse().expect("code"));
    Region { name, code, jurisdiction: "eu".parse().expect("good"), endpoint: None }
}

proptest! {
    #[test]
    fn codes_and_names_survive_their_text_form(code in "[a-z0-9]{3,6}", name in "[a-z0-9]([a-z0-9-]{1,30})[a-z0-9]") {
        prop_assert_eq!(code.parse::<RegionCode>().map(|c| c.to_string()), Ok(code));
        prop_assert_eq!(name.parse::<RegionName>().map(|n| n.to_string()), Ok(name));
    }

    #[test]
    fn codes_are_ordered_as_their_text(a in "[a-z0-9]{3,6}", b in "[a-z0-9]{3,6}") {
        let (left, right): (RegionCode, RegionCode) = (a.parse().expect("good"), b.parse().expect("good"));
        prop_assert_eq!(left.cmp(&right), a.cmp(&b));
    }
}

#[test]
fn malformed_codes_and_names_are_refused() {
    for text in ["", "eu", "EUC1", "euc1234", "eu-1", "eu_1", "euç1"] {
        assert_eq!(text.parse::<RegionCode>(), Err(RegionError::Code), "{text:?}");
    }
    for text in ["", "eu", "-eu-1", "eu-1-", "EU-1", "eu.central", "eu_1", &"e".repeat(33)] {
        assert_eq!(text.parse::<RegionName>(), Err(RegionError::Name), "{text:?}");
    }
}

#[test]
fn the_first_release_has_three_regions() {
    let regions = Regions::builtin();
    let table: Vec<_> =
        regions.iter().map(|r| (r.name.as_str(), r.code.as_str(), r.jurisdiction.as_str())).collect();
    assert_eq!(
        table,
        [("us-west-1", "usw1", "us"), ("us-east-1", "use1", "us"), ("eu-central-1", "euc1", "eu")]
    );
    for region in regions.iter() {
        assert_eq!(regions.by_code(region.code), Some(region));
        assert_eq!(regions.by_name(&region.name), Some(region));
        assert_eq!(regions.by_name_str(region.name.as_str()), Some(region));
    }
}

#[test]
fn names_and_codes_are_unique() {
    assert_eq!(Regions::new(vec![]), Err(RegionError::Empty));
    assert!(Regions::new(vec![region("eu-a", "eua"), region("eu-b", "eub")]).is_ok());
    for second in [region("eu-a", "eub"), region("eu-b", "eua")] {
        let twice = Regions::new(vec![region("eu-a", "eua"), second.clone()]);
        assert_eq!(twice, Err(RegionError::Twice { name: second.name, code: second.code }));
    }
}
