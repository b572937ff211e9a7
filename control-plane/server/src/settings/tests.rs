use bailiwick_runtime::configuration::{ConfigurationError, load};

use super::*;

const GOOD: &str = r#"
    [region]
    name = "eu-central-1"
    installation = "local"
    [store]
    url = "sqlite:///tmp/region.db"
    [master_key]
    file = "/run/master.key"
    [admin]
    listen = "127.0.0.1:7103"
    [workers]
    listen = "127.0.0.1:7203"
    [enrollment]
    listen = "127.0.0.1:7303"
    [identity]
    dir = "/var/lib/identity"
    [egress]
    hosts = [{ pattern = "llm.internal", jurisdiction = "eu", private_ranges = ["10.0.0.0/8"] }]
    catalogue = ["openai"]
    [prices]
    "openai/gpt-4.1" = { input = 2.5, output = 10.0, cached_input = 1.25 }
    [ops]
    listen = "127.0.0.1:9103"
"#;

fn read(text: &str) -> Result<Settings, Vec<String>> {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("config.toml");
    std::fs::write(&file, text).expect("written");
    load(Some(&file), ENVIRONMENT).map_err(|error| match error {
        ConfigurationError::Problems(list) => list.iter().map(ToString::to_string).collect(),
        other => panic!("{other}"),
    })
}

#[test]
fn what_is_not_said_has_a_default() {
    let settings = read(GOOD).expect("good");
    assert_eq!(settings.configuration.lease, Duration::from_secs(3600));
    assert_eq!(settings.signup, SignupSection { open: false, per_minute: 10 });
    let price = settings.prices.get(&(Provider::OpenAi, "gpt-4.1".into())).expect("there");
    assert_eq!(price.input.as_nanos(), 2_500_000_000);
    assert_eq!(price.cached_input.map(PerMillion::as_nanos), Some(1_250_000_000));
    assert_eq!(price.cache_write, None);
}

#[test]
fn every_problem_is_told_at_once() {
    let text = GOOD
        .replace("\"sqlite:///tmp/region.db\"", "\"a\"\n    url_from = { env = \"B\" }")
        .replace("\"openai/gpt-4.1\"", "\"gpt-4.1\"")
        .replace("listen = \"127.0.0.1:7203\"", "")
        + "[configuration]\nlease_seconds = 2\nbookmark_seconds = 2\n[signup]\nmode = \"ajar\"\n";
    let problems = read(&text).expect_err("refused");
    for key in [
        "store.url_from: ",
        "prices.gpt-4.1: ",
        "workers.listen: is missing",
        "configuration.lease_seconds: ",
        "signup.mode: ",
    ] {
        assert!(problems.iter().any(|problem| problem.starts_with(key)), "{key} in {problems:#?}");
    }
}

#[test]
fn a_price_out_of_bounds_is_refused() {
    for price in ["-1.0", "nan", "1e12"] {
        let problems = read(&GOOD.replace("input = 2.5", &format!("input = {price}"))).expect_err("refused");
        assert!(problems[0].starts_with("prices.openai/gpt-4.1.input: "), "{problems:?}");
    }
}

#[test]
fn r7_hosts_state_a_jurisdiction_and_the_operators_rules_go_first() {
    use bailiwick_domain::egress::{Residency, Target};

    let own = "hosts = [{ pattern = \"us.api.openai.com\", jurisdiction = \"eu\" }]";
    let with = |line: &str| {
        GOOD.replace("hosts = [{ pattern = \"llm.internal\", jurisdiction = \"eu\", private_ranges = [\"10.0.0.0/8\"] }]", line)
    };
    let admits = |text: &str, host: &str| {
        let settings = read(text).expect("good");
        settings.egress.admit(&Residency::Region, Target { host: &host.into(), path: "", model: "" }).is_ok()
    };
    assert!(admits(GOOD, "llm.internal") && admits(GOOD, "eu.api.openai.com"));
    assert!(!admits(GOOD, "us.api.openai.com") && admits(&with(own), "us.api.openai.com"));
    assert!(!admits(GOOD, "api.mistral.ai"), "a provider that was not named is not taken");
    for (line, key) in [
        ("hosts = [\"api.openai.com\"]", "egress.hosts"),
        ("hosts = [{ pattern = \"api.openai.com\" }]", "egress.hosts"),
        ("hosts = [{ pattern = \"*\", jurisdiction = \"eu\" }]", "egress.hosts"),
        (
            "hosts = [{ pattern = \"a.test\", jurisdiction = \"us\", private_ranges = [\"10.0.0.0/8\"] }]",
            "egress.hosts: a.test: private_ranges are for models that are hosted in the region itself",
        ),
        (
            "hosts = [{ pattern = \"a.test\", jurisdiction = \"eu\", private_ranges = [\"169.254.0.0/16\"] }]",
            "egress.hosts: a.test: 169.254.0.0/16 cannot be allowed",
        ),
    ] {
        let problems = read(&with(line)).expect_err(line);
        assert!(problems.iter().any(|problem| problem.starts_with(key)), "{key} in {problems:?}");
    }
    let problems = read(&GOOD.replace("[\"openai\"]", "[\"opanai\"]")).expect_err("no such provider");
    assert!(problems[0].starts_with("egress.catalogue: ") && problems[0].contains("mistral"), "{problems:?}");
}
