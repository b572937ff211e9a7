//! The configuration log.

use std::collections::BTreeMap;

use bailiwick_core::{
    ports::store::Store,
    records::{ChangedResource, ResourceRow, Revision},
};
use bailiwick_domain::organization::OrganizationStatus;

use crate::{
    fixture::{Fixture, NOW},
    samples::{Tenant, key, mutate, sealed},
};

type Changes = BTreeMap<String, Option<ResourceRow>>;

async fn delta(fixture: &Fixture, since: Revision) -> Changes {
    let delta = fixture.store.configuration_delta(since, 1000).await.expect("reads");
    assert!(!delta.truncated);
    let count = delta.changes.len();
    let changes: Changes =
        delta.changes.into_iter().map(|(change, row)| (format!("{change:?}"), row)).collect();
    assert_eq!(changes.len(), count, "each resource once");
    changes
}

fn of(change: ChangedResource, row: Option<ResourceRow>) -> (String, Option<ResourceRow>) {
    (format!("{change:?}"), row)
}

pub(crate) async fn a_delta_says_what_changed_and_what_is_gone(fixture: &Fixture) {
    let tenant = Tenant::stored(fixture).await;
    let start = fixture.store.revision().await.expect("reads");
    assert_eq!(delta(fixture, start).await, Changes::new());
    let second = key(fixture, tenant.organization.id);
    let changed = |change| [change];
    mutate(fixture, &changed(ChangedResource::ApiKey(second.id)), async |t| t.key_insert(&second).await)
        .await
        .expect("commits");
    mutate(fixture, &changed(ChangedResource::ApiKey(tenant.key.id)), async |t| {
        t.key_revoke(tenant.key.id, NOW).await
    })
    .await
    .expect("commits");
    mutate(fixture, &changed(ChangedResource::Model(tenant.model.id)), async |t| {
        t.model_delete(tenant.model.id).await
    })
    .await
    .expect("commits");
    for _ in 0..2 {
        let id = tenant.credential.id;
        let replace = async |t: &mut dyn bailiwick_core::ports::store::Transaction| {
            t.credential_replace(id, &sealed("new"), NOW).await
        };
        mutate(fixture, &changed(ChangedResource::Credential(id)), replace).await.expect("commits");
    }
    mutate(fixture, &[ChangedResource::RegionSettings], async |_| Ok(())).await.expect("commits");

    let mut credential = tenant.credential.clone();
    (credential.version, credential.replaced_at, credential.secret) = (3, Some(NOW), sealed("new"));
    let expected = Changes::from([
        of(ChangedResource::ApiKey(second.id), Some(ResourceRow::ApiKey(second.clone()))),
        of(ChangedResource::ApiKey(tenant.key.id), None),
        of(ChangedResource::Model(tenant.model.id), None),
        of(ChangedResource::Credential(credential.id), Some(ResourceRow::Credential(credential.clone()))),
        of(ChangedResource::RegionSettings, None),
    ]);
    assert_eq!(delta(fixture, start).await, expected);
}

pub(crate) async fn a_deleted_organization_takes_everything_along(fixture: &Fixture) {
    let (tenant, other) = (Tenant::stored(fixture).await, Tenant::stored(fixture).await);
    let start = fixture.store.revision().await.expect("reads");
    let id = tenant.organization.id;
    mutate(fixture, &[ChangedResource::Organization(id)], async |t| t.organization_destroy(id, NOW).await)
        .await
        .expect("commits");
    let gone: Changes = tenant.resources().into_iter().map(|change| of(change, None)).collect();
    assert_eq!(delta(fixture, start).await, gone, "though the commit named only the organization");
    let rows = fixture.store.configuration_rows().await.expect("reads").rows;
    assert_eq!(rows.len(), 5, "only the other tenant is left");
    assert!(rows.contains(&ResourceRow::ApiKey(other.key)));
}

pub(crate) async fn a_suspended_organization_keeps_its_resources(fixture: &Fixture) {
    let tenant = Tenant::stored(fixture).await;
    let start = fixture.store.revision().await.expect("reads");
    let id = tenant.organization.id;
    let suspend = async |t: &mut dyn bailiwick_core::ports::store::Transaction| {
        t.organization_set_status(id, OrganizationStatus::Suspended).await
    };
    mutate(fixture, &[ChangedResource::Organization(id)], suspend).await.expect("commits");
    let mut suspended = tenant.organization.clone();
    suspended.status = OrganizationStatus::Suspended;
    let expected = Changes::from([of(
        ChangedResource::Organization(id),
        Some(ResourceRow::Organization(suspended, vec![])),
    )]);
    assert_eq!(delta(fixture, start).await, expected);
    assert_eq!(fixture.store.configuration_rows().await.expect("reads").rows.len(), 5);
}

pub(crate) async fn a_log_that_does_not_reach_back_is_truncated(fixture: &Fixture) {
    for _ in 0..10 {
        mutate(fixture, &[ChangedResource::RegionSettings], async |_| Ok(())).await.expect("commits");
    }
    fixture.store.trim_configuration_log(4).await.expect("trims");
    for (since, truncated) in [(0, true), (5, true), (6, false), (10, false), (11, true), (u64::MAX, true)] {
        let delta = fixture.store.configuration_delta(Revision(since), 100).await.expect("reads");
        assert_eq!((delta.truncated, delta.to), (truncated, Revision(10)), "since {since}");
    }
    fixture.store.trim_configuration_log(u64::MAX).await.expect("forgets nothing more");
    fixture.store.trim_configuration_log(100).await.expect("brings nothing back");
    assert!(fixture.store.configuration_delta(Revision(5), 100).await.expect("reads").truncated);
    assert_eq!(fixture.number("SELECT COUNT(*) FROM configuration_changes").await, 4);
}

pub(crate) async fn long_deltas_come_in_pages(fixture: &Fixture) {
    let tenant = Tenant::stored(fixture).await;
    let mut keys = Vec::new();
    for _ in 0..7 {
        let row = key(fixture, tenant.organization.id);
        mutate(fixture, &[ChangedResource::ApiKey(row.id)], async |t| t.key_insert(&row).await)
            .await
            .expect("commits");
        keys.push(row.id);
    }
    let (mut since, mut seen) = (Revision(1), Vec::new());
    loop {
        let delta = fixture.store.configuration_delta(since, 3).await.expect("reads");
        if delta.changes.is_empty() {
            break;
        }
        assert!(delta.to.0 - delta.from.0 <= 3);
        assert_eq!(delta.from, since);
        seen.extend(delta.changes.iter().map(|(change, _)| *change));
        since = delta.to;
    }
    assert_eq!(
        seen,
        keys.into_iter().map(ChangedResource::ApiKey).collect::<Vec<_>>(),
        "in the order of revisions"
    );
    assert_eq!(since, fixture.store.revision().await.expect("reads"));
}
