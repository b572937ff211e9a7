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

/// Everything that a sealed value is bound to.
#[derive(Clone, Debug, PartialEq)]
struct Place {
    region: RegionCode,
    scope: KeyScope,
    version: u32,
    table: &'static str,
    column: &'static str,
    row: &'static str,
}

impl Place {
    fn key(&self) -> LocalDataKey {
        key(self.region, self.scope, self.version)
    }

    fn context(&self) -> SealContext<'static> {
        SealContext { table: self.table, column: self.column, row: self.row }
    }
}

/// Few names, some of them parts of others: two places often differ in one thing only.
fn places() -> impl Strategy<Value = Place> {
    let name = || prop::sample::select(vec!["", "a", "ab", "b", "a\0b", "\u{1}"]);
    let regions = ["eu-central-1", "us-west-1"].map(|name| region(name).code());
    let scopes = [
        KeyScope::Region,
        KeyScope::Backup,
        KeyScope::Organization(organization(1)),
        KeyScope::Organization(organization(2)),
    ];
    let (regions, scopes) = (prop::sample::select(regions.to_vec()), prop::sample::select(scopes.to_vec()));
    (regions, scopes, 1_u32..3, name(), name(), name()).prop_map(
        |(region, scope, version, table, column, row)| Place { region, scope, version, table, column, row },
    )
}

proptest! {
    #[test]
    fn r4_a_value_opens_in_exactly_the_place_where_it_was_sealed(plaintext: Vec<u8>, here in places(), there in places()) {
        let sealed = here.key().seal(here.context(), &plaintext).expect("sealed");
        let opened = there.key().open(there.context(), &sealed);
        prop_assert_eq!(opened.is_ok(), here == there, "{:?} {:?}", here, there);
        // A version that is written over the value's own changes nothing: it is bound in.
        let mut relabelled = sealed.clone();
        relabelled.0[1..5].copy_from_slice(&there.version.to_be_bytes());
        prop_assert_eq!(there.key().open(there.context(), &relabelled).is_ok(), here == there);
    }

    #[test]
    fn r4_a_value_grown_or_joined_from_two_does_not_open(one: Vec<u8>, two: Vec<u8>, cut: prop::sample::Index, more in prop::collection::vec(any::<u8>(), 1..20)) {
        let ours = key(region("eu-central-1").code(), KeyScope::Region, 1);
        let (one, two) = (ours.seal(PLACE, &one).expect("sealed"), ours.seal(PLACE, &two).expect("sealed"));
        prop_assert!(ours.open(PLACE, &Sealed([one.0.clone(), more].concat())).is_err());
        // Nonce and half of the one, the rest of the other.
        let cut = 5 + cut.index(one.0.len().min(two.0.len()) - 5);
        let joined = Sealed([&one.0[..cut], &two.0[cut..]].concat());
        prop_assert!(joined == one || joined == two || ours.open(PLACE, &joined).is_err());
    }
}

#[test]
fn the_same_value_is_never_sealed_alike_twice() {
    let ours = key(region("eu-central-1").code(), KeyScope::Region, 1);
    let nonces: std::collections::HashSet<Vec<u8>> =
        (0..1000).map(|_| ours.seal(PLACE, b"same").expect("sealed").0[5..17].to_vec()).collect();
    assert_eq!(nonces.len(), 1000);
}
