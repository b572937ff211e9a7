use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::*;

fn law(text: &str) -> LegalJurisdiction {
    text.parse().expect("a jurisdiction")
}

fn rule(pattern: &str, jurisdiction: &str, ranges: &[&str]) -> EgressRule {
    EgressRule {
        pattern: pattern.parse().expect("pattern"),
        jurisdiction: law(jurisdiction),
        private_ranges: ranges.iter().map(|range| range.parse().expect("range")).collect(),
    }
}

/// A policy of a region in the EU.
fn policy(rules: impl IntoIterator<Item = EgressRule>) -> EgressPolicy {
    EgressPolicy::new(law("eu"), rules).expect("good rules")
}

fn listed(hosts: &[&str]) -> Residency {
    let hosts = hosts.iter().map(|host| host.parse().expect("pattern")).collect();
    Residency::listed(hosts).expect("a good list")
}

fn admit(
    policy: &EgressPolicy,
    residency: &Residency,
    host: &str,
    path: &str,
    model: &str,
) -> Result<AdmittedHost<'static>, EgressRefused> {
    policy.admit(residency, Target { host: &host.into(), path, model }).map(AdmittedHost::into_owned)
}

fn by_region(policy: &EgressPolicy, host: &str) -> Result<AdmittedHost<'static>, EgressRefused> {
    admit(policy, &Residency::Region, host, "/v1", "gpt-4o")
}

/// What the rules of `ranges` make of an address.
fn judge(ranges: &[&str], address: IpAddr) -> Result<AdmittedAddress, EgressRefused> {
    by_region(&policy([rule("llm.test", "eu", ranges)]), "llm.test").expect("admitted").address(address)
}

#[test]
fn r7_only_hosts_of_a_rule_are_admitted() {
    let hosts = ["eu.api.openai.com", "*.openai.azure.com", "127.0.0.1", "::1"];
    let policy = policy(hosts.map(|host| rule(host, "eu", &[])));
    for host in [
        "eu.api.openai.com",
        "EU.API.OpenAI.com",
        "eu.api.openai.com.",
        "acme.openai.azure.com",
        "a.b.openai.azure.com",
        "127.0.0.1",
        "[::1]",
        "0:0:0:0:0:0:0:1",
    ] {
        assert!(by_region(&policy, host).is_ok(), "{host}");
    }
    for host in [
        "openai.azure.com",
        ".openai.azure.com",
        "evilopenai.azure.com",
        "evil.openai.azure.com.attacker.test",
        "eu.api.openai.com.attacker.test",
        "xeu.api.openai.com",
        "api.openai.com",
        "com",
        "",
    ] {
        assert_eq!(by_region(&policy, host), Err(EgressRefused::Host), "{host}");
    }
    assert_eq!(by_region(&EgressPolicy::default(), "eu.api.openai.com"), Err(EgressRefused::Host));
}

#[test]
fn r7_by_default_an_organization_stays_in_its_regions_jurisdiction() {
    let policy = policy([
        rule("eu.api.openai.com", "eu", &[]),
        rule("us.api.openai.com", "us", &[]),
        rule("api.openai.com", "global", &[]),
    ]);
    assert_eq!(by_region(&policy, "eu.api.openai.com").expect("admitted").jurisdiction(), &law("eu"));
    for (host, found) in [("us.api.openai.com", "us"), ("api.openai.com", "global")] {
        let refused = EgressRefused::Jurisdiction { found: law(found), home: law("eu") };
        assert_eq!(by_region(&policy, host), Err(refused), "{host}");
    }
}

#[test]
fn r7_a_list_admits_what_it_names_and_nothing_that_no_rule_names() {
    let policy = policy([
        rule("eu.api.openai.com", "eu", &[]),
        rule("us.api.openai.com", "us", &[]),
        rule("api.openai.com", "global", &[]),
    ]);
    let residency = listed(&["US.api.openai.com", "api.anthropic.com"]);
    let judged = |host| admit(&policy, &residency, host, "/v1", "gpt-4o").map(|_| ());
    assert_eq!(judged("us.api.openai.com"), Ok(()));
    assert_eq!(judged("eu.api.openai.com"), Err(EgressRefused::NotListed));
    assert_eq!(judged("api.openai.com"), Err(EgressRefused::NotListed));
    assert_eq!(judged("api.anthropic.com"), Err(EgressRefused::Host), "no rule of the operator names it");
}

#[test]
fn a_list_is_bounded_and_not_empty() {
    let host: HostPattern = "api.openai.com".parse().expect("good");
    assert_eq!(Residency::listed(Vec::new()), Err(ResidencyError));
    assert!(Residency::listed(vec![host.clone(); Residency::MOST_HOSTS]).is_ok());
    assert_eq!(Residency::listed(vec![host; Residency::MOST_HOSTS + 1]), Err(ResidencyError));
}

#[test]
fn the_most_specific_rule_of_a_host_holds_and_the_first_of_equals() {
    let policy = policy([
        rule("*.azure.com", "global", &[]),
        rule("*.openai.azure.com", "us", &[]),
        rule("acme.openai.azure.com", "eu", &[]),
        rule("acme.openai.azure.com", "global", &[]),
    ]);
    assert!(by_region(&policy, "acme.openai.azure.com").is_ok());
    for (host, found) in [("other.openai.azure.com", "us"), ("x.azure.com", "global")] {
        let refused = EgressRefused::Jurisdiction { found: law(found), home: law("eu") };
        assert_eq!(by_region(&policy, host), Err(refused), "{host}");
    }
}

#[test]
fn r7_a_model_that_names_a_geography_is_processed_there() {
    let host = "bedrock-runtime.eu-central-1.amazonaws.com";
    let policy =
        policy([rule(host, "eu", &[]), rule("bedrock-runtime.eu-central-2.amazonaws.com", "ch", &[])]);
    let judged = |host: &str, model: &str| match admit(&policy, &Residency::Region, host, "/openai/v1", model)
    {
        Err(EgressRefused::Jurisdiction { found, .. }) => found.to_string(),
        other => other.expect(model).jurisdiction().to_string(),
    };
    for model in [
        "anthropic.claude-sonnet-4-20250514-v1:0",
        "eu.anthropic.claude-sonnet-4-20250514-v1:0",
        "openai.gpt-oss-120b-1:0",
        "deepseek.v3.1",
        "arn:aws:bedrock:eu-central-1:1:inference-profile/eu.amazon.nova-lite-v1:0",
        "arn:aws:bedrock:eu-central-1:1:provisioned-model/abc",
    ] {
        assert_eq!(judged(host, model), "eu", "{model}");
    }
    for (model, found) in [
        ("us.anthropic.claude-sonnet-4-20250514-v1:0", "us"),
        ("US.anthropic.claude-sonnet-4-20250514-v1:0", "us"),
        ("apac.amazon.nova-lite-v1:0", "apac"),
        ("global.anthropic.claude-sonnet-4-20250514-v1:0", "global"),
        ("arn:aws:bedrock:eu-central-1:1:inference-profile/us.amazon.nova-lite-v1:0", "us"),
        ("arn:aws:bedrock:eu-central-1:1:application-inference-profile/abc", "global"),
        ("arn:aws:bedrock", "global"),
    ] {
        assert_eq!(judged(host, model), found, "{model}");
    }
    assert_eq!(judged("bedrock-runtime.eu-central-2.amazonaws.com", "eu.amazon.nova-lite-v1:0"), "ch");
}

#[test]
fn r7_a_path_that_names_another_location_is_processed_there() {
    let host = "europe-west4-aiplatform.googleapis.com";
    let policy = policy([rule(host, "eu", &[])]);
    let judged = |path: &str| admit(&policy, &Residency::Region, host, path, "google/gemini").is_ok();
    assert!(judged("/v1/projects/p/locations/europe-west4/endpoints/openapi"));
    assert!(!judged("/v1/projects/p/locations/global/endpoints/openapi"));
    assert!(!judged("/v1/projects/p/locations/us-central1/endpoints/openapi"));
    assert!(!judged("/v1/projects/p/%6cocations/global/endpoints/openapi"));
}

#[test]
fn r7_a_global_endpoint_is_global_whatever_its_rule_says() {
    let host = "aiplatform.googleapis.com";
    let policy = policy([rule(host, "eu", &[])]);
    let judged = admit(&policy, &Residency::Region, host, "/v1/projects/p/locations/europe-west4", "gemini");
    let found = LegalJurisdiction::global();
    assert_eq!(judged, Err(EgressRefused::Jurisdiction { found, home: law("eu") }));
}

#[test]
fn r7_special_addresses_are_refused_unless_their_range_is_allowed() {
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
        "168.63.129.16",
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
        assert!(judge(&[], address).is_err(), "{address}");
    }
    for address in ["1.1.1.1", "104.18.7.192", "2606:4700::1", "::ffff:1.1.1.1"] {
        let address: IpAddr = address.parse().expect("address");
        assert_eq!(judge(&[], address).map(AdmittedAddress::ip), Ok(address.to_canonical()), "{address}");
    }
    let loopback = ["127.0.0.0/8"];
    assert!(judge(&loopback, IpAddr::from([127, 0, 0, 1])).is_ok());
    assert!(judge(&loopback, "::ffff:127.0.0.1".parse().expect("address")).is_ok());
    assert!(judge(&loopback, IpAddr::from([10, 0, 0, 1])).is_err());
}

#[test]
fn r7_a_private_range_is_allowed_to_the_hosts_of_its_rule_alone() {
    let policy = policy([rule("llm.internal", "eu", &["10.0.0.0/8"]), rule("eu.api.openai.com", "eu", &[])]);
    let address = IpAddr::from([10, 0, 0, 5]);
    assert!(by_region(&policy, "llm.internal").expect("admitted").address(address).is_ok());
    assert!(by_region(&policy, "eu.api.openai.com").expect("admitted").address(address).is_err());
}

#[test]
fn r7_no_range_allows_where_clouds_answer_their_own_machines() {
    for range in
        ["169.254.0.0/16", "169.254.169.254/32", "fe80::/10", "fd00:ec2::254/128", "100.100.100.200/32"]
    {
        let refused = EgressPolicy::new(law("eu"), [rule("llm.test", "eu", &[range])]);
        assert!(matches!(refused, Err(RuleError::Infrastructure { .. })), "{range}");
    }
    // Nor one that is wider than that.
    let wide = ["0.0.0.0/0", "::/0"];
    for address in [
        "169.254.169.254",
        "100.100.100.200",
        "168.63.129.16",
        "192.0.0.192",
        "0.0.0.0",
        "fd00:ec2::254",
        "fe80::1",
        "::",
        "::ffff:169.254.169.254",
    ] {
        assert!(judge(&wide, address.parse().expect("address")).is_err(), "{address}");
    }
    assert!(judge(&wide, IpAddr::from([10, 0, 0, 1])).is_ok());
}

#[test]
fn private_ranges_are_the_regions_own() {
    for elsewhere in ["us", "global"] {
        let refused = EgressPolicy::new(law("eu"), [rule("llm.test", elsewhere, &["10.0.0.0/8"])]);
        assert!(matches!(refused, Err(RuleError::PrivateElsewhere { .. })), "{elsewhere}");
    }
}

#[test]
fn malformed_patterns_are_refused() {
    for text in [
        "",
        ".",
        "*",
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
        "*.127.0.0.1",
        "ä.test",
        ":443",
    ] {
        assert_eq!(text.parse::<HostPattern>(), Err(HostPatternError), "{text:?}");
    }
}

proptest! {
    #[test]
    fn patterns_survive_their_text_form(text in "([*][.])?[a-z][a-z0-9]{0,7}([.][a-z0-9-]{1,8}){0,3}") {
        let pattern: HostPattern = text.parse().expect("well formed");
        prop_assert_eq!(pattern.to_string().parse(), Ok(pattern));
    }

    #[test]
    fn addresses_survive_as_patterns(address: IpAddr) {
        let pattern: HostPattern = address.to_string().parse().expect("an address");
        prop_assert!(pattern.matches(&address.to_string()));
        prop_assert_eq!(pattern.to_string().parse(), Ok(pattern));
    }

    /// The policy looks hosts up; a pattern compares. They agree.
    #[test]
    fn r7_the_policy_admits_what_its_patterns_match(
        pattern in "([*][.])?[ab]([.][ab]){0,2}", host in "[ab]([.][ab]){0,4}[.]?",
    ) {
        let matched = pattern.parse::<HostPattern>().expect("well formed").matches(&host);
        prop_assert_eq!(by_region(&policy([rule(&pattern, "eu", &[])]), &host).is_ok(), matched);
    }

    /// Of every jurisdiction, `region` admits the home alone.
    #[test]
    fn r7_region_admits_one_jurisdiction(elsewhere in "[a-z]{2,6}") {
        let admitted = by_region(&policy([rule("llm.test", &elsewhere, &[])]), "llm.test").is_ok();
        prop_assert_eq!(admitted, elsewhere == "eu");
    }

    #[test]
    fn r7_an_address_mapped_into_v6_is_judged_as_itself(v4: Ipv4Addr) {
        let ranges = ["10.0.0.0/8"];
        prop_assert_eq!(judge(&ranges, v4.to_ipv6_mapped().into()), judge(&ranges, v4.into()));
    }

    #[test]
    fn r7_no_private_address_is_admitted_without_a_range(low: [u8; 3], class in 0_usize..4) {
        let [x, y, z] = low;
        let address = [[127, x, y, z], [10, x, y, z], [192, 168, y, z], [169, 254, y, z]][class];
        prop_assert!(judge(&[], IpAddr::from(address)).is_err());
    }
}

#[test]
fn r7_tokens_are_had_from_listed_issuers_alone_and_no_call_goes_to_one() {
    let issuers = [rule("login.test", "global", &[]), rule("10.0.0.1", "eu", &["10.0.0.0/8"])];
    let policy = policy([rule("llm.test", "eu", &[])]).with_issuers(issuers).expect("good rules");
    let issuer = |host: &str| policy.admit_issuer(&host.into(), 443);
    assert!(issuer("login.test").is_ok() && issuer("LOGIN.test.").is_ok());
    // A host that calls may go to issues no tokens for that, and the other way round.
    for host in ["llm.test", "x.login.test", "login.test.attacker.test", ""] {
        assert_eq!(issuer(host), Err(EgressRefused::Issuer), "{host}");
    }
    // Whoever makes a credential says where: any port is open at the region's own issuers alone.
    assert_eq!(policy.admit_issuer(&"login.test".into(), 81), Err(EgressRefused::Issuer));
    assert!(policy.admit_issuer(&"10.0.0.1".into(), 81).is_ok());
    assert_eq!(by_region(&policy, "login.test"), Err(EgressRefused::Host));
    let everywhere = admit(&policy, &listed(&["login.test"]), "login.test", "/v1", "m");
    assert_eq!(everywhere, Err(EgressRefused::Host), "whatever the organization lists");
    // What is dialled is judged as any other address.
    let private = IpAddr::from([10, 0, 0, 1]);
    assert!(issuer("10.0.0.1").expect("listed").host().address(private).is_ok());
    assert!(issuer("login.test").expect("listed").host().address(private).is_err());
    let abroad =
        EgressPolicy::new(law("eu"), []).expect("good").with_issuers([rule("l.test", "us", &["10.0.0.0/8"])]);
    assert!(matches!(abroad, Err(RuleError::PrivateElsewhere { .. })));
    assert_eq!(EgressPolicy::default().admit_issuer(&"login.test".into(), 443), Err(EgressRefused::Issuer));
}
