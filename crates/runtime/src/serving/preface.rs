//! The PROXY protocol, version 2 (<https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>, section 2.2): what a hop says, before a connection's first byte, about
//! whose connection it is. Version 1 is not spoken.

use std::io;

use bailiwick_domain::address::ClientAddress;
use proxy_header::{ParseConfig, Protocol, ProxyHeader};
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// Bytes before the addresses; the last two are the length of what follows.
const HEAD_BYTES: usize = 16;
/// How it begins.
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Addresses and additional information. Hops that say more say what nobody here reads.
const MOST_BYTES: usize = 4096;

/// Why a hop's connection is not served.
#[derive(Debug, thiserror::Error)]
pub(super) enum PrefaceError {
    /// It said nothing whole, as checks of whether a port is open do.
    #[error("the connection was closed before its preface was whole")]
    Unused,
    /// Something else came: the hop is not told to speak the PROXY protocol, or this listener is told so by mistake.
    #[error("a trusted hop's connection does not begin with a PROXY protocol preface of version 2")]
    Missing,
    /// It is none.
    #[error(transparent)]
    Malformed(#[from] MalformedPreface),
    /// The connection broke.
    #[error("the preface broke off")]
    Broken(#[source] io::Error),
}

/// What came begins as a preface does, and is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a trusted hop's PROXY protocol preface is malformed, or says more than {MOST_BYTES} bytes")]
pub struct MalformedPreface;

/// Reads a preface and nothing behind it. `None`: the hop speaks for itself, or does not know for whom.
pub(super) async fn read(
    stream: &mut (impl AsyncRead + Unpin),
) -> Result<Option<ClientAddress>, PrefaceError> {
    let mut head = [0; HEAD_BYTES];
    stream.read_exact(&mut head).await.map_err(broken)?;
    if !head.starts_with(SIGNATURE) {
        return Err(PrefaceError::Missing);
    }
    let [.., high, low] = head;
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length > MOST_BYTES {
        return Err(MalformedPreface.into());
    }
    let mut preface = Vec::with_capacity(HEAD_BYTES + length);
    preface.extend_from_slice(&head);
    preface.resize(HEAD_BYTES + length, 0);
    let (_, rest) = preface.split_at_mut(HEAD_BYTES);
    stream.read_exact(rest).await.map_err(broken)?;
    Ok(announced(&preface)?)
}

fn broken(error: io::Error) -> PrefaceError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => PrefaceError::Unused,
        _ => PrefaceError::Broken(error),
    }
}

/// Whose connection it is, in the words of a whole preface. `None`: the hop's own (`LOCAL`, as health checks are), or nobody's who has an address.
///
/// # Errors
/// It is not exactly one preface of version 2 for a stream.
pub fn announced(preface: &[u8]) -> Result<Option<ClientAddress>, MalformedPreface> {
    let config = ParseConfig { include_tlvs: false, allow_v1: false, allow_v2: true };
    let (header, consumed) = ProxyHeader::parse(preface, config).map_err(|_| MalformedPreface)?;
    if consumed != preface.len() {
        return Err(MalformedPreface);
    }
    match header.proxied_address() {
        None => Ok(None),
        Some(address) if address.protocol == Protocol::Stream => Ok(Some(address.source.ip().into())),
        Some(_) => Err(MalformedPreface),
    }
}

#[cfg(test)]
mod tests;
