use std::collections::HashSet;

use super::*;

#[test]
fn every_row_states_host_jurisdiction_source_and_day() {
    let mut reader = csv::Reader::from_reader(BUILTIN.as_bytes());
    let rows: Vec<KnownHost> =
        reader.deserialize().collect::<Result<_, _>>().expect("every row is well formed");
    assert_eq!(rows, builtin());
    let mut patterns = HashSet::new();
    for row in &rows {
        let name = row.pattern.as_str();
        assert!(patterns.insert(name), "{name} stands twice");
        let source: url::Url = row.source.parse().expect(name);
        assert_eq!(source.scheme(), "https", "{name}");
        let day: Vec<&str> = row.read_on.split('-').collect();
        assert_eq!(day.iter().map(|part| part.len()).collect::<Vec<_>>(), [4, 2, 2], "{name}");
        assert!(day.iter().all(|part| part.bytes().all(|byte| byte.is_ascii_digit())), "{name}");
        assert!(row.jurisdiction.is_global() || row.jurisdiction.as_str().len() == 2, "{name}");
        assert!(row.rule().private_ranges.is_empty());
    }
}

#[test]
fn the_well_known_providers_are_in_it() {
    let expected =
        ["anthropic", "azure_openai", "bedrock", "entra", "google_identity", "mistral", "openai", "vertex"];
    assert_eq!(providers().into_iter().collect::<Vec<_>>(), expected);
}

#[test]
fn r7_who_takes_a_providers_hosts_takes_none_that_issue_tokens_with_them() {
    for provider in providers() {
        let serves: Vec<Serves> = of_provider(provider).map(|known| known.serves).collect();
        let expected =
            if matches!(provider, "entra" | "google_identity") { Serves::Tokens } else { Serves::Calls };
        assert!(serves.iter().all(|serves| *serves == expected), "{provider}");
    }
}

#[test]
fn r7_what_may_be_processed_anywhere_is_no_regions() {
    for host in [
        "api.openai.com",
        "api.anthropic.com",
        "api.mistral.ai",
        "aiplatform.googleapis.com",
        "acme.openai.azure.com",
    ] {
        let known = builtin().iter().find(|known| known.pattern.matches(host)).expect(host);
        assert!(known.jurisdiction.is_global(), "{host}");
    }
}
