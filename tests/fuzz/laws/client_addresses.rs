//! Where a call comes from: `Forwarded`, `X-Forwarded-For`, prefaces of the PROXY protocol, and ranges.

use bailiwick_domain::address::{AddressRange, AllowedRanges, ClientAddress};
use bailiwick_runtime::serving::{
    CLIENT_ADDRESS, ClientAddressFrom, ConnectionInfo, TrustedHops, X_FORWARDED_FOR, announced,
};
use http::{HeaderMap, HeaderValue, header::FORWARDED};

/// The hops of these laws, and one of them.
const HOPS: &str = "10.0.0.0/8";
const HOP: &str = "10.0.0.1";
/// The caller whom the hop saw.
const CALLER: &str = "203.0.113.7";

/// Nothing that a caller writes is believed without a hop; and whatever it wrote before, what the hop adds is what counts. A preface is one or none: none begins another. A range
/// is read as it is written, and holds itself.
pub fn client_addresses(bytes: &[u8]) {
    forwarded(bytes);
    prefaces(bytes);
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    ranges(text);
}

fn forwarded(bytes: &[u8]) {
    let hops = TrustedHops::new(vec![HOPS.parse().expect("a range")]);
    // Lines, as a caller may send several.
    let lines: Vec<HeaderValue> =
        bytes.split(|byte| *byte == b'\n').filter_map(|line| HeaderValue::from_bytes(line).ok()).collect();
    for (from, name, added) in [
        (ClientAddressFrom::Forwarded(hops.clone()), FORWARDED, format!("for={CALLER};proto=https")),
        (ClientAddressFrom::Forwarded(hops.clone()), FORWARDED, format!("proto=https;for=\"{CALLER}:4711\"")),
        (ClientAddressFrom::XForwardedFor(hops), X_FORWARDED_FOR, CALLER.to_owned()),
    ] {
        let mut headers = HeaderMap::new();
        for line in &lines {
            headers.append(&name, line.clone());
        }
        let seen = |headers: &HeaderMap, peer: &str| {
            let remote = (address(peer).ip(), 1).into();
            from.of(&headers.into(), &ConnectionInfo { peer: None, remote, announced: None })
        };
        assert_eq!(seen(&headers, CALLER), address(CALLER), "believed without a hop");
        let _no_panic = seen(&headers, HOP);
        // In a line of its own, and at the end of the caller's last.
        let mut own_line = headers.clone();
        own_line.append(&name, HeaderValue::from_str(&added).expect("a line"));
        assert_eq!(seen(&own_line, HOP), address(CALLER), "a line of a hop's own is lost");
        if let Some(last) = lines.last() {
            let joined = [last.as_bytes(), b", ", added.as_bytes()].concat();
            let mut joined_line = HeaderMap::new();
            joined_line.append(&name, HeaderValue::from_bytes(&joined).expect("a line"));
            assert_eq!(seen(&joined_line, HOP), address(CALLER), "what a hop added is lost");
        }
        // What a router's own header would say is nobody's business here.
        let mut injected = own_line;
        injected.insert(CLIENT_ADDRESS, HeaderValue::from_static("192.0.2.1"));
        assert_eq!(seen(&injected, HOP), address(CALLER));
    }
}

fn prefaces(bytes: &[u8]) {
    if announced(bytes).is_ok() {
        assert!(
            (0..bytes.len()).all(|length| announced(&bytes[..length]).is_err()),
            "a preface within another"
        );
        assert!(announced(&[bytes, b"G"].concat()).is_err(), "a preface with something behind it");
    }
}

fn ranges(text: &str) {
    if let Ok(range) = text.parse::<AddressRange>() {
        let written = range.to_string();
        assert_eq!(written.parse(), Ok(range));
        let first = written.split('/').next().expect("an address");
        assert!(range.contains(address(first)), "a range without its first address");
    }
    if let Ok(ranges) = text.parse::<AllowedRanges>() {
        assert!(ranges.iter().count() <= AllowedRanges::MOST);
        assert_eq!(ranges.to_string().parse(), Ok(ranges));
    }
}

fn address(text: &str) -> ClientAddress {
    text.parse().expect("an address")
}
