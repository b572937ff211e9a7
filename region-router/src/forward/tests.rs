use proptest::prelude::{any, proptest};

use super::*;

#[test]
fn a_worker_is_told_where_a_call_comes_from_by_the_router_alone() {
    let mut headers = HeaderMap::new();
    for name in ["x-bailiwick-client-address", "forwarded", "x-forwarded-for", "x-real-ip", "x-request-id"] {
        let name = HeaderName::from_static(name);
        headers.append(name.clone(), HeaderValue::from_static("198.51.100.1"));
        headers.append(name, HeaderValue::from_static("for=198.51.100.2"));
    }
    // What the caller's `Connection` names is removed before, not after.
    headers
        .insert(CONNECTION, HeaderValue::from_static("x-bailiwick-client-address, x-bailiwick-request-id"));
    let told = Told { request_id: RequestId::random(), client: "203.0.113.7".parse().expect("an address") };
    tell(&mut headers, told).expect("told");
    let said: Vec<(&str, &str)> =
        headers.iter().map(|(name, value)| (name.as_str(), value.to_str().expect("text"))).collect();
    let id = told.request_id.to_string();
    let expected = [("x-bailiwick-request-id", id.as_str()), ("x-bailiwick-client-address", "203.0.113.7")];
    assert!(said.len() == 2 && expected.iter().all(|pair| said.contains(pair)), "{said:?}");
}

proptest! {
    #[test]
    fn an_address_is_written_as_everybody_writes_it(address in any::<IpAddr>()) {
        let address = ClientAddress::from(address);
        assert_eq!(written(address), address.to_string().into_bytes());
    }
}

#[test]
fn a_worker_is_told_a_host_also_where_an_old_caller_names_none() {
    let told = Told { request_id: RequestId::random(), client: "203.0.113.7".parse().expect("an address") };
    let asked = |version, host: Option<&'static str>| {
        let mut request = Request::new(());
        *request.version_mut() = version;
        request.headers_mut().extend(host.map(|host| (HOST, HeaderValue::from_static(host))));
        prepare(&mut request, told).expect("made");
        let hosts: Vec<_> = request.headers().get_all(HOST).iter().cloned().collect();
        (request.version(), hosts)
    };
    for (version, host, expected) in [
        (http::Version::HTTP_10, None, ""),
        (http::Version::HTTP_10, Some("a"), "a"),
        (http::Version::HTTP_11, Some("a"), "a"),
    ] {
        assert_eq!(asked(version, host), (http::Version::HTTP_11, vec![HeaderValue::from_static(expected)]));
    }
}
