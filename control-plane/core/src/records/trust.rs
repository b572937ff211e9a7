//! Whom the region's processes trust: its roots, and the certificates that are not to be taken any more.

use bailiwick_domain::{key::CaFingerprint, spiffe::ProcessRole, time::Timestamp};

/// Counts up with every change of what the region's processes trust.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct TrustVersion(pub u64);

/// How many names may be revoked at a time.
pub const MAX_REVOKED_CERTIFICATES: i64 = 10_000;

/// Certificates of one holder that every process of the region refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevokedCertificate {
    /// The holder's role.
    pub role: ProcessRole,
    /// The holder's name.
    pub name: String,
    /// Those are refused whose validity begins at or before this time.
    pub issued_until: Timestamp,
    /// When the last of them ends by itself.
    pub expires_at: Timestamp,
}

/// How far the change of the certificate authority is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AuthorityStage {
    /// There is one root.
    #[default]
    Settled,
    /// There are two; the first one issues, and processes learn of the second.
    Distributing,
    /// There are two; the second one issues, and processes renew.
    Issuing,
}

impl AuthorityStage {
    /// As it is stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Settled => "settled",
            Self::Distributing => "distributing",
            Self::Issuing => "issuing",
        }
    }

    /// The reverse of [`Self::as_str`].
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Settled, Self::Distributing, Self::Issuing].into_iter().find(|stage| stage.as_str() == text)
    }
}

/// Which of two places holds a root.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RootSlot {
    /// That of a region's first root.
    #[default]
    One,
    /// The other one.
    Two,
}

impl RootSlot {
    /// The other of the two.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::One => Self::Two,
            Self::Two => Self::One,
        }
    }

    /// 1 or 2.
    pub fn number(self) -> i64 {
        match self {
            Self::One => 1,
            Self::Two => 2,
        }
    }
}

/// Until when a holder has a certificate of a root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldCertificate {
    /// The root.
    pub root: CaFingerprint,
    /// The holder's role.
    pub role: ProcessRole,
    /// The holder's name.
    pub name: String,
    /// End of the last of them.
    pub expires_at: Timestamp,
}

/// Whom the region's processes trust.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustRecord {
    /// Of all of it.
    pub version: TrustVersion,
    /// How far the change of the certificate authority is.
    pub stage: AuthorityStage,
    /// Where the root is that issues.
    pub issuing: RootSlot,
    /// Also those that have expired, as long as they are stored.
    pub revoked: Vec<RevokedCertificate>,
}
