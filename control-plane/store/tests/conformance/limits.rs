//! Limits: numbered once, bounded, and part of what workers are told of their organization.

use bailiwick_core::{
    ports::store::{Store, StoreError},
    records::{ChangedResource, LimitDraft, LimitRecord, ResourceRow, Revision, SAME_LIMIT, TOO_MANY_LIMITS},
};
use bailiwick_domain::{id::OrganizationId, jurisdiction::Local, organization::OrganizationStatus};
use bailiwick_quota::limit::{MAX_AMOUNT, MAX_LIMITS, Measure, Over};
use tokio::task::JoinSet;

use crate::{
    fixture::{Fixture, NOW},
    samples::{Tenant, mutate},
};

fn draft(organization: Local<OrganizationId>, amount: u64) -> LimitDraft {
    LimitDraft {
        organization,
        measure: Measure::RequestsPerMinute,
        keys: Over::All,
        models: Over::All,
        deployments: Over::All,
        amount,
        created_at: NOW,
    }
}

async fn insert(fixture: &Fixture, draft: LimitDraft) -> Result<LimitRecord, StoreError> {
    let mut made = None;
    let changes = [ChangedResource::Organization(draft.organization)];
    mutate(fixture, &changes, async |t| {
        made = Some(t.limit_insert(&draft).await?);
        Ok(())
    })
    .await?;
    Ok(made.expect("inserted"))
}

async fn numbers(fixture: &Fixture, organization: Local<OrganizationId>) -> Vec<u32> {
    let found = fixture.store.limit_list(organization).await.expect("reads");
    found.iter().map(|row| row.limit.id().number).collect()
}

pub(crate) async fn limits_come_back_as_they_went_in(fixture: &Fixture) {
    let tenant = Tenant::stored(fixture).await;
    let org = tenant.organization.id;
    let mut rows = Vec::new();
    for measure in Measure::ALL {
        for keys in [Over::All, Over::Each, Over::One(tenant.key.id)] {
            for models in [Over::All, Over::Each, Over::One(tenant.model.id)] {
                let draft = LimitDraft { measure: *measure, keys, models, ..draft(org, MAX_AMOUNT) };
                rows.push(insert(fixture, draft).await.expect("stored"));
            }
        }
        for deployments in [Over::Each, Over::One(tenant.deployment.id)] {
            let draft = LimitDraft { measure: *measure, deployments, ..draft(org, MAX_AMOUNT) };
            rows.push(insert(fixture, draft).await.expect("stored"));
        }
    }
    assert_eq!(fixture.store.limit_list(org).await.expect("reads"), rows);
    assert_eq!(numbers(fixture, org).await, (1..=66).collect::<Vec<u32>>());
    let other = Tenant::stored(fixture).await.organization.id;
    assert!(numbers(fixture, other).await.is_empty());
}

pub(crate) async fn a_limits_number_is_never_given_twice(fixture: &Fixture) {
    let org = Tenant::stored(fixture).await.organization.id;
    let other = Tenant::stored(fixture).await.organization.id;
    insert(fixture, draft(org, 1)).await.expect("stored");
    let delete = async |number| mutate(fixture, &[], async |t| t.limit_delete(org, number).await).await;
    delete(1).await.expect("deleted");
    assert!(matches!(delete(1).await, Err(StoreError::NotFound)));
    insert(fixture, draft(org, 1)).await.expect("stored");
    insert(fixture, draft(other, 1)).await.expect("stored");
    assert_eq!((numbers(fixture, org).await, numbers(fixture, other).await), (vec![2], vec![1]));

    let set =
        async |of, amount| mutate(fixture, &[], async |t| t.limit_set_amount(of, 2, amount).await).await;
    set(org, 7).await.expect("changed");
    assert!(matches!(set(other, 9).await, Err(StoreError::NotFound)), "another's is not there");
    let amounts = fixture.store.limit_list(org).await.expect("reads");
    assert_eq!(amounts.iter().map(|row| row.limit.amount()).collect::<Vec<_>>(), [7]);
}

pub(crate) async fn limits_are_bounded_and_no_two_say_the_same_also_at_the_same_time(fixture: &Fixture) {
    let tenant = Tenant::stored(fixture).await;
    let org = tenant.organization.id;
    let mut tasks = JoinSet::new();
    for number in 0..120_u64 {
        let store = fixture.store.clone();
        // Each for a key of its own: nothing else than their number is in the way.
        let key = fixture.home.admit(bailiwick_domain::key::ApiKey::generate(fixture.home.code()).key_id());
        let draft = LimitDraft { keys: Over::One(key.expect("of this region")), ..draft(org, number) };
        tasks.spawn(async move {
            let mut transaction = store.begin().await?;
            transaction.limit_insert(&draft).await?;
            let audit = crate::samples::draft(bailiwick_core::records::Chain::Region, "test");
            transaction.commit(audit, &[]).await
        });
    }
    let mut refused = 0;
    while let Some(outcome) = tasks.join_next().await {
        match outcome.expect("ends") {
            Ok(Revision(_)) => {}
            Err(StoreError::Conflict(TOO_MANY_LIMITS)) => refused += 1,
            Err(other) => panic!("{other:?}"),
        }
    }
    assert_eq!((numbers(fixture, org).await.len(), refused), (MAX_LIMITS, 20));
    let other = Tenant::stored(fixture).await.organization.id;
    insert(fixture, draft(other, 1)).await.expect("stored");
    let twice = insert(fixture, draft(other, 2)).await;
    assert!(matches!(twice, Err(StoreError::Conflict(SAME_LIMIT))), "{twice:?}");
}

pub(crate) async fn workers_are_told_of_limits_with_their_organization_and_of_none_when_it_is_deleted(
    fixture: &Fixture,
) {
    let org = Tenant::stored(fixture).await.organization.id;
    let before = fixture.store.revision().await.expect("reads");
    let row = insert(fixture, draft(org, 5)).await.expect("stored");
    let told = |rows: Vec<ResourceRow>| {
        let of = |row| match row {
            ResourceRow::Organization(row, limits) if row.id == org => Some(limits),
            _ => None,
        };
        rows.into_iter().find_map(of)
    };
    let all = fixture.store.configuration_rows().await.expect("reads");
    assert_eq!(told(all.rows), Some(vec![row]));
    let step = fixture.store.configuration_delta(before, 10).await.expect("reads");
    assert_eq!(told(step.changes.into_iter().filter_map(|(_, row)| row).collect()), Some(vec![row]));
    let deleted = async |t: &mut dyn bailiwick_core::ports::store::Transaction| {
        t.organization_set_status(org, OrganizationStatus::Deleted).await
    };
    mutate(fixture, &[ChangedResource::Organization(org)], deleted).await.expect("deleted");
    let all = fixture.store.configuration_rows().await.expect("reads");
    assert_eq!(told(all.rows), None);
    let late = insert(fixture, draft(org, 5)).await;
    assert!(matches!(late, Err(StoreError::NotFound)), "{late:?}");
}
