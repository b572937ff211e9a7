//! How a region begins: its first data key, its certificate authority and its pepper, made once and kept sealed.
//!
//! [`establish`] is idempotent: everything is written in one transaction, with its audit record, or not at all; whoever comes
//! second changes nothing. [`open`] gives what a starting control plane needs of it.

use bailiwick_domain::{key::Pepper, time::Timestamp};
use secrecy::{ExposeSecret as _, SecretString};
use zeroize::Zeroizing;

use crate::{
    audit,
    ports::{
        store::{Store, StoreError},
        vault::{KeyScope, SealContext, Sealed, Vault, VaultError},
    },
    process_audit,
    records::Chain,
};

/// The root's private key, PKCS #8 PEM, sealed.
const CA_KEY: &str = "ca_key";
/// The root certificate, PEM, plain: it is public.
const CA_CERTIFICATE: &str = "ca_certificate";
/// The region's pepper, 32 bytes, sealed.
const PEPPER: &str = "pepper";
const FIRST_VERSION: u32 = 1;

/// A root that was just made, before it is stored.
pub struct NewAuthority {
    /// Self-signed certificate, PEM.
    pub root_pem: String,
    /// Its private key, PKCS #8 PEM.
    pub key_pem: SecretString,
}

/// Whether [`establish`] had something to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Established {
    /// The region's secrets were made.
    Now,
    /// They were there; nothing was changed.
    Before,
}

/// What a starting control plane needs of its region's secrets. Zeroes itself on drop; `Debug` shows nothing of it.
pub struct RegionSecrets {
    /// The root certificate, PEM.
    pub root_pem: String,
    /// Its private key, PKCS #8 PEM.
    pub ca_key_pem: SecretString,
    pepper: Zeroizing<[u8; 32]>,
}

impl RegionSecrets {
    /// The pepper, ready for use.
    pub fn pepper(&self) -> Pepper {
        Pepper::from_bytes(*self.pepper)
    }

    /// The pepper's 32 bytes: workers need them in their configuration.
    pub fn pepper_bytes(&self) -> Zeroizing<[u8; 32]> {
        self.pepper.clone()
    }
}

impl std::fmt::Debug for RegionSecrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RegionSecrets([redacted])")
    }
}

/// Makes the region's secrets, unless they are there. `actor` is whom the audit record names; `make_authority` and `make_pepper` are called only
/// when there is something to do.
///
/// # Errors
/// The store or the vault refuses; nothing is stored then.
pub async fn establish(
    store: &dyn Store,
    vault: &dyn Vault,
    now: Timestamp,
    actor: &str,
    make_authority: impl FnOnce() -> Result<NewAuthority, VaultError>,
    pepper: Zeroizing<[u8; 32]>,
) -> Result<Established, BootstrapError> {
    if store.region_secret_fetch(CA_CERTIFICATE).await?.is_some() {
        return Ok(Established::Before);
    }
    let authority = make_authority()?;
    let wrapped = vault.create_data_key(KeyScope::Region, FIRST_VERSION).await?;
    let key = vault.unlock(&wrapped).await?;
    let ca_key = key.seal(secret(CA_KEY), authority.key_pem.expose_secret().as_bytes())?;
    let sealed_pepper = key.seal(secret(PEPPER), pepper.as_slice())?;
    let chain = audit::chain_name(Chain::Region);
    let draft = process_audit::seal(key.as_ref(), Chain::Region, now, actor, "region.initialize", chain)?;

    let mut transaction = store.begin().await?;
    let stored = async {
        transaction.data_key_insert(&wrapped).await?;
        transaction.region_secret_insert(CA_KEY, &ca_key).await?;
        transaction.region_secret_insert(PEPPER, &sealed_pepper).await?;
        transaction.region_secret_insert(CA_CERTIFICATE, &Sealed(authority.root_pem.into_bytes())).await?;
        transaction.commit(draft, &[]).await
    };
    match stored.await {
        Ok(_revision) => Ok(Established::Now),
        // Another process was faster, between our look and our transaction.
        Err(StoreError::Conflict(_)) => Ok(Established::Before),
        Err(error) => Err(error.into()),
    }
}

/// Opens the region's secrets.
///
/// # Errors
/// [`BootstrapError::NotInitialized`] before [`establish`]; the master key is another one; the store is away.
pub async fn open(store: &dyn Store, vault: &dyn Vault) -> Result<RegionSecrets, BootstrapError> {
    let fetch = async |name| store.region_secret_fetch(name).await?.ok_or(BootstrapError::NotInitialized);
    let (root, ca_key, pepper) = (fetch(CA_CERTIFICATE).await?, fetch(CA_KEY).await?, fetch(PEPPER).await?);
    let wrapped = store.data_keys_fetch(KeyScope::Region).await?;
    let mut keys = Vec::with_capacity(wrapped.len());
    for wrapped in &wrapped {
        keys.push(vault.unlock(wrapped).await?);
    }
    let opened = |name, sealed| {
        let opened = keys.iter().rev().find_map(|key| key.open(secret(name), sealed).ok());
        opened.ok_or(BootstrapError::Vault(VaultError::DoesNotOpen))
    };

    let ca_key = opened(CA_KEY, &ca_key)?;
    let ca_key = std::str::from_utf8(&ca_key).map_err(|_| BootstrapError::Damaged(CA_KEY))?;
    let pepper = opened(PEPPER, &pepper)?;
    let pepper: [u8; 32] = pepper.as_slice().try_into().map_err(|_| BootstrapError::Damaged(PEPPER))?;
    Ok(RegionSecrets {
        root_pem: String::from_utf8(root.0).map_err(|_| BootstrapError::Damaged(CA_CERTIFICATE))?,
        ca_key_pem: ca_key.into(),
        pepper: Zeroizing::new(pepper),
    })
}

fn secret(name: &'static str) -> SealContext<'static> {
    SealContext { table: "region_secrets", column: "value", row: name }
}

/// Why a region cannot begin, or go on.
#[derive(Debug, thiserror::Error)]
pub enum BootstrapError {
    /// [`establish`] has not run on this store.
    #[error("the store has no region secrets yet: run `bailiwick-control-plane init`")]
    NotInitialized,
    /// A secret opens but is not what it should be.
    #[error("the region's secret {0} is damaged")]
    Damaged(&'static str),
    /// The store refuses.
    #[error("the store refused")]
    Store(#[from] StoreError),
    /// The vault refuses; most often the master key is not the one that the region began with.
    #[error("the vault refused: is this the master key that the region was initialized with?")]
    Vault(#[from] VaultError),
}
