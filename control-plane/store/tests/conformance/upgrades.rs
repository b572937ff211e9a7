//! Usage of stores that earlier builds wrote: nothing of it is lost.

use std::time::Duration;

use bailiwick_core::{ports::store::Store, records::UsageQuery};
use bailiwick_domain::{
    id::OrganizationId,
    jurisdiction::Local,
    time::Timestamp,
    usage::{EventId, UsageEvent},
};
use bailiwick_store::SqlStore;

use crate::{
    fixed_records::{self, WRITTEN},
    fixture::{Fixture, NOW, expected},
    inhabited::Inhabited,
    samples::{call_of, page},
};

/// The table that usage was kept in, a row for each event.
const ROWS: &str = include_str!("../../migrations/0021_packed_usage.sql");
/// The same in blocks, with records of a fixed length.
const BLOCKS: &str = include_str!("../../migrations/0022_usage_blocks.sql");
const AS_THEY_ARE: &str = include_str!("../../migrations/0023_blocks_as_they_are.postgres.sql");

/// Those events, the oldest first.
fn events(fixture: &Fixture, organization: Local<OrganizationId>) -> Vec<Local<UsageEvent>> {
    let events = fixed_records::events(organization.into_inner());
    events.map(|event| fixture.home.admit(event).expect("of this region")).to_vec()
}

/// The statement that made a table, in a step's text.
fn table_of(fixture: &Fixture, step: &str) -> String {
    let (text, blob) = if is_postgres(fixture) { ("TEXT COLLATE \"C\"", "BYTEA") } else { ("TEXT", "BLOB") };
    let (_, table) = step.split_once("CREATE TABLE").expect("it makes a table");
    let (table, _) = table.split_once("\n);").expect("it ends");
    let table = table.replace("{text}", text).replace("{blob}", blob).replace("{region}", "euc1");
    format!("CREATE TABLE {table})")
}

fn is_postgres(fixture: &Fixture) -> bool {
    fixture.store.backend() == "postgres"
}

fn bytes(fixture: &Fixture, hex: &str) -> String {
    if is_postgres(fixture) { format!("decode('{hex}', 'hex')") } else { format!("x'{hex}'") }
}

/// Makes of a store one that was left at an earlier step, by those statements; and what it then is as this build opens it.
async fn upgraded(fixture: &Fixture, newest: i64, made: &[String]) -> SqlStore {
    for statement in made {
        fixture.tamper(statement).await;
    }
    fixture.tamper(&format!("DELETE FROM _sqlx_migrations WHERE version > {newest}")).await;
    SqlStore::open(&fixture.url, &expected("eu-central-1")).await.expect("upgrades")
}

/// The three events are in `store` as they always were, in so many blocks, and others come beside them.
async fn check_kept(fixture: &Fixture, store: &SqlStore, organization: Local<OrganizationId>, blocks: i64) {
    let mut events = events(fixture, organization);
    let listed = async || {
        let mut listed = store.usage_event_list(organization, &page(10, None)).await.expect("lists").rows;
        listed.reverse();
        listed
    };
    let of_form = async |form: i64| {
        fixture.number(&format!("SELECT COUNT(*) FROM usage_blocks WHERE form = {form}")).await
    };
    assert_eq!(listed().await, events);
    assert_eq!((of_form(1).await, of_form(2).await), (blocks, 0));

    assert_eq!(store.usage_insert(&events).await.expect("stored").inserted, 0, "they are known");
    let mut beside = *events[0].get();
    beside.event_id = EventId::new(NOW.saturating_add(Duration::from_millis(2)));
    events.insert(2, fixture.home.admit(beside).expect("of this region"));
    assert_eq!(store.usage_insert(&events).await.expect("stored").inserted, 1);
    assert_eq!(listed().await, events);
    assert_eq!((of_form(1).await, of_form(2).await), (blocks, 1));

    let all = UsageQuery {
        organization,
        from: Timestamp::from_micros(0),
        to: Timestamp::from_micros(i64::MAX),
        by_key: false,
        by_model: false,
        by_hour: false,
        page: page(10, None),
    };
    assert_eq!(store.usage_query(&all).await.expect("answers").rows[0].calls, 4);
    let findings = Inhabited::of(fixture, store.clone()).await.inspect().await;
    assert!(findings.hold(), "{:?}", findings.problems);
}

pub(crate) async fn events_of_a_store_that_kept_each_in_a_row_are_kept(fixture: &Fixture) {
    let organization = Inhabited::new(fixture).await.resident().await.organization;
    // For the roll-ups, which stay as they are.
    fixture.store.usage_insert(&events(fixture, organization)).await.expect("stored");
    let mut made = vec![table_of(fixture, ROWS), "DROP TABLE usage_blocks".to_owned()];
    made.extend(WRITTEN.lines().map(|line| {
        let (id, record) = line.split_once(' ').expect("two");
        let (id, record) = (bytes(fixture, id), bytes(fixture, record));
        format!(
            "INSERT INTO usage_events (organization_id, event_id, record) VALUES ('{organization}', {id}, {record})"
        )
    }));

    let store = upgraded(fixture, 21, &made).await;
    check_kept(fixture, &store, organization, 3).await;
    store.close().await;
}

pub(crate) async fn events_of_a_store_whose_records_had_a_fixed_length_are_kept(fixture: &Fixture) {
    let organization = Inhabited::new(fixture).await.resident().await.organization;
    fixture.store.usage_insert(&events(fixture, organization)).await.expect("stored");
    let mut made = vec!["DROP TABLE usage_blocks".to_owned(), table_of(fixture, BLOCKS)];
    if is_postgres(fixture) {
        made.extend(
            AS_THEY_ARE.split_inclusive(';').filter(|part| part.contains("ALTER")).map(str::to_owned),
        );
    }
    let lines: Vec<_> = WRITTEN.lines().map(|line| line.split_once(' ').expect("two")).collect();
    // Two of one span, and one.
    for block in [&lines[..2], &lines[2..]] {
        let (ids, records): (Vec<_>, Vec<_>) = block.iter().copied().unzip();
        let values = [ids[0], ids[ids.len() - 1], &ids.concat(), &records.concat()];
        let values = values.map(|hex| bytes(fixture, hex)).join(", ");
        made.push(format!(
            "INSERT INTO usage_blocks (organization_id, first_event_id, last_event_id, event_ids, records) \
             VALUES ('{organization}', {values})"
        ));
    }

    let store = upgraded(fixture, 23, &made).await;
    check_kept(fixture, &store, organization, 2).await;
    store.close().await;
    if is_postgres(fixture) {
        let as_they_are = "SELECT COUNT(*) FROM pg_attribute WHERE attrelid = 'usage_blocks'::regclass \
             AND attname IN ('event_ids', 'records') AND attstorage = 'e'";
        assert_eq!(fixture.number(as_they_are).await, 2, "nothing is compressed");
    }
}

pub(crate) async fn records_that_are_none_of_their_form_are_refused(fixture: &Fixture) {
    let organization = Inhabited::new(fixture).await.resident().await.organization;
    let event = call_of(fixture, organization, NOW);
    fixture.store.usage_insert(&[event]).await.expect("stored");
    let of_length = |length: usize| bytes(fixture, &"00".repeat(length));
    for wrong in [
        "form = 3".to_owned(),
        "form = 0".to_owned(),
        "form = 1".to_owned(),
        format!("records = {}", of_length(49 + 25)),
        format!("records = {}", of_length(1 + 195 + 1)),
        format!("form = 1, records = {}", of_length(167)),
        format!("form = 1, records = {}", of_length(169)),
    ] {
        assert!(fixture.is_refused(&format!("UPDATE usage_blocks SET {wrong}")).await, "{wrong}");
    }

    // What the table cannot tell from records is found as it is read.
    for malformed in [
        format!("records = {}", of_length(49 + 26)),
        format!("records = {}", of_length(1 + 195)),
        format!("form = 1, records = {}", of_length(168)),
    ] {
        assert_eq!(fixture.tamper(&format!("UPDATE usage_blocks SET {malformed}")).await, 1);
        let listed = fixture.store.usage_event_list(organization, &page(10, None)).await;
        let told = format!("{:?}", listed.expect_err("corrupt"));
        assert!(told.contains("records is malformed"), "{told}");
    }
}
