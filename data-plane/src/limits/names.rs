//! The names that this worker had towards its control plane, on disk beside its journals. Whoever holds the lock of that folder knows that earlier lives are over, and says so: what they
//! held of parallel calls comes back at once.
//!
//! A name that is lost costs what its life had been lent, until the leases end: nobody uses more for it.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use bailiwick_quota::protocol::{HolderId, MAX_SUPERSEDED};

use crate::metering::FolderLock;

const FILE: &str = "holders";
const NEW_FILE: &str = "holders.new";

/// The names of this life and of earlier ones.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    folder: PathBuf,
    earlier: Vec<HolderId>,
    /// Whether the control plane has heard that the earlier ones are over.
    told: bool,
}

impl Names {
    /// Reads what earlier lives left. The lock is the proof that they are over. What cannot be read is as good as not there.
    pub(crate) fn left_in(folder: &Path, _over: &FolderLock) -> Self {
        let earlier = match fs::read_to_string(folder.join(FILE)) {
            Ok(text) => text.lines().filter_map(|line| line.parse().map(HolderId).ok()).collect(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => {
                tracing::warn!(%error, "earlier names of this worker cannot be read: what they were lent counts as used until its lease ends");
                Vec::new()
            }
        };
        Self { folder: folder.to_owned(), earlier, told: false }
    }

    /// Earlier names, the oldest first.
    pub(crate) fn earlier(&self) -> &[HolderId] {
        &self.earlier
    }

    /// The control plane has given this name, and so has heard of the earlier ones if it was the first of this life. Writes to the disk.
    pub(super) fn named(&mut self, holder: HolderId) -> io::Result<()> {
        if !std::mem::replace(&mut self.told, true) {
            self.earlier.clear();
        }
        self.earlier.push(holder);
        let over = self.earlier.len().saturating_sub(MAX_SUPERSEDED);
        self.earlier.drain(..over);
        let (path, new) = (self.folder.join(FILE), self.folder.join(NEW_FILE));
        let mut file = File::create(&new)?;
        for holder in &self.earlier {
            writeln!(file, "{}", holder.0)?;
        }
        file.sync_data()?;
        fs::rename(new, path)?;
        File::open(&self.folder)?.sync_all()
    }
}
#[cfg(test)]
mod tests;
