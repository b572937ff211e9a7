//! States of an organization, and roles within one.

use std::{fmt, str::FromStr};

/// Whether an organization is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OrganizationStatus {
    /// Served.
    Active,
    /// Known, its calls refused.
    Suspended,
    /// Its data keys are destroyed. There is no way back.
    Deleted,
}

impl OrganizationStatus {
    /// The word that stands for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Suspended => "suspended",
            Self::Deleted => "deleted",
        }
    }

    /// The inverse of [`Self::as_str`].
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Active, Self::Suspended, Self::Deleted].into_iter().find(|status| status.as_str() == word)
    }
}

/// What workers do for an organization when their lease has run out, so that a revocation may have been missed (R12).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum OnStale {
    /// Refuse its calls.
    #[default]
    Refuse,
    /// Serve on.
    Serve,
}

impl OnStale {
    /// The word that stands for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Refuse => "refuse",
            Self::Serve => "serve",
        }
    }

    /// The inverse of [`Self::as_str`].
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Refuse, Self::Serve].into_iter().find(|policy| policy.as_str() == word)
    }
}

/// What somebody is within one organization. It says nothing in any other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OrganizationRole {
    /// Does everything, and names other owners.
    Owner,
    /// Does everything but what concerns owners.
    Admin,
    /// Reads everything.
    Viewer,
    /// Sees what the organization is and which models it has.
    Member,
}

impl OrganizationRole {
    /// All of them, the strongest first.
    pub const ALL: [Self; 4] = [Self::Owner, Self::Admin, Self::Viewer, Self::Member];

    /// The word that stands for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Admin => "admin",
            Self::Viewer => "viewer",
            Self::Member => "member",
        }
    }

    /// The inverse of [`Self::as_str`].
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == word)
    }

    /// Whether it may do everything that the other may: whoever hands a role out, or takes one away, has one that covers it.
    pub fn covers(self, other: Self) -> bool {
        self.strength() >= other.strength()
    }

    fn strength(self) -> u8 {
        match self {
            Self::Owner => 3,
            Self::Admin => 2,
            Self::Viewer => 1,
            Self::Member => 0,
        }
    }
}

impl fmt::Display for OrganizationRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for OrganizationRole {
    type Err = UnknownRole;

    fn from_str(word: &str) -> Result<Self, UnknownRole> {
        Self::parse(word).ok_or(UnknownRole)
    }
}

/// No role of an organization.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the role is one of owner, admin, viewer, member")]
pub struct UnknownRole;
