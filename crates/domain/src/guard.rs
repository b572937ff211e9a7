//! The guards that keep regions apart, by name, so that each can be taken away once and `bailiwick verify isolation` be seen to notice.
//!
//! A guarded place asks [`Guard::stands`]. In a release build that is `true`, known to the compiler, and there is nothing that could take a guard
//! away: [`Guard::remove`] does not exist. In a build for development a process takes away what its environment names when it reads its configuration
//! (`bailiwick_runtime::configuration`), says so in its log and on `/readyz`, and nothing else ever does.
//!
//! Never here: a guard without a place that asks it, or an attack that nobody makes.

use std::{fmt, str::FromStr};

macro_rules! guards {
    ($($(#[doc = $doc:literal])+ $guard:ident => $name:literal,)+) => {
        /// One reason why a region refuses what is another's.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Guard {
            $($(#[doc = $doc])+ $guard,)+
        }

        impl Guard {
            /// Every guard.
            pub const ALL: &'static [Self] = &[$(Self::$guard),+];

            /// Its name, as tests and logs have it.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$guard => $name,)+
                }
            }
        }
    };
}

guards! {
    /// A router serves its own region's keys only.
    RouterKeyRegion => "router_key_region",
    /// A router passes on signups for its own region only.
    RouterSignupRegion => "router_signup_region",
    /// A worker serves its own region's keys only.
    WorkerKeyRegion => "worker_key_region",
    /// A key is the one whose digest is stored.
    WorkerKeyDigest => "worker_key_digest",
    /// The admin API takes its own region's identifiers only.
    AdminIdentifiers => "admin_identifiers",
    /// A control plane makes organizations for its own region only.
    ControlPlaneRegion => "control_plane_region",
    /// Workers and routers are told of their own region only.
    ProcessRegion => "process_region",
    /// Usage is taken of the region's own identifiers only.
    UsageIdentifiers => "usage_identifiers",
    /// Usage is taken of organizations that exist only.
    UsageOrganizations => "usage_organizations",
    /// A caller of a listener for processes must present a certificate.
    CallerCertificate => "caller_certificate",
    /// A caller's certificate was issued by this region.
    CallerChain => "caller_chain",
    /// A caller's certificate is good at this time.
    CallerTime => "caller_time",
    /// A session is never resumed: each connection's certificates are verified.
    FullHandshake => "full_handshake",
    /// A certificate names this region's trust domain.
    TrustDomain => "trust_domain",
    /// A certificate names a role that is admitted.
    Role => "role",
    /// A server is a control plane, or a worker, of this region.
    ServerCertificate => "server_certificate",
    /// A server's certificate is good at this time.
    ServerTime => "server_time",
    /// A join token is of this region.
    EnrollmentRegion => "enrollment_region",
    /// A join token is the one whose digest is stored.
    JoinTokenDigest => "join_token_digest",
    /// A join token lets one process join, once.
    JoinTokenUse => "join_token_use",
    /// A bearer token, and the secret that it is had for, is of this region.
    TokenRegion => "token_region",
    /// A bearer token is signed by one of the region's own keys.
    TokenSignature => "token_signature",
    /// A bearer token's header is the one that the region writes, and no other.
    TokenHeader => "token_header",
    /// A bearer token was made by this region's control plane.
    TokenIssuer => "token_issuer",
    /// A bearer token is for this region's admin API.
    TokenAudience => "token_audience",
    /// A bearer token has a beginning.
    TokenBeginning => "token_beginning",
    /// A bearer token lives for minutes.
    TokenLife => "token_life",
    /// A bearer token has an end.
    TokenEnd => "token_end",
    /// A bearer token ends with its account.
    TokenAccount => "token_account",
    /// A bearer token is good in its own organization only.
    TokenOrganization => "token_organization",
    /// A service account's secret is the one whose digest is stored.
    ServiceSecretDigest => "service_secret_digest",
    /// A worker takes its own region's configuration only.
    ConfigurationIdentifiers => "configuration_identifiers",
    /// A store is opened by the region that it belongs to only.
    StoreIdentity => "store_identity",
    /// What is sealed opens in its own row, column, organization and region only.
    SealedPlace => "sealed_place",
    /// A backup is restored in the region that made it only.
    BackupRegion => "backup_region",
    /// A deployment's endpoint lies inside the egress policy when it is made.
    EgressAtCreation => "egress_at_creation",
    /// The address that is dialled lies inside the egress policy.
    EgressAtConnect => "egress_at_connect",
    /// A provider that redirects is not passed on.
    ProviderRedirects => "provider_redirects",
    /// The collector of telemetry lies in the region's jurisdiction.
    TelemetryCollector => "telemetry_collector",
}

impl Guard {
    /// Whether it stands. Always, in what operators run.
    #[cfg(not(debug_assertions))]
    pub const fn stands(self) -> bool {
        true
    }

    /// Whether it stands. Always, but in a process that was told to go without it.
    #[cfg(debug_assertions)]
    pub fn stands(self) -> bool {
        removable::REMOVED.load(std::sync::atomic::Ordering::Relaxed) & self.bit() == 0
    }

    /// Takes it away, from this process and until its end.
    #[cfg(debug_assertions)]
    pub fn remove(self) {
        removable::REMOVED.fetch_or(self.bit(), std::sync::atomic::Ordering::Relaxed);
    }

    /// Those that were taken away from this process.
    pub fn removed() -> impl Iterator<Item = Self> {
        Self::ALL.iter().copied().filter(|guard| !guard.stands())
    }

    #[cfg(debug_assertions)]
    const fn bit(self) -> u64 {
        1 << self as u64
    }
}

#[cfg(debug_assertions)]
mod removable {
    use std::sync::atomic::AtomicU64;

    /// A bit for each guard that was taken away.
    pub(super) static REMOVED: AtomicU64 = AtomicU64::new(0);
}

// A bit for each.
const _: () = assert!(Guard::ALL.len() <= 64);

// What operators run cannot go without one, whatever it is told: the compiler knows that each stands.
#[cfg(not(debug_assertions))]
const _: () = {
    let mut all = Guard::ALL;
    while let [guard, rest @ ..] = all {
        assert!(guard.stands());
        all = rest;
    }
};

impl fmt::Display for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Guard {
    type Err = NoSuchGuard;

    fn from_str(text: &str) -> Result<Self, NoSuchGuard> {
        Self::ALL.iter().copied().find(|guard| guard.name() == text).ok_or(NoSuchGuard)
    }
}

/// Not the name of a guard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no such guard")]
pub struct NoSuchGuard;

#[cfg(test)]
mod tests;
