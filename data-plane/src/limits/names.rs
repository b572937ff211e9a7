//! The names that this worker had towards its control plane, on disk beside its journals. Whoever holds the lock of that folder knows that earlier lives are over, and says so: what they
//! held of parallel calls comes back at once. And what they were lent of limits of money and did not use comes back when it is said what they used: their journals know it, as long as they are there. So a
//! life begins with writing down what earlier journals say, before any of them is sent and deleted; and it is said until the control plane has written it down.
//!
//! What is lost here costs what its life had been lent, until its window ends: nobody uses more for it.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use bailiwick_domain::time::Timestamp;
use bailiwick_quota::{
    holder::Charge,
    limit::{Account, LimitId},
    protocol::{Consumed, HolderId, MAX_SETTLED, MAX_SUPERSEDED, Settlement},
    window::Window,
};
use serde::{Deserialize, Serialize};
use ulid::Ulid;

use crate::metering::{Charged, FolderLock, Lives};

const FILE: &str = "holders";
const NEW_FILE: &str = "holders.new";
/// Earlier lives that are remembered. Each has to come to an end before its control plane has heard of the one before.
const MOST_LIVES: usize = 8;

/// The names of this life and of earlier ones.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    folder: PathBuf,
    /// The oldest first.
    earlier: Vec<Life>,
    own: Life,
    /// Whether the control plane has heard that the earlier ones are over.
    told: bool,
}

/// One process, from its start to its end.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Life {
    /// Its journals, one for each core: ULIDs.
    journals: Vec<String>,
    /// Its names, in their order: another one where its control plane had forgotten it.
    holders: Vec<u64>,
    /// What its calls were charged, once its journals were read. Absent: it runs, or nobody knows any more.
    charged: Option<Vec<Line>>,
}

/// A charge in the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Line {
    holder: u64,
    limit: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    deployment: Option<String>,
    window_starts_micros: i64,
    units: u64,
}

impl Names {
    /// Reads what earlier lives left, and writes down what their journals say. The lock is the proof that they are over. What cannot be read is as good as not there.
    pub(crate) fn left_in(folder: &Path, _over: &FolderLock, lives: &Lives) -> Self {
        let mut earlier: Vec<Life> = match fs::read(folder.join(FILE)) {
            Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_else(|error| unreadable(&error)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => unreadable(&error),
        };
        earlier.retain(|life| !life.holders.is_empty());
        earlier.drain(..earlier.len().saturating_sub(MOST_LIVES));
        for life in earlier.iter_mut().filter(|life| life.charged.is_none()) {
            life.charged = life.read(&lives.left);
        }
        let journals = lives.own.iter().map(Ulid::to_string).collect();
        let own = Life { journals, ..Life::default() };
        let names = Self { folder: folder.to_owned(), earlier, own, told: false };
        if let Err(error) = names.write() {
            tracing::warn!(%error, "what earlier lives of this worker used is not on disk: should this one be killed soon, what they were lent of limits of money counts as used");
        }
        names
    }

    /// Earlier names, the oldest first.
    pub(crate) fn earlier(&self) -> Vec<HolderId> {
        self.earlier.iter().flat_map(|life| &life.holders).copied().map(HolderId).collect()
    }

    /// What earlier lives used, as far as it is known, and has to be said.
    pub(super) fn settlements(&self) -> Vec<Settlement> {
        self.earlier.iter().flat_map(Life::settlements).collect()
    }

    /// The control plane has given this name, and so has heard of the earlier ones if it was the first of this life. Writes to the disk.
    pub(super) fn named(&mut self, holder: HolderId) -> io::Result<()> {
        if !std::mem::replace(&mut self.told, true) {
            // Of the others there is more to say.
            self.earlier.retain(|life| life.charged.is_some());
        }
        self.own.holders.push(holder.0);
        let over = self.own.holders.len().saturating_sub(MAX_SUPERSEDED);
        self.own.holders.drain(..over);
        self.write()
    }

    /// The control plane has written down what the life of this name used, or knows nothing of it. Writes to the disk.
    pub(super) fn settled(&mut self, holder: HolderId) -> io::Result<()> {
        for life in &mut self.earlier {
            life.holders.retain(|other| *other != holder.0);
            if let Some(charged) = &mut life.charged {
                charged.retain(|line| line.holder != holder.0);
            }
        }
        self.earlier.retain(|life| !life.holders.is_empty());
        self.write()
    }

    fn write(&self) -> io::Result<()> {
        let (path, new) = (self.folder.join(FILE), self.folder.join(NEW_FILE));
        let lives: Vec<&Life> = self.earlier.iter().chain([&self.own]).collect();
        let mut file = File::create(&new)?;
        file.write_all(&serde_json::to_vec(&lives)?)?;
        file.sync_data()?;
        fs::rename(new, path)?;
        File::open(&self.folder)?.sync_all()
    }
}

impl Life {
    /// What all of its journals together say; `None` when one of them is not there, or does not say everything.
    fn read(&self, left: &BTreeMap<Ulid, Charged>) -> Option<Vec<Line>> {
        let mut sums: BTreeMap<(HolderId, Account), (Window, u64)> = BTreeMap::new();
        for journal in &self.journals {
            let charges = left.get(&Ulid::from_string(journal).ok()?)?.as_ref()?;
            for Charge { account, window, holder, units } in charges {
                let (latest, sum) = sums.entry((*holder, *account)).or_insert((*window, 0));
                if window.starts > latest.starts {
                    (*latest, *sum) = (*window, *units);
                } else if window.starts == latest.starts {
                    *sum = sum.saturating_add(*units);
                }
            }
        }
        let lines = sums.into_iter().map(|((holder, account), (window, units))| Line {
            holder: holder.0,
            limit: account.limit.to_string(),
            key: account.key.map(|key| key.to_string()),
            model: account.model.map(|model| model.to_string()),
            deployment: account.deployment.map(|deployment| deployment.to_string()),
            window_starts_micros: window.starts.as_micros(),
            units,
        });
        let lines: Vec<Line> = lines.collect();
        (!self.journals.is_empty() && lines.len() <= MAX_SETTLED).then_some(lines)
    }

    /// One for each of its names.
    fn settlements(&self) -> Vec<Settlement> {
        let Some(charged) = &self.charged else { return Vec::new() };
        let settlement = |holder: &u64| {
            let own = charged.iter().filter(|line| line.holder == *holder);
            // A line that cannot be read would make less of what was used.
            let used = own.map(Line::consumed).collect::<Option<Vec<_>>>()?;
            Some(Settlement { holder: HolderId(*holder), used })
        };
        self.holders.iter().filter_map(settlement).collect()
    }
}

impl Line {
    fn consumed(&self) -> Option<Consumed> {
        let limit: LimitId = self.limit.parse().ok()?;
        let account = Account {
            limit,
            key: self.key.as_ref().map(|key| key.parse()).transpose().ok()?,
            member: None,
            model: self.model.as_ref().map(|model| model.parse()).transpose().ok()?,
            deployment: self.deployment.as_ref().map(|deployment| deployment.parse()).transpose().ok()?,
        };
        let window_starts = Timestamp::from_micros(self.window_starts_micros);
        Some(Consumed { account, window_starts, units: self.units })
    }
}

fn unreadable(error: &dyn std::error::Error) -> Vec<Life> {
    tracing::warn!(
        %error,
        "earlier names of this worker cannot be read: what they were lent counts as used until its lease ends"
    );
    Vec::new()
}

#[cfg(test)]
mod tests;
