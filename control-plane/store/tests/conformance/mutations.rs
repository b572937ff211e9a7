//! What holds when many mutate at once.

use std::collections::BTreeSet;

use bailiwick_core::{
    ports::store::{Store, StoreError},
    records::{Chain, ChangedResource, ModelRecord, Revision},
};
use bailiwick_domain::{key::KeyDigest, routing::Fallbacks};
use tokio::task::JoinSet;

use crate::{
    fixture::{Fixture, NOW},
    samples::{Tenant, draft, join_token, later, model, mutate, stored_organization},
};

pub(crate) async fn an_idempotency_key_is_used_once(fixture: &Fixture) {
    let store = &fixture.store;
    let insert = async |subject: &'static str| {
        mutate(fixture, &[], async |t| t.idempotency_insert("organization.create", "k", subject, NOW).await)
            .await
    };
    assert_eq!(store.idempotency_fetch("organization.create", "k").await.expect("reads"), None);
    let (one, two) = tokio::join!(insert("one"), insert("two"));
    assert!(one.is_ok() != two.is_ok(), "exactly one: {one:?} {two:?}");
    let refused = if one.is_ok() { two } else { one };
    assert!(matches!(refused, Err(StoreError::Conflict(_))), "{refused:?}");
    let made = store.idempotency_fetch("organization.create", "k").await.expect("reads");
    assert!(matches!(made.as_deref(), Some("one" | "two")));
    assert_eq!(store.idempotency_fetch("key.create", "k").await.expect("reads"), None, "another method's");
}

pub(crate) async fn concurrent_commits_give_gap_free_revisions(fixture: &Fixture) {
    const TASKS: u64 = 32;
    let mut tasks = JoinSet::new();
    for _ in 0..TASKS {
        let store = fixture.store.clone();
        tasks.spawn(async move {
            let transaction = store.begin().await.expect("begins");
            transaction.commit(draft(Chain::Region, "t"), &[ChangedResource::RegionSettings]).await
        });
    }
    let revisions: Result<BTreeSet<Revision>, StoreError> = tasks.join_all().await.into_iter().collect();
    let expected: BTreeSet<Revision> = (1..=TASKS).map(Revision).collect();
    assert_eq!(revisions.expect("all commit"), expected);
    assert_eq!(fixture.store.revision().await.expect("reads"), Revision(TASKS));
    let without_changes = mutate(fixture, &[], async |_| Ok(())).await.expect("commits");
    assert_eq!(without_changes, Revision(TASKS), "it concerns no worker");
}

pub(crate) async fn concurrent_commits_to_many_chains_do_not_wait_in_a_circle(fixture: &Fixture) {
    let mut chains = vec![Chain::Region];
    for _ in 0..3 {
        chains.push(Chain::Organization(stored_organization(fixture).await.id));
    }
    let before = fixture.store.revision().await.expect("reads").0;
    let mut tasks = JoinSet::new();
    for round in 0..40_usize {
        let (store, chain) = (fixture.store.clone(), chains[round % chains.len()]);
        tasks.spawn(async move {
            let transaction = store.begin().await.expect("begins");
            transaction.commit(draft(chain, "t"), &[ChangedResource::RegionSettings]).await.map(|_| ())
        });
    }
    let all: Result<(), StoreError> = tasks.join_all().await.into_iter().collect();
    all.expect("nobody is made to give way");
    assert_eq!(fixture.store.revision().await.expect("reads").0, before + 40);
}

pub(crate) async fn of_two_who_change_an_organizations_models_the_second_sees_what_the_first_did(
    fixture: &Fixture,
) {
    let tenant = Tenant::stored(fixture).await;
    let other = model(fixture, tenant.organization.id, "other", &[tenant.deployment.id]);
    mutate(fixture, &[], async |t| t.model_insert(&other).await).await.expect("stored");
    for _ in 0..10 {
        let mut changes = JoinSet::new();
        for (front, behind) in [(&tenant.model, &other), (&other, &tenant.model)] {
            let (store, front, behind) = (fixture.store.clone(), front.clone(), behind.name.clone());
            changes.spawn(async move {
                let mut transaction = store.begin().await?;
                transaction.models_lock(front.organization).await?;
                let found = transaction.model_fetch_by_name(front.organization, &behind).await?;
                let is_free = found.expect("there").fallbacks.general.is_none();
                let general = Some(behind).filter(|_| is_free);
                let fallbacks = Fallbacks { general, ..Fallbacks::default() };
                transaction.model_set(&ModelRecord { fallbacks, ..front }).await?;
                transaction.commit(draft(Chain::Region, "t"), &[]).await.map(|_| is_free)
            });
        }
        let changed: Result<Vec<bool>, StoreError> = changes.join_all().await.into_iter().collect();
        let changed = changed.expect("both commit");
        assert_eq!(changed.iter().filter(|one| **one).count(), 1, "exactly one was the first");
        for row in [&tenant.model, &other] {
            mutate(fixture, &[], async |t| t.model_set(row).await).await.expect("as before");
        }
    }
    let nobody = fixture.home.mint_random(NOW);
    let locked = fixture.store.begin().await.expect("begins").models_lock(nobody).await;
    assert!(matches!(locked, Err(StoreError::NotFound)), "{locked:?}");
}

pub(crate) async fn a_join_token_is_consumed_by_exactly_one_of_many(fixture: &Fixture) {
    let token = join_token(fixture);
    mutate(fixture, &[], async |t| t.join_token_insert(&token).await).await.expect("stored");
    let mut takers = JoinSet::new();
    for _ in 0..16 {
        let (store, token) = (fixture.store.clone(), token.clone());
        takers.spawn(async move {
            let mut transaction = store.begin().await?;
            transaction.join_token_consume(token.id, &token.digest, NOW).await?;
            transaction.commit(draft(Chain::Region, "worker.enroll"), &[]).await
        });
    }
    let (won, lost): (Vec<_>, Vec<_>) = takers.join_all().await.into_iter().partition(Result::is_ok);
    assert_eq!((won.len(), lost.len()), (1, 15));
    assert!(lost.iter().all(|result| matches!(result, Err(StoreError::NotFound))), "{lost:?}");
    let used = fixture.store.join_token_fetch(token.id).await.expect("reads").expect("there");
    assert_eq!(used.used_at, Some(NOW));
}

pub(crate) async fn a_join_token_wants_its_digest_and_its_time(fixture: &Fixture) {
    let token = join_token(fixture);
    mutate(fixture, &[], async |t| t.join_token_insert(&token).await).await.expect("stored");
    assert_eq!(fixture.store.join_token_fetch(token.id).await.expect("reads"), Some(token.clone()));
    let consume = async |digest: KeyDigest, now| {
        mutate(fixture, &[], async |t| t.join_token_consume(token.id, &digest, now).await.map(|_| ())).await
    };
    assert!(matches!(consume(KeyDigest([4; 32]), NOW).await, Err(StoreError::NotFound)), "another secret");
    assert!(matches!(consume(token.digest, token.expires_at).await, Err(StoreError::NotFound)), "too late");
    // A transaction that consumed it and was dropped has consumed nothing.
    let mut dropped = fixture.store.begin().await.expect("begins");
    dropped.join_token_consume(token.id, &token.digest, NOW).await.expect("consumes");
    drop(dropped);
    consume(token.digest, later(1)).await.expect("in time, with its secret");
}
