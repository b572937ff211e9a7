use http::{HeaderMap, HeaderValue};

use super::*;

fn address(text: &str) -> ClientAddress {
    text.parse().expect(text)
}

fn hops() -> TrustedHops {
    TrustedHops::new(["10.0.0.0/8", "2001:db8:ffff::/48"].map(|range| range.parse().expect(range)).into())
}

/// Where the call comes from when `peer` passes these lines on.
fn seen(from: &ClientAddressFrom, peer: &str, lines: &[(&'static str, &str)]) -> String {
    let mut headers = HeaderMap::new();
    for (name, line) in lines {
        headers.append(HeaderName::from_static(name), HeaderValue::from_str(line).expect("a line"));
    }
    let remote = (address(peer).ip(), 40_000).into();
    from.of(&(&headers).into(), &ConnectionInfo { peer: None, remote, announced: None }).to_string()
}

fn by_x_forwarded_for(peer: &str, lines: &[&str]) -> String {
    let lines: Vec<_> = lines.iter().map(|line| ("x-forwarded-for", *line)).collect();
    seen(&ClientAddressFrom::XForwardedFor(hops()), peer, &lines)
}

fn by_forwarded(peer: &str, lines: &[&str]) -> String {
    let lines: Vec<_> = lines.iter().map(|line| ("forwarded", *line)).collect();
    seen(&ClientAddressFrom::Forwarded(hops()), peer, &lines)
}

#[test]
fn from_whom_is_no_hop_nothing_is_believed() {
    for peer in ["203.0.113.7", "2001:db8::7"] {
        assert_eq!(by_x_forwarded_for(peer, &["198.51.100.1"]), peer);
        assert_eq!(by_forwarded(peer, &["for=198.51.100.1"]), peer);
    }
    // Not the peer's, and not what it says, where the connection itself is asked.
    let lines = [("x-forwarded-for", "198.51.100.1"), ("forwarded", "for=198.51.100.1")];
    assert_eq!(seen(&ClientAddressFrom::Peer, "10.0.0.1", &lines), "10.0.0.1");
    assert_eq!(seen(&ClientAddressFrom::Proxy(hops()), "10.0.0.1", &lines), "10.0.0.1");
}

#[test]
fn the_first_address_from_the_right_that_is_no_hop_is_the_callers() {
    // The leftmost is what the caller wrote.
    assert_eq!(by_x_forwarded_for("10.0.0.1", &["198.51.100.1, 203.0.113.7"]), "203.0.113.7");
    assert_eq!(by_x_forwarded_for("10.0.0.1", &["198.51.100.1, 203.0.113.7, 10.9.9.9"]), "203.0.113.7");
    assert_eq!(
        by_x_forwarded_for("2001:db8:ffff::1", &["198.51.100.1, 2001:db8::7, 10.9.9.9"]),
        "2001:db8::7"
    );
    let line = r#"for=198.51.100.1, for="[2001:db8::7]:4711";proto=https;by=10.0.0.1, for=10.9.9.9"#;
    assert_eq!(by_forwarded("10.0.0.1", &[line]), "2001:db8::7");
    // Of hops alone, the farthest.
    assert_eq!(by_x_forwarded_for("10.0.0.1", &["10.1.1.1, 10.2.2.2"]), "10.1.1.1");
    // A hop that says nothing is whom we see.
    assert_eq!(by_x_forwarded_for("10.0.0.1", &[]), "10.0.0.1");
    assert_eq!(by_x_forwarded_for("10.0.0.1", &["", ",, ,"]), "10.0.0.1");
}

#[test]
fn every_line_counts_and_the_last_is_the_closest() {
    assert_eq!(by_x_forwarded_for("10.0.0.1", &["198.51.100.1", "203.0.113.7"]), "203.0.113.7");
    assert_eq!(by_x_forwarded_for("10.0.0.1", &["203.0.113.7", "10.9.9.9"]), "203.0.113.7");
    assert_eq!(
        by_forwarded("10.0.0.1", &["for=198.51.100.1", "for=203.0.113.7, for=10.9.9.9"]),
        "203.0.113.7"
    );
}

#[test]
fn of_two_headers_only_the_one_counts_that_the_operator_named() {
    let lines = [("x-forwarded-for", "203.0.113.7"), ("forwarded", "for=198.51.100.1")];
    assert_eq!(seen(&ClientAddressFrom::XForwardedFor(hops()), "10.0.0.1", &lines), "203.0.113.7");
    assert_eq!(seen(&ClientAddressFrom::Forwarded(hops()), "10.0.0.1", &lines), "198.51.100.1");
}

#[test]
fn ipv4_written_as_ipv6_is_ipv4() {
    assert_eq!(
        by_x_forwarded_for("::ffff:10.0.0.1", &["::ffff:203.0.113.7, ::ffff:10.1.1.1"]),
        "203.0.113.7"
    );
    assert_eq!(by_forwarded("10.0.0.1", &[r#"for="[::ffff:203.0.113.7]""#]), "203.0.113.7");
}

#[test]
fn what_is_no_address_ends_the_search_at_the_closest_good_one() {
    for bad in [
        "unknown",
        "_hidden",
        "203.0.113.7:http",
        "203.0.113.7:99999",
        "203.0.113.7:",
        "203.0.113",
        "0313.0.113.7",
        "[2001:db8::7",
        "2001:db8::7]",
        "[2001:db8::7]443",
        "[203.0.113.7]",
        "fe80::1%eth0",
        "localhost",
        "\"203.0.113.7\"",
        "203.0.113.7 198.51.100.1",
        &"1".repeat(600),
    ] {
        assert_eq!(
            by_x_forwarded_for("10.0.0.1", &[&format!("198.51.100.1, {bad}, 10.9.9.9")]),
            "10.9.9.9",
            "{bad}"
        );
    }
    for bad in [
        "for=unknown",
        "for=_hidden",
        "for=\"_hidden:4711\"",
        "for=",
        "for",
        "203.0.113.7",
        "by=203.0.113.7",
        "for=203.0.113.7;for=203.0.113.8",
        "for=203.0.113.7:80",
        "for=[2001:db8::7]",
        "for=\"2001:db8::7\"",
        "for=\"203.0.113.7",
        "for=203.0.113.7\"",
        "for=\"203.0.113.7\\\"\"",
        "for =203.0.113.7",
        "for=203.0.113.7;proto",
        &format!("for=203.0.113.7;host={}", "a".repeat(600)),
    ] {
        let line = format!("for=198.51.100.1, {bad}, for=10.9.9.9");
        assert_eq!(by_forwarded("10.0.0.1", &[&line]), "10.9.9.9", "{bad}");
    }
}

#[test]
fn ports_and_other_parameters_are_left_aside() {
    for good in ["203.0.113.7:4711", "203.0.113.7", "\t203.0.113.7 "] {
        assert_eq!(by_x_forwarded_for("10.0.0.1", &[good]), "203.0.113.7", "{good}");
    }
    for good in ["2001:db8::7", "[2001:db8::7]", "[2001:db8::7]:443", "2001:DB8::7"] {
        assert_eq!(by_x_forwarded_for("10.0.0.1", &[good]), "2001:db8::7", "{good}");
    }
    for good in [
        "for=203.0.113.7",
        "For=\"203.0.113.7:4711\"",
        "for=\"203.0.113.7:_port\"",
        "proto=https;FOR=203.0.113.7;by=_lb",
        r#"host="a,b;for=198.51.100.9";for=203.0.113.7"#,
        r#"host="a\",for=198.51.100.9";for=203.0.113.7"#,
    ] {
        assert_eq!(by_forwarded("10.0.0.1", &[good]), "203.0.113.7", "{good}");
    }
}

#[test]
fn nothing_that_a_caller_wrote_swallows_what_a_hop_added() {
    for callers in [
        "for=\"198.51.100.1",
        "for=\"198.51.100.1\\",
        "\"",
        "\"\\\"",
        "for=198.51.100.1;host=\"a, b",
        ",,,\"",
        &"\"\\".repeat(900),
        &"a".repeat(9000),
    ] {
        assert_eq!(
            by_forwarded("10.0.0.1", &[&format!("{callers}, for=203.0.113.7")]),
            "203.0.113.7",
            "{callers}"
        );
        let quoted = format!("{callers}, for=\"[2001:db8::7]\";host=\"x\\\"y\"");
        assert_eq!(by_forwarded("10.0.0.1", &[&quoted]), "2001:db8::7", "{callers}");
        assert_eq!(by_forwarded("10.0.0.1", &[callers, "for=203.0.113.7"]), "203.0.113.7", "{callers}");
        assert_eq!(
            by_x_forwarded_for("10.0.0.1", &[&format!("{callers},203.0.113.7")]),
            "203.0.113.7",
            "{callers}"
        );
    }
}

#[test]
fn a_chain_without_an_end_is_not_followed_to_it() {
    let line = vec!["10.2.2.2"; 400].join(",");
    assert_eq!(by_x_forwarded_for("10.0.0.1", &[&format!("203.0.113.7,{line}")]), "10.2.2.2");
}
