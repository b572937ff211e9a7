use http::HeaderMap;
use proptest::prelude::{any, proptest};

use super::*;

/// The fields of the request that a worker gets, in the order of their names.
fn told(headers: HeaderMap, version: Version, told: Told) -> Vec<(String, String)> {
    let mut request = http::Request::new(());
    (*request.headers_mut(), *request.version_mut()) = (headers, version);
    let mut fields = written_fields(&outgoing(&mut request.into(), told).fields);
    fields.sort();
    fields
}

fn written_fields(fields: &Fields) -> Vec<(String, String)> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
    fields.iter().map(|(name, value)| (text(name), text(value))).collect()
}

fn some_call() -> Told {
    Told { request_id: RequestId::random(), client: "203.0.113.7".parse().expect("an address") }
}

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
    let call = some_call();
    let id = call.request_id.to_string();
    let expected = [("x-bailiwick-client-address", "203.0.113.7"), ("x-bailiwick-request-id", id.as_str())];
    assert_eq!(
        told(headers, Version::HTTP_11, call),
        expected.map(|(name, value)| (name.into(), value.into()))
    );
}

#[test]
fn what_says_whose_call_it_is_nobody_may_have_removed() {
    let mut headers = HeaderMap::new();
    let names =
        [("authorization", "Bearer x"), ("content-type", "a/b"), ("host", "here"), ("x-api-key", "x")];
    for (name, value) in names {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    let every = HeaderValue::from_static("close, x-private, authorization, Content-Type, host, x-api-key");
    headers.insert(CONNECTION, every);
    headers.insert(HeaderName::from_static("x-private"), HeaderValue::from_static("1"));
    let left = told(headers, Version::HTTP_11, some_call());
    let left: Vec<_> = left.iter().filter(|(name, _)| !name.starts_with("x-bailiwick-")).cloned().collect();
    assert_eq!(left, names.map(|(name, value)| (name.into(), value.into())));
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
    for (version, host, expected) in
        [(Version::HTTP_10, None, ""), (Version::HTTP_10, Some("a"), "a"), (Version::HTTP_11, Some("a"), "a")]
    {
        let headers = HeaderMap::from_iter(host.map(|host| (HOST, HeaderValue::from_static(host))));
        let hosts: Vec<_> =
            told(headers, version, some_call()).into_iter().filter(|(name, _)| name == "host").collect();
        assert_eq!(hosts, [("host".into(), expected.into())]);
    }
}

/// What a caller is told of a worker's answer: status, what the answer itself says, and what goes on.
fn answered(
    status: u16,
    said: &[(&'static str, &'static str)],
    body: &'static str,
) -> (u16, HeaderMap, Vec<(String, String)>) {
    let mut response = http::Response::new(http1::Body::from(Bytes::from_static(body.as_bytes())));
    *response.status_mut() = http::StatusCode::from_u16(status).expect("a status");
    for (name, value) in said {
        response.headers_mut().append(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    let mut on = Fields::default();
    let (head, closes) = head_of(&mut response.into(), &mut on);
    assert_eq!(closes, head.headers().contains_key(CONNECTION));
    (head.status().as_u16(), head.headers().clone(), written_fields(&on))
}

fn map(fields: &[(&'static str, &'static str)]) -> HeaderMap {
    let field = |(name, value): &(&'static str, &'static str)| {
        (HeaderName::from_static(name), HeaderValue::from_static(value))
    };
    fields.iter().map(field).collect()
}

#[test]
fn an_answer_goes_on_but_for_what_is_of_one_hop() {
    let said = [
        ("content-type", "a/b"),
        ("x-private", "1"),
        ("keep-alive", "5"),
        ("connection", "close, x-private, content-type"),
        ("content-length", "2"),
        ("date", "then"),
    ];
    let (status, own, on) = answered(429, &said, "{}");
    assert_eq!((status, own), (429, map(&[("connection", "close")])), "its body says how long it is");
    assert_eq!(
        on,
        [("content-type", "a/b"), ("date", "then")].map(|(name, value)| (name.into(), value.into()))
    );
}

#[test]
fn what_a_body_would_have_that_nobody_asked_for_is_told() {
    let (status, own, on) = answered(200, &[("content-length", "7"), ("etag", "x")], "");
    assert_eq!((status, own), (200, map(&[("content-length", "7")])));
    assert_eq!(on, [("etag".to_owned(), "x".to_owned())]);
    assert_eq!(answered(200, &[("content-length", "0")], "").1, HeaderMap::new());
}
