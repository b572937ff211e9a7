//! `restore`: puts a backup in the place of what the configured store holds.

use std::{
    fmt::Write as _,
    fs::File,
    io::{self, BufReader, Read},
    net::{SocketAddr, TcpListener},
    path::PathBuf,
};

use anyhow::{Context as _, bail};
use bailiwick_core::backup::{
    format::Part,
    restoring::{Consent, Files, Restore, Restored},
};

use crate::{
    commands::{Format, progress::Progress},
    region::{self, Ground},
    settings::Settings,
};

/// Names of the two files in a backup's folder, as `bailiwick region backup` writes them.
const DATA: &str = "data.bailiwick";
const KEYS: &str = "keys.bailiwick";

/// What the operator asks for.
#[derive(Debug, clap::Args)]
pub(crate) struct RestoreArguments {
    /// The backup's folder: data.bailiwick and keys.bailiwick.
    #[arg(long, value_name = "DIR")]
    from: PathBuf,
    /// The keys.bailiwick of a later backup, instead of this one's. Organizations that were deleted before it was taken stay deleted.
    #[arg(long, value_name = "FILE")]
    keys: Option<PathBuf>,
    /// Replace the region that is in the store. Make a backup of it first, if it can still be read.
    #[arg(long)]
    replace: bool,
    /// Take keys that are past their end, and should have been deleted: they can bring deleted organizations back. Recorded as such.
    #[arg(long)]
    accept_expired_keys: bool,
    /// How the report is printed.
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    output: Format,
}

/// Restores while the control plane does not run. Gives the report.
///
/// # Errors
/// The control plane runs; the backup is another region's, damaged, or does not hold; a region is in the store and is not to be replaced. The store
/// is as it was then.
pub(crate) async fn restore(settings: &Settings, arguments: &RestoreArguments) -> anyhow::Result<String> {
    for address in [settings.admin, settings.workers, settings.enrollment] {
        refuse_while_served(address)?;
    }
    let ground = Ground::open(settings).await?;
    let files = Folder {
        data: arguments.from.join(DATA),
        keys: arguments.keys.clone().unwrap_or_else(|| arguments.from.join(KEYS)),
    };
    let consent = Consent {
        replace: arguments.replace,
        later_keys: arguments.keys.is_some(),
        expired_keys: arguments.accept_expired_keys,
    };
    let actor = region::actor(settings)?.to_string();
    let restore = Restore {
        store: ground.store.as_ref(),
        vault: ground.vault.as_ref(),
        clock: ground.clock.as_ref(),
        home: &settings.region.jurisdiction,
        installation: settings.region.trust_domain.installation(),
        actor: &actor,
    };
    let mut progress = Progress::new();
    let done = restore.run(&files, consent, &mut |what, rows| progress.tell(what, rows)).await;
    ground.sql.close().await;
    let done = done.context("nothing was restored, the store is as it was")?;
    match arguments.output {
        Format::Json => Ok(serde_json::to_string_pretty(&done)?),
        Format::Text => Ok(text(&done)),
    }
}

/// A control plane of this machine has its listeners open. One that was missed notices the new epoch, and reads everything anew.
fn refuse_while_served(address: SocketAddr) -> anyhow::Result<()> {
    match TcpListener::bind(address) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            bail!("{address} is in use: stop the region's control plane first")
        }
        _ => Ok(()),
    }
}

struct Folder {
    data: PathBuf,
    keys: PathBuf,
}

impl Files for Folder {
    fn open(&self, part: Part) -> io::Result<Box<dyn Read + Send>> {
        let path = match part {
            Part::Data => &self.data,
            Part::Keys => &self.keys,
        };
        let file = File::open(path);
        let file = file.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())));
        Ok(Box::new(BufReader::new(file?)))
    }
}

fn text(done: &Restored) -> String {
    let mut text = format!(
        "Restored {} of {}: {} rows, revision {}, new epoch {}.\n\
         What changed after that is lost, but what the replaced store had ended stays ended: {} keys revoked, {} workers or routers removed.\n\
         No join token works any more. Workers take a snapshot when the control plane is up again.",
        done.backup,
        done.as_of,
        done.rows,
        done.revision,
        done.epoch,
        done.keys_revoked,
        done.workers_removed
    );
    for organization in &done.organizations_deleted {
        // Writing to a String cannot fail.
        let _ = write!(text, "\n{organization} stays deleted: it has no data keys, or was deleted since.");
    }
    text
}

#[cfg(test)]
mod tests;
