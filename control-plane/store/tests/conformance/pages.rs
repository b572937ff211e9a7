//! Lists page by key.

use std::collections::BTreeSet;

use bailiwick_core::{
    ports::store::{Store, StoreError},
    records::{Chain, Page, PageOf, UsageQuery},
};

use crate::{
    fixture::{Fixture, NOW},
    samples::{
        Tenant, credential, deployment, key, later, model, mutate, page, service_account,
        stored_organization, worker,
    },
};

const ROWS: usize = 7;

/// Walks in pages of `size`, and gives the rows' names in the order in which they came.
async fn walk<T>(
    size: u32,
    list: impl AsyncFn(&Page) -> Result<PageOf<T>, StoreError>,
    name: impl Fn(&T) -> String,
) -> Vec<String> {
    let (mut names, mut token) = (Vec::new(), None);
    loop {
        let answer = list(&page(size, token)).await.expect("lists");
        assert!(answer.rows.len() <= size as usize);
        names.extend(answer.rows.iter().map(&name));
        match answer.next {
            Some(next) => token = Some(next),
            None => return names,
        }
    }
}

fn is_whole(names: &[String], count: usize) {
    assert_eq!(names.len(), count, "{names:?}");
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), count, "a row came twice: {names:?}");
    assert!(names.is_sorted(), "{names:?}");
}

async fn fill(fixture: &Fixture) -> Tenant {
    let tenant = Tenant::stored(fixture).await;
    let id = tenant.organization.id;
    for number in 1..ROWS {
        stored_organization(fixture).await;
        let one = credential(fixture, id);
        let two = deployment(fixture, id, one.id);
        let three = model(fixture, id, &format!("model-{number}"), &[two.id, tenant.deployment.id]);
        mutate(fixture, &[], async |t| {
            t.key_insert(&key(fixture, id)).await?;
            t.service_account_insert(&service_account(fixture, id)).await?;
            t.credential_insert(&one).await?;
            t.deployment_insert(&two).await?;
            t.model_insert(&three).await
        })
        .await
        .expect("stored");
    }
    for number in 0..ROWS {
        let row = worker(fixture, &format!("worker-{number}"));
        mutate(fixture, &[], async |t| t.worker_upsert(&row).await.map(|_| ())).await.expect("stored");
    }
    tenant
}

pub(crate) async fn every_list_pages_without_gaps_or_repeats(fixture: &Fixture) {
    let tenant = fill(fixture).await;
    let (store, id) = (&fixture.store, tenant.organization.id);
    for size in [1, 3, 7, 8, 1000] {
        let names =
            walk(size, async |page| store.organization_list(page).await, |row| row.id.to_string()).await;
        is_whole(&names, ROWS);
        let names = walk(size, async |page| store.key_list(id, page).await, |row| row.id.to_string()).await;
        is_whole(&names, ROWS);
        let accounts = async |page: &Page| store.service_account_list(id, page).await;
        is_whole(&walk(size, accounts, |row| row.id.to_string()).await, ROWS - 1);
        let names =
            walk(size, async |page| store.credential_list(id, page).await, |row| row.id.to_string()).await;
        is_whole(&names, ROWS);
        let names =
            walk(size, async |page| store.deployment_list(id, page).await, |row| row.id.to_string()).await;
        is_whole(&names, ROWS);
        let name = |row: &bailiwick_core::records::ModelRecord| {
            assert!(!row.deployments.is_empty(), "a model comes with its deployments on any page");
            row.id.to_string()
        };
        is_whole(&walk(size, async |page| store.model_list(id, page).await, name).await, ROWS);
        let names = walk(size, async |page| store.worker_list(page).await, |row| row.id.to_string()).await;
        is_whole(&names, ROWS);
        let chain = async |page: &Page| store.audit_list(Chain::Region, page).await;
        is_whole(&walk(size, chain, |row| format!("{:05}", row.sequence)).await, 3 * ROWS - 1);
    }
}

pub(crate) async fn a_foreign_or_malformed_page_token_is_refused(fixture: &Fixture) {
    let tenant = Tenant::stored(fixture).await;
    let (store, id) = (&fixture.store, tenant.organization.id);
    let foreign = id.to_string().replace("euc1", "usw1");
    for token in ["", "garbage", "' OR 1=1 --", "9999999999999999999999", "\u{0}", foreign.as_str()] {
        let page = page(10, Some(token.to_owned()));
        let query = UsageQuery {
            organization: id,
            from: NOW,
            to: later(3600),
            by_key: true,
            by_model: true,
            by_hour: true,
            page: page.clone(),
        };
        let answers = [
            store.organization_list(&page).await.map(|_| ()),
            store.key_list(id, &page).await.map(|_| ()),
            store.credential_list(id, &page).await.map(|_| ()),
            store.service_account_list(id, &page).await.map(|_| ()),
            store.deployment_list(id, &page).await.map(|_| ()),
            store.model_list(id, &page).await.map(|_| ()),
            store.worker_list(&page).await.map(|_| ()),
            store.usage_query(&query).await.map(|_| ()),
            store.usage_event_list(id, &page).await.map(|_| ()),
            store.audit_list(Chain::Region, &page).await.map(|_| ()),
        ];
        for (number, answer) in answers.into_iter().enumerate() {
            assert!(
                matches!(answer, Err(StoreError::PageToken)),
                "list {number}, token {token:?}: {answer:?}"
            );
        }
    }
}
