//! Backup and restore of a region.
//!
//! A backup is two files. The *data* are all rows of all tables but one, the *keys* are the rows of that one: the wrapped data keys. Whoever restores needs
//! both; so a file of keys that was taken after an organization's deletion brings the organization back from no data, however old, and files of keys
//! have a stated end. [`format`](mod@format) says what stands in a file, [`writing`] makes them from one state of a store that is served meanwhile,
//! [`reading`] believes nothing of one, and [`restoring`] verifies all of it before it replaces anything.

pub mod format;
pub mod reading;
pub mod restoring;
pub mod writing;

use bailiwick_domain::time::Timestamp;

use crate::{
    inspection::{Findings, InspectionError},
    ports::{store::StoreError, vault::VaultError},
    process_audit::ProcessAuditError,
};
use format::Part;

/// Why a backup is not made, or not restored.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// It is another region's or installation's.
    #[error("the {part} are a backup of {found}; this is {expected}")]
    Foreign {
        /// Which file.
        part: Part,
        /// Region and installation that the file names.
        found: String,
        /// Ours.
        expected: String,
    },
    /// The file is not what it should be, as far as can be seen without its key.
    #[error("the file of the {part} is no backup that this build reads: {problem}")]
    NotABackup {
        /// Which file.
        part: Part,
        /// What is wrong.
        problem: &'static str,
    },
    /// A chunk does not open: not told apart, on purpose.
    #[error(
        "the {part} are damaged at chunk {chunk}: bytes were changed, moved, cut off or added, or it is sealed under another key"
    )]
    Damaged {
        /// Which file.
        part: Part,
        /// Counts from 0; the header is none.
        chunk: u64,
    },
    /// The two files do not belong together.
    #[error("the keys do not go with the data: {0}")]
    Mismatch(String),
    /// The file of keys is past its end.
    #[error(
        "the keys ended at {at}: they should have been deleted, because organizations may have been deleted since"
    )]
    Expired {
        /// When, RFC 3339.
        at: String,
    },
    /// The store's tables are not those of the backup.
    #[error(
        "the backup is of another schema (made by build {build}): restore it with that build, and then bring it up to date"
    )]
    Schema {
        /// Build that made it.
        build: String,
    },
    /// What was restored does not hold; nothing was replaced.
    #[error("what the backup holds does not hold together: {} problems, the first: {}", .0.problem_count, first(.0))]
    DoesNotHold(Box<Findings>),
    /// The file cannot be read.
    #[error("the {part} cannot be read")]
    Read {
        /// Which file.
        part: Part,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The store refuses.
    #[error("the store refused")]
    Store(#[from] StoreError),
    /// The vault refuses.
    #[error("the vault refused")]
    Vault(#[from] VaultError),
    /// What was restored cannot be verified.
    #[error("it cannot be verified")]
    Inspection(#[from] InspectionError),
    /// No record can be made, so it must not happen (R11).
    #[error("there is no record of it")]
    Audit(#[from] ProcessAuditError),
    /// Ours to mend.
    #[error("a part of the backup cannot be encoded")]
    Encoding(#[source] Box<dyn std::error::Error + Send + Sync>),
}

fn first(findings: &Findings) -> String {
    findings
        .problems
        .first()
        .map_or(String::new(), |problem| format!("{} {}: {}", problem.table, problem.row, problem.problem))
}

/// RFC 3339, UTC, seconds.
pub(crate) fn date(at: Timestamp) -> String {
    match jiff::Timestamp::from_second(at.as_micros().div_euclid(1_000_000)) {
        Ok(date) => date.to_string(),
        Err(_) => format!("{} microseconds since 1970", at.as_micros()),
    }
}
