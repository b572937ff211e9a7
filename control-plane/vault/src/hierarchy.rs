//! The vault of a region: master keys wrap data keys, unwrapped ones are kept for a while.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use bailiwick_core::ports::vault::{DataKey, KeyScope, Vault, VaultError, WrappedDataKey};
use bailiwick_domain::region::RegionCode;
use url::Url;
use zeroize::Zeroizing;

use crate::{
    MasterKey,
    data_key::LocalDataKey,
    wrapping::{
        DATA_KEY_BYTES, DataKeyBytes, KeyPlace, Wrapping,
        kms::{KmsCredentials, KmsKeyArn, KmsWrapping},
        local::LocalWrapping,
        transit::{TransitKey, TransitWrapping},
    },
};

/// Unwrapped keys that are kept, each about a kilobyte. Past that some are dropped, and unwrapped again on demand.
const CACHED_KEYS: usize = 65_536;

/// Where a master key is.
#[derive(Debug)]
pub enum MasterKeySource {
    /// Here.
    Local(MasterKey),
    /// In AWS KMS, in this region.
    Kms {
        /// Which key.
        arn: KmsKeyArn,
        /// Another endpoint than the public one, e.g. that of a VPC.
        endpoint: Option<Url>,
        /// What the environment held; otherwise they are looked for elsewhere.
        credentials: Option<KmsCredentials>,
    },
    /// In the transit engine of a Vault.
    Transit(TransitKey),
}

/// Wraps and unwraps data keys under one master key, and unwraps those that earlier ones wrapped.
pub struct KeyHierarchy {
    region: RegionCode,
    current: Arc<dyn Wrapping>,
    previous: Vec<Arc<dyn Wrapping>>,
    /// By the wrapped bytes and their place.
    unlocked: Mutex<HashMap<Vec<u8>, Unlocked>>,
}

struct Unlocked {
    scope: KeyScope,
    key: Arc<dyn DataKey>,
}

impl KeyHierarchy {
    /// The hierarchy of a region. `previous` master keys unwrap and wrap nothing new. No service is called yet.
    ///
    /// # Errors
    /// A master key cannot be used, or is given twice.
    pub async fn new(
        region: RegionCode,
        current: MasterKeySource,
        previous: Vec<MasterKeySource>,
    ) -> Result<Self, VaultError> {
        let current = wrapping(current).await?;
        let mut others: Vec<Arc<dyn Wrapping>> = Vec::with_capacity(previous.len());
        for source in previous {
            let other = wrapping(source).await?;
            if other.name() == current.name() || others.iter().any(|known| known.name() == other.name()) {
                return Err(VaultError::MasterKey(format!("{} is given twice", other.name())));
            }
            others.push(other);
        }
        Ok(Self { region, current, previous: others, unlocked: Mutex::default() })
    }

    /// The hierarchy of a region under one master key that is here.
    ///
    /// # Errors
    /// The cryptographic library refuses.
    pub fn local(region: RegionCode, master: &MasterKey) -> Result<Self, VaultError> {
        let current = Arc::new(LocalWrapping::new(master)?);
        Ok(Self { region, current, previous: Vec::new(), unlocked: Mutex::default() })
    }

    fn place(&self, scope: KeyScope, version: u32) -> KeyPlace {
        KeyPlace { region: self.region, scope, version }
    }

    fn named(&self, name: &str) -> Result<&Arc<dyn Wrapping>, VaultError> {
        let all = std::iter::once(&self.current).chain(&self.previous);
        all.into_iter()
            .find(|wrapping| wrapping.name() == name)
            .ok_or_else(|| VaultError::UnknownMasterKey(name.to_owned()))
    }

    async fn unwrap(&self, key: &WrappedDataKey) -> Result<DataKeyBytes, VaultError> {
        self.named(&key.master)?.unwrap(self.place(key.scope, key.version), &key.wrapped).await
    }

    async fn wrap(
        &self,
        scope: KeyScope,
        version: u32,
        key: &DataKeyBytes,
    ) -> Result<WrappedDataKey, VaultError> {
        let wrapped = self.current.wrap(self.place(scope, version), key).await?;
        Ok(WrappedDataKey { scope, version, master: self.current.name().to_owned(), wrapped })
    }

    fn kept(&self, name: &[u8]) -> Option<Arc<dyn DataKey>> {
        let unlocked = self.unlocked.lock().unwrap_or_else(PoisonError::into_inner);
        unlocked.get(name).map(|known| Arc::clone(&known.key))
    }

    fn keep(&self, name: Vec<u8>, kept: Unlocked) {
        let mut unlocked = self.unlocked.lock().unwrap_or_else(PoisonError::into_inner);
        if unlocked.len() >= CACHED_KEYS {
            // Whichever: all of them again would be a wave of calls to a key management service.
            let mut count = 0_usize;
            unlocked.retain(|_, _| {
                count += 1;
                !count.is_multiple_of(4)
            });
        }
        unlocked.insert(name, kept);
    }
}

async fn wrapping(source: MasterKeySource) -> Result<Arc<dyn Wrapping>, VaultError> {
    Ok(match source {
        MasterKeySource::Local(master) => Arc::new(LocalWrapping::new(&master)?),
        MasterKeySource::Kms { arn, endpoint, credentials } => {
            Arc::new(KmsWrapping::new(arn, endpoint.as_ref(), credentials.as_ref()).await)
        }
        MasterKeySource::Transit(key) => Arc::new(TransitWrapping::new(key)?),
    })
}

#[async_trait]
impl Vault for KeyHierarchy {
    fn region_code(&self) -> RegionCode {
        self.region
    }

    fn master_key(&self) -> &str {
        self.current.name()
    }

    fn knows_master_key(&self, name: &str) -> bool {
        self.named(name).is_ok()
    }

    async fn create_data_key(&self, scope: KeyScope, version: u32) -> Result<WrappedDataKey, VaultError> {
        let mut key = Zeroizing::new([0_u8; DATA_KEY_BYTES]);
        aws_lc_rs::rand::fill(key.as_mut()).map_err(|_| VaultError::Crypto)?;
        self.wrap(scope, version, &key).await
    }

    async fn unlock(&self, key: &WrappedDataKey) -> Result<Arc<dyn DataKey>, VaultError> {
        // The wrapped bytes alone would find a key under a scope that it does not belong to.
        let name =
            [self.place(key.scope, key.version).aad(), key.master.clone().into_bytes(), key.wrapped.clone()]
                .concat();
        if let Some(kept) = self.kept(&name) {
            return Ok(kept);
        }
        let bytes = self.unwrap(key).await?;
        let opened: Arc<dyn DataKey> =
            Arc::new(LocalDataKey::new(self.region, key.scope, key.version, bytes.as_ref())?);
        self.keep(name, Unlocked { scope: key.scope, key: Arc::clone(&opened) });
        Ok(opened)
    }

    async fn rewrap(&self, key: &WrappedDataKey) -> Result<WrappedDataKey, VaultError> {
        let bytes = self.unwrap(key).await?;
        self.wrap(key.scope, key.version, &bytes).await
    }

    fn forget(&self, scope: KeyScope) {
        let mut unlocked = self.unlocked.lock().unwrap_or_else(PoisonError::into_inner);
        unlocked.retain(|_, known| known.scope != scope);
    }
}

impl fmt::Debug for KeyHierarchy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyHierarchy({}, {})", self.region, self.current.name())
    }
}

#[cfg(test)]
mod tests;
