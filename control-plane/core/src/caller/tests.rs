use bailiwick_domain::{
    jurisdiction::Jurisdiction,
    key::ServiceSecret,
    region::Regions,
    spiffe::{ProcessRole, TrustDomain},
    time::Timestamp,
};

use super::*;

fn home() -> Jurisdiction {
    Jurisdiction::of(Regions::builtin().by_name_str("eu-central-1").expect("a region"))
}

fn process(role: ProcessRole) -> Caller {
    let domain = TrustDomain::new(home().region().name.clone(), "test").expect("good");
    Caller::new(SpiffeId::new(domain, role, "alice").expect("good"))
}

fn principal(organization: Local<OrganizationId>, role: OrganizationRole) -> Caller {
    let account = ServiceSecret::generate(home().code()).account();
    let account = home().admit(account).expect("of this region");
    Caller::of_organization(Principal::new(account, organization, role))
}

#[test]
fn r2_nobody_of_an_organization_gets_a_permit_in_another_one_or_in_the_region() {
    let (own, other) = (home().mint(Timestamp::default(), 1), home().mint(Timestamp::default(), 2));
    for role in OrganizationRole::ALL {
        let caller = principal(own, role);
        for permission in Permission::ALL {
            assert!(caller.permit_region(permission).is_err(), "{role} {permission:?}");
            let Ok(asking) = caller.asks(permission) else { continue };
            assert!(asking.within(own, "it").is_ok(), "{role} {permission:?}");
            let refused = asking.within(other, "the key").expect_err("another organization");
            assert_eq!(refused.to_string(), "the key is not found", "{role} {permission:?}");
        }
    }
}

#[test]
fn a_permit_of_an_organization_covers_no_record_of_another_chain() {
    let (own, other) = (home().mint(Timestamp::default(), 1), home().mint(Timestamp::default(), 2));
    let asking = process(ProcessRole::Operator).asks(Permission::KeyWrite).expect("may");
    let permit = asking.within(own, "it").expect("may");
    assert!(permit.covers(Chain::Organization(own)));
    assert!(!permit.covers(Chain::Organization(other)) && !permit.covers(Chain::Region));
}

#[test]
fn nobody_hands_out_more_than_they_have() {
    let own = home().mint(Timestamp::default(), 1);
    for role in [OrganizationRole::Owner, OrganizationRole::Admin] {
        let asking = principal(own, role).asks(Permission::ServiceAccountWrite).expect("may");
        let permit = asking.within(own, "it").expect("its own");
        for other in OrganizationRole::ALL {
            assert_eq!(permit.covers_role(other).is_ok(), role.covers(other), "{role} {other}");
        }
    }
}
