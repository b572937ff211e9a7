//! Where calls come from, and from where they may come.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
    str::FromStr,
    sync::Arc,
};

use ipnet::{IpNet, Ipv4Net};

/// Bits of an IPv6 address before the IPv4 address that it stands for (RFC 4291, section 2.5.5.2).
const MAPPED_PREFIX: u8 = 96;

/// The address of whoever calls. One of IPv4 that is written as IPv6 is the one of IPv4. It is somebody's: it is shown to its caller, and written nowhere.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ClientAddress(IpAddr);

impl ClientAddress {
    /// The address itself.
    pub fn ip(self) -> IpAddr {
        self.0
    }
}

impl From<IpAddr> for ClientAddress {
    fn from(address: IpAddr) -> Self {
        Self(address.to_canonical())
    }
}

impl FromStr for ClientAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        text.parse::<IpAddr>().map(Self::from).map_err(|_| AddressError::Address)
    }
}

impl fmt::Display for ClientAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for ClientAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientAddress([redacted])")
    }
}

/// A range of addresses: `203.0.113.0/24`, `2001:db8::/32`; an address alone is a range of one. A range of IPv4-mapped IPv6 addresses is the range of IPv4 addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AddressRange(IpNet);

impl AddressRange {
    /// Whether the address lies in it.
    pub fn contains(&self, address: ClientAddress) -> bool {
        self.0.contains(&address.ip())
    }

    /// Whether it holds every address of its kind.
    pub fn is_everything(&self) -> bool {
        self.0.prefix_len() == 0
    }
}

impl FromStr for AddressRange {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let range = canonical(whole(text).ok_or(AddressError::Range)?);
        let corrected = range.trunc();
        if corrected.addr() == range.addr() {
            Ok(Self(range))
        } else {
            Err(AddressError::BeyondPrefix { corrected: Self(corrected), alone: range.addr() })
        }
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Read with the standard library's strictness: to others, `010.0.0.0` is 8.0.0.0.
fn whole(text: &str) -> Option<IpNet> {
    let Some((address, length)) = text.split_once('/') else {
        return text.parse::<IpAddr>().ok().map(IpNet::from);
    };
    let digits = length.bytes().all(|byte| byte.is_ascii_digit());
    IpNet::new(address.parse().ok()?, length.parse().ok().filter(|_| digits)?).ok()
}

fn canonical(range: IpNet) -> IpNet {
    let IpNet::V6(v6) = range else { return range };
    let mapped = v6.prefix_len().checked_sub(MAPPED_PREFIX).zip(Ipv6Addr::to_ipv4_mapped(&v6.addr()));
    mapped.and_then(|(length, v4)| Ipv4Net::new(v4, length).ok()).map_or(range, IpNet::V4)
}

/// From where calls are taken. Nothing listed: from anywhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowedRanges(Option<Arc<[AddressRange]>>);

impl AllowedRanges {
    /// Ranges that can be listed.
    pub const MOST: usize = 100;

    /// From these ranges alone; from anywhere when there are none.
    ///
    /// # Errors
    /// More than [`Self::MOST`].
    pub fn new(ranges: Vec<AddressRange>) -> Result<Self, AddressError> {
        match ranges.len() {
            0 => Ok(Self(None)),
            1..=Self::MOST => Ok(Self(Some(ranges.into()))),
            _ => Err(AddressError::TooMany),
        }
    }

    /// Whether a call from this address is taken.
    pub fn admits(&self, address: ClientAddress) -> bool {
        self.0.as_ref().is_none_or(|ranges| ranges.iter().any(|range| range.contains(address)))
    }

    /// Whether calls are taken from anywhere.
    pub fn is_anywhere(&self) -> bool {
        self.0.is_none()
    }

    /// What is listed.
    pub fn iter(&self) -> impl Iterator<Item = &AddressRange> {
        self.0.iter().flat_map(|ranges| ranges.iter())
    }
}

/// With spaces between them, which none contains. Nothing where nothing is listed.
impl fmt::Display for AllowedRanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.iter().enumerate().try_for_each(|(i, range)| match i {
            0 => write!(f, "{range}"),
            _ => write!(f, " {range}"),
        })
    }
}

impl FromStr for AllowedRanges {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        // One more than are allowed is enough to see that there are too many.
        let ranges = text.split_ascii_whitespace().take(Self::MOST + 1).map(str::parse);
        Self::new(ranges.collect::<Result<_, _>>()?)
    }
}

/// Why a text is no address, no range, or no list of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// No address.
    #[error("is not an address, such as 203.0.113.7 or 2001:db8::7")]
    Address,
    /// No range.
    #[error("is not a range of addresses, such as 203.0.113.0/24, 2001:db8::/32 or 203.0.113.7")]
    Range,
    /// Part of the address is behind the prefix: either the address or the length was mistyped, and nobody knows which.
    #[error(
        "has bits set behind its prefix: say {corrected} for the whole range, or {alone} for the one address"
    )]
    BeyondPrefix {
        /// What the prefix alone says.
        corrected: AddressRange,
        /// What the address alone says.
        alone: IpAddr,
    },
    /// A list that is too long.
    #[error("has over {} ranges", AllowedRanges::MOST)]
    TooMany,
}

#[cfg(test)]
mod tests;
