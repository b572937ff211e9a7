//! Restores a backup: first everything is verified, then every row is replaced in one transaction, then what was written is inspected, and only then
//! it counts. Whatever fails before leaves the present store as it was.

use std::io::{self, Read};

use bailiwick_domain::{
    guard::Guard,
    id::BackupId,
    jurisdiction::Jurisdiction,
    time::{Clock, Timestamp},
};
use serde::Serialize;
use ulid::Ulid;

use super::{
    BackupError, date,
    format::{Header, Part, Shape, shapes},
    reading::{Chunks, PartFile},
};
use crate::{
    inspection::inspect,
    ports::{
        rows::{Replacement, Settled},
        store::Store,
        vault::{KeyScope, Vault},
    },
    process_audit::{self, ProcessAuditError},
    records::{Chain, Revision},
};

const RECORD: &str = "region.restore";
const RECORD_OF_EXPIRED_KEYS: &str = "region.restore_with_expired_keys";

/// Where the two files are. Each is read twice.
pub trait Files: Send + Sync {
    /// Opens one at its beginning.
    fn open(&self, part: Part) -> io::Result<Box<dyn Read + Send>>;
}

/// What the operator says beside naming the files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Consent {
    /// A region is in the store: replace it.
    pub replace: bool,
    /// The keys are of another backup, taken later than the data.
    pub later_keys: bool,
    /// The keys are past their end.
    pub expired_keys: bool,
}

/// Where a backup is restored.
pub struct Restore<'a> {
    /// The store whose rows are replaced.
    pub store: &'a dyn Store,
    /// This region's.
    pub vault: &'a dyn Vault,
    /// Tells the time.
    pub clock: &'a dyn Clock,
    /// This region.
    pub home: &'a Jurisdiction,
    /// This installation.
    pub installation: &'a str,
    /// Whom the record names.
    pub actor: &'a str,
}

/// What was restored.
#[derive(Clone, Debug, Serialize)]
pub struct Restored {
    /// The backup that the data are of.
    pub backup: BackupId,
    /// The backup that the keys are of.
    pub keys_of: BackupId,
    /// When its reading began: what changed after that is lost. RFC 3339.
    pub as_of: String,
    /// The new epoch.
    pub epoch: String,
    /// The revision that holds now.
    pub revision: u64,
    /// Rows that were restored.
    pub rows: u64,
    /// Organizations without data keys, or deleted in the store that was replaced: they are deleted now.
    pub organizations_deleted: Vec<String>,
    /// Keys that the replaced store had revoked.
    pub keys_revoked: u64,
    /// Workers and routers that the replaced store had removed.
    pub workers_removed: u64,
}

impl Restore<'_> {
    /// Restores. `progress` hears of each chunk: what is done, and how many rows.
    ///
    /// # Errors
    /// Every [`BackupError`]; the store is as it was then.
    pub async fn run(
        &self,
        files: &dyn Files,
        consent: Consent,
        progress: &mut (dyn FnMut(&str, u64) + Send),
    ) -> Result<Restored, BackupError> {
        let now = self.clock.now();
        let data = self.open(files, Part::Data)?;
        let keys = self.open(files, Part::Keys)?;
        let (of_data, of_keys) = (data.header.clone(), keys.header.clone());
        check_pair(&of_data, &of_keys, consent, now)?;
        for file in [data, keys] {
            let (name, mut rows) = (format!("{} verified", file.header.part), 0);
            let mut chunks = file.unlock(self.vault).await?;
            while let Some((_, page)) = chunks.rows()? {
                rows += page.len() as u64;
                progress(&name, rows);
            }
        }
        let mut replacement = self.store.replacement(consent.replace).await?;
        let rows = self.fill(files, replacement.as_mut(), progress).await?;
        let epoch = Ulid::from_parts(now.as_millis(), rand::random()).to_string();
        let settled = replacement.settle(&epoch, now).await?;
        let findings = inspect(replacement.rows(), self.vault, self.home, progress).await?;
        if !findings.hold() {
            return Err(BackupError::DoesNotHold(Box::new(findings)));
        }
        let expired = of_keys.keys_expire_at_micros <= now;
        let revision = self.commit(replacement, &of_data, expired, now).await?;
        Ok(restored(&of_data, &of_keys, epoch, revision, rows, settled))
    }

    /// Opens a file, and refuses one of another region or installation by name.
    fn open(&self, files: &dyn Files, part: Part) -> Result<PartFile, BackupError> {
        let input = files.open(part).map_err(|source| BackupError::Read { part, source })?;
        let file = PartFile::open(part, input)?;
        let home = self.home.region();
        let ours = file.header.region == home.name && file.header.installation == self.installation;
        if ours || !Guard::BackupRegion.stands() {
            return Ok(file);
        }
        let found = format!("{}.{}", file.header.region, file.header.installation);
        Err(BackupError::Foreign { part, found, expected: format!("{}.{}", home.name, self.installation) })
    }

    async fn fill(
        &self,
        files: &dyn Files,
        replacement: &mut dyn Replacement,
        progress: &mut (dyn FnMut(&str, u64) + Send),
    ) -> Result<u64, BackupError> {
        let mut all = 0;
        for part in Part::ALL {
            let file = self.open(files, part)?;
            let build = file.header.build.clone();
            let mut chunks = file.unlock(self.vault).await?;
            let tables = replacement.rows().tables().to_vec();
            let expected = shapes(part, &tables);
            let numbers: Vec<usize> = (0..tables.len())
                .filter(|number| tables.get(*number).is_some_and(|table| part.holds(&table.name)))
                .collect();
            while let Some((place, rows)) = chunks.rows()? {
                check_shape(&chunks, &expected, &build)?;
                let number = numbers.get(place).copied().unwrap_or(usize::MAX);
                replacement.insert(number, &rows).await?;
                all += rows.len() as u64;
                progress("rows restored", all);
            }
            check_shape(&chunks, &expected, &build)?;
        }
        Ok(all)
    }

    async fn commit(
        &self,
        mut replacement: Box<dyn Replacement>,
        of_data: &Header,
        expired: bool,
        now: Timestamp,
    ) -> Result<Revision, BackupError> {
        let keys = replacement.rows().data_keys(KeyScope::Region).await?;
        let newest = keys.last().ok_or(ProcessAuditError::NoKey)?;
        let key = self.vault.unlock(newest).await?;
        let action = if expired { RECORD_OF_EXPIRED_KEYS } else { RECORD };
        let subject = format!("{} of {}", of_data.backup, date(of_data.created_at_micros));
        let record = process_audit::seal(key.as_ref(), Chain::Region, now, self.actor, action, subject)?;
        Ok(replacement.commit(record).await?)
    }
}

fn check_shape(chunks: &Chunks, expected: &[Shape], build: &str) -> Result<(), BackupError> {
    if chunks.shapes() == expected {
        return Ok(());
    }
    Err(BackupError::Schema { build: build.to_owned() })
}

/// Keys belong to the data when they are of the same backup, or were taken later, which the operator has to say. Earlier ones would lack keys of
/// what the data hold, and that would read as if organizations had been deleted.
fn check_pair(data: &Header, keys: &Header, consent: Consent, now: Timestamp) -> Result<(), BackupError> {
    if keys.backup != data.backup {
        if !consent.later_keys {
            let problem = format!("they are of the backup {}, and the data of {}", keys.backup, data.backup);
            return Err(BackupError::Mismatch(problem));
        }
        if keys.created_at_micros < data.created_at_micros {
            let problem = format!(
                "they were taken at {}, before the data ({})",
                date(keys.created_at_micros),
                date(data.created_at_micros)
            );
            return Err(BackupError::Mismatch(problem));
        }
    }
    if keys.keys_expire_at_micros <= now && !consent.expired_keys {
        return Err(BackupError::Expired { at: date(keys.keys_expire_at_micros) });
    }
    Ok(())
}

fn restored(
    data: &Header,
    keys: &Header,
    epoch: String,
    revision: Revision,
    rows: u64,
    settled: Settled,
) -> Restored {
    Restored {
        backup: data.backup,
        keys_of: keys.backup,
        as_of: date(data.created_at_micros),
        epoch,
        revision: revision.0,
        rows,
        organizations_deleted: settled.organizations_deleted.iter().map(ToString::to_string).collect(),
        keys_revoked: settled.keys_revoked,
        workers_removed: settled.workers_removed,
    }
}
