//! A vault whose master key is in this process's memory.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use aws_lc_rs::aead::{AES_256_GCM_SIV, RandomizedNonceKey};
use bailiwick_core::ports::vault::{DataKey, KeyScope, Vault, VaultError, WrappedDataKey};
use bailiwick_domain::region::RegionCode;
use zeroize::Zeroizing;

use crate::{
    MasterKey, aad,
    data_key::{LocalDataKey, scope_name},
};

/// Unwrapped keys that are kept. Past that all are dropped and unwrapped again on demand, which costs microseconds.
const CACHED_KEYS: usize = 4096;

/// Wraps and unwraps with a master key from a file or the environment.
pub struct LocalVault {
    region: RegionCode,
    master: RandomizedNonceKey,
    /// By associated data and wrapped bytes.
    unlocked: Mutex<HashMap<Vec<u8>, Unlocked>>,
}

struct Unlocked {
    scope: KeyScope,
    key: Arc<dyn DataKey>,
}

impl LocalVault {
    /// The vault of a region.
    pub fn new(master: &MasterKey, region: RegionCode) -> Result<Self, VaultError> {
        let master =
            RandomizedNonceKey::new(&AES_256_GCM_SIV, master.bytes()).map_err(|_| VaultError::Crypto)?;
        Ok(Self { region, master, unlocked: Mutex::default() })
    }

    fn aad(&self, scope: KeyScope, version: u32) -> Vec<u8> {
        aad::encode(&[
            b"bailiwick/data-key/1",
            self.region.as_str().as_bytes(),
            scope_name(scope).as_bytes(),
            &version.to_be_bytes(),
        ])
    }
}

#[async_trait]
impl Vault for LocalVault {
    fn region_code(&self) -> RegionCode {
        self.region
    }

    async fn create_data_key(&self, scope: KeyScope, version: u32) -> Result<WrappedDataKey, VaultError> {
        let mut key = Zeroizing::new([0_u8; 32]);
        aws_lc_rs::rand::fill(key.as_mut()).map_err(|_| VaultError::Crypto)?;
        let mut wrapped = Vec::new();
        aad::seal(&self.master, &self.aad(scope, version), key.as_ref(), &mut wrapped)?;
        Ok(WrappedDataKey { scope, version, wrapped })
    }

    async fn unlock(&self, key: &WrappedDataKey) -> Result<Arc<dyn DataKey>, VaultError> {
        // The wrapped bytes alone would find a key under a scope that it does not belong to.
        let name = [self.aad(key.scope, key.version).as_slice(), &key.wrapped].concat();
        let mut unlocked = self.unlocked.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = unlocked.get(&name) {
            return Ok(Arc::clone(&known.key));
        }
        let bytes = aad::open(&self.master, &self.aad(key.scope, key.version), &key.wrapped)?;
        let opened: Arc<dyn DataKey> =
            Arc::new(LocalDataKey::new(self.region, key.scope, key.version, &bytes)?);
        if unlocked.len() >= CACHED_KEYS {
            unlocked.clear();
        }
        unlocked.insert(name, Unlocked { scope: key.scope, key: Arc::clone(&opened) });
        Ok(opened)
    }

    fn forget(&self, scope: KeyScope) {
        let mut unlocked = self.unlocked.lock().unwrap_or_else(PoisonError::into_inner);
        unlocked.retain(|_, known| known.scope != scope);
    }
}

impl fmt::Debug for LocalVault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LocalVault({})", self.region)
    }
}

#[cfg(test)]
mod tests {
    use bailiwick_core::ports::vault::SealContext;
    use bailiwick_domain::{id::Organization, jurisdiction::Jurisdiction, region::Regions, time::Timestamp};

    use super::*;

    fn vault(region: &str, master: &str) -> LocalVault {
        let master = MasterKey::parse(&secrecy::SecretString::from(master)).expect("64 digits");
        LocalVault::new(&master, region.parse().expect("good")).expect("made")
    }

    fn organization(entropy: u128) -> KeyScope {
        let eu = Jurisdiction::of(Regions::builtin().by_name_str("eu-central-1").expect("built in"));
        KeyScope::Organization(eu.mint::<Organization>(Timestamp::default(), entropy))
    }

    #[tokio::test]
    async fn r4_a_wrapped_key_moved_to_another_scope_version_region_or_master_does_not_unwrap() {
        let (master, other) = ("ab".repeat(32), "cd".repeat(32));
        let ours = vault("euc1", &master);
        let key = ours.create_data_key(organization(1), 1).await.expect("made");
        assert!(ours.unlock(&key).await.is_ok());
        for moved in [
            WrappedDataKey { scope: organization(2), ..key.clone() },
            WrappedDataKey { scope: KeyScope::Region, ..key.clone() },
            WrappedDataKey { version: 2, ..key.clone() },
        ] {
            assert!(ours.unlock(&moved).await.is_err(), "{:?}", moved.scope);
        }
        assert!(vault("usw1", &master).unlock(&key).await.is_err());
        assert!(vault("euc1", &other).unlock(&key).await.is_err());
    }

    #[tokio::test]
    async fn a_forgotten_key_is_gone_from_memory_and_comes_back_only_from_its_wrapping() {
        let ours = vault("euc1", &"ab".repeat(32));
        let key = ours.create_data_key(KeyScope::Region, 1).await.expect("made");
        let place = SealContext { table: "t", column: "c", row: "r" };
        let sealed = ours.unlock(&key).await.expect("unlocked").seal(place, b"value").expect("sealed");
        ours.forget(KeyScope::Region);
        assert!(ours.unlocked.lock().expect("lock").is_empty());
        assert_eq!(
            &**ours.unlock(&key).await.expect("unlocked").open(place, &sealed).expect("opens"),
            b"value"
        );
    }
}
