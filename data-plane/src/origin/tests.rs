use http::{HeaderMap, HeaderValue};

use super::*;

const LISTED: &str = "203.0.113.0/24 2001:db8::/32";

fn said(values: &[&str]) -> Origin {
    let mut headers = HeaderMap::new();
    for value in values {
        headers.append(CLIENT_ADDRESS, HeaderValue::from_str(value).expect("a value"));
    }
    Origin::said(&(&headers).into())
}

#[test]
fn what_a_router_says_is_one_address_or_nothing() {
    let listed: AllowedRanges = LISTED.parse().expect("ranges");
    for inside in ["203.0.113.7", "2001:db8::7", "::ffff:203.0.113.7"] {
        assert!(said(&[inside]).is_within(&listed), "{inside}");
    }
    assert!(!said(&["198.51.100.1"]).is_within(&listed));
    for values in [
        &[][..],
        &[""],
        &["unknown"],
        &["203.0.113.7", "203.0.113.7"],
        &["203.0.113.7, 203.0.113.7"],
        &[" 203.0.113.7"],
        &["203.0.113.7:80"],
        &["203.0.113.0/24"],
    ] {
        assert!(matches!(said(values), Origin::Unsaid), "{values:?}");
    }
}

#[test]
fn from_an_address_that_nobody_knows_calls_are_taken_only_where_they_are_from_anywhere() {
    assert!(!Origin::Unsaid.is_within(&LISTED.parse().expect("ranges")));
    assert!(!Origin::Unsaid.is_within(&"0.0.0.0/0 ::/0".parse().expect("ranges")));
    assert!(Origin::Unsaid.is_within(&AllowedRanges::default()));
}
