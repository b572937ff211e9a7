//! SPIFFE identities (<https://github.com/spiffe/spiffe/blob/main/standards/SPIFFE-ID.md>):
//! `spiffe://<region>.<installation>/<role>/<name>`.

use std::{fmt, str::FromStr};

use crate::{region::RegionName, text::serde_as_text};

/// A region's certificate authority: `<region>.<installation>`, e.g. `eu-central-1.local`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TrustDomain {
    region: RegionName,
    installation: String,
}

impl TrustDomain {
    /// Errors: the installation is not 1 to 63 lower-case letters, digits and hyphens.
    pub fn new(region: RegionName, installation: &str) -> Result<Self, SpiffeError> {
        if !is_label(installation) {
            return Err(SpiffeError::Installation);
        }
        Ok(Self { region, installation: installation.to_owned() })
    }

    /// The region.
    pub fn region(&self) -> &RegionName {
        &self.region
    }

    /// The installation.
    pub fn installation(&self) -> &str {
        &self.installation
    }
}

impl FromStr for TrustDomain {
    type Err = SpiffeError;

    fn from_str(text: &str) -> Result<Self, SpiffeError> {
        let (region, installation) = text.split_once('.').ok_or(SpiffeError::TrustDomain)?;
        Self::new(region.parse().map_err(|_| SpiffeError::TrustDomain)?, installation)
    }
}

impl fmt::Display for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.region, self.installation)
    }
}

/// What a certificate's holder is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProcessRole {
    /// Holds accounts and key material.
    ControlPlane,
    /// Proxies LLM traffic.
    Worker,
    /// Admits callers.
    Router,
    /// A person who runs the region.
    Operator,
    /// An internal service.
    Service,
}

impl ProcessRole {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::ControlPlane, Self::Worker, Self::Router, Self::Operator, Self::Service];

    /// As it stands in a SPIFFE id.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ControlPlane => "control-plane",
            Self::Worker => "worker",
            Self::Router => "router",
            Self::Operator => "operator",
            Self::Service => "service",
        }
    }
}

impl fmt::Display for ProcessRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for ProcessRole {
    type Err = SpiffeError;

    fn from_str(text: &str) -> Result<Self, SpiffeError> {
        Self::ALL.into_iter().find(|role| role.as_str() == text).ok_or(SpiffeError::Role)
    }
}

/// Who a process is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SpiffeId {
    /// Its region and installation.
    pub trust_domain: TrustDomain,
    /// What it is.
    pub role: ProcessRole,
    name: String,
}

impl SpiffeId {
    /// Errors: the name is not 1 to 63 lower-case letters, digits and hyphens.
    pub fn new(trust_domain: TrustDomain, role: ProcessRole, name: &str) -> Result<Self, SpiffeError> {
        if !is_label(name) {
            return Err(SpiffeError::Name);
        }
        Ok(Self { trust_domain, role, name: name.to_owned() })
    }

    /// Its name within its role.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl FromStr for SpiffeId {
    type Err = SpiffeError;

    fn from_str(text: &str) -> Result<Self, SpiffeError> {
        let rest = text.strip_prefix("spiffe://").ok_or(SpiffeError::Scheme)?;
        let (domain, path) = rest.split_once('/').ok_or(SpiffeError::Role)?;
        let (role, name) = path.split_once('/').ok_or(SpiffeError::Name)?;
        Self::new(domain.parse()?, role.parse()?, name)
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "spiffe://{}/{}/{}", self.trust_domain, self.role, self.name)
    }
}

serde_as_text!(TrustDomain, ProcessRole, SpiffeId);

fn is_label(text: &str) -> bool {
    let good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&text.len()) && text.bytes().all(good)
}

/// What is wrong with a SPIFFE id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpiffeError {
    /// Not `spiffe://`.
    #[error("a SPIFFE id starts with spiffe://")]
    Scheme,
    /// Not `<region>.<installation>`.
    #[error("a trust domain is <region>.<installation>, such as eu-central-1.local")]
    TrustDomain,
    /// A bad installation.
    #[error("an installation's name is 1 to 63 lower-case letters, digits and hyphens")]
    Installation,
    /// An unknown role.
    #[error("the role is one of control-plane, worker, router, operator, service")]
    Role,
    /// A bad name.
    #[error("a name is 1 to 63 lower-case letters, digits and hyphens")]
    Name,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r1_an_identity_names_its_region_and_survives_its_text_form() {
        let text = "spiffe://eu-central-1.local/worker/worker-1";
        let id: SpiffeId = text.parse().expect("good");
        assert_eq!(id.trust_domain.region().as_str(), "eu-central-1");
        assert_eq!((id.role, id.name(), id.to_string().as_str()), (ProcessRole::Worker, "worker-1", text));
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "https://eu-central-1.local/worker/a",
            "spiffe://eu-central-1/worker/a",
            "spiffe://eu-central-1.local/admin/a",
            "spiffe://eu-central-1.local/worker/",
            "spiffe://eu-central-1.local/worker/a/b",
            "spiffe://eu-central-1.local/worker/A",
            "spiffe://eu-central-1.local.evil/worker/a",
            "spiffe://user@eu-central-1.local/worker/a",
        ] {
            assert!(text.parse::<SpiffeId>().is_err(), "{text}");
        }
    }
}
