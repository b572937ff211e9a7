//! Rules: which hosts there are, and where they answer.

use ipnet::IpNet;
use serde::Deserialize;

use super::{HostPattern, address};
use crate::law::LegalJurisdiction;

/// A host, or several, and in whose jurisdiction they process what they are sent.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EgressRule {
    /// Which hosts.
    pub pattern: HostPattern,
    /// Where they process what they are sent; `global` when that may be anywhere.
    pub jurisdiction: LegalJurisdiction,
    /// Of the addresses that are otherwise refused (loopback, private, …), those that these hosts may resolve to. For models that are hosted in
    /// the region itself.
    #[serde(default)]
    pub private_ranges: Vec<IpNet>,
}

impl EgressRule {
    /// What a region in `home` cannot mean.
    ///
    /// # Errors
    /// Private ranges elsewhere than at home, or ranges in which nothing but a cloud's own machinery answers.
    pub fn check(&self, home: &LegalJurisdiction) -> Result<(), RuleError> {
        if !self.private_ranges.is_empty() && self.jurisdiction != *home {
            return Err(RuleError::PrivateElsewhere { pattern: self.pattern.clone(), home: home.clone() });
        }
        match self.private_ranges.iter().find(|range| address::is_infrastructure_range(range)) {
            Some(range) => Err(RuleError::Infrastructure { pattern: self.pattern.clone(), range: *range }),
            None => Ok(()),
        }
    }
}

/// What is wrong with a rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// Private addresses are the region's own network.
    #[error(
        "{pattern}: private_ranges are for models that are hosted in the region itself, so its jurisdiction must be {home}"
    )]
    PrivateElsewhere {
        /// Of the rule.
        pattern: HostPattern,
        /// The region's jurisdiction.
        home: LegalJurisdiction,
    },
    /// Link-local addresses and the like.
    #[error("{pattern}: {range} cannot be allowed: clouds answer their own machines there, with credentials")]
    Infrastructure {
        /// Of the rule.
        pattern: HostPattern,
        /// The range.
        range: IpNet,
    },
}
