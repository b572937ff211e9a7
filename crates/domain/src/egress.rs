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
        let host =
            host.trim_end_matches('.').trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
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
        let name = text.strip_prefix("*.").unwrap_or(text);
        let literal = text.parse::<IpAddr>().is_ok();
        let good = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
        let named = !name.is_empty()
            && name.len() <= 253
            && name.bytes().all(good)
            && !name.split('.').any(str::is_empty);
        if text == "*" || literal || named {
            Ok(Self(text.to_ascii_lowercase()))
        } else {
            Err(HostPatternError)
        }
    }
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
mod tests {
    use super::*;

    fn policy(hosts: &[&str], ranges: &[&str]) -> EgressPolicy {
        EgressPolicy {
            hosts: hosts.iter().map(|h| h.parse().expect("pattern")).collect(),
            private_ranges: ranges.iter().map(|r| r.parse().expect("range")).collect(),
        }
    }

    #[test]
    fn r7_only_hosts_of_the_policy_are_admitted() {
        let policy = policy(&["api.openai.com", "*.openai.azure.com", "127.0.0.1", "::1"], &[]);
        for host in [
            "api.openai.com",
            "API.OpenAI.com",
            "api.openai.com.",
            "eu.openai.azure.com",
            "127.0.0.1",
            "[::1]",
        ] {
            assert_eq!(policy.allow_host(host), Ok(()), "{host}");
        }
        for host in [
            "openai.azure.com",
            "evilopenai.azure.com.attacker.test",
            "api.openai.com.attacker.test",
            "xapi.openai.com",
            "",
        ] {
            assert_eq!(policy.allow_host(host), Err(EgressRefused::Host), "{host}");
        }
        assert_eq!(EgressPolicy::default().allow_host("api.openai.com"), Err(EgressRefused::Host));
    }

    #[test]
    fn r7_special_addresses_are_refused_unless_their_range_is_allowed() {
        let closed = policy(&["*"], &[]);
        for address in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "198.18.0.1",
            "192.0.2.1",
            "::1",
            "::",
            "fe80::1",
            "fc00::1",
            "fd12::1",
            "ff02::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "64:ff9b::7f00:1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
        ] {
            let address: IpAddr = address.parse().expect("address");
            assert!(closed.allow_address(address).is_err(), "{address}");
        }
        for address in ["1.1.1.1", "104.18.7.192", "2606:4700::1", "::ffff:1.1.1.1"] {
            let address: IpAddr = address.parse().expect("address");
            assert_eq!(closed.allow_address(address), Ok(()), "{address}");
        }
        let open = policy(&["*"], &["127.0.0.0/8"]);
        assert_eq!(open.allow_address(IpAddr::from([127, 0, 0, 1])), Ok(()));
        assert_eq!(open.allow_address("::ffff:127.0.0.1".parse().expect("address")), Ok(()));
        assert!(open.allow_address(IpAddr::from([10, 0, 0, 1])).is_err());
    }
}
