//! Each aggregate comes back as it went in, and its rules hold.

use bailiwick_core::{
    ports::{
        store::{Store, StoreError},
        vault::KeyScope,
    },
    records::{ModelDeployment, ModelRecord, UsageQuery},
};
use bailiwick_domain::{
    address::AllowedRanges,
    egress::Residency,
    key::KeyDigest,
    organization::OrganizationStatus,
    routing::{Fallbacks, Rank, Strategy},
    spiffe::ProcessRole,
    time::Timestamp,
};

use crate::{
    fixture::{Fixture, NOW},
    samples::{
        Tenant, data_key, deployment, key, later, model, mutate, organization, page, sealed, service_account,
        stored_organization, token_key, worker,
    },
};

pub(crate) async fn organizations_come_back_as_they_went_in(fixture: &Fixture) {
    let full = organization(fixture);
    let mut bare = organization(fixture);
    (bare.contact_email, bare.contact_email_hash) = (None, None);
    for row in [&full, &bare] {
        mutate(fixture, &[], async |t| t.organization_insert(row).await).await.expect("stored");
        assert_eq!(fixture.store.organization_fetch(row.id).await.expect("reads").as_ref(), Some(row));
    }
    assert_eq!(fixture.store.organization_count().await.expect("counts"), 2);
    let set =
        async |status| mutate(fixture, &[], async |t| t.organization_set_status(full.id, status).await).await;
    set(OrganizationStatus::Suspended).await.expect("suspended");
    let hosts = ["us.api.openai.com", "*.openai.azure.com"].map(|host| host.parse().expect("a pattern"));
    let listed = Residency::listed(hosts.into()).expect("a list");
    for residency in [&listed, &Residency::Region, &listed] {
        let stored =
            mutate(fixture, &[], async |t| t.organization_set_residency(full.id, residency).await).await;
        stored.expect("stored");
        let read = fixture.store.organization_fetch(full.id).await.expect("reads").expect("there");
        assert_eq!(read.residency, *residency);
    }
    for ranges in ["", "198.51.100.0/24 2001:db8::7/128"] {
        let ranges: AllowedRanges = ranges.parse().expect("good");
        let stored =
            mutate(fixture, &[], async |t| t.organization_set_allowed_ranges(full.id, &ranges).await).await;
        stored.expect("stored");
        let read = fixture.store.organization_fetch(full.id).await.expect("reads").expect("there");
        assert_eq!(read.allowed_ranges, ranges);
    }
    set(OrganizationStatus::Deleted).await.expect("deleted");
    assert_eq!(fixture.store.organization_count().await.expect("counts"), 1);
    let deleted = fixture.store.organization_fetch(full.id).await.expect("reads").expect("still there");
    assert_eq!(deleted.status, OrganizationStatus::Deleted);
    assert!(
        matches!(set(OrganizationStatus::Active).await, Err(StoreError::NotFound)),
        "there is no way back"
    );
    let unknown = fixture.home.mint_random(NOW);
    assert_eq!(fixture.store.organization_fetch(unknown).await.expect("reads"), None);
}

pub(crate) async fn keys_come_back_as_they_went_in(fixture: &Fixture) {
    let tenant = Tenant::stored(fixture).await;
    let mut open = key(fixture, tenant.organization.id);
    (open.allowed_models, open.expires_at) = (Vec::new(), Some(later(60)));
    open.allowed_ranges = AllowedRanges::default();
    mutate(fixture, &[], async |t| t.key_insert(&open).await).await.expect("stored");
    for row in [&tenant.key, &open] {
        assert_eq!(fixture.store.key_fetch(row.id).await.expect("reads").as_ref(), Some(row));
    }
    for ranges in ["203.0.113.7", ""] {
        let ranges: AllowedRanges = ranges.parse().expect("good");
        let stored = mutate(fixture, &[], async |t| t.key_set_allowed_ranges(open.id, &ranges).await).await;
        stored.expect("stored");
        let read = fixture.store.key_fetch(open.id).await.expect("reads").expect("there");
        assert_eq!(read.allowed_ranges, ranges);
    }
    let twice = mutate(fixture, &[], async |t| t.key_insert(&open).await).await;
    assert!(matches!(twice, Err(StoreError::Conflict(_))), "{twice:?}");
    let orphan = key(fixture, fixture.home.mint_random(NOW));
    let orphaned = mutate(fixture, &[], async |t| t.key_insert(&orphan).await).await;
    assert!(matches!(orphaned, Err(StoreError::Conflict(_))), "{orphaned:?}");
    for at in [NOW, later(5)] {
        mutate(fixture, &[], async |t| t.key_revoke(open.id, at).await).await.expect("revoked");
    }
    let revoked = fixture.store.key_fetch(open.id).await.expect("reads").expect("there");
    assert_eq!(revoked.revoked_at, Some(NOW), "the first time stays");
    let unknown = mutate(fixture, &[], async |t| t.key_revoke(orphan.id, NOW).await).await;
    assert!(matches!(unknown, Err(StoreError::NotFound)), "{unknown:?}");
}

pub(crate) async fn service_accounts_come_back_as_they_went_in(fixture: &Fixture) {
    let tenant = Tenant::stored(fixture).await;
    let row = service_account(fixture, tenant.organization.id);
    mutate(fixture, &[], async |t| t.service_account_insert(&row).await).await.expect("stored");
    let fetch = async || fixture.store.service_account_fetch(row.id).await.expect("reads").expect("there");
    assert_eq!(fetch().await, row);
    let twice = mutate(fixture, &[], async |t| t.service_account_insert(&row).await).await;
    assert!(matches!(twice, Err(StoreError::Conflict(_))), "{twice:?}");
    let orphan = service_account(fixture, fixture.home.mint_random(NOW));
    let orphaned = mutate(fixture, &[], async |t| t.service_account_insert(&orphan).await).await;
    assert!(matches!(orphaned, Err(StoreError::Conflict(_))), "{orphaned:?}");

    let digest = KeyDigest([5; 32]);
    let rotate = async |at| {
        mutate(fixture, &[], async |t| t.service_account_set_secret(row.id, &digest, at).await).await
    };
    rotate(later(1)).await.expect("rotated");
    let rotated = fetch().await;
    assert_eq!((rotated.version, rotated.rotated_at, rotated.digest), (2, Some(later(1)), digest));
    for at in [later(2), later(3)] {
        mutate(fixture, &[], async |t| t.service_account_revoke(row.id, at).await).await.expect("revoked");
    }
    assert_eq!(fetch().await.revoked_at, Some(later(2)), "the first time stays");
    let late = rotate(later(4)).await;
    assert!(matches!(late, Err(StoreError::NotFound)), "a revoked account gets no secret: {late:?}");
    let unknown = mutate(fixture, &[], async |t| t.service_account_revoke(orphan.id, NOW).await).await;
    assert!(matches!(unknown, Err(StoreError::NotFound)), "{unknown:?}");
}

pub(crate) async fn token_keys_are_listed_oldest_first_until_they_are_destroyed(fixture: &Fixture) {
    let (old, new) = (token_key(fixture, NOW), token_key(fixture, later(60)));
    for key in [&new, &old] {
        mutate(fixture, &[], async |t| t.token_key_insert(key).await).await.expect("stored");
        assert_eq!(fixture.store.token_key_fetch(key.id).await.expect("reads").as_ref(), Some(key));
    }
    assert_eq!(fixture.store.token_key_list().await.expect("reads"), [old.clone(), new.clone()]);
    mutate(fixture, &[], async |t| t.token_key_delete(old.id).await).await.expect("destroyed");
    assert_eq!(fixture.store.token_key_fetch(old.id).await.expect("reads"), None);
    assert_eq!(fixture.store.token_key_list().await.expect("reads"), [new]);
    let again = mutate(fixture, &[], async |t| t.token_key_delete(old.id).await).await;
    assert!(matches!(again, Err(StoreError::NotFound)), "{again:?}");
}

pub(crate) async fn credentials_are_replaced_and_kept_while_used(fixture: &Fixture) {
    let tenant = Tenant::stored(fixture).await;
    let id = tenant.credential.id;
    assert_eq!(fixture.store.credential_fetch(id).await.expect("reads"), Some(tenant.credential.clone()));
    let new = sealed("another secret");
    mutate(fixture, &[], async |t| t.credential_replace(id, &new, later(1)).await).await.expect("replaced");
    let replaced = fixture.store.credential_fetch(id).await.expect("reads").expect("there");
    assert_eq!((replaced.version, replaced.replaced_at, replaced.secret), (2, Some(later(1)), new));
    assert_eq!(fixture.store.credential_users(id).await.expect("reads"), vec![tenant.deployment.id]);
    let kept = mutate(fixture, &[], async |t| t.credential_delete(id).await).await;
    assert!(matches!(kept, Err(StoreError::Conflict(_))), "{kept:?}");
    mutate(fixture, &[], async |t| {
        t.model_delete(tenant.model.id).await?;
        t.deployment_delete(tenant.deployment.id).await?;
        t.credential_delete(id).await
    })
    .await
    .expect("deleted in order");
    assert_eq!(fixture.store.credential_fetch(id).await.expect("reads"), None);
    let gone = mutate(fixture, &[], async |t| t.credential_delete(id).await).await;
    assert!(matches!(gone, Err(StoreError::NotFound)), "{gone:?}");
}

pub(crate) async fn deployments_and_models_refer_only_within_their_organization(fixture: &Fixture) {
    let (ours, theirs) = (Tenant::stored(fixture).await, Tenant::stored(fixture).await);
    let id = ours.organization.id;
    assert_eq!(
        fixture.store.deployment_fetch(ours.deployment.id).await.expect("reads"),
        Some(ours.deployment.clone())
    );
    assert_eq!(fixture.store.deployment_users(ours.deployment.id).await.expect("reads"), vec![ours.model.id]);

    let thief = deployment(fixture, id, theirs.credential.id);
    let refused = mutate(fixture, &[], async |t| t.deployment_insert(&thief).await).await;
    assert!(matches!(refused, Err(StoreError::Conflict(_))), "{refused:?}");
    let thief = model(fixture, id, "stolen", &[ours.deployment.id, theirs.deployment.id]);
    let refused = mutate(fixture, &[], async |t| t.model_insert(&thief).await).await;
    assert!(matches!(refused, Err(StoreError::Conflict(_))), "{refused:?}");
    let kept = mutate(fixture, &[], async |t| t.deployment_delete(ours.deployment.id).await).await;
    assert!(matches!(kept, Err(StoreError::Conflict(_))), "{kept:?}");

    let mut second = deployment(fixture, id, ours.credential.id);
    second.price = None;
    let name = |name: &str| Some(name.parse().expect("good"));
    let changed = ModelRecord {
        deployments: [(second.id, 3, 7), (ours.deployment.id, 0, 1000)]
            .map(|(deployment, order, weight)| ModelDeployment {
                deployment,
                rank: Rank::new(order, weight).expect("good"),
            })
            .to_vec(),
        strategy: Strategy::LowestLatency,
        fallbacks: Fallbacks { general: name("a"), context_window: None, content_policy: name("b") },
        ..ours.model.clone()
    };
    mutate(fixture, &[], async |t| {
        t.deployment_insert(&second).await?;
        t.model_set(&changed).await
    })
    .await
    .expect("changed");
    assert_eq!(fixture.store.model_fetch(ours.model.id).await.expect("reads"), Some(changed));
    for (fallback, dependents) in
        [("a", vec![ours.model.name.clone()]), ("b", vec![ours.model.name.clone()]), ("c", vec![])]
    {
        let fallback = fallback.parse().expect("good");
        let mut reading = fixture.store.begin().await.expect("begins");
        assert_eq!(reading.model_dependents(id, &fallback).await.expect("reads"), dependents);
        let of_others = reading.model_dependents(theirs.organization.id, &fallback).await;
        assert!(of_others.expect("reads").is_empty());
    }
    // A row from before there were ranks stands where it was named.
    fixture.tamper("UPDATE model_deployments SET tier = NULL").await;
    let older = fixture.store.model_fetch(ours.model.id).await.expect("reads").expect("there");
    assert_eq!(older.deployments.iter().map(|one| one.rank.order()).collect::<Vec<_>>(), [0, 1]);
    assert_eq!(fixture.store.deployment_fetch(second.id).await.expect("reads"), Some(second));
}

pub(crate) async fn a_taken_model_name_is_a_conflict(fixture: &Fixture) {
    let (ours, theirs) = (Tenant::stored(fixture).await, Tenant::stored(fixture).await);
    assert_eq!(ours.model.name, theirs.model.name, "names are an organization's own");
    let again = model(fixture, ours.organization.id, "gpt-4o", &[ours.deployment.id]);
    let taken = mutate(fixture, &[], async |t| t.model_insert(&again).await).await;
    assert!(matches!(taken, Err(StoreError::Conflict(_))), "{taken:?}");
    let by_name =
        fixture.store.model_fetch_by_name(ours.organization.id, &ours.model.name).await.expect("reads");
    assert_eq!(by_name, Some(ours.model));
}

pub(crate) async fn data_keys_and_region_secrets_are_written_once(fixture: &Fixture) {
    let first = data_key(KeyScope::Region, 1);
    mutate(fixture, &[], async |t| {
        t.data_key_insert(&first).await?;
        t.region_secret_insert("pepper", &sealed("pepper")).await
    })
    .await
    .expect("stored");
    assert_eq!(fixture.store.data_keys_fetch(KeyScope::Region).await.expect("reads"), vec![first.clone()]);
    assert_eq!(fixture.store.region_secret_fetch("pepper").await.expect("reads"), Some(sealed("pepper")));
    assert_eq!(fixture.store.region_secret_fetch("ca_key").await.expect("reads"), None);
    let twice = mutate(fixture, &[], async |t| t.data_key_insert(&first).await).await;
    assert!(matches!(twice, Err(StoreError::Conflict(_))), "{twice:?}");
    let twice =
        mutate(fixture, &[], async |t| t.region_secret_insert("pepper", &sealed("other")).await).await;
    assert!(matches!(twice, Err(StoreError::Conflict(_))), "{twice:?}");
}

pub(crate) async fn destroyed_data_keys_are_gone(fixture: &Fixture) {
    let (ours, theirs) = (stored_organization(fixture).await.id, organization(fixture).id);
    let scopes = [KeyScope::Organization(ours), KeyScope::Organization(theirs), KeyScope::Region];
    mutate(fixture, &[], async |t| {
        for scope in scopes {
            t.data_key_insert(&data_key(scope, 1)).await?;
            t.data_key_insert(&data_key(scope, 2)).await?;
        }
        t.organization_destroy(ours, NOW).await
    })
    .await
    .expect("stored");
    let mut left = Vec::new();
    for scope in scopes {
        left.push(fixture.store.data_keys_fetch(scope).await.expect("reads").len());
    }
    assert_eq!(left, [0, 2, 2]);
}

pub(crate) async fn workers_are_renewed_by_name_and_removed_for_good(fixture: &Fixture) {
    let first = worker(fixture, "worker-1");
    let mut again = worker(fixture, "worker-1");
    again.certificate_expires_at = later(9000);
    let mut router = worker(fixture, "worker-1");
    router.role = ProcessRole::Router;
    for (row, expected) in [(&first, first.id), (&again, first.id), (&router, router.id)] {
        mutate(fixture, &[], async |t| {
            assert_eq!(t.worker_upsert(row).await?, expected, "the first id is kept, per role");
            Ok(())
        })
        .await
        .expect("stored");
    }
    for (at, seen) in [(later(10), later(10)), (later(5), later(10))] {
        fixture.store.worker_seen(first.id, at).await.expect("noted");
        let row =
            fixture.store.worker_fetch_by_name(first.role, "worker-1").await.expect("reads").expect("there");
        assert_eq!(
            (row.last_seen_at, row.certificate_expires_at),
            (Some(seen), later(9000)),
            "it never goes back"
        );
    }
    mutate(fixture, &[], async |t| {
        t.worker_set_certificate(first.id, later(9999)).await?;
        let removed = t.worker_remove(first.id, NOW).await?;
        assert_eq!((removed.id, removed.role, removed.name.as_str()), (first.id, first.role, "worker-1"));
        Ok(())
    })
    .await
    .expect("removed");
    assert_eq!(fixture.store.worker_fetch_by_name(first.role, "worker-1").await.expect("reads"), None);
    let left = fixture.store.worker_list(&page(10, None)).await.expect("lists").rows;
    assert_eq!(left, vec![router]);
    let twice = mutate(fixture, &[], async |t| t.worker_remove(first.id, NOW).await.map(|_| ())).await;
    assert!(matches!(twice, Err(StoreError::NotFound)), "{twice:?}");
    let newcomer = worker(fixture, "worker-1");
    mutate(fixture, &[], async |t| {
        assert_eq!(t.worker_upsert(&newcomer).await?, newcomer.id, "a removed one's name is free");
        Ok(())
    })
    .await
    .expect("stored");
}

pub(crate) async fn expired_keys_are_listed_until_they_are_revoked(fixture: &Fixture) {
    let tenant = Tenant::stored(fixture).await;
    let listed = async |now| {
        let keys = fixture.store.key_expired_list(now, 10).await.expect("lists");
        keys.into_iter().map(|key| key.id).collect::<Vec<_>>()
    };
    let id = tenant.key.id;
    assert_eq!(listed(later(9999)).await, [], "it has no expiry");
    mutate(fixture, &[], async |t| t.key_set_expiry(id, later(60)).await).await.expect("set");
    assert_eq!(listed(later(59)).await, []);
    assert_eq!(listed(later(60)).await, [id]);
    mutate(fixture, &[], async |t| t.key_revoke(id, later(61)).await).await.expect("revoked");
    assert_eq!(listed(later(9999)).await, []);
}

pub(crate) async fn a_row_that_was_changed_from_outside_is_corrupt(fixture: &Fixture) {
    let tenant = Tenant::stored(fixture).await;
    fixture.tamper("UPDATE organizations SET status = 'happy'").await;
    let broken = fixture.store.organization_fetch(tenant.organization.id).await;
    assert!(matches!(broken, Err(StoreError::Corrupt { table: "organizations", .. })), "{broken:?}");
    fixture.tamper("UPDATE api_keys SET allowed_models = 'what is \"this'").await;
    let broken = fixture.store.key_fetch(tenant.key.id).await;
    assert!(matches!(broken, Err(StoreError::Corrupt { table: "api_keys", .. })), "{broken:?}");
    let Err(StoreError::Corrupt { problem, .. }) = broken else { panic!("corrupt") };
    assert!(!problem.contains("this"), "the value is not told: {problem}");
    fixture.tamper("UPDATE api_keys SET allowed_models = '', allowed_ranges = '10.0.0.0/8 anywhere'").await;
    let broken = fixture.store.key_fetch(tenant.key.id).await;
    assert!(matches!(broken, Err(StoreError::Corrupt { table: "api_keys", .. })), "{broken:?}");
    assert!(fixture.store.configuration_rows().await.is_err(), "a snapshot with a hole is no snapshot");
}

pub(crate) async fn r2_a_row_that_names_another_region_is_corrupt(fixture: &Fixture) {
    let tenant = Tenant::stored(fixture).await;
    fixture.store.usage_insert(&[tenant.call(fixture, NOW)]).await.expect("stored");
    fixture.tamper("UPDATE usage_hourly SET model_id = REPLACE(model_id, 'euc1', 'usw1')").await;
    let query = UsageQuery {
        organization: tenant.organization.id,
        from: Timestamp::default(),
        to: later(1),
        by_key: false,
        by_model: true,
        by_hour: false,
        page: page(10, None),
    };
    let sums = fixture.store.usage_query(&query).await;
    assert!(matches!(sums, Err(StoreError::Corrupt { table: "usage_hourly", .. })), "{sums:?}");
}
