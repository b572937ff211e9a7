//! A law over random histories: a snapshot, and the delta since it, give the next snapshot.

use std::collections::BTreeMap;

use bailiwick_core::{
    ports::store::{Store, StoreError, Transaction},
    records::{ChangedResource, ResourceRow, Revision},
};
use bailiwick_domain::organization::OrganizationStatus;
use proptest::{
    prelude::*,
    strategy::ValueTree,
    test_runner::{Config, RngSeed, TestRunner},
};

use crate::{
    fixture::{Fixture, NOW},
    samples::{Tenant, key, mutate, sealed},
};

const HISTORIES: u64 = 6;

type Snapshot = BTreeMap<String, ResourceRow>;

/// A step of a history; numbers choose among the tenants that there are.
#[derive(Clone, Debug)]
enum Step {
    SignUp,
    AddKey(usize),
    RevokeKey(usize),
    ReplaceCredential(usize),
    DeleteModel(usize),
    Suspend(usize),
    Delete(usize),
}

fn histories() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        2 => Just(Step::SignUp),
        3 => any::<usize>().prop_map(Step::AddKey),
        2 => any::<usize>().prop_map(Step::RevokeKey),
        2 => any::<usize>().prop_map(Step::ReplaceCredential),
        1 => any::<usize>().prop_map(Step::DeleteModel),
        1 => any::<usize>().prop_map(Step::Suspend),
        1 => any::<usize>().prop_map(Step::Delete),
    ];
    proptest::collection::vec(step, 1..30)
}

pub(crate) async fn a_delta_is_the_difference_of_two_snapshots(fixture: &Fixture) {
    let mut tenants = vec![Tenant::stored(fixture).await];
    for seed in 0..HISTORIES {
        let mut runner = TestRunner::new(Config { rng_seed: RngSeed::Fixed(seed), ..Config::default() });
        let history = histories().new_tree(&mut runner).expect("a history").current();
        let (since, mut state) = snapshot(fixture).await;
        let mut halfway = (since, state.clone());
        for (number, step) in history.iter().enumerate() {
            apply(fixture, &mut tenants, step).await;
            if number == history.len() / 2 {
                halfway = snapshot(fixture).await;
            }
        }
        let (now, expected) = snapshot(fixture).await;
        assert_eq!(follow(fixture, since, &mut state, u32::MAX).await, now);
        assert_eq!(state, expected, "at once, seed {seed}: {history:?}");
        let (since, mut state) = halfway;
        assert_eq!(follow(fixture, since, &mut state, 4).await, now);
        assert_eq!(state, expected, "in pages from halfway, seed {seed}: {history:?}");
    }
}

async fn snapshot(fixture: &Fixture) -> (Revision, Snapshot) {
    let rows = fixture.store.configuration_rows().await.expect("reads");
    (rows.revision, rows.rows.into_iter().map(|row| (name(resource(&row)), row)).collect())
}

/// Applies deltas of at most `limit` revisions until there is nothing more.
async fn follow(fixture: &Fixture, mut since: Revision, state: &mut Snapshot, limit: u32) -> Revision {
    loop {
        let delta = fixture.store.configuration_delta(since, limit).await.expect("reads");
        assert!(!delta.truncated);
        for (change, row) in delta.changes {
            match row {
                Some(row) => state.insert(name(change), row),
                None => state.remove(&name(change)),
            };
        }
        if delta.to == since {
            return since;
        }
        since = delta.to;
    }
}

async fn apply(fixture: &Fixture, tenants: &mut Vec<Tenant>, step: &Step) {
    let chosen = |number: &usize| number % tenants.len();
    let (Step::AddKey(number)
    | Step::RevokeKey(number)
    | Step::ReplaceCredential(number)
    | Step::DeleteModel(number)
    | Step::Suspend(number)
    | Step::Delete(number)) = step
    else {
        tenants.push(Tenant::stored(fixture).await);
        return;
    };
    let tenant = &tenants[chosen(number)];
    let organization = tenant.organization.id;
    let new_key = key(fixture, organization);
    let change = match step {
        Step::SignUp => return,
        Step::AddKey(_) => ChangedResource::ApiKey(new_key.id),
        Step::RevokeKey(_) => ChangedResource::ApiKey(tenant.key.id),
        Step::ReplaceCredential(_) => ChangedResource::Credential(tenant.credential.id),
        Step::DeleteModel(_) => ChangedResource::Model(tenant.model.id),
        Step::Suspend(_) | Step::Delete(_) => ChangedResource::Organization(organization),
    };
    let run = async |t: &mut dyn Transaction| match step {
        Step::SignUp => Ok(()),
        Step::AddKey(_) => t.key_insert(&new_key).await,
        Step::RevokeKey(_) => t.key_revoke(tenant.key.id, NOW).await,
        Step::ReplaceCredential(_) => t.credential_replace(tenant.credential.id, &sealed("new"), NOW).await,
        Step::DeleteModel(_) => t.model_delete(tenant.model.id).await,
        Step::Suspend(_) => t.organization_set_status(organization, OrganizationStatus::Suspended).await,
        Step::Delete(_) => t.organization_set_status(organization, OrganizationStatus::Deleted).await,
    };
    // What is deleted already is not found: the step does nothing then.
    let done = mutate(fixture, &[change], run).await;
    assert!(matches!(done, Ok(_) | Err(StoreError::NotFound)), "{done:?}");
}

fn resource(row: &ResourceRow) -> ChangedResource {
    match row {
        ResourceRow::Organization(row, _) => ChangedResource::Organization(row.id),
        ResourceRow::ApiKey(row) => ChangedResource::ApiKey(row.id),
        ResourceRow::Credential(row) => ChangedResource::Credential(row.id),
        ResourceRow::Model(row) => ChangedResource::Model(row.id),
        ResourceRow::Deployment(row) => ChangedResource::Deployment(row.id),
    }
}

fn name(change: ChangedResource) -> String {
    format!("{change:?}")
}
