use std::net::SocketAddr;

use bailiwick_domain::guard::Guard;
use secrecy::ExposeSecret;
use serde::Deserialize;

use super::*;

#[derive(Debug)]
struct Example {
    region: RegionSection,
    telemetry: TelemetrySection,
    listen: SocketAddr,
    token: Option<SecretSource>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawExample {
    region: Option<RawRegionSection>,
    telemetry: Option<RawTelemetrySection>,
    ops: Option<RawOpsSection>,
    token: Option<SecretSource>,
}

impl Checked for Example {
    type Raw = RawExample;

    fn check(raw: RawExample, problems: &mut Problems) -> Option<Self> {
        let region = problems.section("region", raw.region);
        let telemetry = TelemetrySection::check(raw.telemetry, region.as_ref(), problems);
        let ops = problems.section::<OpsSection>("ops", raw.ops);
        Some(Self { region: region?, telemetry: telemetry?, listen: ops?.listen, token: raw.token })
    }
}

const GOOD: &str = r#"
    token = { file = "/run/token" }
    [region]
    name = "eu-central-1"
    installation = "local"
    [[region.endpoints]]
    name = "us-west-1"
    url = "http://127.0.0.1:8101"
    [ops]
    listen = "127.0.0.1:9103"
"#;

fn problems(text: &str) -> Vec<String> {
    match without_environment::<Example>(text).expect_err("refused") {
        ConfigurationError::Problems(list) => list.iter().map(ToString::to_string).collect(),
        other => panic!("{other}"),
    }
}

#[test]
fn a_good_configuration_loads() {
    let example: Example = without_environment(GOOD).unwrap();
    assert_eq!(example.region.jurisdiction.code().as_str(), "euc1");
    assert_eq!(example.region.trust_domain.to_string(), "eu-central-1.local");
    let west = example.region.regions.by_name_str("us-west-1").unwrap();
    assert_eq!(west.endpoint.as_ref().unwrap().as_str(), "http://127.0.0.1:8101/");
    assert_eq!((example.telemetry.log.as_str(), example.telemetry.collector), ("info", None));
    assert_eq!(example.listen.port(), 9103);
    assert_eq!(example.token, Some(SecretSource::File("/run/token".into())));
}

#[test]
fn every_problem_is_reported_at_once_with_its_key_path() {
    let found = problems(
        r#"
        surprise = 1
        [region]
        name = "mars-1"
        instalation = "local"
        [telemetry]
        log_format = "xml"
        otlp_endpoint = 7
        [ops]
        listen = "somewhere"
        "#,
    );
    for key in [
        "surprise: is not known here",
        "region.instalation: is not known here",
        "region.installation: is missing",
        "telemetry.log_format: expected one of",
        "telemetry.otlp_endpoint: ",
        "ops.listen: ",
    ] {
        assert!(found.iter().any(|problem| problem.starts_with(key)), "{key} in {found:#?}");
    }
    assert!(!found.iter().any(|problem| problem.starts_with("ops.listen: is missing")), "{found:#?}");
}

#[test]
fn an_unknown_region_is_answered_with_the_known_ones() {
    let found = problems(&GOOD.replace("name = \"eu-central-1\"", "name = \"mars-1\""));
    assert_eq!(found, ["region.name: no such region; known are us-west-1, us-east-1, eu-central-1"]);
}

#[test]
fn a_secret_in_the_wrong_place_is_not_repeated() {
    let secret = "bwjoin_euc1_do_not_print_me";
    for wrong in [
        GOOD.replace("{ file = \"/run/token\" }", &format!("\"{secret}\"")),
        GOOD.replace("{ file = \"/run/token\" }", &format!("{{ value = \"{secret}\" }}")),
        GOOD.replace("\"127.0.0.1:9103\"", &format!("\"{secret}\"")),
        GOOD.replace("[ops]", &format!("[telemetry]\nlog_format = \"{secret}\"\n[ops]")),
        GOOD.replace("[ops]", &format!("token = \"{secret}\" oops\n[ops]")),
    ] {
        let found = problems(&wrong).join("\n");
        assert!(!found.contains("do_not_print_me"), "{found}");
    }
}

#[test]
fn a_secret_comes_from_exactly_one_place() {
    for wrong in ["{}", "{ file = \"a\", env = \"B\" }"] {
        let found = problems(&GOOD.replace("{ file = \"/run/token\" }", wrong));
        assert!(found[0].starts_with("token: expected either"), "{found:?}");
    }
}

#[test]
fn a_secret_file_is_read_without_white_space_and_never_empty() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    std::fs::write(&file, " s3cret\n").unwrap();
    let source = SecretSource::File(file.clone());
    assert_eq!(source.read().unwrap().expose_secret(), "s3cret");

    std::fs::write(&file, "\n").unwrap();
    assert!(matches!(source.read(), Err(SecretError::Empty(_))));
    std::fs::remove_file(&file).unwrap();
    assert!(matches!(source.read(), Err(SecretError::Unreadable { .. })));
}

#[test]
fn variables_override_the_file() {
    // A process of its own: changing the environment of one with threads is not sound.
    let outcome = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "configuration::tests::with_variables_set", "--ignored"])
        .env("EXAMPLE_OPS__LISTEN", "127.0.0.1:4242")
        .env("EXAMPLE_TOKEN__ENV", "EXAMPLE_SECRET")
        .env("EXAMPLE_SECRET", "from the environment")
        .output()
        .unwrap();
    assert!(outcome.status.success(), "{}", String::from_utf8_lossy(&outcome.stdout));
}

#[test]
#[ignore = "run by variables_override_the_file"]
fn with_variables_set() {
    let without_token = GOOD.replace("token = { file = \"/run/token\" }", "");
    let found: Example = from_text(&without_token, "EXAMPLE_").unwrap();
    assert_eq!(found.listen.port(), 4242);
    assert_eq!(found.token.unwrap().read().unwrap().expose_secret(), "from the environment");
}

#[test]
fn a_release_build_refuses_to_go_without_a_guard_whatever_is_named() {
    for named in ["role", "no-such-guard", ""] {
        assert_eq!(guards::removable(named, false), Err(GuardError::Build), "{named:?}");
    }
}

#[test]
fn a_guard_is_taken_away_by_name_and_never_by_mistake() {
    assert_eq!(guards::removable("role, caller_chain", true), Ok(vec![Guard::Role, Guard::CallerChain]));
    for wrong in ["", "role,", "Role", "roles"] {
        assert!(matches!(guards::removable(wrong, true), Err(GuardError::Name { .. })), "{wrong:?}");
    }
}

#[test]
fn a_process_goes_without_the_guards_that_its_environment_names() {
    // A process of its own: a guard that is taken away stays away.
    let outcome = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "configuration::tests::with_guards_removed", "--ignored"])
        .env("BAILIWICK_REMOVE_GUARD", "role,store_identity")
        .output()
        .unwrap();
    assert!(outcome.status.success(), "{}", String::from_utf8_lossy(&outcome.stdout));
}

#[test]
#[ignore = "run by a_process_goes_without_the_guards_that_its_environment_names"]
fn with_guards_removed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.toml");
    std::fs::write(&file, GOOD).unwrap();
    let _loaded: Example = load(Some(&file), "EXAMPLE_").unwrap();
    assert!(Guard::removed().eq([Guard::Role, Guard::StoreIdentity]));
}

#[test]
fn regions_are_data() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("regions.toml");
    std::fs::write(&file, "[[regions]]\nname = \"ap-south-1\"\ncode = \"aps1\"\njurisdiction = \"IN\"\n")
        .unwrap();
    let text = GOOD.replace("eu-central-1", "ap-south-1").replace("us-west-1", "ap-south-1").replace(
        "installation =",
        &format!("regions_file = {:?}\ninstallation =", file.display().to_string()),
    );
    let example: Example = without_environment(&text).unwrap();
    assert_eq!(example.region.region().code.as_str(), "aps1");
}

/// A telemetry section of a text, and a resolver's with its defaults.
pub(crate) fn telemetry(text: &str) -> Result<(TelemetrySection, ResolverSection), ConfigurationError> {
    struct Telemetry(TelemetrySection, ResolverSection);

    #[derive(Deserialize)]
    struct RawTelemetry {
        region: Option<RawRegionSection>,
        telemetry: Option<RawTelemetrySection>,
        resolver: Option<RawResolverSection>,
    }

    impl Checked for Telemetry {
        type Raw = RawTelemetry;

        fn check(raw: RawTelemetry, problems: &mut Problems) -> Option<Self> {
            let region: Option<RegionSection> = problems.section("region", raw.region);
            let telemetry = TelemetrySection::check(raw.telemetry, region.as_ref(), problems);
            let resolver = problems.section_or_default("resolver", raw.resolver);
            Some(Self(telemetry?, resolver?))
        }
    }

    without_environment(text).map(|Telemetry(telemetry, resolver)| (telemetry, resolver))
}

fn with_telemetry(lines: &str) -> Result<(TelemetrySection, ResolverSection), Vec<String>> {
    let text = format!("[region]\nname = \"eu-central-1\"\ninstallation = \"local\"\n[telemetry]\n{lines}\n");
    telemetry(&text).map_err(|error| match error {
        ConfigurationError::Problems(list) => list.iter().map(ToString::to_string).collect(),
        other => panic!("{other}"),
    })
}

#[test]
fn r7_telemetry_goes_to_a_collector_in_the_regions_jurisdiction_alone() {
    let rule = |jurisdiction: &str, ranges: &str| {
        format!(
            "allow = [{{ pattern = \"*.otel.example\", jurisdiction = \"{jurisdiction}\", private_ranges = [{ranges}] }}]\n"
        )
    };
    let endpoint = |url: &str| format!("otlp_endpoint = \"{url}\"\n");
    let here = endpoint("http://a.otel.example:4317");
    let (section, _) = with_telemetry(&(here.clone() + &rule("eu", ""))).expect("good");
    let collector = section.collector.expect("there");
    assert_eq!((&**collector.host().host(), collector.port()), ("a.otel.example", 4317));

    for (lines, taught) in [
        (here.clone(), "is in no rule of telemetry.allow; say where it lies, and it must be eu"),
        (here.clone() + &rule("us", ""), "answers from us"),
        (here.clone() + &rule("global", ""), "answers from global"),
        (endpoint("http://otel.example:4317") + &rule("eu", ""), "is in no rule"),
        (endpoint("ftp://a.otel.example") + &rule("eu", ""), "expected an http or https URL"),
        (
            endpoint("http://127.0.0.1:4317")
                + "allow = [{ pattern = \"127.0.0.1\", jurisdiction = \"eu\" }]",
            "private_ranges",
        ),
    ] {
        let found = with_telemetry(&lines).expect_err(&lines);
        assert!(found.len() == 1 && found[0].starts_with("telemetry.otlp_endpoint: "), "{found:?}");
        assert!(found[0].contains(taught), "{taught} in {found:?}");
    }
    let found = with_telemetry(&rule("us", "\"10.0.0.0/8\"")).expect_err("private ranges elsewhere");
    assert!(found[0].starts_with("telemetry.allow: "), "{found:?}");
}

#[test]
fn name_servers_are_addresses_with_or_without_a_port() {
    let with = |lines: &str| {
        telemetry(&format!(
            "[region]\nname = \"eu-central-1\"\ninstallation = \"local\"\n[resolver]\n{lines}\n"
        ))
    };
    let (_, resolver) = with("nameservers = [\"10.0.0.2\", \"[::1]:5353\"]").expect("good");
    let expected: Vec<SocketAddr> = vec!["10.0.0.2:53".parse().unwrap(), "[::1]:5353".parse().unwrap()];
    assert_eq!(resolver.nameservers, expected);
    for bad in ["nameservers = [\"dns.example\"]", "min_ttl_seconds = 400", "timeout_ms = 1"] {
        assert!(with(bad).is_err(), "{bad}");
    }
}
