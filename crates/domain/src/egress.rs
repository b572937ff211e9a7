//! R7: where a region's workers may call. Judged when a deployment is created, when it is applied, and at connect time on the address that is
//! really dialled.
//!
//! The operator's [`EgressRule`]s say which hosts there are, and in whose jurisdiction each of them answers; an organization's [`Residency`] says
//! which of these jurisdictions it accepts. Both have to admit. [`EgressPolicy::admit`] alone makes an [`AdmittedHost`], and that alone an
//! [`AdmittedAddress`]: who dials takes only those, so that nobody dials what was not judged.
//!
//! Hosts that issue tokens for providers' credentials are a list of their own ([`EgressPolicy::admit_issuer`]). They are shown who an organization is to
//! its provider and nothing of a call, so no residency is asked; and since no residency is asked, no call goes to a host for standing in that list.

mod address;
pub mod catalogue;
mod host;
mod issuer;
mod reach;
mod residency;
mod rule;
mod rules;

use std::{borrow::Cow, net::IpAddr, sync::Arc};

use self::rules::Rules;
use crate::{guard::Guard, law::LegalJurisdiction};

pub use host::{HostPattern, HostPatternError};
pub use issuer::AdmittedIssuer;
pub use residency::{Residency, ResidencyError};
pub use rule::{EgressRule, RuleError};

/// What a region's workers may call. The default admits nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EgressPolicy {
    home: Option<LegalJurisdiction>,
    rules: Rules,
    /// Of hosts that issue tokens, and are called for nothing else.
    issuers: Rules,
}

/// What is to be called.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// Name or address literal, without port.
    pub host: &'a Arc<str>,
    /// What stands before the dialect's path.
    pub path: &'a str,
    /// The provider's name of the model: it can name a geography.
    pub model: &'a str,
}

/// What an issuer of tokens is asked at.
const HTTPS: u16 = 443;

impl EgressPolicy {
    /// A policy of a region in `home`. The most specific rule of a host holds; of two with one pattern, the first.
    ///
    /// # Errors
    /// A rule says what cannot be; see [`EgressRule::check`].
    pub fn new(
        home: LegalJurisdiction,
        rules: impl IntoIterator<Item = EgressRule>,
    ) -> Result<Self, RuleError> {
        let rules = Rules::new(&home, rules)?;
        Ok(Self { home: Some(home), rules, issuers: Rules::default() })
    }

    /// The same, with hosts that issue tokens for providers' credentials. Nothing but these lets a worker ask for one: there are none that go without saying.
    ///
    /// # Errors
    /// As of [`Self::new`].
    pub fn with_issuers(self, rules: impl IntoIterator<Item = EgressRule>) -> Result<Self, RuleError> {
        let home = self.home.clone().unwrap_or_else(LegalJurisdiction::global);
        Ok(Self { issuers: Rules::new(&home, rules)?, ..self })
    }

    /// The region's own jurisdiction; `None` for a policy that admits nothing.
    pub fn home(&self) -> Option<&LegalJurisdiction> {
        self.home.as_ref()
    }

    /// The rules, in their order.
    pub fn rules(&self) -> impl Iterator<Item = &EgressRule> {
        self.rules.iter()
    }

    /// The rules of hosts that issue tokens, in their order.
    pub fn issuer_rules(&self) -> impl Iterator<Item = &EgressRule> {
        self.issuers.iter()
    }

    /// Judges what is to be called, by its name. What the name resolves to is judged by the [`AdmittedHost`].
    ///
    /// # Errors
    /// No rule names the host; or the residency admits no call there.
    pub fn admit<'a>(
        &'a self,
        residency: &Residency,
        target: Target<'a>,
    ) -> Result<AdmittedHost<'a>, EgressRefused> {
        let host = host::canonical(target.host);
        let rule = self.rules.of(&host).ok_or(EgressRefused::Host)?;
        match residency {
            Residency::Listed(listed) => {
                if !listed.iter().any(|pattern| pattern.matches_canonical(&host)) {
                    return Err(EgressRefused::NotListed);
                }
            }
            Residency::Region => {
                let home = self.home.as_ref().ok_or(EgressRefused::Host)?;
                let reached = reach::beyond(&host, target.path, target.model);
                let found = [Some(&rule.jurisdiction), reached.as_ref()];
                if let Some(found) = found.into_iter().flatten().find(|found| *found != home) {
                    return Err(EgressRefused::Jurisdiction { found: found.clone(), home: home.clone() });
                }
            }
        }
        Ok(AdmittedHost { host: Cow::Borrowed(target.host), rule: Cow::Borrowed(rule) })
    }

    /// Judges a host that tokens are asked of, by its name and its port. What the name resolves to is judged by what the proof holds.
    ///
    /// # Errors
    /// No rule for issuers names the host, whatever the others say; or it is asked at another port than 443, and is none of the region's own: whoever makes a credential names the port.
    pub fn admit_issuer(&self, host: &Arc<str>, port: u16) -> Result<AdmittedIssuer, EgressRefused> {
        let rule = self.issuers.of(&host::canonical(host)).ok_or(EgressRefused::Issuer)?;
        if port != HTTPS && rule.private_ranges.is_empty() {
            return Err(EgressRefused::Issuer);
        }
        let admitted = AdmittedHost { host: Cow::Borrowed(host), rule: Cow::Borrowed(rule) };
        Ok(AdmittedIssuer::of(admitted.into_owned()))
    }
}

/// Proof that the policy and a residency admit a host by its name. Only [`EgressPolicy::admit`] makes one.
///
/// ```compile_fail
/// # use std::{borrow::Cow, sync::Arc};
/// # use bailiwick_domain::egress::{AdmittedHost, EgressRule};
/// fn skipped<'a>(host: Cow<'a, Arc<str>>, rule: Cow<'a, Arc<EgressRule>>) -> AdmittedHost<'a> {
///     AdmittedHost { host, rule }
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdmittedHost<'a> {
    host: Cow<'a, Arc<str>>,
    rule: Cow<'a, Arc<EgressRule>>,
}

impl AdmittedHost<'_> {
    /// The same, apart from policy and target. A proof that stands and falls with them is not counted: cores that share a count wait for each other.
    pub fn into_owned(self) -> AdmittedHost<'static> {
        AdmittedHost { host: Cow::Owned(self.host.into_owned()), rule: Cow::Owned(self.rule.into_owned()) }
    }

    /// Name or address literal.
    pub fn host(&self) -> &Arc<str> {
        &self.host
    }

    /// Where it answers, as its rule says.
    pub fn jurisdiction(&self) -> &LegalJurisdiction {
        &self.rule.jurisdiction
    }

    /// Judges an address that the host resolved to. To be asked each time that it is dialled, of what is dialled.
    ///
    /// # Errors
    /// It is not a public address, and stands in no range that the host's rule allows.
    pub fn address(&self, address: IpAddr) -> Result<AdmittedAddress, EgressRefused> {
        let address = address.to_canonical();
        let allowed = || self.rule.private_ranges.iter().any(|range| range.contains(&address));
        let admitted = !address::is_infrastructure(address) && (address::is_public(address) || allowed());
        if admitted || !Guard::EgressAtConnect.stands() {
            Ok(AdmittedAddress(address))
        } else {
            Err(EgressRefused::Address(address))
        }
    }
}

/// Proof that an address may be dialled for a host. Only [`AdmittedHost::address`] makes one.
///
/// ```compile_fail
/// # use bailiwick_domain::egress::AdmittedAddress;
/// fn skipped(address: std::net::IpAddr) -> AdmittedAddress {
///     AdmittedAddress(address)
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdmittedAddress(IpAddr);

impl AdmittedAddress {
    /// The address.
    pub fn ip(self) -> IpAddr {
        self.0
    }
}

/// Why an endpoint may not be called.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EgressRefused {
    /// No rule matches.
    #[error("the host is in no rule of the region's egress policy")]
    Host,
    /// No rule for issuers matches.
    #[error("the host is not among those that the region's egress policy lets tokens be had from")]
    Issuer,
    /// The organization stays in its region's jurisdiction.
    #[error("it answers from {found}, and the organization's residency admits {home} alone")]
    Jurisdiction {
        /// Where calls would be processed.
        found: LegalJurisdiction,
        /// The region's.
        home: LegalJurisdiction,
    },
    /// The organization lists its hosts, and not this one.
    #[error("the host is not among those that the organization's residency lists")]
    NotListed,
    /// A loopback, private, link-local or otherwise special address.
    #[error(
        "{0} is not a public address, and the region's egress policy does not allow its range for the host"
    )]
    Address(IpAddr),
}

impl EgressRefused {
    /// What to do about it, for people.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Host => "the operator names hosts in [egress] of the control plane's configuration",
            Self::Issuer => {
                "the operator names hosts that issue tokens in [egress] issuers of the control plane's configuration, or takes entra or google_identity from the catalogue"
            }
            Self::Jurisdiction { .. } => {
                "take the provider's endpoint in the region's jurisdiction, or let the organization's owner list the host"
            }
            Self::NotListed => "the organization's owner can list the host",
            Self::Address(_) => {
                "the operator allows ranges for self-hosted models with private_ranges of the host's rule"
            }
        }
    }
}

#[cfg(test)]
mod tests;
