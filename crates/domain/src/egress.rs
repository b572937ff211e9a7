//! R7: where a region's workers may call. Checked when a deployment is created, when it is applied, and at connect time on the address that is really
//! dialled.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use ipnet::IpNet;
use serde::Deserialize;

use crate::text::serde_as_text;

/// What a region's workers may call.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EgressPolicy {
    /// Hosts of provider endpoints. Empty: none.
    #[serde(default)]
    pub hosts: Vec<HostPattern>,
    /// Of the addresses that are otherwise refused (loopback, private, …), those that may be dialled.
    #[serde(default)]
    pub private_ranges: Vec<IpNet>,
}

impl EgressPolicy {
    /// Errors: no pattern matches the host.
    pub fn allow_host(&self, host: &str) -> Result<(), EgressRefused> {
        if self.hosts.iter().any(|pattern| pattern.matches(host)) { Ok(()) } else { Err(EgressRefused::Host) }
    }

    /// Errors: the address is not a public one and stands in no allowed range. To be asked of the address that is dialled, after the name
    /// was resolved.
    pub fn allow_address(&self, address: IpAddr) -> Result<(), EgressRefused> {
        let address = address.to_canonical();
        if is_public(address) || self.private_ranges.iter().any(|range| range.contains(&address)) {
            Ok(())
        } else {
            Err(EgressRefused::Address(address))
        }
    }
}

/// A host: a name, `*.` and a name (any name below it, at any depth), an address, or `*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPattern(String);

impl HostPattern {
    /// Whether the host (a name or an address literal, without port) matches; letters' case does not matter.
    pub fn matches(&self, host: &str) -> bool {
        let host = canonical(host.strip_suffix('.').unwrap_or(host));
        match self.0.strip_prefix('*') {
            Some("") => true,
            Some(suffix) => host.len() > suffix.len() && host.ends_with(suffix),
            None => host == self.0,
        }
    }
}

impl FromStr for HostPattern {
    type Err = HostPatternError;

    fn from_str(text: &str) -> Result<Self, HostPatternError> {
        let host = canonical(text);
        let name = host.strip_prefix("*.").unwrap_or(&host);
        let good = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
        let named = name.len() <= 253 && name.bytes().all(good) && !name.split('.').any(str::is_empty);
        if host == "*" || named || host.parse::<IpAddr>().is_ok() {
            Ok(Self(host))
        } else {
            Err(HostPatternError)
        }
    }
}

/// Lower case; an address in its one canonical form, without brackets: `0:0::1` and `[::1]` are one host.
fn canonical(host: &str) -> String {
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    bare.parse::<IpAddr>().map_or_else(|_| host.to_ascii_lowercase(), |address| address.to_string())
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

serde_as_text!(HostPattern);

/// What is wrong with a host pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a host pattern is a name, *. and a name, an address, or *")]
pub struct HostPatternError;

/// Why an endpoint may not be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EgressRefused {
    /// No pattern of the policy matches.
    #[error("the host is not in the region's egress policy")]
    Host,
    /// A loopback, private, link-local or otherwise special address.
    #[error("{0} is not a public address, and the region's egress policy does not allow its range")]
    Address(IpAddr),
}

/// After the IANA special-purpose address registries (RFC 6890).
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => is_public_v6(v6),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = address.is_loopback()
        || address.is_private()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_broadcast()
        || address.is_documentation()
        || a == 0
        || a >= 240
        || (a == 100 && (64..128).contains(&b)) // carrier-grade NAT, RFC 6598
        || (a == 192 && b == 0 && c == 0) // IETF protocol assignments
        || (a == 192 && b == 88 && c == 99) // 6to4 relay anycast
        || (a == 198 && (18..20).contains(&b)); // benchmarking
    !special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let [first, second, ..] = address.segments();
    // Global unicast is 2000::/3; within it, documentation, Teredo and 6to4 carry or stand for other addresses.
    let global = first & 0xe000 == 0x2000;
    let special = (first == 0x2001 && (second == 0x0db8 || second < 0x0200))
        || first == 0x2002
        || (first == 0x3fff && second < 0x1000);
    global && !special
}

#[cfg(test)]
mod tests;
