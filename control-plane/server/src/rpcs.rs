//! The one table of who may call what, on which listener. It is not a description of what is checked elsewhere: [`crate::guard`] lets nothing through that has no
//! row here, so a method that is added to the contract is refused to everybody until somebody says who may call it.
//!
//! Which roles have a permission stands in [`bailiwick_domain::permission`]. What a row does not say, because it depends on the request, is *which* organization is
//! meant: use cases get a permit only in the caller's own, see [`bailiwick_core::caller`].

use bailiwick_domain::permission::Permission;

use self::{Listener::*, Needs::*, Scope::*};

/// Where a call arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Listener {
    /// mTLS; operators and services. Callers are their certificates, whatever a request says.
    Admin,
    /// TLS; callers are their bearer tokens.
    Tokens,
    /// mTLS; workers and routers.
    Workers,
    /// TLS; whoever has a join token.
    Enrollment,
}

impl Listener {
    /// All of them.
    #[cfg(test)]
    pub(crate) const ALL: [Self; 4] = [Admin, Tokens, Workers, Enrollment];
}

/// What a caller needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Needs {
    /// Nothing: the request itself holds the proof, or there is nothing to protect.
    Nothing,
    /// A verified identity, whichever.
    Identity,
    /// A verified identity whose role has this permission.
    To(Permission),
}

/// What a call concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Nobody's accounts.
    Public,
    /// The region as a whole: nobody of an organization may.
    Region,
    /// One organization, which the request names, or which owns what it names.
    Organization,
    /// One organization; the region where the request names none.
    Either,
}

/// A row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rpc {
    /// The full path of the method.
    pub(crate) path: &'static str,
    /// Where it is served.
    pub(crate) listeners: &'static [Listener],
    pub(crate) needs: Needs,
    #[cfg_attr(not(test), expect(dead_code, reason = "tests hold every method to it"))]
    pub(crate) scope: Scope,
}

/// The row of a method on a listener.
pub(crate) fn find(path: &str, listener: Listener) -> Option<&'static Rpc> {
    TABLE.iter().find(|rpc| rpc.path == path && rpc.listeners.contains(&listener))
}

const fn row(path: &'static str, listeners: &'static [Listener], needs: Needs, scope: Scope) -> Rpc {
    Rpc { path, listeners, needs, scope }
}

/// A method of the admin API, for certificates and for tokens alike.
const fn admin(path: &'static str, permission: Permission, scope: Scope) -> Rpc {
    row(path, &[Admin, Tokens], To(permission), scope)
}

const fn process(path: &'static str, permission: Permission) -> Rpc {
    row(path, &[Workers], To(permission), Region)
}

use Permission as P;

/// All rows.
pub(crate) const TABLE: &[Rpc] = &[
    admin("/bailiwick.admin.v1.OrganizationService/CreateOrganization", P::OrganizationWrite, Region),
    admin("/bailiwick.admin.v1.OrganizationService/GetOrganization", P::OrganizationRead, Organization),
    admin("/bailiwick.admin.v1.OrganizationService/ListOrganizations", P::OrganizationList, Region),
    admin("/bailiwick.admin.v1.OrganizationService/SuspendOrganization", P::OrganizationWrite, Region),
    admin("/bailiwick.admin.v1.OrganizationService/DeleteOrganization", P::OrganizationWrite, Region),
    admin("/bailiwick.admin.v1.DestructionService/GetDestruction", P::OrganizationRead, Organization),
    admin("/bailiwick.admin.v1.KeyService/CreateKey", P::KeyWrite, Organization),
    admin("/bailiwick.admin.v1.KeyService/ListKeys", P::KeyRead, Organization),
    admin("/bailiwick.admin.v1.KeyService/RotateKey", P::KeyWrite, Organization),
    admin("/bailiwick.admin.v1.KeyService/UpdateKey", P::KeyWrite, Organization),
    admin("/bailiwick.admin.v1.KeyService/RevokeKey", P::KeyWrite, Organization),
    admin("/bailiwick.admin.v1.KeyService/ExplainKey", P::KeyRead, Organization),
    admin("/bailiwick.admin.v1.CredentialService/CreateCredential", P::CredentialWrite, Organization),
    admin("/bailiwick.admin.v1.CredentialService/ReplaceCredential", P::CredentialWrite, Organization),
    admin("/bailiwick.admin.v1.CredentialService/ListCredentials", P::CredentialRead, Organization),
    admin("/bailiwick.admin.v1.CredentialService/DeleteCredential", P::CredentialWrite, Organization),
    admin("/bailiwick.admin.v1.ModelService/CreateDeployment", P::ModelWrite, Organization),
    admin("/bailiwick.admin.v1.ModelService/ListDeployments", P::ModelRead, Organization),
    admin("/bailiwick.admin.v1.ModelService/DeleteDeployment", P::ModelWrite, Organization),
    admin("/bailiwick.admin.v1.ModelService/CreateModel", P::ModelWrite, Organization),
    admin("/bailiwick.admin.v1.ModelService/UpdateModel", P::ModelWrite, Organization),
    admin("/bailiwick.admin.v1.ModelService/ListModels", P::ModelRead, Organization),
    admin("/bailiwick.admin.v1.ModelService/DeleteModel", P::ModelWrite, Organization),
    admin("/bailiwick.admin.v1.PolicyService/GetResidency", P::OrganizationRead, Organization),
    admin("/bailiwick.admin.v1.PolicyService/SetResidency", P::ResidencyWrite, Organization),
    admin("/bailiwick.admin.v1.PolicyService/GetAllowedRanges", P::KeyRead, Organization),
    admin("/bailiwick.admin.v1.PolicyService/SetAllowedRanges", P::KeyWrite, Organization),
    admin("/bailiwick.admin.v1.PriceService/ListContractPrices", P::PriceRead, Organization),
    admin("/bailiwick.admin.v1.PriceService/SetContractPrice", P::PriceWrite, Region),
    admin("/bailiwick.admin.v1.PolicyService/CreateLimit", P::LimitWrite, Organization),
    admin("/bailiwick.admin.v1.PolicyService/UpdateLimit", P::LimitWrite, Organization),
    admin("/bailiwick.admin.v1.PolicyService/DeleteLimit", P::LimitWrite, Organization),
    admin("/bailiwick.admin.v1.PolicyService/ListLimits", P::LimitRead, Organization),
    admin("/bailiwick.admin.v1.PolicyService/GetLimitUsage", P::LimitRead, Organization),
    admin("/bailiwick.admin.v1.UsageService/QueryUsage", P::UsageRead, Organization),
    admin("/bailiwick.admin.v1.UsageService/ListUsageEvents", P::UsageRead, Organization),
    admin("/bailiwick.admin.v1.AuditService/ListAuditRecords", P::AuditRead, Either),
    admin("/bailiwick.admin.v1.AuditService/VerifyAuditChain", P::AuditRead, Either),
    admin(
        "/bailiwick.admin.v1.ServiceAccountService/CreateServiceAccount",
        P::ServiceAccountWrite,
        Organization,
    ),
    admin(
        "/bailiwick.admin.v1.ServiceAccountService/ListServiceAccounts",
        P::ServiceAccountRead,
        Organization,
    ),
    admin(
        "/bailiwick.admin.v1.ServiceAccountService/RotateServiceAccountSecret",
        P::ServiceAccountWrite,
        Organization,
    ),
    admin(
        "/bailiwick.admin.v1.ServiceAccountService/RevokeServiceAccount",
        P::ServiceAccountWrite,
        Organization,
    ),
    admin("/bailiwick.admin.v1.RegionService/GetRegion", P::RegionRead, Region),
    admin("/bailiwick.admin.v1.RegionService/ListWorkers", P::RegionRead, Region),
    admin("/bailiwick.admin.v1.RegionService/CreateJoinToken", P::RegionWrite, Region),
    admin("/bailiwick.admin.v1.TrustService/GetTrust", P::RegionRead, Region),
    admin("/bailiwick.admin.v1.TrustService/RotateAuthority", P::RegionWrite, Region),
    admin("/bailiwick.admin.v1.TrustService/RevokeWorker", P::RegionWrite, Region),
    admin("/bailiwick.admin.v1.TrustService/RevokeCertificate", P::RegionWrite, Region),
    admin("/bailiwick.admin.v1.KeyMaterialService/GetKeyMaterial", P::RegionRead, Region),
    admin("/bailiwick.admin.v1.KeyMaterialService/RotateMasterKey", P::RegionWrite, Region),
    // Keys are the region's affair, also those of an organization.
    admin("/bailiwick.admin.v1.KeyMaterialService/RotateDataKeys", P::RegionWrite, Region),
    admin("/bailiwick.admin.v1.KeyMaterialService/GetRotation", P::RegionRead, Region),
    admin("/bailiwick.admin.v1.KeyMaterialService/ListRotations", P::RegionRead, Region),
    admin("/bailiwick.admin.v1.BackupService/CreateBackup", P::RegionWrite, Region),
    admin("/bailiwick.admin.v1.BackupService/ListBackups", P::RegionRead, Region),
    row("/bailiwick.admin.v1.TokenService/IssueToken", &[Tokens], Nothing, Public),
    process("/bailiwick.worker.v1.ConfigurationService/Subscribe", P::ConfigurationSubscribe),
    process("/bailiwick.worker.v1.ConfigurationService/Snapshot", P::ConfigurationSubscribe),
    process("/bailiwick.worker.v1.UsageService/Report", P::UsageReport),
    process("/bailiwick.worker.v1.QuotaService/Exchange", P::QuotaExchange),
    process("/bailiwick.worker.v1.DiscoveryService/Watch", P::DiscoveryWatch),
    process("/bailiwick.worker.v1.SignupService/SignUp", P::SignUp),
    process("/bailiwick.worker.v1.RenewalService/Renew", P::CertificateRenew),
    process("/bailiwick.worker.v1.TrustService/Follow", P::TrustFollow),
    row("/bailiwick.worker.v1.EnrollmentService/Enroll", &[Enrollment], Nothing, Public),
    row("/bailiwick.worker.v1.EnrollmentService/Recover", &[Enrollment], Nothing, Public),
    row("/grpc.health.v1.Health/Check", &[Admin, Workers], Identity, Public),
    row("/grpc.health.v1.Health/Watch", &[Admin, Workers], Identity, Public),
    row("/grpc.health.v1.Health/Check", &[Tokens], Nothing, Public),
    row("/grpc.health.v1.Health/Watch", &[Tokens], Nothing, Public),
    row("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", &[Admin, Tokens], Identity, Public),
];
