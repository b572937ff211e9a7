//! What is lent of limits comes back as it was written, and only by whoever is in office.

use std::collections::BTreeMap;

use bailiwick_core::{
    ports::{
        quota::{NOT_IN_OFFICE, Office, QuotaStore},
        store::{Store, StoreError},
    },
    records::{ChangedResource, LimitDraft},
};
use bailiwick_domain::{
    id::OrganizationId, jurisdiction::Local, key::KeyId, organization::OrganizationStatus,
};
use bailiwick_quota::{
    allocator::{AccountRow, HolderRow, LeaseRow, Row, Stored},
    limit::{Account, LimitId, Measure, Over},
    protocol::HolderId,
    window::Window,
};
use bailiwick_store::SqlStore;

use crate::{
    fixture::{Fixture, NOW},
    samples::{Tenant, mutate},
};

async fn limited(fixture: &Fixture, measure: Measure) -> (Tenant, LimitId) {
    let tenant = Tenant::stored(fixture).await;
    let id = limit(fixture, tenant.organization.id, measure).await;
    (tenant, id)
}

async fn limit(fixture: &Fixture, organization: Local<OrganizationId>, measure: Measure) -> LimitId {
    let draft = LimitDraft {
        organization,
        measure,
        keys: Over::Each,
        models: Over::Each,
        deployments: Over::Each,
        amount: 10,
        created_at: NOW,
    };
    let mut made = None;
    mutate(fixture, &[ChangedResource::Organization(organization)], async |t| {
        made = Some(t.limit_insert(&draft).await?.limit.id());
        Ok(())
    })
    .await
    .expect("stored");
    made.expect("made")
}

fn account(tenant: &Tenant, limit: LimitId) -> Account {
    let (key, model) = (tenant.key.id.into_inner(), tenant.model.id.into_inner());
    let deployment = Some(tenant.deployment.id.into_inner());
    Account { limit, key: Some(key), member: None, model: Some(model), deployment }
}

fn lease(account: Account, holder: u64, extra: u64) -> LeaseRow {
    LeaseRow {
        account,
        holder: HolderId(holder),
        window_starts: Window::ALWAYS.starts,
        opening: 1,
        extra,
        returned: 3,
        consumed: 4,
        standing: 5,
        standing_most: 6,
        standing_version: 7,
        lost: false,
    }
}

fn workers() -> BTreeMap<HolderId, String> {
    [(HolderId(1), "one".to_owned()), (HolderId(2), "two".to_owned())].into()
}

async fn office(fixture: &Fixture, at_least: u64) -> Office {
    fixture.store.take_office(at_least).await.expect("taken")
}

async fn write(fixture: &Fixture, term: u64, rows: &[Row]) -> Result<(), StoreError> {
    fixture.store.write_quota(term, rows, &workers()).await
}

fn sorted(mut stored: Stored) -> Stored {
    stored.holders.sort_by_key(|row| row.holder);
    stored.accounts.sort_by_key(|row| row.account);
    stored.leases.sort_by_key(|row| (row.account, row.holder));
    stored
}

pub(crate) async fn what_was_lent_comes_back_as_it_was_written_last(fixture: &Fixture) {
    let (tenant, id) = limited(fixture, Measure::NanoUsdTotal).await;
    let every = account(&tenant, id);
    let whole = Account { key: None, model: None, deployment: None, ..every };
    let term = office(fixture, 1).await.term;
    let holder = |number, lost| Row::Holder(HolderRow { holder: HolderId(number), lost });
    let gone = |gone| Row::Account(AccountRow { account: whole, window_starts: Window::ALWAYS.starts, gone });
    let mut expected = Stored::default();
    let steps: [&[Row]; 4] = [
        &[holder(1, false), holder(2, false), Row::Lease(lease(every, 1, 2)), Row::Lease(lease(whole, 2, 2))],
        // Of several changes of one row in one transaction the last counts.
        &[Row::Lease(lease(every, 1, 3)), Row::Lease(lease(every, 1, 9)), gone(7), gone(8)],
        &[holder(1, true), Row::LeaseGone { account: every, holder: HolderId(1) }, gone(u64::MAX >> 1)],
        &[Row::Lease(lease(every, 1, 1)), Row::HolderGone(HolderId(2))],
    ];
    for rows in steps {
        write(fixture, term, rows).await.expect("written");
        expected.apply(rows);
    }
    let found = office(fixture, 1).await;
    assert_eq!(sorted(found.stored), sorted(expected));
    assert_eq!(found.workers, [(HolderId(1), "one".to_owned())].into());
    assert_eq!(found.limits.iter().map(|limit| limit.id()).collect::<Vec<_>>(), [id]);
}

pub(crate) async fn whoever_lost_office_writes_nothing(fixture: &Fixture) {
    let (tenant, id) = limited(fixture, Measure::NanoUsdTotal).await;
    let first = office(fixture, 100).await.term;
    let second = office(fixture, 5).await.term;
    assert_eq!(
        (first, second),
        (100, 101),
        "a term is larger than all before, and at least what is asked for"
    );
    let rows = [Row::Lease(lease(account(&tenant, id), 1, 2))];
    let refused = write(fixture, first, &rows).await;
    assert!(matches!(refused, Err(StoreError::Conflict(NOT_IN_OFFICE))), "{refused:?}");
    let third = office(fixture, 1).await;
    assert_eq!(third.stored, Stored::default());
    write(fixture, third.term, &rows).await.expect("in office");
    assert_eq!(office(fixture, 1).await.stored.leases.len(), 1);
}

pub(crate) async fn of_limits_that_are_gone_nothing_is_kept(fixture: &Fixture) {
    let (tenant, id) = limited(fixture, Measure::NanoUsdTotal).await;
    let kept = limit(fixture, tenant.organization.id, Measure::NanoUsdPerDay).await;
    let term = office(fixture, 1).await.term;
    let rows = [id, kept].map(|id| {
        [
            Row::Lease(lease(account(&tenant, id), 1, 2)),
            Row::Account(AccountRow { account: account(&tenant, id), window_starts: NOW, gone: 1 }),
        ]
    });
    write(fixture, term, rows.as_flattened()).await.expect("written");
    let delete = async |t: &mut dyn bailiwick_core::ports::store::Transaction| {
        t.limit_delete(tenant.organization.id, id.number).await
    };
    mutate(fixture, &[], delete).await.expect("deleted");
    let found = office(fixture, 1).await.stored;
    let limits = (found.leases.iter().map(|row| row.account.limit))
        .chain(found.accounts.iter().map(|row| row.account.limit));
    assert_eq!(limits.collect::<Vec<_>>(), [kept, kept]);
}

pub(crate) async fn changed_limits_are_told_by_their_organization(fixture: &Fixture) {
    let (tenant, id) = limited(fixture, Measure::NanoUsdTotal).await;
    let org = tenant.organization.id;
    let before = fixture.store.revision().await.expect("reads");
    let unchanged = fixture.store.limits_since(before).await.expect("reads");
    assert_eq!((unchanged.changed, unchanged.to, unchanged.truncated), (Vec::new(), before, false));
    let second = limit(fixture, org, Measure::NanoUsdPerDay).await;
    let told = fixture.store.limits_since(before).await.expect("reads");
    let ids: Vec<_> = told
        .changed
        .iter()
        .map(|(organization, limits)| {
            (*organization, limits.iter().map(|limit| limit.id()).collect::<Vec<_>>())
        })
        .collect();
    assert_eq!(ids, [(org.into_inner(), vec![id, second])]);
    assert!(told.to > before);
    let deleted = async |t: &mut dyn bailiwick_core::ports::store::Transaction| {
        t.organization_set_status(org, OrganizationStatus::Deleted).await
    };
    mutate(fixture, &[ChangedResource::Organization(org)], deleted).await.expect("deleted");
    let gone = fixture.store.limits_since(told.to).await.expect("reads");
    assert_eq!(gone.changed, [(org.into_inner(), Vec::new())]);
    fixture.store.trim_configuration_log(0).await.expect("trimmed");
    assert!(fixture.store.limits_since(before).await.expect("reads").truncated);
}

/// Spends of the only limit that there is, which is one key's: by a worker that still holds some, and by others that are gone. Gives what is known of it then.
pub(crate) async fn spent(store: &SqlStore, key: KeyId) -> Office {
    let office = store.take_office(1).await.expect("taken");
    let limit = office.limits[0].id();
    let account = Account { limit, key: Some(key), member: None, model: None, deployment: None };
    let rows = [
        Row::Holder(HolderRow { holder: HolderId(1), lost: false }),
        Row::Account(AccountRow { account, window_starts: Window::ALWAYS.starts, gone: 700_000 }),
        Row::Lease(lease(account, 1, 2)),
    ];
    store.write_quota(office.term, &rows, &workers()).await.expect("written");
    let known = store.take_office(1).await.expect("taken");
    let counts = (known.stored.holders.len(), known.stored.accounts.len(), known.stored.leases.len());
    assert_eq!(counts, (1, 1, 1));
    known
}

/// Of those that are written here.
pub(crate) async fn one_row_in_every_table(fixture: &Fixture, tenant: &Tenant) {
    let id = limit(fixture, tenant.organization.id, Measure::NanoUsdTotal).await;
    let account = account(tenant, id);
    let term = office(fixture, 1).await.term;
    let rows = [
        Row::Holder(HolderRow { holder: HolderId(1), lost: false }),
        Row::Account(AccountRow { account, window_starts: Window::ALWAYS.starts, gone: 1 }),
        Row::Lease(lease(account, 1, 2)),
    ];
    write(fixture, term, &rows).await.expect("written");
}
