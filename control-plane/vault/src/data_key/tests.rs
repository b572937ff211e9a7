use bailiwick_domain::{
    id::OrganizationId,
    jurisdiction::{Jurisdiction, Local},
    region::Regions,
    time::Timestamp,
};
use proptest::prelude::*;

use super::*;

fn region(name: &str) -> Jurisdiction {
    Jurisdiction::of(Regions::builtin().by_name_str(name).expect("built in"))
}

fn organization(entropy: u128) -> Local<OrganizationId> {
    region("eu-central-1").mint(Timestamp::default(), entropy)
}

fn key(code: RegionCode, scope: KeyScope, version: u32) -> LocalDataKey {
    LocalDataKey::new(code, scope, version, &[7; 32]).expect("32 bytes")
}

const PLACE: SealContext<'static> =
    SealContext { table: "credentials", column: "secret", row: "cred_euc1_1" };

proptest! {
    #[test]
    fn r4_a_value_opens_where_it_was_sealed_and_nowhere_else(plaintext: Vec<u8>, other_row in "[a-z0-9_]{0,20}") {
        let (eu, us) = (region("eu-central-1").code(), region("us-west-1").code());
        let scope = KeyScope::Organization(organization(1));
        let ours = key(eu, scope, 1);
        let sealed = ours.seal(PLACE, &plaintext).expect("sealed");
        prop_assert_eq!(&*ours.open(PLACE, &sealed).expect("opens"), &plaintext);
        prop_assume!(other_row != PLACE.row);
        let moved = [
            SealContext { row: &other_row, ..PLACE },
            SealContext { column: "name", ..PLACE },
            SealContext { table: "api_keys", ..PLACE },
            // The same bytes in a row, cut elsewhere.
            SealContext { table: "credentialssecret", column: "", ..PLACE },
        ];
        for place in moved {
            prop_assert!(ours.open(place, &sealed).is_err(), "{:?}", place);
        }
        // The same key bytes under another region, organization, scope or version do not open it either.
        for other in [
            key(us, scope, 1),
            key(eu, KeyScope::Organization(organization(2)), 1),
            key(eu, KeyScope::Region, 1),
            key(eu, scope, 2),
        ] {
            prop_assert!(other.open(PLACE, &sealed).is_err());
        }
    }

    #[test]
    fn r4_a_value_with_any_changed_bit_does_not_open(plaintext: Vec<u8>, place: prop::sample::Index, bit in 0_u8..8) {
        let ours = key(region("eu-central-1").code(), KeyScope::Region, 1);
        let mut sealed = ours.seal(PLACE, &plaintext).expect("sealed");
        let index = place.index(sealed.0.len());
        sealed.0[index] ^= 1 << bit;
        prop_assert!(ours.open(PLACE, &sealed).is_err());
        sealed.0.truncate(index);
        prop_assert!(ours.open(PLACE, &sealed).is_err());
    }
}

#[test]
fn the_same_value_is_never_sealed_alike_twice() {
    let ours = key(region("eu-central-1").code(), KeyScope::Region, 1);
    assert_ne!(ours.seal(PLACE, b"same").expect("sealed"), ours.seal(PLACE, b"same").expect("sealed"));
}
