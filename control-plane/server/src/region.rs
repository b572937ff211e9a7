//! A region opened: its store, its keys and its authority, as every command of this program needs them.

use std::{
    fs::DirBuilder,
    os::unix::fs::DirBuilderExt as _,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use bailiwick_core::{
    bootstrap::{self, BootstrapError, Established, RegionSecrets},
    control_plane::{self, ControlPlane, Parts},
    enrollment::Enrollment,
    fleet::Fleet,
    ports::{
        coordination::Coordination,
        store::Store,
        vault::{CertificateAuthority, Vault, VaultError},
    },
    token_key::TokenKeys,
};
use bailiwick_domain::{
    spiffe::{ProcessRole, SpiffeId},
    time::{Clock, SystemClock, Timestamp},
};
use bailiwick_runtime::backoff::Backoff;
use bailiwick_store::{ExpectedIdentity, SqlStore};
use bailiwick_vault::{EdDsa, KeyHierarchy, RegionAuthority};
use secrecy::{ExposeSecret as _, SecretString};
use zeroize::Zeroizing;

use crate::settings::{MasterKeyPlace, Settings, StoreUrl};

/// How long a key management service may be away when a control plane starts.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// The parts that need no region secrets: enough to make them.
pub(crate) struct Ground {
    pub(crate) sql: SqlStore,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) vault: Arc<dyn Vault>,
    pub(crate) clock: Arc<dyn Clock>,
}

/// A region that was initialized.
pub(crate) struct Region {
    pub(crate) ground: Ground,
    pub(crate) secrets: RegionSecrets,
    pub(crate) authority: Arc<dyn CertificateAuthority>,
}

impl Ground {
    /// Reads the master key and opens the store; a new one is made.
    pub(crate) async fn open(settings: &Settings) -> anyhow::Result<Self> {
        let vault = vault(settings).await?;
        let clock = SystemClock;
        let expected = expected(settings, clock.now());
        let url = store_url(&settings.store)?;
        make_folder(url.expose_secret()).context("the store's folder cannot be made")?;
        let sql =
            SqlStore::open(url.expose_secret(), &expected).await.context("the store cannot be opened")?;
        let store: Arc<dyn Store> = Arc::new(sql.clone());
        Ok(Self { sql, store, vault, clock: Arc::new(clock) })
    }

    /// Makes the region's secrets, unless they are there.
    pub(crate) async fn establish(&self, settings: &Settings) -> anyhow::Result<Established> {
        let now = self.clock.now();
        let make_authority = || RegionAuthority::create(&settings.region.trust_domain, now);
        let pepper = Zeroizing::new(rand::random());
        let actor = actor(settings)?.to_string();
        let (store, vault) = (self.store.as_ref(), self.vault.as_ref());
        let established = bootstrap::establish(store, vault, now, &actor, make_authority, pepper).await?;
        self.token_keys(settings)?.tend().await?;
        Ok(established)
    }

    /// What makes and destroys the keys that sign the region's bearer tokens.
    pub(crate) fn token_keys(&self, settings: &Settings) -> anyhow::Result<TokenKeys> {
        Ok(TokenKeys {
            store: Arc::clone(&self.store),
            vault: Arc::clone(&self.vault),
            signer: Arc::new(EdDsa),
            clock: Arc::clone(&self.clock),
            jurisdiction: settings.region.jurisdiction.clone(),
            actor: actor(settings)?.to_string(),
        })
    }
}

impl Region {
    /// Opens an initialized region.
    pub(crate) async fn open(settings: &Settings) -> anyhow::Result<Self> {
        let ground = Ground::open(settings).await?;
        refuse_unknown_master_keys(ground.store.as_ref(), ground.vault.as_ref()).await?;
        let secrets = open_secrets(ground.store.as_ref(), ground.vault.as_ref()).await?;
        let domain = &settings.region.trust_domain;
        let authority = RegionAuthority::open(domain, &secrets.roots.issuing, secrets.roots.standby.as_ref())
            .context("the region's certificate authority cannot be opened")?;
        Ok(Self { ground, secrets, authority: Arc::new(authority) })
    }
}

impl Region {
    /// The use cases of this region, with what the operator chose.
    pub(crate) fn control_plane(
        &self,
        settings: &Settings,
        coordination: Arc<dyn Coordination>,
        fleet: Arc<Fleet>,
    ) -> ControlPlane {
        ControlPlane::new(Parts {
            store: Arc::clone(&self.ground.store),
            vault: Arc::clone(&self.ground.vault),
            coordination,
            authority: Arc::clone(&self.authority),
            tokens: Arc::new(EdDsa),
            clock: Arc::clone(&self.ground.clock),
            fleet,
            trust: Arc::default(),
            jurisdiction: settings.region.jurisdiction.clone(),
            regions: settings.region.regions.clone(),
            trust_domain: settings.region.trust_domain.clone(),
            pepper: self.secrets.pepper(),
            settings: choices(settings),
        })
    }

    /// Certifies this region's processes.
    pub(crate) fn enrollment(&self, settings: &Settings) -> Enrollment {
        Enrollment {
            store: Arc::clone(&self.ground.store),
            vault: Arc::clone(&self.ground.vault),
            authority: Arc::clone(&self.authority),
            clock: Arc::clone(&self.ground.clock),
            jurisdiction: settings.region.jurisdiction.clone(),
            trust_domain: settings.region.trust_domain.clone(),
            pepper: self.secrets.pepper(),
            certificate_lifetime: settings.identity.certificate_lifetime,
        }
    }
}

/// What the operator chose, as the use cases know it.
pub(crate) fn choices(settings: &Settings) -> control_plane::Settings {
    control_plane::Settings {
        egress: settings.egress.clone(),
        prices: settings.prices.clone(),
        signups_per_minute: if settings.signup.open { settings.signup.per_minute } else { 0 },
        build: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

/// Whom audit records name for what this program does by itself.
pub(crate) fn actor(settings: &Settings) -> anyhow::Result<SpiffeId> {
    let domain = settings.region.trust_domain.clone();
    SpiffeId::new(domain, ProcessRole::ControlPlane, &settings.identity.name).context("identity.name")
}

/// The vault of this region, its master keys read.
pub(crate) async fn vault(settings: &Settings) -> anyhow::Result<Arc<dyn Vault>> {
    let current = settings.master_key.current.open().context("master_key")?;
    let previous = settings.master_key.previous.iter().map(MasterKeyPlace::open);
    let previous = previous.collect::<anyhow::Result<_>>().context("master_key.previous")?;
    Ok(Arc::new(KeyHierarchy::new(settings.region.region().code, current, previous).await?))
}

/// Without a master key that is still in use, what it wraps could not be opened when it is needed: told now, rather than then.
async fn refuse_unknown_master_keys(store: &dyn Store, vault: &dyn Vault) -> anyhow::Result<()> {
    for (name, count) in store.data_key_census().await? {
        anyhow::ensure!(
            vault.knows_master_key(&name),
            "{count} data keys are wrapped by the master key `{name}`, which is neither master_key nor among [[master_key.previous]]: \
             add it there, then rotate with `bailiwick region rotate-master-key`"
        );
    }
    Ok(())
}

/// The region's secrets, as soon as the key management service answers.
async fn open_secrets(store: &dyn Store, vault: &dyn Vault) -> Result<RegionSecrets, BootstrapError> {
    let mut backoff = Backoff::default();
    let until = Instant::now() + LONGEST_WAIT;
    loop {
        match bootstrap::open(store, vault).await {
            Err(BootstrapError::Vault(VaultError::Unavailable(reason))) if Instant::now() < until => {
                tracing::warn!(reason, "the key management service is away; trying again for a minute");
                tokio::time::sleep(backoff.next_wait()).await;
            }
            outcome => return outcome,
        }
    }
}

/// Whose store this process opens.
pub(crate) fn expected(settings: &Settings, now: Timestamp) -> ExpectedIdentity {
    let installation = settings.region.trust_domain.installation().to_owned();
    ExpectedIdentity { region: settings.region.region().clone(), installation, now }
}

pub(crate) fn store_url(source: &StoreUrl) -> anyhow::Result<SecretString> {
    match source {
        StoreUrl::Here(url) => Ok(url.clone()),
        StoreUrl::From(source) => source.read().context("the store's URL cannot be read"),
    }
}

/// SQLite makes its file, not the folder that it is in.
fn make_folder(url: &str) -> std::io::Result<()> {
    let path = url.strip_prefix("sqlite://").and_then(|path| path.split('?').next());
    match path.and_then(|path| Path::new(path).parent()) {
        Some(folder) if !folder.as_os_str().is_empty() => {
            DirBuilder::new().recursive(true).mode(0o700).create(folder)
        }
        _ => Ok(()),
    }
}
