//! Verifying a store: what somebody does to it with the database's own tools is found.

use bailiwick_core::{inspection::Findings, ports::store::Store as _};
use bailiwick_domain::{jurisdiction::Local, usage::UsageEvent};

use crate::{
    fixture::{Fixture, NOW},
    inhabited::{Inhabited, vault},
    samples::{call_of, later},
};

/// What was found in a table.
fn told<'a>(findings: &'a Findings, table: &str) -> Vec<&'a str> {
    let here = findings.problems.iter().filter(|problem| problem.table == table);
    here.map(|problem| problem.problem.as_str()).collect()
}

pub(crate) async fn a_store_that_nobody_tampered_with_holds(fixture: &Fixture) {
    let region = Inhabited::new(fixture).await;
    let (kept, gone) = (region.resident().await, region.resident().await);
    region.delete(&gone).await;
    let events = [call_of(fixture, kept.organization, NOW), call_of(fixture, kept.organization, later(60))];
    fixture.store.usage_insert(&events).await.expect("stored");

    let findings = region.inspect().await;
    assert!(findings.hold(), "{:?}", findings.problems);
    // Two secrets, two names and an address, a key's name, a credential's name and secret, and the actors of the records.
    assert_eq!((findings.data_keys, findings.chains), (2, 3));
    assert!(findings.sealed_opened >= 10 && findings.sealed_destroyed >= 6, "{findings:?}");
    let other = region.inspect_with(vault(0xcd).as_ref()).await;
    assert_eq!(other.sealed_opened + other.data_keys, 0, "another master key opens nothing");
    assert!(!other.hold());
}

pub(crate) async fn r4_a_sealed_value_that_was_moved_is_found(fixture: &Fixture) {
    let region = Inhabited::new(fixture).await;
    let (one, other) = (region.resident().await, region.resident().await);
    let set = |table: &str, to: &str, id: String| format!("UPDATE {table} SET {to} WHERE id = '{id}'");
    let from =
        |table: &str, column: &str, id: String| format!("(SELECT {column} FROM {table} WHERE id = '{id}')");
    let names = [
        // To another organization's row of the same column, to another column of its row, to another table.
        (
            "credentials",
            set(
                "credentials",
                &format!("secret = {}", from("credentials", "secret", other.credential.to_string())),
                one.credential.to_string(),
            ),
        ),
        ("credentials", set("credentials", "name = secret", other.credential.to_string())),
        (
            "api_keys",
            set(
                "api_keys",
                &format!("name = {}", from("organizations", "name", one.organization.to_string())),
                one.key.to_string(),
            ),
        ),
        ("organizations", set("organizations", "contact_email = name", other.organization.to_string())),
    ];
    for (number, (table, move_it)) in names.iter().enumerate() {
        assert_eq!(fixture.tamper(move_it).await, 1);
        let findings = region.inspect().await;
        assert_eq!(findings.problem_count, number as u64 + 1, "{move_it}: {:?}", findings.problems);
        assert!(told(&findings, table).iter().any(|problem| problem.contains("does not open")), "{move_it}");
    }
}

pub(crate) async fn r4_a_data_key_that_was_moved_is_found(fixture: &Fixture) {
    let region = Inhabited::new(fixture).await;
    let (one, other) = (region.resident().await, region.resident().await);
    let swap = format!(
        "UPDATE data_keys SET wrapped = (SELECT wrapped FROM data_keys WHERE scope = '{}') WHERE scope = '{}'",
        other.organization, one.organization
    );
    assert_eq!(fixture.tamper(&swap).await, 1);
    let findings = region.inspect().await;
    assert_eq!(told(&findings, "data_keys").len(), 1, "{:?}", findings.problems);
    assert!(told(&findings, "credentials").len() == 2, "and nothing that it sealed opens");
}

pub(crate) async fn r11_a_record_that_was_changed_or_taken_away_is_found(fixture: &Fixture) {
    let region = Inhabited::new(fixture).await;
    let (one, other) = (region.resident().await, region.resident().await);
    let changed = format!(
        "UPDATE audit_records SET subject = 'nothing' WHERE chain = '{}' AND sequence = 2",
        one.organization
    );
    assert_eq!(fixture.tamper(&changed).await, 1);
    let findings = region.inspect().await;
    assert_eq!(told(&findings, "audit_records"), ["the audit chain is broken here"]);

    let taken = format!("DELETE FROM audit_records WHERE chain = '{}' AND sequence = 3", other.organization);
    assert_eq!(fixture.tamper(&taken).await, 1);
    let findings = region.inspect().await;
    assert_eq!(told(&findings, "audit_chains"), ["the chain's head is not its last record"]);
    assert_eq!(told(&findings, "region_revision").len(), 1, "a revision without a record");
}

pub(crate) async fn r2_a_row_that_refers_to_nothing_is_found(fixture: &Fixture) {
    let region = Inhabited::new(fixture).await;
    let one = region.resident().await;
    let taken = format!("DELETE FROM organizations WHERE id = '{}'", one.organization);
    assert_eq!(fixture.tamper_past_references(&taken).await, 1);
    let findings = region.inspect().await;
    for table in ["api_keys", "credentials"] {
        let found = told(&findings, table);
        assert!(
            found.contains(&"1 rows refer to rows of organizations that are not there"),
            "{table}: {found:?}"
        );
    }
    assert!(told(&findings, "data_keys").contains(&"the data key's organization is not there"));
    assert_eq!(told(&findings, "audit_chains"), ["the chain's organization is not there"]);
}

pub(crate) async fn r10_usage_that_was_taken_away_is_found(fixture: &Fixture) {
    let region = Inhabited::new(fixture).await;
    let one = region.resident().await;
    let events = [call_of(fixture, one.organization, NOW), call_of(fixture, one.organization, later(60))];
    fixture.store.usage_insert(&events).await.expect("stored");
    assert!(region.inspect().await.hold());
    let first = "(SELECT first_event_id FROM usage_blocks ORDER BY first_event_id LIMIT 1)";
    assert_eq!(fixture.tamper(&format!("DELETE FROM usage_blocks WHERE first_event_id = {first}")).await, 1);
    let findings = region.inspect().await;
    assert_eq!(told(&findings, "usage_hourly"), ["1 events, but roll-ups of 2"]);
}

/// Writes a block past the store.
async fn forge(fixture: &Fixture, events: [&Local<UsageEvent>; 2]) {
    let hex = |bytes: &[u8]| -> String { bytes.iter().map(|byte| format!("{byte:02x}")).collect() };
    let value = |bytes: &[u8]| match fixture.store.backend() {
        "sqlite" => format!("x'{}'", hex(bytes)),
        _ => format!("decode('{}', 'hex')", hex(bytes)),
    };
    let [first, last] = events.map(|event| *event.event_id.as_bytes());
    let forged = format!(
        "INSERT INTO usage_blocks (organization_id, first_event_id, last_event_id, form, event_ids, records) \
         VALUES ('{}', {}, {}, 1, {}, {})",
        events[0].organization,
        value(&first),
        value(&last),
        value(&[first, last].concat()),
        value(&[0; 2 * 168]),
    );
    assert_eq!(fixture.tamper(&forged).await, 1);
}

pub(crate) async fn r10_usage_that_is_there_twice_is_found(fixture: &Fixture) {
    let region = Inhabited::new(fixture).await;
    let one = region.resident().await;
    let mut events = [0, 0, 60].map(|seconds| call_of(fixture, one.organization, later(seconds)));
    events.sort_by_key(|event| event.event_id);
    let [there, beside, much_later] = &events;
    let neighbour = region.resident().await;
    let mut same_name = call_of(fixture, neighbour.organization, NOW).into_inner();
    same_name.event_id = there.event_id;
    let same_name = fixture.home.admit(same_name).expect("of this region");
    fixture.store.usage_insert(&[*there, same_name]).await.expect("stored");
    assert!(region.inspect().await.hold(), "another organization's is another event");

    forge(fixture, [there, beside]).await;
    let findings = region.inspect().await;
    assert_eq!(told(&findings, "usage_blocks"), ["1 of its events are stored twice"]);
    assert_eq!(told(&findings, "usage_hourly"), ["3 events, but roll-ups of 1"]);

    assert_eq!(fixture.tamper("DELETE FROM usage_blocks WHERE length(event_ids) > 16").await, 1);
    forge(fixture, [beside, much_later]).await;
    let findings = region.inspect().await;
    assert_eq!(told(&findings, "usage_blocks"), ["its events are not in order, or not of one time"]);
}
