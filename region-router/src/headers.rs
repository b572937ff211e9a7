//! Headers between two hops.

use bailiwick_runtime::serving::API_KEY;
use http::{HeaderMap, HeaderName, header};

/// Meant for one hop only (RFC 9110, section 7.6.1), and `Expect`, which was answered here.
const HOP_BY_HOP: [HeaderName; 9] = [
    header::CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::EXPECT,
    HeaderName::from_static("keep-alive"),
];

/// Removes what is meant for one hop only, what `Connection` names, too.
pub(crate) fn strip_hop_by_hop(headers: &mut HeaderMap) {
    if headers.contains_key(header::CONNECTION) {
        let named = headers.get_all(header::CONNECTION).iter().filter_map(|value| value.to_str().ok());
        let named = named
            .flat_map(|value| value.split(','))
            .filter_map(|name| name.trim().parse::<HeaderName>().ok());
        // What says whose call it is, and how long its body is, nobody may have removed.
        let kept =
            [header::AUTHORIZATION, API_KEY, header::CONTENT_LENGTH, header::HOST, header::CONTENT_TYPE];
        let named: Vec<HeaderName> = named.filter(|name| !kept.contains(name)).collect();
        for name in named {
            headers.remove(name);
        }
    }
    remove(headers, |name| HOP_BY_HOP.contains(name));
}

/// Removes the headers of these names. Most calls have none of them: comparing the few names that there are costs less than to look for each that there might be.
pub(crate) fn remove(headers: &mut HeaderMap, is_unwanted: impl Fn(&HeaderName) -> bool) {
    let found: Vec<HeaderName> = headers.keys().filter(|name| is_unwanted(name)).cloned().collect();
    for name in found {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn only_what_belongs_to_one_hop_is_removed() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "close, x-private, authorization, x-api-key"),
            ("keep-alive", "5"),
            ("x-private", "1"),
            ("transfer-encoding", "chunked"),
            ("authorization", "Bearer x"),
            ("x-api-key", "x"),
            ("content-type", "application/json"),
        ] {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        strip_hop_by_hop(&mut headers);
        let mut left: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["authorization", "content-type", "x-api-key"]);
    }
}
