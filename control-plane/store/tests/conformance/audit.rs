//! R11: no change without its record, and no record changed unseen.

use bailiwick_core::{
    audit::{GENESIS, leaf_hash},
    ports::store::Store,
    records::{AuditDraft, AuditRecord, Chain, ChangedResource},
};

use crate::{
    fixture::Fixture,
    samples::{Tenant, draft, mutate, one_row_in_every_table, organization, page, sealed, worker},
};

/// Recomputes every hash; the sequence number of the first record that does not fit.
fn first_wrong(records: &[AuditRecord]) -> Option<u64> {
    let mut previous = GENESIS;
    for (expected, record) in (1..).zip(records) {
        // The action is any text here, and only known words in a draft.
        let action: &'static str = ["organization.create", "test", "t"]
            .into_iter()
            .find(|action| *action == record.action)
            .unwrap_or("unknown");
        let draft = AuditDraft {
            chain: record.chain,
            at: record.at,
            actor: record.actor.clone(),
            action,
            subject: record.subject.clone(),
        };
        let hash = leaf_hash(&previous, record.sequence, &draft, record.revision);
        if record.sequence != expected || hash != record.hash {
            return Some(record.sequence);
        }
        previous = record.hash;
    }
    None
}

async fn chain(fixture: &Fixture, chain: Chain) -> Vec<AuditRecord> {
    fixture.store.audit_list(chain, &page(1000, None)).await.expect("lists").rows
}

pub(crate) async fn r11_a_dropped_transaction_leaves_nothing(fixture: &Fixture) {
    let tenant = one_row_in_every_table(fixture).await;
    let before = fixture.store.configuration_rows().await.expect("reads");
    let audit_before = chain(fixture, Chain::Region).await;
    let newcomer = organization(fixture);
    let mut transaction = fixture.store.begin().await.expect("begins");
    transaction.organization_insert(&newcomer).await.expect("inserts");
    transaction.key_revoke(tenant.key.id, newcomer.created_at).await.expect("revokes");
    transaction
        .credential_replace(tenant.credential.id, &sealed("new"), newcomer.created_at)
        .await
        .expect("replaces");
    transaction.model_delete(tenant.model.id).await.expect("deletes");
    transaction.deployment_delete(tenant.deployment.id).await.expect("deletes");
    transaction.worker_upsert(&worker(fixture, "another")).await.expect("upserts");
    drop(transaction);
    let after = fixture.store.configuration_rows().await.expect("reads");
    assert_eq!((after.revision, after.rows), (before.revision, before.rows));
    assert_eq!(chain(fixture, Chain::Region).await, audit_before);
    assert_eq!(fixture.store.organization_fetch(newcomer.id).await.expect("reads"), None);
    assert_eq!(fixture.store.worker_list(&page(10, None)).await.expect("lists").rows.len(), 1);
}

pub(crate) async fn r11_every_commit_leaves_exactly_one_record(fixture: &Fixture) {
    let row = organization(fixture);
    let own = Chain::Organization(row.id);
    let mut transaction = fixture.store.begin().await.expect("begins");
    transaction.organization_insert(&row).await.expect("inserts");
    let changes = [ChangedResource::Organization(row.id)];
    let first = transaction.commit(draft(own, "organization.create"), &changes).await.expect("commits");
    for _ in 0..4 {
        let transaction = fixture.store.begin().await.expect("begins");
        transaction.commit(draft(own, "t"), &[]).await.expect("commits");
    }
    let records = chain(fixture, own).await;
    assert_eq!(records.iter().map(|record| record.sequence).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    assert_eq!((records[0].revision, records[1].revision), (Some(first), None));
    assert_eq!(records[0].actor, sealed("actor"));
    assert_eq!(first_wrong(&records), None);
    assert_eq!(chain(fixture, Chain::Region).await, [], "chains are apart");
}

pub(crate) async fn r11_a_tampered_record_is_found(fixture: &Fixture) {
    let tenant = Tenant::stored(fixture).await;
    for _ in 0..5 {
        mutate(fixture, &tenant.resources(), async |_| Ok(())).await.expect("commits");
    }
    assert_eq!(first_wrong(&chain(fixture, Chain::Region).await), None);
    for (tampering, repair) in [
        ("subject = 'another'", "subject = 'subject'"),
        ("at = at + 1", "at = at - 1"),
        ("revision = revision + 1", "revision = revision - 1"),
    ] {
        fixture.tamper(&format!("UPDATE audit_records SET {tampering} WHERE sequence = 3")).await;
        assert_eq!(first_wrong(&chain(fixture, Chain::Region).await), Some(3), "{tampering}");
        fixture.tamper(&format!("UPDATE audit_records SET {repair} WHERE sequence = 3")).await;
    }
    fixture.tamper("DELETE FROM audit_records WHERE sequence = 4").await;
    assert_eq!(first_wrong(&chain(fixture, Chain::Region).await), Some(5), "a record is missing before it");
}
