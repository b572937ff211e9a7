//! What an organization accepts.

use std::{fmt, sync::Arc};

use super::HostPattern;

/// Where an organization's calls may be processed, within what the region's egress policy names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Residency {
    /// In the region's own jurisdiction alone.
    #[default]
    Region,
    /// At the hosts that its owner lists, wherever they answer. Only [`Residency::listed`] makes one.
    Listed(Arc<[HostPattern]>),
}

impl Residency {
    /// Hosts that can be listed.
    pub const MOST_HOSTS: usize = 100;

    /// At these hosts.
    ///
    /// # Errors
    /// None, or more than [`Self::MOST_HOSTS`].
    pub fn listed(hosts: Vec<HostPattern>) -> Result<Self, ResidencyError> {
        if (1..=Self::MOST_HOSTS).contains(&hosts.len()) {
            Ok(Self::Listed(hosts.into()))
        } else {
            Err(ResidencyError)
        }
    }

    /// `region` or `listed`.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Region => "region",
            Self::Listed(_) => "listed",
        }
    }

    /// What is listed; nothing where the region decides.
    pub fn hosts(&self) -> &[HostPattern] {
        match self {
            Self::Region => &[],
            Self::Listed(hosts) => hosts,
        }
    }
}

impl fmt::Display for Residency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())?;
        for host in self.hosts() {
            write!(f, " {host}")?;
        }
        Ok(())
    }
}

/// A list of no hosts, or of too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a residency of listed hosts lists 1 to {} of them", Residency::MOST_HOSTS)]
pub struct ResidencyError;
