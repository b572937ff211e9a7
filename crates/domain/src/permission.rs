//! Who may do what: one table, deny by default.

use crate::spiffe::ProcessRole;

/// Something that a caller may or may not do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Permission {
    OrganizationRead,
    OrganizationWrite,
    KeyRead,
    KeyWrite,
    CredentialRead,
    CredentialWrite,
    ModelRead,
    ModelWrite,
    UsageRead,
    AuditRead,
    RegionRead,
    RegionWrite,
    ConfigurationSubscribe,
    UsageReport,
    DiscoveryWatch,
    SignUp,
    CertificateRenew,
    TrustFollow,
}

impl Permission {
    /// All of them.
    pub const ALL: [Self; 18] = [
        Self::OrganizationRead,
        Self::OrganizationWrite,
        Self::KeyRead,
        Self::KeyWrite,
        Self::CredentialRead,
        Self::CredentialWrite,
        Self::ModelRead,
        Self::ModelWrite,
        Self::UsageRead,
        Self::AuditRead,
        Self::RegionRead,
        Self::RegionWrite,
        Self::ConfigurationSubscribe,
        Self::UsageReport,
        Self::DiscoveryWatch,
        Self::SignUp,
        Self::CertificateRenew,
        Self::TrustFollow,
    ];
}

/// Whether the holder of a certificate with this role may.
pub fn allows(role: ProcessRole, permission: Permission) -> bool {
    use Permission as P;
    match role {
        ProcessRole::Operator => matches!(
            permission,
            P::OrganizationRead
                | P::OrganizationWrite
                | P::KeyRead
                | P::KeyWrite
                | P::CredentialRead
                | P::CredentialWrite
                | P::ModelRead
                | P::ModelWrite
                | P::UsageRead
                | P::AuditRead
                | P::RegionRead
                | P::RegionWrite
        ),
        ProcessRole::Service => matches!(
            permission,
            P::OrganizationRead
                | P::OrganizationWrite
                | P::KeyRead
                | P::KeyWrite
                | P::CredentialRead
                | P::CredentialWrite
                | P::ModelRead
                | P::ModelWrite
                | P::UsageRead
                | P::AuditRead
        ),
        ProcessRole::Worker => {
            matches!(
                permission,
                P::ConfigurationSubscribe | P::UsageReport | P::CertificateRenew | P::TrustFollow
            )
        }
        ProcessRole::Router => {
            matches!(permission, P::DiscoveryWatch | P::SignUp | P::CertificateRenew | P::TrustFollow)
        }
        ProcessRole::ControlPlane => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_holds_prompts_may_touch_no_account() {
        for role in [ProcessRole::Worker, ProcessRole::Router, ProcessRole::ControlPlane] {
            let allowed: Vec<_> = Permission::ALL.into_iter().filter(|p| allows(role, *p)).collect();
            let expected: &[Permission] = match role {
                ProcessRole::Worker => &[
                    Permission::ConfigurationSubscribe,
                    Permission::UsageReport,
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
            assert_eq!(allowed, expected, "{role}");
        }
    }

    #[test]
    fn the_control_planes_own_clients_are_the_only_ones_to_touch_accounts() {
        let of_processes = [
            Permission::ConfigurationSubscribe,
            Permission::UsageReport,
            Permission::DiscoveryWatch,
            Permission::SignUp,
            Permission::CertificateRenew,
            Permission::TrustFollow,
        ];
        let of_the_region = [Permission::RegionRead, Permission::RegionWrite];
        for permission in Permission::ALL {
            let process = of_processes.contains(&permission);
            let region = of_the_region.contains(&permission);
            assert_eq!(allows(ProcessRole::Operator, permission), !process, "{permission:?}");
            assert_eq!(allows(ProcessRole::Service, permission), !process && !region, "{permission:?}");
        }
    }

    #[test]
    fn only_operators_change_the_region() {
        for role in ProcessRole::ALL {
            assert_eq!(allows(role, Permission::RegionWrite), role == ProcessRole::Operator, "{role}");
        }
    }
}
