//! A core's journal: calls that start or end are gathered, and go to the end of its own file together, as one record and with one `write(2)`, before anything that they stand for happens: no
//! provider hears of a call, and no caller sees its end, while they wait ([`super::Recorded`], [`super::OpenCall::settle`]).
//!
//! A segment that has grown enough is followed by another, which begins with the calls that are open, and with the sums of what calls were charged: so a segment can be deleted
//! as soon as its events are acknowledged, however long a call of its time still runs, and segments are deleted in order.

use std::{
    collections::{HashMap, VecDeque},
    fs::File,
    io::{self, Write as _},
    path::PathBuf,
    sync::Arc,
};

use bailiwick_domain::usage::{EventId, UsageEvent};
use bailiwick_quota::holder::Charge;
use foldhash::quality::RandomState;
use ulid::Ulid;

use super::{
    account::Account,
    charged::Sums,
    group::{EncodedCall, GATHERED_BYTES, Group, Said, Started},
    published::{Newest, Published},
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
    /// The calls that are open.
    open: HashMap<EventId, Started, RandomState>,
    /// Calls that are to be written next.
    gathered: Group,
    /// Those of them that start, in their order.
    starts: Vec<EventId>,
    /// Room for a call, while it is encoded.
    encoded: EncodedCall,
    /// Room for a record, while it is written.
    record: Vec<u8>,
    /// Records of calls that ended, and that the disk did not take, each by itself; at most as many as were open.
    owed: VecDeque<Box<[u8]>>,
    /// What calls were charged to limits of money.
    sums: Sums,
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
            published: Arc::new(Published::new(newest)),
            name,
            file,
            length,
            next_sequence: first_sequence,
            open: HashMap::default(),
            gathered: Group::default(),
            starts: Vec::new(),
            encoded: EncodedCall::default(),
            record: Vec::new(),
            owed: VecDeque::new(),
            sums: Sums::for_segments_of(SEGMENT_BYTES),
            failing: false,
            segment_bytes: SEGMENT_BYTES,
        })
    }

    /// Other segments than the largest: what is acknowledged is deleted a segment at a time, so they must be small beside what there is room for.
    pub(super) fn with_segments_of(mut self, bytes: u64) -> Self {
        self.segment_bytes = bytes;
        self.sums = Sums::for_segments_of(bytes);
        self
    }

    /// Another disk.
    #[cfg(test)]
    pub(crate) fn write_to(&mut self, file: Arc<File>) -> Arc<File> {
        std::mem::replace(&mut self.file, file)
    }

    pub(super) fn published(&self) -> Arc<Published> {
        Arc::clone(&self.published)
    }

    /// Records that a call starts, with the next [`Self::write`]; `event` stands for it when nothing follows. While the disk takes nothing, calls are
    /// refused at once.
    pub(super) fn start(&mut self, id: EventId, event: &UsageEvent) -> Result<(), JournalFull> {
        if self.failing {
            self.write().map_err(JournalFull::Disk)?;
        }
        self.account.admit()?;
        self.encoded.set(None, event, &[]);
        self.open.insert(id, self.encoded.kept());
        self.starts.push(id);
        self.gather(Said::Start);
        if self.failing || self.gathered.record_bytes() >= GATHERED_BYTES {
            self.write().map_err(JournalFull::Disk)?;
        }
        Ok(())
    }

    /// Adds the call that is encoded to what is written next.
    fn gather(&mut self, said: Said) {
        let before = self.gathered.record_bytes();
        self.gathered.push(&self.encoded.says(said));
        self.account.written((self.gathered.record_bytes() - before) as u64);
    }

    /// Records how a call ended, and what it was charged, with the next [`Self::write`]. When the disk does not take it, it is kept and written before anything else is.
    pub(super) fn settle(&mut self, id: EventId, event: &UsageEvent, charges: &[Charge]) {
        if self.gathered.record_bytes() >= GATHERED_BYTES {
            // While the call is still open: should a segment begin with this, it begins with the call's start too. What the disk does not take is owed.
            let _ = self.write();
        }
        for charge in charges {
            if !self.sums.add(charge) {
                tracing::warn!(
                    "this worker is charged for more accounts than its journal sums up: should it be killed, what it was lent of limits of money counts as used"
                );
            }
        }
        let started = self.open.remove(&id);
        if started.is_some() {
            self.account.release();
        }
        if !event.priced {
            self.account.settled_unpriced();
        }
        self.encoded.set(started.as_ref().map(Started::asked), event, charges);
        self.gather(Said::End);
    }

    /// Whether the call's start is on disk, or may still come there.
    pub(super) fn is_open(&self, id: &EventId) -> bool {
        self.open.contains_key(id)
    }

    /// Calls that have started, and not ended.
    pub(super) fn open_calls(&self) -> usize {
        self.open.len()
    }

    /// Whether records wait.
    pub(super) fn is_behind(&self) -> bool {
        !self.gathered.is_empty()
    }

    /// Writes what is owed, and then what has gathered.
    ///
    /// # Errors
    /// The disk did not take it: calls whose start was among it are not open any more, and events are owed.
    pub(super) fn write(&mut self) -> io::Result<()> {
        let (mut gathered, mut starts) =
            (std::mem::take(&mut self.gathered), std::mem::take(&mut self.starts));
        let written = self.pay().and_then(|()| self.append_group(&gathered));
        match written {
            Ok(()) => self.settled(gathered.ends()),
            Err(_) => self.take_back(&gathered, &starts),
        }
        // Their room serves the next.
        gathered.clear();
        starts.clear();
        (self.gathered, self.starts) = (gathered, starts);
        if written.is_ok() {
            self.rotate_when_grown();
        }
        written
    }

    /// Calls have not started after all, unless they have ended; those that ended are owed.
    fn take_back(&mut self, gathered: &Group, starts: &[EventId]) {
        self.account.not_written(gathered.record_bytes() as u64);
        for id in starts {
            if self.open.remove(id).is_some() {
                self.account.release();
            }
        }
        let (mut alone, mut record) = (Group::default(), Vec::new());
        for call in gathered.calls().filter(|call| call.said == Said::End) {
            alone.push(&call);
            alone.append(&mut record);
            self.owed.push_back(record.as_slice().into());
            alone.clear();
            record.clear();
        }
    }

    /// Tries a disk that failed again, when no call does: what is owed is on disk as soon as it can be.
    pub(super) fn try_again(&mut self) {
        if !self.failing || self.write().is_err() {
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
        while let Some(record) = self.owed.pop_front() {
            if let Err(error) = self.append(&record) {
                self.owed.push_front(record);
                return Err(error);
            }
            self.account.written(size(&record));
            self.settled(1);
        }
        Ok(())
    }

    fn append_group(&mut self, group: &Group) -> io::Result<()> {
        if group.is_empty() {
            return Ok(());
        }
        let mut record = std::mem::take(&mut self.record);
        record.clear();
        group.append(&mut record);
        let outcome = self.append(&record);
        self.record = record;
        outcome
    }

    fn settled(&mut self, events: u64) {
        self.next_sequence += events;
        self.account.recorded(events);
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let outcome = write_once(&self.file, bytes);
        self.note(&outcome);
        if let Err(error) = outcome {
            self.cut_back();
            return Err(error);
        }
        self.length += size(bytes);
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
        self.append_open(&mut head);
        self.sums.append(&mut head);
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

    fn append_open(&self, head: &mut Vec<u8>) {
        let mut group = Group::default();
        for started in self.open.values() {
            if group.record_bytes() >= GATHERED_BYTES {
                group.append(head);
                group.clear();
            }
            group.push(&started.call());
        }
        group.append(head);
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let paid = self.write().is_ok();
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
