//! States of an organization.

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
