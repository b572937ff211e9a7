use proptest::prelude::*;

use super::*;

fn policy(hosts: &[&str], ranges: &[&str]) -> EgressPolicy {
    EgressPolicy {
        hosts: hosts.iter().map(|h| h.parse().expect("pattern")).collect(),
        private_ranges: ranges.iter().map(|r| r.parse().expect("range")).collect(),
    }
}

#[test]
fn r7_only_hosts_of_the_policy_are_admitted() {
    let policy = policy(&["api.openai.com", "*.openai.azure.com", "127.0.0.1", "::1"], &[]);
    for host in
        ["api.openai.com", "API.OpenAI.com", "api.openai.com.", "eu.openai.azure.com", "127.0.0.1", "[::1]"]
    {
        assert_eq!(policy.allow_host(host), Ok(()), "{host}");
    }
    for host in [
        "openai.azure.com",
        "evilopenai.azure.com.attacker.test",
        "api.openai.com.attacker.test",
        "xapi.openai.com",
        "",
    ] {
        assert_eq!(policy.allow_host(host), Err(EgressRefused::Host), "{host}");
    }
    assert_eq!(EgressPolicy::default().allow_host("api.openai.com"), Err(EgressRefused::Host));
}

#[test]
fn r7_special_addresses_are_refused_unless_their_range_is_allowed() {
    let closed = policy(&["*"], &[]);
    for address in [
        "127.0.0.1",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "198.18.0.1",
        "192.0.2.1",
        "::1",
        "::",
        "fe80::1",
        "fc00::1",
        "fd12::1",
        "ff02::1",
        "2001:db8::1",
        "2002:7f00:1::",
        "64:ff9b::7f00:1",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
    ] {
        let address: IpAddr = address.parse().expect("address");
        assert!(closed.allow_address(address).is_err(), "{address}");
    }
    for address in ["1.1.1.1", "104.18.7.192", "2606:4700::1", "::ffff:1.1.1.1"] {
        let address: IpAddr = address.parse().expect("address");
        assert_eq!(closed.allow_address(address), Ok(()), "{address}");
    }
    let open = policy(&["*"], &["127.0.0.0/8"]);
    assert_eq!(open.allow_address(IpAddr::from([127, 0, 0, 1])), Ok(()));
    assert_eq!(open.allow_address("::ffff:127.0.0.1".parse().expect("address")), Ok(()));
    assert!(open.allow_address(IpAddr::from([10, 0, 0, 1])).is_err());
}

#[test]
fn r7_an_address_has_one_form() {
    let policy = policy(&["0:0:0:0:0:0:0:1"], &[]);
    assert_eq!(policy.allow_host("[::1]"), Ok(()));
    assert_eq!(policy.allow_host("::1"), Ok(()));
}

#[test]
fn malformed_patterns_are_refused() {
    for text in [
        "",
        ".",
        "*.",
        "**",
        "a*",
        "*a.test",
        "a..b",
        "a b",
        "https://a",
        "a/b",
        "a:",
        "a:0",
        "a:65536",
        "a:+1",
        "[::1",
        "::1]",
        "[::1]:",
        "*.*.a",
        "ä.test",
        ":443",
    ] {
        assert_eq!(text.parse::<HostPattern>(), Err(HostPatternError), "{text:?}");
    }
}

proptest! {
    #[test]
    fn patterns_survive_their_text_form(text in "([*][.])?[a-z0-9]{1,8}([.][a-z0-9-]{1,8}){0,3}") {
        let pattern: HostPattern = text.parse().expect("well formed");
        prop_assert_eq!(pattern.to_string().parse(), Ok(pattern));
    }

    #[test]
    fn addresses_survive_as_patterns(address: IpAddr) {
        let pattern: HostPattern = address.to_string().parse().expect("an address");
        prop_assert!(pattern.matches(&address.to_string()));
        prop_assert_eq!(pattern.to_string().parse(), Ok(pattern));
    }

    #[test]
    fn r7_an_address_mapped_into_v6_is_judged_as_itself(v4: Ipv4Addr) {
        let policy = policy(&[], &["10.0.0.0/8"]);
        let plain = policy.allow_address(v4.into());
        prop_assert_eq!(policy.allow_address(v4.to_ipv6_mapped().into()), plain);
    }

    #[test]
    fn r7_no_private_address_is_admitted_by_an_empty_policy(low: [u8; 3], class in 0_usize..4) {
        let [x, y, z] = low;
        let address = [[127, x, y, z], [10, x, y, z], [192, 168, y, z], [169, 254, y, z]][class];
        prop_assert!(EgressPolicy::default().allow_address(IpAddr::from(address)).is_err());
    }
}
