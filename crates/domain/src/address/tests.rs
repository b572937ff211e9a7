use proptest::prelude::*;

use super::*;

fn range(text: &str) -> AddressRange {
    text.parse().expect(text)
}

fn ranges(texts: &[&str]) -> AllowedRanges {
    AllowedRanges::new(texts.iter().map(|text| range(text)).collect()).expect("few")
}

fn address(text: &str) -> ClientAddress {
    text.parse().expect(text)
}

#[test]
fn a_range_with_bits_behind_its_prefix_is_refused_and_the_right_one_is_named() {
    for (text, corrected, alone) in [
        ("10.1.2.3/8", "10.0.0.0/8", "10.1.2.3"),
        ("2001:db8::7/32", "2001:db8::/32", "2001:db8::7"),
        ("::ffff:10.1.2.3/104", "10.0.0.0/8", "10.1.2.3"),
    ] {
        let error = text.parse::<AddressRange>().expect_err(text);
        let said = error.to_string();
        assert!(
            said.contains(&format!("say {corrected} ")) && said.contains(&format!("or {alone} ")),
            "{said}"
        );
        assert_eq!(range(corrected).to_string(), corrected);
    }
}

#[test]
fn what_is_no_range_is_refused() {
    for text in [
        "",
        "10",
        "10.0.0.0/",
        "10.0.0.0/33",
        "10.0.0.0/-1",
        "10.0.0.0/+8",
        "10.0.0.0/8 ",
        " 10.0.0.0/8",
        "10.0.0.0/255.0.0.0",
        "010.0.0.0/8",
        "::/129",
        "fe80::1%eth0",
        "fe80::%eth0/64",
        "[2001:db8::]/32",
        "host",
        "10.0.0.0/8,11.0.0.0/8",
    ] {
        assert_eq!(text.parse::<AddressRange>(), Err(AddressError::Range), "{text:?}");
    }
}

#[test]
fn ipv4_written_as_ipv6_is_ipv4_in_ranges_and_in_addresses() {
    assert_eq!(range("::ffff:192.0.2.0/120"), range("192.0.2.0/24"));
    assert_eq!(range("::ffff:192.0.2.1"), range("192.0.2.1/32"));
    assert_eq!(range("::ffff:0:0/96"), range("0.0.0.0/0"));
    assert_eq!(address("::ffff:192.0.2.1"), address("192.0.2.1"));
    assert!(ranges(&["::ffff:192.0.2.0/120"]).admits(address("192.0.2.9")));
    assert!(ranges(&["192.0.2.0/24"]).admits(address("::ffff:192.0.2.9")));
    // Every address of IPv6, and so none of IPv4.
    assert!(!ranges(&["::/0"]).admits(address("::ffff:192.0.2.9")));
}

#[test]
fn nothing_listed_admits_everybody_and_a_list_admits_nobody_else() {
    assert!(AllowedRanges::default().admits(address("198.51.100.1")));
    assert!(AllowedRanges::default().is_anywhere() && ranges(&[]).is_anywhere());
    let listed = ranges(&["203.0.113.0/24", "2001:db8::/32", "198.51.100.7"]);
    for inside in ["203.0.113.0", "203.0.113.255", "2001:db8:ffff::1", "198.51.100.7"] {
        assert!(listed.admits(address(inside)), "{inside}");
    }
    for outside in ["203.0.112.255", "203.0.114.0", "2001:db9::", "198.51.100.8", "::1"] {
        assert!(!listed.admits(address(outside)), "{outside}");
    }
}

#[test]
fn a_list_is_bounded_and_reads_as_it_is_written() {
    let listed = ranges(&["203.0.113.0/24", "2001:db8::/32"]);
    assert_eq!(listed.to_string(), "203.0.113.0/24 2001:db8::/32");
    assert_eq!(listed.to_string().parse(), Ok(listed));
    assert_eq!("".parse(), Ok(AllowedRanges::default()));
    let one = range("203.0.113.0/24");
    assert!(AllowedRanges::new(vec![one; AllowedRanges::MOST]).is_ok());
    assert_eq!(AllowedRanges::new(vec![one; AllowedRanges::MOST + 1]), Err(AddressError::TooMany));
}

#[test]
fn an_address_is_not_printed_by_accident() {
    assert_eq!(format!("{:?}", address("203.0.113.9")), "ClientAddress([redacted])");
}

proptest! {
    #[test]
    fn a_range_admits_exactly_the_addresses_that_begin_as_it_does(bits: u32, other: u32, length in 0_u8..=32) {
        let network = if length == 0 { 0 } else { bits & (u32::MAX << (32 - length)) };
        let range: AddressRange = format!("{}/{length}", std::net::Ipv4Addr::from(network)).parse().expect("exact");
        let begins_alike = length == 0 || (network ^ other) >> (32 - length) == 0;
        prop_assert_eq!(range.contains(IpAddr::V4(other.into()).into()), begins_alike);
        prop_assert_eq!(range.to_string().parse(), Ok(range));
    }
}
