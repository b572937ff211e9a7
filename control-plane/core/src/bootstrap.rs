//! How a region begins: its first data key, its certificate authority and its pepper, made once and kept sealed.
//!
//! [`establish`] is idempotent: everything is written in one transaction, with its audit record, or not at all; whoever comes
//! second changes nothing. [`open`] gives what a starting control plane needs of it.

use std::sync::Arc;

use bailiwick_domain::{key::Pepper, time::Timestamp};
use secrecy::ExposeSecret as _;
use zeroize::Zeroizing;

use crate::{
    audit,
    ports::{
        store::{Store, StoreError},
        vault::{DataKey, KeyScope, RootMaterial, SealContext, Sealed, Vault, VaultError},
    },
    process_audit,
    records::{AuthorityStage, Chain, RootSlot},
};

/// The root's private key, PKCS #8 PEM, sealed.
pub(crate) fn ca_key(slot: RootSlot) -> &'static str {
    match slot {
        RootSlot::One => "ca_key",
        RootSlot::Two => "ca_key_2",
    }
}

/// The root certificate, PEM, plain: it is public.
pub(crate) fn ca_certificate(slot: RootSlot) -> &'static str {
    match slot {
        RootSlot::One => "ca_certificate",
        RootSlot::Two => "ca_certificate_2",
    }
}

/// The region's pepper, 32 bytes, sealed.
const PEPPER: &str = "pepper";
const FIRST_VERSION: u32 = 1;

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
    /// The region's roots.
    pub roots: RegionRoots,
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
    make_authority: impl FnOnce() -> Result<RootMaterial, VaultError>,
    pepper: Zeroizing<[u8; 32]>,
) -> Result<Established, BootstrapError> {
    // The pepper, because it never changes its place: a root does.
    if store.region_secret_fetch(PEPPER).await?.is_some() {
        return Ok(Established::Before);
    }
    let authority = make_authority()?;
    let wrapped = vault.create_data_key(KeyScope::Region, FIRST_VERSION).await?;
    let key = vault.unlock(&wrapped).await?;
    let (key_name, certificate_name) = (ca_key(RootSlot::One), ca_certificate(RootSlot::One));
    let ca_key = key.seal(secret(key_name), authority.key_pem.expose_secret().as_bytes())?;
    let sealed_pepper = key.seal(secret(PEPPER), pepper.as_slice())?;
    let chain = audit::chain_name(Chain::Region);
    let draft = process_audit::seal(key.as_ref(), Chain::Region, now, actor, "region.initialize", chain)?;

    let mut transaction = store.begin().await?;
    let stored = async {
        transaction.data_key_insert(&wrapped).await?;
        transaction.region_secret_insert(key_name, &ca_key).await?;
        transaction.region_secret_insert(PEPPER, &sealed_pepper).await?;
        transaction.region_secret_insert(certificate_name, &Sealed(authority.root_pem.into_bytes())).await?;
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
    let keys = unlocked(store, vault).await?;
    let pepper = fetch(store, PEPPER).await?;
    let pepper = open_secret(&keys, PEPPER, &pepper)?;
    let pepper: [u8; 32] = pepper.as_slice().try_into().map_err(|_| BootstrapError::Damaged(PEPPER))?;
    let roots = roots_of(store, &keys).await?;
    Ok(RegionSecrets { roots, pepper: Zeroizing::new(pepper) })
}

/// The region's roots, opened.
pub struct RegionRoots {
    /// The one that issues.
    pub issuing: RootMaterial,
    /// The other one, while the region changes from one to the other.
    pub standby: Option<RootMaterial>,
}

/// Opens the region's roots alone.
///
/// # Errors
/// As [`open`].
pub async fn open_roots(store: &dyn Store, vault: &dyn Vault) -> Result<RegionRoots, BootstrapError> {
    let keys = unlocked(store, vault).await?;
    roots_of(store, &keys).await
}

/// A step of the authority's change may come between two reads: then it is read once more.
async fn roots_of(store: &dyn Store, keys: &[Arc<dyn DataKey>]) -> Result<RegionRoots, BootstrapError> {
    loop {
        let trust = store.trust_fetch().await?;
        let issuing = root(store, keys, trust.issuing).await;
        let standby = match trust.stage {
            AuthorityStage::Settled => None,
            AuthorityStage::Distributing | AuthorityStage::Issuing => {
                Some(root(store, keys, trust.issuing.other()).await)
            }
        };
        if store.trust_version().await? == trust.version {
            return Ok(RegionRoots { issuing: issuing?, standby: standby.transpose()? });
        }
    }
}

async fn root(
    store: &dyn Store,
    keys: &[Arc<dyn DataKey>],
    slot: RootSlot,
) -> Result<RootMaterial, BootstrapError> {
    let certificate = fetch(store, ca_certificate(slot)).await?;
    let sealed = fetch(store, ca_key(slot)).await?;
    let key = open_secret(keys, ca_key(slot), &sealed)?;
    let key = std::str::from_utf8(&key).map_err(|_| BootstrapError::Damaged(ca_key(slot)))?;
    Ok(RootMaterial {
        root_pem: String::from_utf8(certificate.0)
            .map_err(|_| BootstrapError::Damaged(ca_certificate(slot)))?,
        key_pem: key.into(),
    })
}

async fn unlocked(store: &dyn Store, vault: &dyn Vault) -> Result<Vec<Arc<dyn DataKey>>, BootstrapError> {
    let mut keys = Vec::new();
    for wrapped in store.data_keys_fetch(KeyScope::Region).await? {
        keys.push(vault.unlock(&wrapped).await?);
    }
    Ok(keys)
}

async fn fetch(store: &dyn Store, name: &'static str) -> Result<Sealed, BootstrapError> {
    store.region_secret_fetch(name).await?.ok_or(BootstrapError::NotInitialized)
}

fn open_secret(
    keys: &[Arc<dyn DataKey>],
    name: &'static str,
    sealed: &Sealed,
) -> Result<Zeroizing<Vec<u8>>, BootstrapError> {
    let opened = keys.iter().rev().find_map(|key| key.open(secret(name), sealed).ok());
    opened.ok_or(BootstrapError::Vault(VaultError::DoesNotOpen))
}

pub(crate) fn secret(name: &'static str) -> SealContext<'static> {
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
