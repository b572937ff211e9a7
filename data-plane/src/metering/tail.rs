//! Reads a journal back, in order, to be sent: one that is being written, or one that an earlier process left.
//!
//! Only the place in the file is kept, and the places that unacknowledged batches begin at; so what waits on disk takes no memory.

mod reading;

use std::{
    collections::{HashMap, VecDeque},
    fs, io,
    path::PathBuf,
    sync::Arc,
};

use bailiwick_proto::{
    encoded::{EncodedEvents, EventGatherer},
    worker::v1::UsageEvent,
};
use prost::Message as _;
use ulid::Ulid;

pub(super) use self::reading::SegmentReader;
use super::{
    account::Account,
    group::{Call, MOST_CALLS, RecordedGroup, Said, Started},
    published::Published,
    record::Kind,
    segment::{Header, SegmentName},
};

/// Events in a batch, at most: the contract's bound.
pub(super) const MAX_BATCH_EVENTS: usize = 1000;
// What is written together is sent together: it fits, however small calls are.
const _: () = assert!(MOST_CALLS <= MAX_BATCH_EVENTS);

/// What the events of a full batch take, nearly always.
const USUAL_BATCH_BYTES: usize = 96 * MAX_BATCH_EVENTS;

/// Events of one journal, without a gap between them.
#[derive(Debug, PartialEq)]
pub(super) struct Batch {
    pub(super) journal: Ulid,
    /// Sequence of the first of them.
    pub(super) first_sequence: u64,
    /// Each as it is recorded.
    pub(super) events: EncodedEvents,
}

/// What an event is called, in a record that is intact: its identifier.
type EventName = [u8; 16];

/// Adds the calls that ended, and tells how many. What a left journal says to have started is remembered among its open calls.
fn take_calls(
    group: RecordedGroup<'_>,
    mut open: Option<&mut HashMap<EventName, Started>>,
    events: &mut EventGatherer,
) -> u64 {
    let before = events.len();
    for call in group.calls {
        if let Some(open) = &mut open {
            // What is intact has a name.
            let Some(name) = event_id(&call) else { continue };
            match call.said {
                Said::Start => open.insert(name, Started::of(&call)),
                Said::End => open.remove(&name),
            };
        }
        if call.said == Said::End {
            events.push(call.subject, call.event);
        }
    }
    (events.len() - before) as u64
}

fn event_id(call: &Call<'_>) -> Option<EventName> {
    UsageEvent::decode(call.event).ok()?.event_id.as_ref().try_into().ok()
}

/// A place in a journal.
#[derive(Clone, Copy, Debug)]
struct Place {
    segment: u32,
    offset: u64,
    /// Of the next event.
    sequence: u64,
    /// Of the last event before it; they differ by more than one where events were lost to damage.
    last_event: u64,
    /// Orphans that were read, after the last segment.
    orphans: usize,
}

impl Place {
    /// Moves on by so many events.
    fn push(&mut self, events: u64) {
        if events > 0 {
            self.sequence += events;
            self.last_event = self.sequence - 1;
        }
    }
}

/// A batch that is not acknowledged.
#[derive(Debug)]
struct Sent {
    last_sequence: u64,
    /// How many events it has.
    count: u64,
    begins: Place,
}

/// A segment that was read to its end and will not grow.
#[derive(Debug)]
struct Passed {
    segment: u32,
    last_sequence: u64,
}

/// The reading end of one journal.
#[derive(Debug)]
pub(super) struct Tail {
    directory: PathBuf,
    journal: Ulid,
    account: Arc<Account>,
    /// Absent for a journal that an earlier process left.
    live: Option<Arc<Published>>,
    /// Of a left journal: its segments, in order.
    left: Vec<u32>,
    place: Place,
    reader: Option<SegmentReader>,
    sent: VecDeque<Sent>,
    passed: VecDeque<Passed>,
    /// The last event that was read.
    read_to: u64,
    acknowledged: u64,
    /// Of a left journal: calls that started, as far as it is read, and have no event.
    open: HashMap<EventName, Started>,
    at_end: bool,
    /// Whether the last reading failed: it is logged once.
    failing: bool,
}

impl Tail {
    /// Follows a journal that is being written.
    pub(super) fn live(
        directory: PathBuf,
        journal: Ulid,
        published: Arc<Published>,
        account: Arc<Account>,
    ) -> Self {
        Self::new(directory, journal, Some(published), vec![0], account)
    }

    /// Reads a journal that an earlier process left, in these segments.
    pub(super) fn left(
        directory: PathBuf,
        journal: Ulid,
        mut segments: Vec<u32>,
        account: Arc<Account>,
    ) -> Self {
        segments.sort_unstable();
        Self::new(directory, journal, None, segments, account)
    }

    fn new(
        directory: PathBuf,
        journal: Ulid,
        live: Option<Arc<Published>>,
        left: Vec<u32>,
        account: Arc<Account>,
    ) -> Self {
        let place = Place {
            segment: left.first().copied().unwrap_or_default(),
            offset: 0,
            sequence: 1,
            last_event: 0,
            orphans: 0,
        };
        Self {
            directory,
            journal,
            account,
            live,
            left,
            place,
            reader: None,
            sent: VecDeque::new(),
            passed: VecDeque::new(),
            read_to: 0,
            acknowledged: 0,
            open: HashMap::new(),
            at_end: false,
            failing: false,
        }
    }

    pub(super) fn journal(&self) -> Ulid {
        self.journal
    }

    /// Batches that are not acknowledged.
    pub(super) fn in_flight(&self) -> usize {
        self.sent.len()
    }

    /// Whether everything is read, acknowledged and deleted, and nothing more will be written.
    pub(super) fn is_done(&self) -> bool {
        self.at_end && self.passed.is_empty()
    }

    /// Whether [`Self::read`] has anything to do. Touches no disk.
    pub(super) fn has_work(&self) -> bool {
        if self.passed.front().is_some_and(|passed| passed.last_sequence <= self.acknowledged) {
            return true;
        }
        let Some(live) = &self.live else { return !self.at_end };
        let newest = live.lock();
        newest.number > self.place.segment
            || newest.length > self.place.offset
            || (newest.complete && !self.at_end)
    }

    /// The next events; `None` when there are none yet, or when the disk fails: then they come with a later call. Deletes what is
    /// acknowledged.
    pub(super) fn read(&mut self) -> Option<Batch> {
        self.delete_acknowledged();
        let begins = self.place;
        let (first_sequence, events) = match self.collect() {
            Ok(collected) => collected,
            Err(error) => {
                (self.place, self.reader) = (begins, None);
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::error!(%error, journal = %self.journal, "a journal cannot be read; its usage waits until it can");
                }
                return None;
            }
        };
        self.failing = false;
        self.delete_acknowledged();
        let count = events.len() as u64;
        let last_sequence = first_sequence + count.checked_sub(1)?;
        if self.live.is_none() {
            self.account.recorded(last_sequence.saturating_sub(self.read_to).min(count));
        }
        self.read_to = self.read_to.max(last_sequence);
        self.sent.push_back(Sent { last_sequence, count, begins });
        Some(Batch { journal: self.journal, first_sequence, events })
    }

    /// Everything up to `sequence` is stored. Answers false for what was not sent.
    pub(super) fn acknowledge(&mut self, sequence: u64) -> bool {
        if sequence > self.read_to {
            return false;
        }
        self.acknowledged = self.acknowledged.max(sequence);
        while let Some(stored) = self.sent.front().filter(|sent| sent.last_sequence <= self.acknowledged) {
            self.account.stored(stored.count);
            self.sent.pop_front();
        }
        true
    }

    /// What is not acknowledged is to be read again.
    pub(super) fn rewind(&mut self) {
        if let Some(oldest) = self.sent.front() {
            self.place = oldest.begins;
            self.at_end = false;
            self.reader = None;
        }
        self.sent.clear();
    }

    /// Events from the present place on, as many as fit a batch, and the sequence of the first.
    fn collect(&mut self) -> io::Result<(u64, EncodedEvents)> {
        let mut first_sequence = self.place.sequence;
        let (mut end, mut closed) = self.extent()?;
        let ahead = usize::try_from(end.saturating_sub(self.place.offset)).unwrap_or(usize::MAX);
        let mut events = EventGatherer::with_capacity(ahead.min(USUAL_BATCH_BYTES));
        while events.len() < MAX_BATCH_EVENTS && !self.at_end {
            if self.place.offset >= end {
                if !closed {
                    break;
                }
                self.next_segment(&mut events);
                (end, closed) = self.extent()?;
                continue;
            }
            let name = SegmentName { journal: self.journal, number: self.place.segment };
            let reader = SegmentReader::of(&mut self.reader, &self.directory, name)?;
            let Some((record, next)) = reader.next(self.place.offset, end)? else {
                self.place.offset = end;
                continue;
            };
            if record.kind == Kind::Header {
                if Header::is_of_another_build(record.payload) {
                    return Err(io::Error::other("another build wrote it"));
                }
                let header = Header::parse(record.payload).filter(|header| header.name == name);
                let begins = header.map_or(0, |header| header.first_sequence);
                if begins > self.place.sequence {
                    // Events were lost to damage. The sequence goes on where the writer went on, in a batch of its own.
                    if !events.is_empty() {
                        break;
                    }
                    (self.place.sequence, first_sequence) = (begins, begins);
                }
            } else if record.kind == Kind::Calls
                && let Some(group) = RecordedGroup::read(record.payload)
            {
                if events.len() + group.ends > MAX_BATCH_EVENTS && !events.is_empty() {
                    break;
                }
                let open = self.live.is_none().then_some(&mut self.open);
                self.place.push(take_calls(group, open, &mut events));
            }
            self.place.offset = next;
        }
        Ok((first_sequence, events.finish()))
    }

    /// Goes on to the next segment; after the last, to the calls that started and have no event.
    fn next_segment(&mut self, events: &mut EventGatherer) {
        let present = self.place.segment;
        let next = match &self.live {
            Some(live) => (live.lock().number > present).then(|| present + 1),
            None => self.left.iter().copied().find(|number| *number > present),
        };
        if next.is_none() {
            self.take_orphans(events);
            self.at_end = self.place.orphans >= self.open.len();
            if !self.at_end {
                return;
            }
        }
        if self.passed.back().is_none_or(|passed| passed.segment < present) {
            self.passed.push_back(Passed { segment: present, last_sequence: self.place.last_event });
        }
        if let Some(next) = next {
            (self.place.segment, self.place.offset) = (next, 0);
        }
    }

    /// In an order that is the same each time that the journal is read: so each has the same sequence.
    fn take_orphans(&mut self, events: &mut EventGatherer) {
        let mut orphans: Vec<(&EventName, &Started)> = self.open.iter().collect();
        orphans.sort_unstable_by_key(|(name, _)| *name);
        let room = MAX_BATCH_EVENTS.saturating_sub(events.len());
        let before = events.len();
        for (_, started) in orphans.into_iter().skip(self.place.orphans).take(room) {
            let call = started.call();
            events.push(call.subject, call.event);
        }
        let taken = events.len() - before;
        self.place.orphans += taken;
        self.place.push(taken as u64);
        if taken > 0 {
            tracing::warn!(journal = %self.journal, calls = taken, "calls were interrupted when the worker died; they are metered as such");
        }
    }

    /// Where the present segment ends, and whether it will not grow.
    fn extent(&self) -> io::Result<(u64, bool)> {
        if let Some(live) = &self.live {
            let newest = live.lock();
            if newest.number == self.place.segment {
                return Ok((newest.length, newest.complete));
            }
        }
        let name = SegmentName { journal: self.journal, number: self.place.segment };
        match fs::metadata(name.path(&self.directory)) {
            Ok(file) => Ok((file.len(), true)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok((0, true)),
            Err(error) => Err(error),
        }
    }

    fn delete_acknowledged(&mut self) {
        while let Some(passed) =
            self.passed.front().filter(|passed| passed.last_sequence <= self.acknowledged)
        {
            let path = SegmentName { journal: self.journal, number: passed.segment }.path(&self.directory);
            let size = fs::metadata(&path).map_or(0, |file| file.len());
            match fs::remove_file(&path) {
                Ok(()) => self.account.deleted(size),
                // It is sent again after the next start, and the store knows its events.
                Err(error) => {
                    tracing::warn!(%error, path = %path.display(), "a sent journal segment cannot be deleted")
                }
            }
            self.passed.pop_front();
        }
    }
}

#[cfg(test)]
mod tests;
