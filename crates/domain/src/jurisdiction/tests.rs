use std::{fmt::Debug, str::FromStr};

use proptest::prelude::*;

use super::*;
use crate::{
    id::{AuditId, CredentialId, DeploymentId, Id, Kind, ModelId, OrganizationId, RouterId, WorkerId},
    key::{ApiKey, CaFingerprint, JoinToken, JoinTokenId, KeyId, PresentedKey},
    region::{Region, Regions},
    time::Timestamp,
};

fn of(code: RegionCode) -> Jurisdiction {
    let name = format!("region-{code}").parse().expect("name");
    Jurisdiction::of(&Region { name, code, jurisdiction: "eu".parse().expect("good"), endpoint: None })
}

fn two_regions() -> impl Strategy<Value = (RegionCode, RegionCode)> {
    let code = || "[a-z0-9]{3,6}".prop_map(|text| text.parse::<RegionCode>().expect("code"));
    (code(), code()).prop_filter("two different ones", |(a, b)| a != b)
}

/// The two laws of everything that names a region.
fn check<T: Regional + FromStr<Err: Debug> + ToString + Copy + PartialEq + Debug>(
    home: &Jurisdiction,
    abroad: &Jurisdiction,
    id: T,
) -> Result<(), TestCaseError> {
    prop_assert_eq!(id.to_string().parse::<T>().expect("what was made parses"), id);
    prop_assert_eq!(home.admit(id).map(Local::into_inner), Ok(id));
    let refused = ForeignRegion { found: home.code(), expected: abroad.code() };
    prop_assert_eq!(abroad.admit(id).map(Local::into_inner), Err(refused));
    Ok(())
}

fn check_id<K: Kind>(home: &Jurisdiction, abroad: &Jurisdiction, entropy: u128) -> Result<(), TestCaseError> {
    let id = home.mint::<K>(Timestamp::from_micros(1_790_000_000_000_000), entropy).into_inner();
    let json = serde_json::to_string(&id).expect("json");
    prop_assert_eq!(&json, &format!("\"{id}\""));
    prop_assert_eq!(serde_json::from_str::<Id<K>>(&json).expect("json"), id);
    check(home, abroad, id)
}

/// The kind of an identifier type, so that the list below reads as the module's own.
trait OfKind {
    type Kind: Kind;
}

impl<K: Kind> OfKind for Id<K> {
    type Kind = K;
}

proptest! {
    #[test]
    fn r1_r2_every_kind_of_identifier_survives_its_text_form_and_is_at_home_in_one_region(
        (home, abroad) in two_regions(), entropy: u128,
    ) {
        let (home, abroad) = (of(home), of(abroad));
        check_id::<<OrganizationId as OfKind>::Kind>(&home, &abroad, entropy)?;
        check_id::<<CredentialId as OfKind>::Kind>(&home, &abroad, entropy)?;
        check_id::<<ModelId as OfKind>::Kind>(&home, &abroad, entropy)?;
        check_id::<<DeploymentId as OfKind>::Kind>(&home, &abroad, entropy)?;
        check_id::<<WorkerId as OfKind>::Kind>(&home, &abroad, entropy)?;
        check_id::<<RouterId as OfKind>::Kind>(&home, &abroad, entropy)?;
        check_id::<<AuditId as OfKind>::Kind>(&home, &abroad, entropy)?;
    }

    #[test]
    fn r1_r2_keys_and_tokens_too((home, abroad) in two_regions()) {
        let key = ApiKey::generate(home);
        let token = JoinToken::generate(home, CaFingerprint([7; 32]));
        let (home, abroad) = (of(home), of(abroad));
        check::<KeyId>(&home, &abroad, key.key_id())?;
        check::<JoinTokenId>(&home, &abroad, token.id())?;
        let presented = PresentedKey::parse(key.expose()).expect("good");
        prop_assert!(home.admit(presented).is_ok() && abroad.admit(presented).is_err());
        let presented = JoinToken::parse(token.expose()).expect("good");
        prop_assert!(abroad.admit(presented).is_err());
    }
}

#[test]
fn r2_a_refusal_says_which_region_is_right() {
    let regions = Regions::builtin();
    let eu = Jurisdiction::of(regions.by_name_str("eu-central-1").expect("built in"));
    let us = Jurisdiction::of(regions.by_name_str("us-west-1").expect("built in"));
    let foreign: OrganizationId = us.mint_random(Timestamp::default()).into_inner();
    let refused = eu.admit(foreign).expect_err("foreign");
    assert_eq!(refused.to_string(), "it belongs to the region usw1; this is euc1");
}
