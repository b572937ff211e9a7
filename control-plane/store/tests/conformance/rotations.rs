//! Rotation of keys, on real stores with real keys: nothing is lost, whatever it is cut off by, and what should not open does not.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bailiwick_core::{
    credential::ProviderSecret,
    ports::{
        store::Store,
        vault::{DataKey, KeyScope, Vault, VaultError, WrappedDataKey},
    },
    records::{Page, RotationRecord},
    rotation::{Pace, RotationError, Rotations},
};
use bailiwick_domain::{jurisdiction::Local, region::RegionCode, time::ManualClock};

use crate::{
    fixture::{Fixture, NOW},
    inhabited::{Inhabited, fresh, vault, vault_after},
};

const OLD: u8 = 0xab;
const NEW: u8 = 0xcd;

/// Small batches, so that there are several.
fn rotations(fixture: &Fixture, vault: Arc<dyn Vault>) -> Rotations {
    Rotations {
        store: Arc::new(fixture.store.clone()),
        vault,
        clock: Arc::new(ManualClock::at(NOW)),
        actor: "test".to_owned(),
        pace: Pace { batch: 2, pause: Duration::ZERO },
    }
}

async fn after_a_change_of_master_keys(fixture: &Fixture) -> Inhabited {
    Inhabited::under(fixture, fixture.store.clone(), vault_after(NEW, OLD).await).await
}

async fn census(fixture: &Fixture) -> Vec<(String, u64)> {
    fixture.store.data_key_census().await.expect("counted")
}

pub(crate) async fn r4_after_a_rotation_the_old_master_key_opens_nothing_and_the_new_one_everything(
    fixture: &Fixture,
) {
    let before = Inhabited::new(fixture).await;
    let residents = [before.resident().await, before.resident().await, before.resident().await];

    let region = after_a_change_of_master_keys(fixture).await;
    let begun = region.control_plane.master_key_rotate(region.caller(), &fresh()).await.expect("begun");
    assert_eq!((begun.total, begun.done, begun.finished_at), (4, 0, None));
    let told = AtomicU64::new(0);
    let progress = |rotation: &RotationRecord| told.store(rotation.done, Ordering::Relaxed);
    let work = rotations(fixture, Arc::clone(&region.vault));
    assert_eq!(work.run_once(progress).await.expect("worked"), 1);
    assert_eq!(told.into_inner(), 4);

    let over = region.control_plane.rotation_get(region.caller(), begun.id).await.expect("there");
    assert_eq!((over.done, over.total, over.finished_at), (4, 4, Some(NOW)));
    assert_eq!(census(fixture).await, [(vault(NEW).master_key().to_owned(), 4)]);
    let new = region.inspect_with(vault(NEW).as_ref()).await;
    assert!(new.hold(), "{:?}", new.problems);
    assert!(new.data_keys == 4 && new.sealed_opened >= 3 * 4);
    let old = region.inspect_with(vault(OLD).as_ref()).await;
    assert_eq!(old.sealed_opened + old.data_keys, 0);
    assert_eq!(residents.len(), 3);
}

pub(crate) async fn a_rotation_that_is_cut_off_goes_on_where_it_was(fixture: &Fixture) {
    let before = Inhabited::new(fixture).await;
    for _ in 0..4 {
        before.resident().await;
    }
    let region = after_a_change_of_master_keys(fixture).await;
    let begun = region.control_plane.master_key_rotate(region.caller(), &fresh()).await.expect("begun");

    // The service goes away after three of five keys: one batch of two is done, and one of the next is not.
    let failing = Arc::new(Failing { vault: Arc::clone(&region.vault), left: AtomicU64::new(3) });
    let outcome = rotations(fixture, failing).run_once(|_| {}).await;
    assert!(matches!(outcome, Err(RotationError::Vault(VaultError::Unavailable(_)))), "{outcome:?}");
    let half = region.control_plane.rotation_get(region.caller(), begun.id).await.expect("there");
    assert_eq!((half.done, half.finished_at), (2, None));
    assert_eq!(census(fixture).await.len(), 2);
    let findings = region.inspect().await;
    assert!(findings.hold(), "in the middle everything opens: {:?}", findings.problems);

    let work = rotations(fixture, Arc::clone(&region.vault));
    assert_eq!(work.run_once(|_| {}).await.expect("went on"), 1);
    let over = region.control_plane.rotation_get(region.caller(), begun.id).await.expect("there");
    assert_eq!((over.done, over.total), (5, 5));
    assert_eq!(census(fixture).await, [(vault(NEW).master_key().to_owned(), 5)]);
    assert!(region.inspect_with(vault(NEW).as_ref()).await.hold());
    assert_eq!(work.run_once(|_| {}).await.expect("nothing to do"), 0);
}

pub(crate) async fn a_rotation_waits_for_its_own_master_key(fixture: &Fixture) {
    let before = Inhabited::new(fixture).await;
    before.resident().await;
    let region = after_a_change_of_master_keys(fixture).await;
    region.control_plane.master_key_rotate(region.caller(), &fresh()).await.expect("begun");

    // Somebody put the old key back: what is to be wrapped by the new one waits.
    let back = rotations(fixture, vault(OLD));
    assert_eq!(back.run_once(|_| {}).await.expect("nothing to do"), 0);
    assert_eq!(census(fixture).await, [(vault(OLD).master_key().to_owned(), 2)]);
}

pub(crate) async fn r4_sealed_values_are_sealed_anew_and_audit_records_stay(fixture: &Fixture) {
    let region = Inhabited::new(fixture).await;
    let (one, other) = (region.resident().await, region.resident().await);
    let by_version = |version: u32, column: &str, table: &str, id: String| {
        format!("SELECT COUNT(*) FROM {table} WHERE id = '{id}' AND {}", sealed_by(fixture, column, version))
    };
    let begun = region
        .control_plane
        .data_keys_rotate(region.caller(), &fresh(), Some(one.organization))
        .await
        .expect("begun");
    assert_eq!((begun.target.as_str(), begun.total), ("2", 5));
    let work = rotations(fixture, Arc::clone(&region.vault));
    assert_eq!(work.run_once(|_| {}).await.expect("worked"), 1);

    for (column, table, id) in [
        ("name", "organizations", one.organization.to_string()),
        ("contact_email", "organizations", one.organization.to_string()),
        ("name", "api_keys", one.key.to_string()),
        ("name", "credentials", one.credential.to_string()),
        ("secret", "credentials", one.credential.to_string()),
    ] {
        assert_eq!(fixture.number(&by_version(2, column, table, id)).await, 1, "{table}.{column}");
    }
    let untouched = by_version(1, "secret", "credentials", other.credential.to_string());
    assert_eq!(fixture.number(&untouched).await, 1, "another organization's values stay as they are");
    let findings = region.inspect().await;
    assert!(findings.hold(), "chains verify, and everything opens: {:?}", findings.problems);
}

pub(crate) async fn the_regions_own_secrets_are_sealed_anew(fixture: &Fixture) {
    let region = Inhabited::new(fixture).await;
    region.control_plane.data_keys_rotate(region.caller(), &fresh(), None).await.expect("begun");
    let work = rotations(fixture, Arc::clone(&region.vault));
    assert_eq!(work.run_once(|_| {}).await.expect("worked"), 1);
    let old = format!("SELECT COUNT(*) FROM region_secrets WHERE {}", sealed_by(fixture, "sealed", 1));
    assert_eq!(fixture.number(&old).await, 0);
    // It starts from them as before.
    let again = Inhabited::new(fixture).await;
    again.resident().await;
    assert!(again.inspect().await.hold());
}

pub(crate) async fn what_changed_meanwhile_is_not_overwritten(fixture: &Fixture) {
    let region = Inhabited::new(fixture).await;
    let resident = region.resident().await;
    let column = bailiwick_core::sealed_columns::SEALED_COLUMNS
        .iter()
        .find(|column| (column.table, column.column) == ("credentials", "secret"))
        .expect("listed");
    let scope = KeyScope::Organization(resident.organization);
    let page = fixture.store.sealed_page(column, scope, "", 10).await.expect("read");
    let (row, old) = page.into_iter().next().expect("one");

    let secret = ProviderSecret::new("sk-newer").expect("good");
    region
        .control_plane
        .credential_replace(region.caller(), resident.credential, secret)
        .await
        .expect("replaced");
    let mut transaction = fixture.store.begin().await.expect("begun");
    let replaced = transaction.sealed_replace(column, &row, &old, &old).await.expect("tried");
    assert!(!replaced, "what was read is not there any more");
    drop(transaction);

    let wrapped = fixture.store.data_keys_fetch(scope).await.expect("read").remove(0);
    let rewrapped = region.vault.rewrap(&wrapped).await.expect("rewrapped");
    let mut transaction = fixture.store.begin().await.expect("begun");
    assert!(transaction.data_key_rewrap(&wrapped, &rewrapped).await.expect("tried"));
    assert!(!transaction.data_key_rewrap(&wrapped, &rewrapped).await.expect("tried"), "a second time");
}

pub(crate) async fn a_rotation_of_an_organization_that_is_deleted_meanwhile_ends(fixture: &Fixture) {
    let region = Inhabited::new(fixture).await;
    let resident = region.resident().await;
    let organization = Some(resident.organization);
    let begun = region.control_plane.data_keys_rotate(region.caller(), &fresh(), organization).await;
    region.control_plane.organization_delete(region.caller(), resident.organization).await.expect("deleted");
    let work = rotations(fixture, Arc::clone(&region.vault));
    assert_eq!(work.run_once(|_| {}).await.expect("ended"), 1);
    let over = region.control_plane.rotation_get(region.caller(), begun.expect("begun").id).await;
    assert!(over.expect("there").finished_at.is_some());
    assert!(region.inspect().await.hold());
}

pub(crate) async fn a_second_rotation_of_the_same_is_the_first(fixture: &Fixture) {
    let before = Inhabited::new(fixture).await;
    let resident = before.resident().await;
    let region = after_a_change_of_master_keys(fixture).await;
    let rotate = async || region.control_plane.master_key_rotate(region.caller(), &fresh()).await;
    let (first, second) = (rotate().await.expect("begun"), rotate().await.expect("begun"));
    assert_eq!(first, second);
    let organization = Some(resident.organization);
    let once = fresh();
    let rotate = async || region.control_plane.data_keys_rotate(region.caller(), &once, organization).await;
    let (first, second) = (rotate().await.expect("begun"), rotate().await.expect("begun"));
    assert_eq!(first.id, second.id);
    let page = Page { size: 10, token: None };
    let all = region.control_plane.rotation_list(region.caller(), &page).await.expect("listed");
    assert_eq!(all.rows.len(), 2);
    let ids: Vec<_> = all.rows.iter().map(|row| Local::into_inner(row.id)).collect();
    assert!(ids.is_sorted());
}

/// A condition: the value names this version of its data key (bytes 2 to 5, after the format).
fn sealed_by(fixture: &Fixture, column: &str, version: u32) -> String {
    let header = format!("01{version:08x}");
    match fixture.url.starts_with("sqlite") {
        true => format!("hex(substr({column}, 1, 5)) = '{header}'"),
        false => format!("encode(substring({column} from 1 for 5), 'hex') = '{header}'"),
    }
}

/// A vault whose service goes away after some rewrappings.
struct Failing {
    vault: Arc<dyn Vault>,
    left: AtomicU64,
}

#[async_trait]
impl Vault for Failing {
    fn region_code(&self) -> RegionCode {
        self.vault.region_code()
    }

    fn master_key(&self) -> &str {
        self.vault.master_key()
    }

    fn knows_master_key(&self, name: &str) -> bool {
        self.vault.knows_master_key(name)
    }

    async fn create_data_key(&self, scope: KeyScope, version: u32) -> Result<WrappedDataKey, VaultError> {
        self.vault.create_data_key(scope, version).await
    }

    async fn unlock(&self, key: &WrappedDataKey) -> Result<Arc<dyn DataKey>, VaultError> {
        self.vault.unlock(key).await
    }

    async fn rewrap(&self, key: &WrappedDataKey) -> Result<WrappedDataKey, VaultError> {
        let left = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        left.map_err(|_none| VaultError::Unavailable("it went away".to_owned()))?;
        self.vault.rewrap(key).await
    }

    fn forget(&self, scope: KeyScope) {
        self.vault.forget(scope);
    }
}
