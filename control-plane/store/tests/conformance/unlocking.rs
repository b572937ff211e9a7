//! What a start costs a key management service: the data keys of a region's organizations.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bailiwick_core::{
    configuration::{ConfigurationReader, OpenedResource},
    ports::vault::{DataKey, KeyScope, Vault, VaultError, WrappedDataKey},
};
use bailiwick_domain::region::RegionCode;
use tokio::sync::Barrier;

use crate::{
    fixture::Fixture,
    inhabited::{Inhabited, vault},
};

/// Who asks one by one never gets an answer from it.
const CROWD: usize = 8;
const ORGANIZATIONS: usize = 5 * CROWD;
/// As the reader promises.
const MOST_AT_ONCE: usize = 32;

pub(crate) async fn data_keys_are_unlocked_many_at_a_time_and_not_all_at_once(fixture: &Fixture) {
    let region = Inhabited::new(fixture).await;
    for _ in 0..ORGANIZATIONS {
        region.resident().await;
    }
    // As after a start: nothing is in memory.
    let vault = Arc::new(Crowded {
        vault: vault(0xab),
        crowd: Barrier::new(CROWD),
        asking: AtomicUsize::new(0),
        most: AtomicUsize::new(0),
        asked: AtomicUsize::new(0),
    });
    let store = Arc::new(fixture.store.clone());
    let reader = ConfigurationReader::new(store, Arc::<Crowded>::clone(&vault), Box::new(|_| None));
    let read = tokio::time::timeout(Duration::from_secs(60), reader.all()).await;
    let read = read.expect("it does not ask one by one").expect("read");
    let is_credential = |resource: &&OpenedResource| matches!(resource, OpenedResource::Credential { .. });
    assert_eq!(read.resources.iter().filter(is_credential).count(), ORGANIZATIONS);
    assert!(read.unopened.is_empty());
    assert_eq!(vault.asked.load(Ordering::Relaxed), ORGANIZATIONS, "each key once");
    let most = vault.most.load(Ordering::Relaxed);
    assert!((CROWD..=MOST_AT_ONCE).contains(&most), "{most} at once");
}

/// A vault whose service answers a number of callers at a time.
struct Crowded {
    vault: Arc<dyn Vault>,
    crowd: Barrier,
    asking: AtomicUsize,
    most: AtomicUsize,
    asked: AtomicUsize,
}

#[async_trait]
impl Vault for Crowded {
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
        self.asked.fetch_add(1, Ordering::Relaxed);
        let asking = self.asking.fetch_add(1, Ordering::Relaxed) + 1;
        self.most.fetch_max(asking, Ordering::Relaxed);
        self.crowd.wait().await;
        self.asking.fetch_sub(1, Ordering::Relaxed);
        self.vault.unlock(key).await
    }

    async fn rewrap(&self, key: &WrappedDataKey) -> Result<WrappedDataKey, VaultError> {
        self.vault.rewrap(key).await
    }

    fn forget(&self, scope: KeyScope) {
        self.vault.forget(scope);
    }
}
