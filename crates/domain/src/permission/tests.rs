use super::*;

const OF_PROCESSES: [Permission; 7] = [
    Permission::ConfigurationSubscribe,
    Permission::UsageReport,
    Permission::QuotaExchange,
    Permission::DiscoveryWatch,
    Permission::SignUp,
    Permission::CertificateRenew,
    Permission::TrustFollow,
];
const OF_THE_REGION: [Permission; 2] = [Permission::RegionRead, Permission::RegionWrite];

fn allowed(role: Role) -> Vec<Permission> {
    Permission::ALL.into_iter().filter(|permission| allows(role, *permission)).collect()
}

#[test]
fn what_holds_prompts_may_touch_no_account() {
    for role in [ProcessRole::Worker, ProcessRole::Router, ProcessRole::ControlPlane] {
        let expected: &[Permission] = match role {
            ProcessRole::Worker => &[
                Permission::ConfigurationSubscribe,
                Permission::UsageReport,
                Permission::QuotaExchange,
                Permission::CertificateRenew,
                Permission::TrustFollow,
            ],
            ProcessRole::Router => &[
                Permission::DiscoveryWatch,
                Permission::SignUp,
                Permission::CertificateRenew,
                Permission::TrustFollow,
            ],
            _ => &[],
        };
        assert_eq!(allowed(Role::Process(role)), expected, "{role}");
    }
}

#[test]
fn the_control_planes_own_clients_are_the_only_ones_to_touch_every_account() {
    for permission in Permission::ALL {
        let process = OF_PROCESSES.contains(&permission);
        let region = OF_THE_REGION.contains(&permission);
        let operator = allows(Role::Process(ProcessRole::Operator), permission);
        let service = allows(Role::Process(ProcessRole::Service), permission);
        assert_eq!((operator, service), (!process, !process && !region), "{permission:?}");
    }
}

#[test]
fn only_operators_change_the_region() {
    for role in Role::all() {
        let expected = role == Role::Process(ProcessRole::Operator);
        assert_eq!(allows(role, Permission::RegionWrite), expected, "{role}");
    }
}

#[test]
fn nobody_of_an_organization_does_what_concerns_the_region_its_processes_or_the_organization_as_a_whole() {
    let above = [Permission::OrganizationWrite, Permission::OrganizationList, Permission::PriceWrite];
    for permission in OF_PROCESSES.into_iter().chain(OF_THE_REGION).chain(above) {
        for role in OrganizationRole::ALL {
            assert!(!allows(Role::Organization(role), permission), "{role}: {permission:?}");
        }
    }
}

#[test]
fn what_each_role_of_an_organization_may_is_this() {
    use Permission as P;
    let everything = [
        P::OrganizationRead,
        P::LimitRead,
        P::LimitWrite,
        P::KeyRead,
        P::KeyWrite,
        P::CredentialRead,
        P::CredentialWrite,
        P::ModelRead,
        P::ModelWrite,
        P::PriceRead,
        P::UsageRead,
        P::AuditRead,
        P::ServiceAccountRead,
        P::ServiceAccountWrite,
    ];
    let reading = [
        P::OrganizationRead,
        P::LimitRead,
        P::KeyRead,
        P::CredentialRead,
        P::ModelRead,
        P::PriceRead,
        P::UsageRead,
        P::AuditRead,
        P::ServiceAccountRead,
    ];
    // Where an organization's calls may be processed is its owner's word alone.
    let owner = allowed(Role::Organization(OrganizationRole::Owner));
    let (own, rest): (Vec<P>, Vec<P>) =
        owner.into_iter().partition(|permission| *permission == P::ResidencyWrite);
    assert_eq!((own, rest), (vec![P::ResidencyWrite], everything.to_vec()));
    assert_eq!(allowed(Role::Organization(OrganizationRole::Admin)), everything);
    assert_eq!(allowed(Role::Organization(OrganizationRole::Viewer)), reading);
    let member = [P::OrganizationRead, P::LimitRead, P::ModelRead];
    assert_eq!(allowed(Role::Organization(OrganizationRole::Member)), member);
}

#[test]
fn a_role_covers_what_is_no_stronger_and_may_do_all_that_it_covers_may() {
    for (place, stronger) in OrganizationRole::ALL.into_iter().enumerate() {
        for (other_place, other) in OrganizationRole::ALL.into_iter().enumerate() {
            assert_eq!(stronger.covers(other), place <= other_place, "{stronger} {other}");
            for permission in allowed(Role::Organization(other)).into_iter().filter(|_| place <= other_place)
            {
                assert!(
                    allows(Role::Organization(stronger), permission),
                    "{stronger} {other} {permission:?}"
                );
            }
        }
    }
}
