//! A core's journal: one `write(2)` per record, at the end of its own file.
//!
//! A segment that has grown enough is followed by another, which begins with the records of the calls that are open: so a segment can be deleted
//! as soon as its events are acknowledged, however long a call of its time still runs, and segments are deleted in order.

use std::{
    collections::{HashMap, VecDeque},
    fs::File,
    io::{self, Write as _},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bailiwick_domain::usage::EventId;
use bailiwick_proto::worker::v1::UsageEvent;
use ulid::Ulid;

use super::{
    account::Account,
    record::{self, Kind},
    segment::{Header, SEGMENT_BYTES, SegmentName},
};

/// The call cannot be metered, so it must not be served.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JournalFull {
    /// Usage waits for the control plane up to a bound.
    #[error("the usage journal has reached its bound of {max_bytes} bytes")]
    Bound {
        /// The bound.
        max_bytes: u64,
    },
    /// This core has no journal.
    #[error("there is no usage journal")]
    Missing,
    /// The disk is full, or broken.
    #[error("the usage journal cannot be written")]
    Disk(#[source] io::Error),
}

/// More than a record has, so that a disk that takes it takes one.
const PROBE_BYTES: usize = 1024;

/// What others may know of a journal that is being written.
#[derive(Debug)]
pub(super) struct Published(Mutex<Newest>);

/// The newest segment.
#[derive(Debug)]
pub(super) struct Newest {
    pub(super) number: u32,
    /// Whole records end here.
    pub(super) length: u64,
    pub(super) file: Arc<File>,
    /// Files that may hold what is not synced: earlier segments.
    pub(super) closed: Vec<Arc<File>>,
    /// Nothing more will be written, and no call is open.
    pub(super) complete: bool,
}

impl Published {
    /// Held for a few instructions only.
    pub(super) fn lock(&self) -> MutexGuard<'_, Newest> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes one journal. Owned by one core; dropped when the core is done.
#[derive(Debug)]
pub(crate) struct Writer {
    directory: PathBuf,
    account: Arc<Account>,
    published: Arc<Published>,
    name: SegmentName,
    file: Arc<File>,
    length: u64,
    next_sequence: u64,
    /// Records of the calls that are open.
    open: HashMap<EventId, Box<[u8]>>,
    /// Records of events that the disk did not take; at most as many as calls were open.
    owed: VecDeque<Box<[u8]>>,
    scratch: Vec<u8>,
    /// Whether the disk did not take the last record.
    failing: bool,
    /// A segment is closed when it has grown past this.
    segment_bytes: u64,
}

impl Writer {
    /// Begins a journal.
    ///
    /// # Errors
    /// The file cannot be made.
    pub(super) fn create(directory: PathBuf, journal: Ulid, account: Arc<Account>) -> io::Result<Self> {
        let name = SegmentName { journal, number: 0 };
        let first_sequence = 1;
        let mut head = Vec::new();
        Header { name, first_sequence }.append(&mut head);
        let mut file = name.create(&directory)?;
        file.write_all(&head)?;
        let (file, length) = (Arc::new(file), size(&head));
        account.written(length);
        let newest =
            Newest { number: 0, length, file: Arc::clone(&file), closed: Vec::new(), complete: false };
        Ok(Self {
            directory,
            account,
            published: Arc::new(Published(Mutex::new(newest))),
            name,
            file,
            length,
            next_sequence: first_sequence,
            open: HashMap::new(),
            owed: VecDeque::new(),
            scratch: Vec::new(),
            failing: false,
            segment_bytes: SEGMENT_BYTES,
        })
    }

    /// Other segments than the largest: what is acknowledged is deleted a segment at a time, so they must be small beside what there is room for.
    pub(super) fn with_segments_of(mut self, bytes: u64) -> Self {
        self.segment_bytes = bytes;
        self
    }

    pub(super) fn published(&self) -> Arc<Published> {
        Arc::clone(&self.published)
    }

    /// Records that a call starts; `event` stands for it when nothing follows.
    pub(super) fn start(&mut self, id: EventId, event: &UsageEvent) -> Result<(), JournalFull> {
        self.pay().map_err(JournalFull::Disk)?;
        self.rotate_when_grown();
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        record::append_event(&mut scratch, Kind::Started, event);
        let outcome = self.account.admit(size(&scratch)).and_then(|()| {
            self.append(&scratch).map_err(|error| {
                self.account.release();
                JournalFull::Disk(error)
            })
        });
        if outcome.is_ok() {
            self.open.insert(id, scratch.as_slice().into());
        }
        self.scratch = scratch;
        outcome
    }

    /// Records how a call ended. When the disk does not take it, it is kept and written before anything else is.
    pub(super) fn settle(&mut self, id: EventId, event: &UsageEvent) {
        self.open.remove(&id);
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        record::append_event(&mut scratch, Kind::Event, event);
        if self.pay().and_then(|()| self.append_settled(&scratch)).is_err() {
            self.owed.push_back(scratch.as_slice().into());
        }
        self.account.release();
        self.scratch = scratch;
    }

    /// Tries a disk that failed again, when no call does: what is owed is on disk as soon as it can be.
    pub(super) fn try_again(&mut self) {
        if !self.failing || self.pay().is_err() {
            return;
        }
        if !self.failing {
            // Something was owed, and is written.
            return;
        }
        // Nothing is owed, because calls were refused: then it is tried with what no reader is told of, and what is taken back at once.
        let outcome = write_once(&self.file, &[0; PROBE_BYTES]);
        self.cut_back();
        self.note(&outcome);
    }

    /// Writes what is owed, oldest first.
    fn pay(&mut self) -> io::Result<()> {
        while let Some(bytes) = self.owed.pop_front() {
            if let Err(error) = self.append_settled(&bytes) {
                self.owed.push_front(bytes);
                return Err(error);
            }
        }
        Ok(())
    }

    fn append_settled(&mut self, event: &[u8]) -> io::Result<()> {
        self.append(event)?;
        self.next_sequence += 1;
        self.account.recorded(1);
        Ok(())
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let outcome = write_once(&self.file, bytes);
        self.note(&outcome);
        if let Err(error) = outcome {
            self.cut_back();
            return Err(error);
        }
        self.length += size(bytes);
        self.account.written(size(bytes));
        self.published.lock().length = self.length;
        Ok(())
    }

    /// Takes back what is no whole record. When it cannot be cut off, readers step over it.
    fn cut_back(&mut self) {
        if self.file.set_len(self.length).is_err() {
            // Never less than what was recorded, whatever a disk that fails says of itself.
            self.length = self.file.metadata().map_or(self.length, |file| file.len().max(self.length));
        }
    }

    /// Says it when the disk stops taking records, and when it takes them again.
    fn note(&mut self, outcome: &io::Result<()>) {
        match outcome {
            Err(error) => {
                self.account.disk_failed(!self.failing);
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::error!(%error, "the usage journal cannot be written; new calls are refused until it can");
                }
            }
            Ok(()) if self.failing => {
                self.failing = false;
                self.account.disk_recovered();
                tracing::info!(owed = self.owed.len(), "the usage journal can be written again");
            }
            Ok(()) => {}
        }
    }

    fn rotate_when_grown(&mut self) {
        if self.length < self.segment_bytes {
            return;
        }
        if let Err(error) = self.rotate() {
            tracing::warn!(%error, "the usage journal cannot begin a new segment; the old one goes on");
        }
    }

    fn rotate(&mut self) -> io::Result<()> {
        let name = SegmentName { number: self.name.number + 1, ..self.name };
        let mut head = Vec::new();
        Header { name, first_sequence: self.next_sequence }.append(&mut head);
        self.open.values().for_each(|started| head.extend_from_slice(started));
        let file = name.create(&self.directory)?;
        if let Err(error) = write_once(&file, &head) {
            let _ = std::fs::remove_file(name.path(&self.directory));
            return Err(error);
        }
        let before = std::mem::replace(&mut self.file, Arc::new(file));
        (self.name, self.length) = (name, size(&head));
        self.account.written(self.length);

        let mut newest = self.published.lock();
        newest.closed.push(before);
        (newest.number, newest.length, newest.file) = (name.number, self.length, Arc::clone(&self.file));
        Ok(())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let paid = self.pay().is_ok();
        if self.failing {
            self.account.disk_recovered();
        }
        self.published.lock().complete = paid && self.open.is_empty();
    }
}

/// One `write(2)`: a part of a record is a failure.
fn write_once(mut file: &File, bytes: &[u8]) -> io::Result<()> {
    loop {
        match file.write(bytes) {
            Ok(written) if written == bytes.len() => return Ok(()),
            Ok(_) => {
                return Err(io::Error::new(io::ErrorKind::WriteZero, "the disk took a part of a record"));
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn size(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
