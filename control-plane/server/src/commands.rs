//! What an operator runs on the control plane's own machine: `init`, `issue-certificate`, `join-token`, `verify-store`, `restore`. They
//! work on the store, also while the server runs (but for `restore`), and also when it does not. What they give is for `main` to print.

mod issue_certificate;
mod progress;
mod restore;
#[cfg(debug_assertions)]
mod sign_tokens;
mod verify_store;

pub(crate) use issue_certificate::CertificateArguments;
#[cfg(test)]
pub(crate) use issue_certificate::issue_certificate;
pub(crate) use restore::{RestoreArguments, restore};
#[cfg(debug_assertions)]
pub(crate) use sign_tokens::sign_tokens;
pub(crate) use verify_store::verify_store;

use std::{
    fs::{DirBuilder, OpenOptions},
    io::Write as _,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, bail};
use bailiwick_coordination::InProcess;
use bailiwick_core::{
    bootstrap::Established, caller::Caller, fleet::Fleet, idempotency::IdempotencyKey,
    ports::coordination::Coordination,
};
use bailiwick_domain::{
    key::JoinToken,
    spiffe::{ProcessRole, SpiffeId},
    usage::RequestId,
};
use bailiwick_runtime::configuration::SecretSource;
use bailiwick_vault::MasterKey;
use secrecy::ExposeSecret as _;

use crate::{
    region::{Ground, Region},
    settings::{MasterKeyPlace, Settings},
};

/// How a report is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// Makes what a region needs, once. Run again it changes nothing.
pub(crate) async fn init(settings: &Settings, generate_master_key: bool) -> anyhow::Result<String> {
    if generate_master_key {
        make_master_key(&settings.master_key.current)?;
    }
    let ground = Ground::open(settings).await?;
    let established = ground.establish(settings).await?;
    ground.sql.close().await;
    let region = Region::open(settings).await?;
    region.ground.sql.close().await;
    let done = match established {
        Established::Now => "is initialized",
        Established::Before => "was initialized before; nothing was changed",
    };
    let (name, fingerprint) = (&settings.region.region().name, region.authority.fingerprint());
    Ok(format!("The region {name} {done}.\nFingerprint of its certificate authority: {fingerprint}"))
}

/// A join token, which is shown this once.
pub(crate) async fn join_token(
    settings: &Settings,
    role: ProcessRole,
    name: &str,
    lifetime: Duration,
) -> anyhow::Result<JoinToken> {
    let region = Region::open(settings).await?;
    let revision = region.ground.store.revision().await?;
    let coordination: Arc<dyn Coordination> = Arc::new(InProcess::new(revision));
    let control_plane = region.control_plane(settings, coordination, Arc::new(Fleet::default()));
    // Whoever can read the master key may do what an operator may.
    let domain = settings.region.trust_domain.clone();
    let caller = Caller::new(SpiffeId::new(domain, ProcessRole::Operator, "local-command")?);
    let once: IdempotencyKey = RequestId::random().to_string().parse()?;
    let (token, _expires) = control_plane.join_token_create(&caller, once, role, name, lifetime).await?;
    region.ground.sql.close().await;
    token.context("no token was made")
}

fn make_master_key(place: &MasterKeyPlace) -> anyhow::Result<()> {
    let MasterKeyPlace::Here(SecretSource::File(path)) = place else {
        bail!("--generate-master-key writes a file, but master_key names none");
    };
    if path.exists() {
        return Ok(());
    }
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        DirBuilder::new().recursive(true).mode(0o700).create(folder).context("the master key's folder")?;
    }
    let text = MasterKey::generate_text()?;
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(text.expose_secret().as_bytes())?;
        file.sync_all()
    };
    write().with_context(|| format!("the master key cannot be written to {}", path.display()))
}
