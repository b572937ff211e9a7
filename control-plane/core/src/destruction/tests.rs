use bailiwick_domain::{jurisdiction::Jurisdiction, region::Regions, time::Timestamp};

use super::*;

#[test]
fn a_certificate_says_what_was_destroyed_what_is_kept_and_until_when_keys_may_be_found() {
    let eu = Jurisdiction::of(Regions::builtin().by_name_str("eu-central-1").expect("built in"));
    let mut record = DestructionRecord {
        organization: eu.mint(Timestamp::default(), 0),
        deleted_at: Timestamp::default(),
        usage_closed_at: None,
        finished_at: None,
        destroyed: vec![("api_keys".to_owned(), 3), ("data_keys".to_owned(), 1)],
        keys_in_backups_until: Some(Timestamp::from_micros(1_790_000_000_000_000)),
    };
    assert_eq!(
        statement(&record),
        "org_euc1_00000000000000000000000000 destroyed: api_keys=3 data_keys=1; kept: audit_records usage_hourly; \
         keys in backups until: 2026-09-21T14:13:20Z"
    );
    record.keys_in_backups_until = None;
    assert!(statement(&record).ends_with("keys in backups until: none"));
}
