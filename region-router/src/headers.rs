//! Headers between two hops.

use bailiwick_runtime::{http1::is_of_one_hop, serving::API_KEY};
use http::{HeaderMap, HeaderName, header};

/// Removes what is meant for one hop only, what `Connection` names, too; and what is unwanted besides, by its name in small letters.
pub(crate) fn strip(headers: &mut HeaderMap, is_unwanted: impl Fn(&str) -> bool) {
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
    // Most calls have none of them: comparing the few names that there are costs less than to look for each that there might be.
    let goes = |name: &&HeaderName| is_of_one_hop(name.as_str()) || is_unwanted(name.as_str());
    let found: Vec<HeaderName> = headers.keys().filter(goes).cloned().collect();
    for name in found {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn only_what_belongs_to_one_hop_or_is_unwanted_is_removed() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "close, x-private, authorization, x-api-key"),
            ("keep-alive", "5"),
            ("x-private", "1"),
            ("x-unwanted", "1"),
            ("transfer-encoding", "chunked"),
            ("authorization", "Bearer x"),
            ("x-api-key", "x"),
            ("content-type", "application/json"),
        ] {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        strip(&mut headers, |name| name == "x-unwanted");
        let mut left: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["authorization", "content-type", "x-api-key"]);
    }
}
