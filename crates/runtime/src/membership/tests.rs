use bailiwick_domain::spiffe::ProcessRole;

use super::*;
use crate::identity::tests::authority::Authority;

#[test]
fn a_certificate_stands_as_its_end_and_its_region_say() {
    let authority = Authority::of("eu-central-1");
    let identity = authority.identity(ProcessRole::Worker);
    let life = identity.expires().saturating_since(identity.issued());
    let (before, after) = (identity.expires().saturating_sub(life / 2), identity.expires());
    assert_eq!(Standing::of(&identity, before), Standing::Good);
    let late = identity.expires().saturating_sub(life / 4);
    assert_eq!(Standing::of(&identity, late), Standing::Ending, "renewals should have succeeded by then");
    assert_eq!(Standing::of(&identity, after), Standing::Expired);
    identity.disown();
    assert_eq!(Standing::of(&identity, before), Standing::Revoked);
    assert_eq!(Standing::of(&identity, after), Standing::Revoked, "which is the worse of the two");

    identity.replace(&authority.material(ProcessRole::Worker)).expect("replaced");
    assert_eq!(Standing::of(&identity, before), Standing::Good, "another certificate is another matter");
}
