//! Where a call comes from, as far as this worker can know. Nothing that a caller writes is believed.

use bailiwick_domain::{
    address::{AllowedRanges, ClientAddress},
    spiffe::ProcessRole,
};
use bailiwick_runtime::{
    http1::text,
    serving::{CLIENT_ADDRESS, ConnectionInfo, HeaderSection},
};

/// Where a call comes from. It is held no longer than its caller is authenticated: no event, no log and no span has a place for it (R8).
#[derive(Clone, Copy, Debug)]
pub(crate) enum Origin {
    /// From this address.
    Seen(ClientAddress),
    /// A router passed it on and did not say.
    Unsaid,
}

impl Origin {
    /// What a router says, where a router calls; else who is at the other end of the connection.
    pub(crate) fn of(headers: &HeaderSection, connection: &ConnectionInfo) -> Self {
        let from_router =
            connection.peer.as_ref().is_some_and(|peer| peer.spiffe.role == ProcessRole::Router);
        if from_router { Self::said(headers) } else { Self::Seen(connection.remote.ip().into()) }
    }

    /// What a router says: one address, or nothing.
    fn said(headers: &HeaderSection) -> Self {
        let name = CLIENT_ADDRESS;
        let mut said = headers.get_all(&name);
        let (first, second) = (said.next(), said.next());
        let address = first.filter(|_| second.is_none()).and_then(|value| text(value)?.parse().ok());
        address.map_or(Self::Unsaid, Self::Seen)
    }

    /// The address, for whoever is there.
    pub(crate) fn address(self) -> Option<ClientAddress> {
        match self {
            Self::Seen(address) => Some(address),
            Self::Unsaid => None,
        }
    }

    /// Whether calls are taken from here. From an address that nobody knows, they are taken only where they are taken from anywhere.
    pub(crate) fn is_within(self, ranges: &AllowedRanges) -> bool {
        match self {
            Self::Seen(address) => ranges.admits(address),
            Self::Unsaid => ranges.is_anywhere(),
        }
    }
}

#[cfg(test)]
mod tests;
