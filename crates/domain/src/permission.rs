//! Who may do what: one table, deny by default.

use crate::{organization::OrganizationRole, spiffe::ProcessRole};

/// Something that a caller may or may not do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Permission {
    OrganizationRead,
    OrganizationWrite,
    OrganizationList,
    ResidencyWrite,
    LimitRead,
    LimitWrite,
    KeyRead,
    KeyWrite,
    CredentialRead,
    CredentialWrite,
    ModelRead,
    ModelWrite,
    PriceRead,
    PriceWrite,
    UsageRead,
    AuditRead,
    ServiceAccountRead,
    ServiceAccountWrite,
    RegionRead,
    RegionWrite,
    ConfigurationSubscribe,
    UsageReport,
    QuotaExchange,
    DiscoveryWatch,
    SignUp,
    CertificateRenew,
    TrustFollow,
}

impl Permission {
    /// All of them.
    pub const ALL: [Self; 27] = [
        Self::OrganizationRead,
        Self::OrganizationWrite,
        Self::OrganizationList,
        Self::ResidencyWrite,
        Self::LimitRead,
        Self::LimitWrite,
        Self::KeyRead,
        Self::KeyWrite,
        Self::CredentialRead,
        Self::CredentialWrite,
        Self::ModelRead,
        Self::ModelWrite,
        Self::PriceRead,
        Self::PriceWrite,
        Self::UsageRead,
        Self::AuditRead,
        Self::ServiceAccountRead,
        Self::ServiceAccountWrite,
        Self::RegionRead,
        Self::RegionWrite,
        Self::ConfigurationSubscribe,
        Self::UsageReport,
        Self::QuotaExchange,
        Self::DiscoveryWatch,
        Self::SignUp,
        Self::CertificateRenew,
        Self::TrustFollow,
    ];
}

/// What a caller is, as far as the table goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// The holder of a certificate: it acts in the whole region.
    Process(ProcessRole),
    /// Somebody of one organization: it acts there, and nowhere else.
    Organization(OrganizationRole),
}

impl Role {
    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        let processes = ProcessRole::ALL.into_iter().map(Self::Process);
        processes.chain(OrganizationRole::ALL.into_iter().map(Self::Organization))
    }
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Process(role) => role.fmt(f),
            Self::Organization(role) => role.fmt(f),
        }
    }
}

/// Whether a caller in this role may.
pub fn allows(role: Role, permission: Permission) -> bool {
    match role {
        Role::Process(role) => allows_process(role, permission),
        Role::Organization(role) => allows_principal(role, permission),
    }
}

fn allows_process(role: ProcessRole, permission: Permission) -> bool {
    use Permission as P;
    match role {
        ProcessRole::Operator => matches!(
            permission,
            P::OrganizationRead
                | P::OrganizationWrite
                | P::OrganizationList
                | P::ResidencyWrite
                | P::LimitRead
                | P::LimitWrite
                | P::KeyRead
                | P::KeyWrite
                | P::CredentialRead
                | P::CredentialWrite
                | P::ModelRead
                | P::ModelWrite
                | P::PriceRead
                | P::PriceWrite
                | P::UsageRead
                | P::AuditRead
                | P::ServiceAccountRead
                | P::ServiceAccountWrite
                | P::RegionRead
                | P::RegionWrite
        ),
        ProcessRole::Service => matches!(
            permission,
            P::OrganizationRead
                | P::OrganizationWrite
                | P::OrganizationList
                | P::ResidencyWrite
                | P::LimitRead
                | P::LimitWrite
                | P::KeyRead
                | P::KeyWrite
                | P::CredentialRead
                | P::CredentialWrite
                | P::ModelRead
                | P::ModelWrite
                | P::PriceRead
                | P::PriceWrite
                | P::UsageRead
                | P::AuditRead
                | P::ServiceAccountRead
                | P::ServiceAccountWrite
        ),
        ProcessRole::Worker => {
            matches!(
                permission,
                P::ConfigurationSubscribe
                    | P::UsageReport
                    | P::QuotaExchange
                    | P::CertificateRenew
                    | P::TrustFollow
            )
        }
        ProcessRole::Router => {
            matches!(permission, P::DiscoveryWatch | P::SignUp | P::CertificateRenew | P::TrustFollow)
        }
        ProcessRole::ControlPlane => false,
    }
}

/// Within the caller's own organization; there is nothing that it may do outside of that. What an organization is suspended by, or deleted, or charged, is the
/// operator's affair: nobody lifts their own suspension, or agrees with themselves on a price.
fn allows_principal(role: OrganizationRole, permission: Permission) -> bool {
    use Permission as P;
    match role {
        // Whose law holds over what is said is for who answers for the organization.
        OrganizationRole::Owner if permission == P::ResidencyWrite => true,
        OrganizationRole::Owner | OrganizationRole::Admin => matches!(
            permission,
            P::OrganizationRead
                | P::LimitRead
                | P::LimitWrite
                | P::KeyRead
                | P::KeyWrite
                | P::CredentialRead
                | P::CredentialWrite
                | P::ModelRead
                | P::ModelWrite
                | P::PriceRead
                | P::UsageRead
                | P::AuditRead
                | P::ServiceAccountRead
                | P::ServiceAccountWrite
        ),
        OrganizationRole::Viewer => matches!(
            permission,
            P::OrganizationRead
                | P::LimitRead
                | P::KeyRead
                | P::CredentialRead
                | P::ModelRead
                | P::PriceRead
                | P::UsageRead
                | P::AuditRead
                | P::ServiceAccountRead
        ),
        OrganizationRole::Member => matches!(permission, P::OrganizationRead | P::LimitRead | P::ModelRead),
    }
}

#[cfg(test)]
mod tests;
