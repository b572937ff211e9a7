//! Whose call it is, where load balancers stand in front: the address of the caller, out of what those said whom the operator named as hops.
//!
//! Hops add to the right of what they were sent, so the right end is the closest, and everything to the left of the first address that is no hop may have been
//! made up by its caller. So it is read from the right, address by address, never compared as text, and given up at the first that is none: what counts then is
//! the last good address, the closest.

mod forwarded;

use std::sync::Arc;

use bailiwick_domain::address::{AddressRange, ClientAddress};
use http::{HeaderName, header::FORWARDED};

use super::ConnectionInfo;
use crate::http1::HeaderSection;

/// By this header a router tells a worker where a call comes from. A worker believes it of a router's certificate alone.
pub const CLIENT_ADDRESS: HeaderName = HeaderName::from_static("x-bailiwick-client-address");
/// The header that came before RFC 7239, and is written by most.
pub const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// Addresses that are read of one request, over all its headers. Behind as many hops, somebody is lost.
const MOST_HOPS: usize = 16;

/// Machines in front of this one which are believed about who called them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustedHops(Arc<[AddressRange]>);

impl TrustedHops {
    /// Those of these ranges.
    pub fn new(ranges: Vec<AddressRange>) -> Self {
        Self(ranges.into())
    }

    /// Whether the machine of this address is one of them.
    pub fn trust(&self, address: ClientAddress) -> bool {
        self.0.iter().any(|range| range.contains(address))
    }
}

/// Who says where a call comes from. One thing alone is believed: with two, callers could choose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientAddressFrom {
    /// The connection itself: nothing stands in front.
    Peer,
    /// The PROXY protocol, version 2, with which hops begin their connections; see [`super::Listen::preface_from`].
    Proxy(TrustedHops),
    /// `Forwarded` (RFC 7239), all of its lines.
    Forwarded(TrustedHops),
    /// `X-Forwarded-For`, all of its lines.
    XForwardedFor(TrustedHops),
}

impl ClientAddressFrom {
    /// Where the call comes from.
    pub fn of(&self, headers: &HeaderSection, connection: &ConnectionInfo) -> ClientAddress {
        let peer = connection.remote.ip().into();
        match self {
            Self::Peer => peer,
            Self::Proxy(_) => connection.announced.unwrap_or(peer),
            Self::Forwarded(hops) => walk(peer, hops, values(headers, &FORWARDED).flat_map(forwarded::nodes)),
            Self::XForwardedFor(hops) => {
                walk(peer, hops, values(headers, &X_FORWARDED_FOR).flat_map(forwarded::listed))
            }
        }
    }

    /// Whose connections begin with a preface.
    pub fn preface_from(&self) -> Option<&TrustedHops> {
        match self {
            Self::Proxy(hops) => Some(hops),
            Self::Peer | Self::Forwarded(_) | Self::XForwardedFor(_) => None,
        }
    }
}

/// The lines of a header, the last first.
fn values<'a>(headers: &'a HeaderSection, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> {
    headers.get_all(name).rev()
}

/// From the closest on, as long as who said it is a hop.
fn walk(
    peer: ClientAddress,
    hops: &TrustedHops,
    said: impl Iterator<Item = Option<ClientAddress>>,
) -> ClientAddress {
    let mut closest = peer;
    for address in said.take(MOST_HOPS) {
        match address {
            Some(address) if hops.trust(closest) => closest = address,
            _ => break,
        }
    }
    closest
}

#[cfg(test)]
mod tests;
