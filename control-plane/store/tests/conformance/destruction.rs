//! What becomes of a deleted organization.

use std::{sync::Arc, time::Duration};

use bailiwick_core::{
    destruction::{CERTIFICATE, Destruction},
    ports::store::{Store, StoreError},
    records::{Chain, ChangedResource, DestructionRecord},
};
use tokio::task::JoinSet;

use crate::{
    fixture::{Fixture, NOW},
    inhabited::{Inhabited, Resident},
    samples::{call_of, draft, key, later, page},
};

const LATE: Duration = Duration::from_secs(3600);

fn destruction(region: &Inhabited) -> Destruction {
    Destruction {
        store: Arc::clone(&region.control_plane.parts.store),
        vault: Arc::clone(&region.vault),
        clock: Arc::clone(&region.control_plane.parts.clock),
        actor: "test".to_owned(),
        late_usage: LATE,
    }
}

async fn record(region: &Inhabited, resident: &Resident) -> DestructionRecord {
    region.control_plane.destruction(region.caller(), resident.organization).await.expect("told")
}

/// Rows of an organization in every table that has some, but not what is kept.
async fn rows_left(fixture: &Fixture, resident: &Resident) -> i64 {
    let mut left = 0;
    for table in
        ["limits", "api_keys", "credentials", "deployments", "models", "model_deployments", "usage_blocks"]
    {
        let id = resident.organization;
        left += fixture.number(&format!("SELECT COUNT(*) FROM {table} WHERE organization_id = '{id}'")).await;
    }
    left
}

pub(crate) async fn r4_a_deleted_organizations_rows_are_destroyed_and_certified(fixture: &Fixture) {
    let region = Inhabited::new(fixture).await;
    let (gone, kept) = (region.resident().await, region.resident().await);
    for resident in [&gone, &kept] {
        region.limit(resident).await;
        fixture.store.usage_insert(&[call_of(fixture, resident.organization, NOW)]).await.expect("stored");
    }
    let before = region.control_plane.backup_begin(region.caller(), Duration::from_secs(86_400)).await;
    let backup = before.expect("begun").record;
    region.delete(&gone).await;
    let job = destruction(&region);
    assert_eq!(job.run_once().await.expect("runs"), 0);
    assert_eq!(rows_left(fixture, &gone).await, 1, "its single event waits for late usage");
    assert_eq!(record(&region, &gone).await.finished_at, None);
    region.clock.advance(LATE);
    assert_eq!(job.run_once().await.expect("runs"), 0);
    assert_eq!(rows_left(fixture, &gone).await, 1, "and for transactions that began before it was closed");
    region.clock.advance(LATE);
    assert_eq!(job.run_once().await.expect("runs"), 1);
    assert_eq!(job.run_once().await.expect("runs"), 0, "once");

    assert_eq!((rows_left(fixture, &gone).await, rows_left(fixture, &kept).await), (0, 4));
    let told = record(&region, &gone).await;
    let expected =
        [("api_keys", 1), ("credentials", 1), ("data_keys", 1), ("limits", 1), ("usage_blocks", 1)]
            .map(|(t, n)| (t.to_owned(), n));
    assert_eq!((told.destroyed.as_slice(), told.finished_at), (expected.as_slice(), Some(later(7200))));
    assert_eq!(told.keys_in_backups_until, Some(backup.keys_expire_at));
    let records = fixture.store.audit_list(Chain::Region, &page(1000, None)).await.expect("reads").rows;
    let certificate = records.last().expect("some");
    assert_eq!(certificate.action, CERTIFICATE);
    assert_eq!(
        certificate.subject,
        format!(
            "{} destroyed: api_keys=1 credentials=1 data_keys=1 limits=1 usage_blocks=1; kept: audit_records usage_hourly; \
             keys in backups until: 2026-09-22T14:13:20Z",
            gone.organization
        )
    );
    let sums = format!("SELECT SUM(calls) FROM usage_hourly WHERE organization_id = '{}'", gone.organization);
    assert_eq!(fixture.number(&format!("SELECT CAST(({sums}) AS BIGINT)")).await, 1, "sums stay");
    let nameless = format!(
        "SELECT COUNT(*) FROM organizations WHERE id = '{}' AND length(name) = 0 AND contact_email IS NULL AND contact_email_hash IS NULL",
        gone.organization
    );
    assert_eq!(fixture.number(&nameless).await, 1);
    let findings = region.inspect().await;
    assert!(findings.hold(), "{:?}", findings.problems);
}

pub(crate) async fn r10_usage_is_closed_before_its_events_are_destroyed(fixture: &Fixture) {
    let region = Inhabited::new(fixture).await;
    let gone = region.resident().await;
    let (first, late) =
        (call_of(fixture, gone.organization, NOW), call_of(fixture, gone.organization, later(60)));
    fixture.store.usage_insert(&[first]).await.expect("stored");
    region.delete(&gone).await;
    let early = fixture.store.destruction_step(gone.organization, true, 10).await;
    assert!(matches!(early, Err(StoreError::Conflict(_))), "{early:?}");
    let inserted = fixture.store.usage_insert(&[first, late]).await.expect("stored");
    assert_eq!((inserted.inserted, inserted.unknown_organization.len()), (1, 0), "late usage still counts");
    let job = destruction(&region);
    for _ in 0..3 {
        region.clock.advance(LATE);
        job.run_once().await.expect("runs");
    }
    let again = fixture.store.usage_insert(&[first, late]).await.expect("answers");
    assert_eq!((again.inserted, again.unknown_organization), (0, vec![0, 1]), "nothing counts twice");
    assert_eq!(fixture.number("SELECT CAST(SUM(calls) AS BIGINT) FROM usage_hourly").await, 2);
}

pub(crate) async fn a_destruction_that_was_interrupted_goes_on(fixture: &Fixture) {
    let region = Inhabited::new(fixture).await;
    let gone = region.resident().await;
    // Further apart than a block reaches.
    let events: Vec<_> = (0..40).map(|n| call_of(fixture, gone.organization, later(2 * n))).collect();
    fixture.store.usage_insert(&events).await.expect("stored");
    region.delete(&gone).await;
    let id = gone.organization;
    // A process that is killed after each of its transactions; the last one between batches of events.
    assert_eq!(fixture.store.destruction_step(id, false, 1).await.expect("steps"), 1);
    fixture.store.destruction_close_usage(id, region.control_plane.parts.clock.now()).await.expect("closes");
    assert_eq!(fixture.store.destruction_step(id, true, 1).await.expect("steps"), 1);
    assert_eq!(fixture.store.destruction_step(id, true, 7).await.expect("steps"), 7);
    region.clock.advance(LATE);
    assert_eq!(destruction(&region).run_once().await.expect("runs"), 1);
    assert_eq!(rows_left(fixture, &gone).await, 0);
    let told = record(&region, &gone).await;
    let sum: u64 = told.destroyed.iter().map(|(_, destroyed)| destroyed).sum();
    assert_eq!(sum, 40 + 3, "each counted once: events, a key, a credential and its data key");
    let after = fixture.store.destruction_step(id, true, 1).await;
    assert!(matches!(after, Err(StoreError::NotFound)), "a finished one takes no step: {after:?}");
}

pub(crate) async fn nothing_is_made_in_an_organization_that_is_deleted_meanwhile(fixture: &Fixture) {
    let region = Inhabited::new(fixture).await;
    let gone = region.resident().await;
    let id = gone.organization;
    let mut tasks = JoinSet::new();
    for _ in 0..8 {
        let store = fixture.store.clone();
        let rows: Vec<_> = (0..10).map(|_| key(fixture, id)).collect();
        tasks.spawn(async move {
            let mut made = 0;
            for row in rows {
                let mut transaction = store.begin().await.expect("begins");
                transaction.key_insert(&row).await.expect("inserts");
                let changes = [ChangedResource::ApiKey(row.id)];
                match transaction.commit(draft(Chain::Organization(id), "key.create"), &changes).await {
                    Ok(_) => made += 1,
                    Err(StoreError::NotFound) => {}
                    Err(error) => panic!("{error:?}"),
                }
            }
            made
        });
    }
    region.delete(&gone).await;
    let made: i64 = tasks.join_all().await.into_iter().sum();
    let mut transaction = fixture.store.begin().await.expect("begins");
    transaction.key_insert(&key(fixture, id)).await.expect("inserts");
    let refused = transaction.commit(draft(Chain::Organization(id), "key.create"), &[]).await;
    assert!(matches!(refused, Err(StoreError::NotFound)), "{refused:?}");
    let keys = format!("SELECT COUNT(*) FROM api_keys WHERE organization_id = '{id}'");
    assert_eq!(fixture.number(&keys).await, made + 1);
}
