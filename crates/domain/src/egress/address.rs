//! Which addresses are public, after the IANA special-purpose address registries (RFC 6890), and which nobody may allow.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// Where clouds answer their own machines, some of them with credentials: link-local addresses, and those of metadata services that are not
/// link-local (AWS on IPv6, Alibaba, Azure's platform, Oracle). No model is served there, so no configuration allows them.
const INFRASTRUCTURE: [&str; 8] = [
    "0.0.0.0/8",
    "169.254.0.0/16",
    "100.100.100.200/32",
    "168.63.129.16/32",
    "192.0.0.192/32",
    "fe80::/10",
    "fd00:ec2::/32",
    "ff00::/8",
];

/// Whether the address is one that nothing may allow.
pub(super) fn is_infrastructure(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            a == 0
                || (a == 169 && b == 254)
                || v4.is_multicast()
                || v4.is_broadcast()
                || v4 == Ipv4Addr::new(100, 100, 100, 200)
                || v4 == Ipv4Addr::new(168, 63, 129, 16)
                || v4 == Ipv4Addr::new(192, 0, 0, 192)
        }
        IpAddr::V6(v6) => {
            let [first, second, ..] = v6.segments();
            v6.is_unspecified()
                || v6.is_multicast()
                || first & 0xffc0 == 0xfe80
                || (first == 0xfd00 && second == 0x0ec2)
        }
    }
}

/// Whether a range is made of nothing else.
pub(super) fn is_infrastructure_range(range: &IpNet) -> bool {
    INFRASTRUCTURE.iter().filter_map(|text| text.parse::<IpNet>().ok()).any(|whole| whole.contains(range))
}

pub(super) fn is_public(address: IpAddr) -> bool {
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
