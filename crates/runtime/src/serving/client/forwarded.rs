//! The addresses in one line of a header, from right to left. What is no address is `None`; what stands to the left of that is of no interest.
//!
//! Read from its right end, a line's last elements are what the closest hops wrote, whatever stands before them: not even a quotation mark that its caller
//! never closed can swallow them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use bailiwick_domain::address::ClientAddress;

/// The longest element that is looked at. An address with its port has 47 bytes.
const LONGEST_ELEMENT: usize = 512;

/// Of `X-Forwarded-For`: addresses with commas between them, some with a port.
pub(super) fn listed(line: &[u8]) -> impl Iterator<Item = Option<ClientAddress>> {
    let elements = line.rsplit(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    elements.filter(|element| !element.is_empty()).map(|element| {
        let text = text(element)?;
        // Nobody brackets IPv6 here unless there is a port.
        text.parse().ok().map(|bare: Ipv6Addr| IpAddr::V6(bare).into()).or_else(|| node(text))
    })
}

/// Of `Forwarded` (RFC 7239, section 4): what `for` says in each element.
pub(super) fn nodes(line: &[u8]) -> impl Iterator<Item = Option<ClientAddress>> {
    let elements = Elements { rest: Some(line) };
    elements
        .filter(|element| element.is_none_or(|element| !element.is_empty()))
        .map(|element| node(said_for(element?)?))
}

/// What `for` says, without quotation marks. `None` when it says nothing, something twice, or anything beside it is malformed.
fn said_for(element: &[u8]) -> Option<&str> {
    let mut said = None;
    for pair in split_outside_quotes(text(element)?, ';') {
        let (name, value) = pair.trim_ascii().split_once('=')?;
        if name.is_empty() || name.bytes().any(|byte| byte.is_ascii_whitespace() || byte == b'"') {
            return None;
        }
        let value = match value.strip_prefix('"') {
            Some(quoted) => quoted.strip_suffix('"')?,
            // A colon and brackets stand in quotation marks alone (section 4, and RFC 9110, section 5.6.2).
            None if value.contains([':', '[', ']', '"', ' ', '\t']) => return None,
            None => value,
        };
        if name.eq_ignore_ascii_case("for") && said.replace(value).is_some() {
            return None;
        }
    }
    said
}

/// An address with or without a port (RFC 7239, section 6); IPv6 in brackets. `unknown` and what is obfuscated (`_hidden`) are none.
fn node(text: &str) -> Option<ClientAddress> {
    let (address, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (address, rest) = rest.split_once(']')?;
            let port = if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) };
            (IpAddr::V6(address.parse::<Ipv6Addr>().ok()?), port)
        }
        None => {
            let (address, port) =
                text.split_once(':').map_or((text, None), |(address, port)| (address, Some(port)));
            (IpAddr::V4(address.parse::<Ipv4Addr>().ok()?), port)
        }
    };
    port.is_none_or(is_port).then(|| address.into())
}

/// A number, or obfuscated.
fn is_port(text: &str) -> bool {
    let is_number = text.parse::<u16>().is_ok() && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_hidden = |rest: &str| {
        !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
    };
    is_number || text.strip_prefix('_').is_some_and(is_hidden)
}

fn text(element: &[u8]) -> Option<&str> {
    if element.len() > LONGEST_ELEMENT {
        return None;
    }
    std::str::from_utf8(element).ok().filter(|text| text.is_ascii())
}

fn split_outside_quotes(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    text.split(move |c| {
        let was_escaped = std::mem::replace(&mut escaped, false);
        match c {
            '\\' if quoted && !was_escaped => escaped = true,
            '"' if !was_escaped => quoted = !quoted,
            _ => {}
        }
        c == separator && !quoted
    })
}

/// The elements of a line, the last first, without white space at their ends. One that is too long, or whose quotation marks do not close, is `None`, and the last.
struct Elements<'a> {
    rest: Option<&'a [u8]>,
}

impl<'a> Iterator for Elements<'a> {
    type Item = Option<&'a [u8]>;

    fn next(&mut self) -> Option<Self::Item> {
        let line = self.rest.take()?;
        let mut is_quoted = false;
        let looked_at = line.len().saturating_sub(LONGEST_ELEMENT + 1);
        for (at, byte) in line.iter().enumerate().skip(looked_at).rev() {
            match byte {
                b'"' if is_quoted => is_quoted = is_escaped(line, at),
                b'"' => is_quoted = true,
                b',' if !is_quoted => {
                    let (before, element) = line.split_at_checked(at)?;
                    self.rest = Some(before);
                    return Some(element.strip_prefix(b",").map(<[u8]>::trim_ascii));
                }
                _ => {}
            }
        }
        Some((looked_at == 0 && !is_quoted).then(|| line.trim_ascii()))
    }
}

/// Whether the byte at this place is a quoted pair's second: an odd number of backslashes stands before it.
fn is_escaped(line: &[u8], at: usize) -> bool {
    let before = line.get(..at).unwrap_or_default();
    before.iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 1
}
