//! The folder of the journals: one process at a time, this one's journals, and those that earlier ones left.

use std::{
    collections::BTreeMap,
    fs::{self, DirBuilder, File, TryLockError},
    io::{self, Read as _},
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bailiwick_domain::time::Timestamp;
use bailiwick_runtime::{ops::Condition, resources::disk_free_bytes};
use tokio_util::sync::CancellationToken;
use ulid::Ulid;

use super::{
    account::{Account, Standing},
    charged::{self, Charged},
    published::Published,
    record::{self, Kind, MAX_RECORD_BYTES},
    report::Queue,
    segment::{Header, SEGMENT_BYTES, SegmentName},
    tail::Tail,
    writer::Writer,
};

const LOCK: &str = "lock";
/// Below this, a segment would be little but its head.
const SMALLEST_SEGMENT_BYTES: u64 = 16 * 1024;
/// How often it is looked whether calls can be recorded.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

/// Why the journals cannot be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JournalError {
    /// Two processes would send and delete each other's files.
    #[error("another process uses the journal folder {}: give each worker its own", .0.display())]
    InUse(PathBuf),
    /// Its usage would be taken for damage.
    #[error(
        "the usage journal {} was written by another build: start that build once more, so that it sends what is in it, and stop it when journals are empty; or move the file away", .0.display()
    )]
    OtherBuild(PathBuf),
    /// The folder cannot be read or written.
    #[error("cannot use the journal folder {}", .path.display())]
    Folder {
        /// Which one.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
}

/// All journals of this process.
pub(crate) struct Journals {
    /// One a core.
    pub(crate) writers: Vec<Writer>,
    /// What is to be sent.
    pub(crate) queue: Queue,
    /// What is to be synced.
    pub(crate) syncer: Syncer,
    /// How much there is.
    pub(crate) account: Arc<Account>,
    /// Held as long as the folder is used.
    pub(crate) lock: FolderLock,
    /// Whose journals there are.
    pub(crate) lives: Lives,
}

/// The journals of a folder, by whose they are.
#[derive(Clone, Debug)]
pub(crate) struct Lives {
    /// This process's.
    pub(crate) own: Vec<Ulid>,
    /// Those that earlier ones left, and what their calls were charged to limits of money.
    pub(crate) left: BTreeMap<Ulid, Charged>,
}

/// Keeps other processes out of a folder, until it is dropped or the process ends.
#[derive(Debug)]
pub(crate) struct FolderLock {
    _file: File,
}

impl Journals {
    /// Opens a folder (made when missing, for nobody else to read), begins a journal for each core, and finds what was left.
    ///
    /// # Errors
    /// [`JournalError`].
    pub(crate) fn open(
        directory: &Path,
        cores: usize,
        max_bytes: u64,
        now: Timestamp,
    ) -> Result<Self, JournalError> {
        let failed = |source| JournalError::Folder { path: directory.to_owned(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(failed)?;
        let lock = lock(directory)?;
        let account = Arc::new(Account::new(max_bytes));
        let left = left_journals(directory, &account).map_err(failed)?;
        understood(directory, &left)?;
        let mut lives = Lives { own: Vec::with_capacity(cores), left: charged::of_left(directory, &left) };
        let tail =
            |(journal, segments)| Tail::left(directory.to_owned(), journal, segments, Arc::clone(&account));
        let mut tails: Vec<Tail> = left.into_iter().map(tail).collect();
        let segment_bytes = segment_bytes(max_bytes, disk_free_bytes(directory).map_err(failed)?, cores);
        let mut writers = Vec::with_capacity(cores);
        for _ in 0..cores {
            let journal = Ulid::from_parts(now.as_millis(), rand::random());
            let writer =
                Writer::create(directory.to_owned(), journal, Arc::clone(&account)).map_err(failed)?;
            let writer = writer.with_segments_of(segment_bytes);
            tails.push(Tail::live(directory.to_owned(), journal, writer.published(), Arc::clone(&account)));
            lives.own.push(journal);
            writers.push(writer);
        }
        let syncer = Syncer::new(directory.to_owned(), writers.iter().map(Writer::published));
        Ok(Self { writers, queue: Queue::new(tails), syncer, account, lock, lives })
    }
}

/// A segment that is being written is not deleted, whatever is acknowledged of it: all of them together take up to a quarter of the room, so that the rest comes back.
fn segment_bytes(max_bytes: u64, free_bytes: u64, cores: usize) -> u64 {
    let cores = u64::try_from(cores.max(1)).unwrap_or(u64::MAX);
    (max_bytes.min(free_bytes) / 4 / cores).clamp(SMALLEST_SEGMENT_BYTES, SEGMENT_BYTES)
}

fn lock(directory: &Path) -> Result<FolderLock, JournalError> {
    let path = directory.join(LOCK);
    let failed = |source| JournalError::Folder { path: path.clone(), source };
    let file = File::create(&path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(FolderLock { _file: file }),
        Err(TryLockError::WouldBlock) => Err(JournalError::InUse(directory.to_owned())),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

/// The segments of each.
fn left_journals(directory: &Path, account: &Account) -> io::Result<BTreeMap<Ulid, Vec<u32>>> {
    let mut journals: BTreeMap<Ulid, Vec<u32>> = BTreeMap::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if let Some(name) = entry.file_name().to_str().and_then(SegmentName::parse) {
            account.written(entry.metadata()?.len());
            journals.entry(name.journal).or_default().push(name.number);
        }
    }
    if !journals.is_empty() {
        tracing::info!(
            journals = journals.len(),
            bytes = account.bytes(),
            "sending what earlier processes left"
        );
    }
    Ok(journals)
}

/// Refuses segments of another build. Of one that cannot be read just now, its usage waits until it can.
fn understood(directory: &Path, journals: &BTreeMap<Ulid, Vec<u32>>) -> Result<(), JournalError> {
    let names = journals.iter().flat_map(|(journal, numbers)| {
        numbers.iter().map(|number| SegmentName { journal: *journal, number: *number })
    });
    for name in names {
        let (path, mut head) = (name.path(directory), Vec::new());
        let read =
            File::open(&path).and_then(|file| file.take(MAX_RECORD_BYTES as u64).read_to_end(&mut head));
        let first = read.ok().and_then(|_| record::first(&head));
        if first.is_some_and(|first| first.kind == Kind::Header && Header::is_of_another_build(first.payload))
        {
            return Err(JournalError::OtherBuild(path));
        }
    }
    Ok(())
}

/// Says on `/readyz` whether calls can be recorded, until stopped.
pub(crate) async fn say_standing(account: Arc<Account>, condition: Condition, stop: CancellationToken) {
    let mut said = None;
    loop {
        let standing = account.standing();
        if said != Some(standing) {
            match standing {
                Standing::Good => condition.ready(),
                Standing::AtBound => condition.not_ready(
                    "as much usage waits for the control plane as journal.max_bytes allows: calls are refused until it has taken some",
                ),
                Standing::Unwritable => condition.not_ready(
                    "the disk of journal.dir takes no usage: calls are refused until it does",
                ),
            }
            said = Some(standing);
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(LOOK_INTERVAL) => {}
        }
    }
}

/// Brings what was written to the disk itself, in groups: a record survives the process at once, and the machine within the interval.
#[derive(Debug)]
pub(crate) struct Syncer {
    directory: PathBuf,
    journals: Vec<Synced>,
}

#[derive(Debug)]
struct Synced {
    published: Arc<Published>,
    /// Segment and length that are on the disk itself.
    to: (Option<u32>, u64),
}

impl Syncer {
    fn new(directory: PathBuf, journals: impl Iterator<Item = Arc<Published>>) -> Self {
        let journals = journals.map(|published| Synced { published, to: (None, 0) }).collect();
        Self { directory, journals }
    }

    /// Syncs every `interval` until stopped, and then once more.
    pub(crate) async fn run(mut self, interval: Duration, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(interval);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut failing = false;
        loop {
            let last = tokio::select! {
                () = stop.cancelled() => true,
                _ = ticks.tick() => false,
            };
            let syncing = tokio::task::spawn_blocking(move || {
                let outcome = self.sync();
                (self, outcome)
            });
            let Ok((syncer, outcome)) = syncing.await else { return };
            self = syncer;
            if let Err(error) = &outcome
                && !failing
            {
                tracing::error!(%error, "the usage journal cannot be synced: what was recorded survives this process, but not the machine");
            }
            failing = outcome.is_err();
            if last {
                return;
            }
        }
    }

    fn sync(&mut self) -> io::Result<()> {
        for journal in &mut self.journals {
            let (number, length, file, closed) = {
                let mut newest = journal.published.lock();
                let closed = std::mem::take(&mut newest.closed);
                (newest.number, newest.length, Arc::clone(&newest.file), closed)
            };
            for file in closed {
                file.sync_data()?;
            }
            if journal.to == (Some(number), length) {
                continue;
            }
            file.sync_data()?;
            if journal.to.0 != Some(number) {
                // A new file is there after a crash only when its folder is synced as well.
                File::open(&self.directory)?.sync_all()?;
            }
            journal.to = (Some(number), length);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
