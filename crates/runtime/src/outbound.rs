//! Connections out of the region: to providers, and to whoever collects telemetry (R7).
//!
//! [`dial`] takes an [`AdmittedHost`], which only the egress policy makes, resolves it, judges each address that it got, and dials those very
//! addresses: nothing is resolved a second time, and no verdict on an address is kept. Start reading there; [`Resolver`] is where names become
//! addresses.

mod resolver;
mod tls;

#[cfg(test)]
mod tests;

use std::{
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use bailiwick_domain::egress::{AdmittedAddress, AdmittedHost, EgressRefused};
use futures_util::{StreamExt as _, stream::FuturesUnordered};
use tokio::{net::TcpStream, time::sleep};

pub use resolver::{ResolveError, Resolver, ResolverError};
pub use tls::{authorities, public_tls};

/// Addresses of one name that are tried.
const MOST_ADDRESSES: usize = 8;
/// RFC 8305, section 5: how long one address may be silent before the next is tried beside it.
const STAGGER: Duration = Duration::from_millis(250);

/// Why nobody was reached. Nothing was sent.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// What the name resolves to lies outside the egress policy.
    #[error(transparent)]
    Egress(#[from] EgressRefused),
    /// The name has no address.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// Nobody answers at any address.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Resolves, judges each address, and connects to the first that answers; which one that was. Small pieces are sent at once (`TCP_NODELAY`). How long all of it may take,
/// the caller bounds.
///
/// # Errors
/// See [`DialError`]. Addresses that the policy refuses are not dialled; it is an egress error when none is left.
pub async fn dial(
    resolver: &Resolver,
    host: &AdmittedHost<'_>,
    port: u16,
) -> Result<(TcpStream, AdmittedAddress), DialError> {
    let name = host.host();
    let resolved = match name.parse::<IpAddr>() {
        Ok(literal) => vec![literal],
        Err(_) => interleaved(&resolver.resolve(name).await?),
    };
    let mut refused = None;
    let judged = resolved.into_iter().take(MOST_ADDRESSES).map(|address| host.address(address));
    let admitted = judged.filter_map(|verdict| verdict.map_err(|why| refused = Some(why)).ok()).collect();
    match (race(admitted, port).await, refused) {
        (Ok(reached), _) => Ok(reached),
        (Err(None), Some(refused)) => Err(refused.into()),
        (Err(failure), _) => Err(failure.unwrap_or_else(|| io::ErrorKind::NotFound.into()).into()),
    }
}

/// The two families in turn, version 6 first (RFC 8305, section 4).
fn interleaved(addresses: &[IpAddr]) -> Vec<IpAddr> {
    let (mut six, mut four) = (
        addresses.iter().copied().filter(IpAddr::is_ipv6),
        addresses.iter().copied().filter(IpAddr::is_ipv4),
    );
    let pairs = std::iter::from_fn(|| match [six.next(), four.next()] {
        [None, None] => None,
        pair => Some(pair),
    });
    pairs.flatten().flatten().collect()
}

/// One address after the other, each beside those that are still silent. Errors: the last failure; `None` when there was nothing to dial.
async fn race(
    addresses: Vec<AdmittedAddress>,
    port: u16,
) -> Result<(TcpStream, AdmittedAddress), Option<io::Error>> {
    let mut waiting = addresses.into_iter();
    let mut running = FuturesUnordered::new();
    let mut failure = None;
    loop {
        running.extend(waiting.next().map(|address| connect(address, port)));
        tokio::select! {
            Some(outcome) = running.next() => match outcome {
                Ok(reached) => return Ok(reached),
                Err(error) => failure = Some(error),
            },
            () = sleep(STAGGER), if waiting.len() > 0 => {}
            else => return Err(failure),
        }
    }
}

async fn connect(address: AdmittedAddress, port: u16) -> io::Result<(TcpStream, AdmittedAddress)> {
    let stream = TcpStream::connect(SocketAddr::new(address.ip(), port)).await?;
    stream.set_nodelay(true)?;
    Ok((stream, address))
}
