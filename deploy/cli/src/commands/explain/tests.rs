use bailiwick_domain::key::ApiKey;

use super::*;

fn code(text: &str) -> RegionCode {
    text.parse().unwrap()
}

fn findings(key: &str, home: &str) -> (Vec<(String, bool)>, bool) {
    let (steps, id) = offline(key, Some(code(home)));
    (steps.into_iter().map(|step| (step.finding, step.passed)).collect(), id.is_some())
}

#[test]
fn a_whole_key_of_this_region_goes_on_with_its_id_alone() {
    let key = ApiKey::generate(code("euc1"));
    let (steps, id) = offline(key.expose(), Some(code("euc1")));
    assert_eq!(id, Some(key.key_id()));
    assert!(steps.iter().all(|step| step.passed));
    assert!(!format!("{steps:?}").contains(key.expose()));
    let (_, id) = offline(&key.key_id().to_string(), Some(code("euc1")));
    assert_eq!(id, Some(key.key_id()));
}

#[test]
fn a_key_of_another_region_is_not_asked_about() {
    let key = ApiKey::generate(code("use1"));
    for text in [key.expose().to_owned(), key.key_id().to_string()] {
        let (steps, id) = offline(&text, Some(code("euc1")));
        assert_eq!(id, None);
        let region = steps.last().unwrap();
        assert_eq!(region.code, "wrong_region");
        assert_eq!(
            region.finding,
            "it belongs to us-east-1: a call succeeds there only; ask there with --region us-east-1"
        );
    }
}

#[test]
fn a_malformed_key_is_told_apart_and_not_repeated() {
    let key = ApiKey::generate(code("euc1"));
    let last = if key.expose().ends_with('0') { "1" } else { "0" };
    let mistyped = format!("{}{last}", key.expose().get(..key.expose().len() - 1).unwrap());
    let (steps, asked) = findings(&mistyped, "euc1");
    assert!(!asked);
    assert_eq!(steps[0].0, "malformed: its checksum is wrong: it was mistyped or changed");
    assert!(!steps[0].0.contains(&mistyped));
    let (steps, asked) = findings(key.expose().get(..30).unwrap(), "euc1");
    assert!(!asked);
    assert_eq!(steps[0].0, "malformed: it has the wrong length or characters: was it copied whole?");
    assert_eq!(steps[1].0, "it belongs to eu-central-1", "the region is seen all the same");
}

#[test]
fn what_is_no_key_at_all_is_refused() {
    for text in ["", "sk-proj-canary", "key_euc1_short", "bw_", "bwjoin_euc1_x"] {
        let (steps, asked) = findings(text, "euc1");
        assert!(!asked, "{text}");
        assert!(!steps[0].1, "{text}");
        assert!(!steps[0].0.contains("canary"));
    }
}
