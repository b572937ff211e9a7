//! Whose store it is.

use bailiwick_core::ports::store::{Store, StoreError};
use bailiwick_store::{ExpectedIdentity, SqlStore};

use crate::{
    fixture::{Fixture, expected},
    samples,
};

pub(crate) async fn r2_a_store_of_another_region_is_refused_untouched(fixture: &Fixture) {
    let tables = "SELECT COUNT(*) FROM cluster_identity";
    let refused = SqlStore::open(&fixture.url, &expected("us-west-1")).await.expect_err("it is foreign");
    let StoreError::ForeignStore { found, expected } = refused else { panic!("another error: {refused:?}") };
    assert_eq!((found.as_str(), expected.as_str()), ("eu-central-1.local", "us-west-1.local"));
    assert_eq!(fixture.number(tables).await, 1);
    fixture.store.ping().await.expect("its own process is not disturbed");
}

pub(crate) async fn r5_a_store_of_another_installation_is_refused(fixture: &Fixture) {
    let other = ExpectedIdentity { installation: "elsewhere".to_owned(), ..expected("eu-central-1") };
    let refused = SqlStore::open(&fixture.url, &other).await.expect_err("it is foreign");
    assert!(matches!(refused, StoreError::ForeignStore { .. }), "{refused:?}");
}

pub(crate) async fn r2_a_row_of_another_region_cannot_be_written(fixture: &Fixture) {
    let id = samples::stored_organization(fixture).await.id;
    let foreign = id.to_string().replace("euc1", "usw1");
    let copy = |region: &str, id: &str| {
        format!(
            "INSERT INTO organizations (region, id, name, status, on_stale, created_at) \
             SELECT '{region}', '{id}', name, status, on_stale, created_at FROM organizations LIMIT 1"
        )
    };
    let another = id.to_string().replace("org_euc1_0", "org_euc1_1");
    assert!(fixture.is_refused(&copy("usw1", &another)).await, "a foreign region");
    assert!(fixture.is_refused(&copy("euc1", &foreign)).await, "a foreign identifier");
    assert!(!fixture.is_refused(&copy("euc1", &another)).await, "the statement itself is good");
}

pub(crate) async fn r2_every_table_names_the_region(fixture: &Fixture) {
    samples::one_row_in_every_table(fixture).await;
    for table in samples::TABLES {
        assert!(
            fixture.number(&format!("SELECT COUNT(*) FROM {table}")).await > 0,
            "{table} has no row to try"
        );
        assert!(fixture.is_refused(&format!("UPDATE {table} SET region = 'usw1'")).await, "{table}");
    }
    let tables = match fixture.store.backend() {
        "sqlite" => "SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'",
        _ => "SELECT COUNT(*) FROM pg_tables WHERE schemaname = 'public'",
    };
    let migrations = 1;
    let known = i64::try_from(samples::TABLES.len()).expect("few") + migrations;
    assert_eq!(fixture.number(tables).await, known, "a new table belongs into samples::TABLES");
}

pub(crate) async fn an_epoch_is_made_once_and_kept(fixture: &Fixture) {
    let first = fixture.store.cluster_identity().await.expect("reads");
    let again = SqlStore::open(&fixture.url, &expected("eu-central-1")).await.expect("opens again");
    assert_eq!(again.cluster_identity().await.expect("reads"), first);
    assert_eq!(first.epoch.len(), 26);
    again.close().await;
}

pub(crate) async fn two_processes_open_a_new_store_at_once(fixture: &Fixture) {
    let url = fixture.empty_store().await;
    let identity = expected("eu-central-1");
    let (one, two) = tokio::join!(SqlStore::open(&url, &identity), SqlStore::open(&url, &identity));
    let (one, two) = (one.expect("opens"), two.expect("opens"));
    assert_eq!(one.cluster_identity().await.expect("reads"), two.cluster_identity().await.expect("reads"));
    one.close().await;
    two.close().await;
}
