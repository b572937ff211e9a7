//! Records out of a file, stepping over what is damaged.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom},
    path::Path,
};

use crate::metering::{
    record::{self, FRAME_BYTES, MAX_RECORD_BYTES, Record},
    segment::SegmentName,
};

/// Read at once.
const WINDOW_BYTES: usize = 256 * 1024;

/// Reads one segment through a window.
#[derive(Debug)]
pub(in crate::metering) struct SegmentReader {
    name: SegmentName,
    file: File,
    window: Vec<u8>,
    /// Where the window begins in the file.
    window_at: u64,
}

impl SegmentReader {
    /// The reader of this segment: the present one, or a new one.
    pub(in crate::metering) fn of<'a>(
        present: &'a mut Option<Self>,
        directory: &Path,
        name: SegmentName,
    ) -> io::Result<&'a mut Self> {
        let reader = match present.take().filter(|reader| reader.name == name) {
            Some(reader) => reader,
            None => Self { name, file: File::open(name.path(directory))?, window: Vec::new(), window_at: 0 },
        };
        Ok(present.insert(reader))
    }

    /// The first whole record at or after `offset` and before `end`, and where it ends; `None` when there is none.
    pub(in crate::metering) fn next(
        &mut self,
        mut offset: u64,
        end: u64,
    ) -> io::Result<Option<(Record<'_>, u64)>> {
        let mut damaged: u64 = 0;
        while offset < end {
            self.reach(offset, end)?;
            let bytes = self.rest(offset);
            if bytes.is_empty() {
                break;
            }
            if let Some(record) = record::first(bytes) {
                let (kind, size) = (record.kind, record.size());
                self.report(damaged, offset);
                let payload = self.rest(offset).get(FRAME_BYTES..size).unwrap_or_default();
                return Ok(Some((Record { kind, payload }, offset + size as u64)));
            }
            let skip = damage(bytes, offset, end);
            offset += skip;
            damaged += skip;
        }
        self.report(damaged, end);
        Ok(None)
    }

    /// Moves the window, unless the largest record fits between `offset` and its end.
    fn reach(&mut self, offset: u64, end: u64) -> io::Result<()> {
        let ahead = self.rest(offset).len();
        let left = usize::try_from(end - offset).unwrap_or(usize::MAX);
        if ahead >= MAX_RECORD_BYTES.min(left) {
            return Ok(());
        }
        let room = WINDOW_BYTES.min(left);
        self.window_at = offset;
        // It is read into as it is: with zeros in it first, it would be written twice.
        self.window.clear();
        self.window.reserve_exact(room);
        let mut file = &self.file;
        file.seek(SeekFrom::Start(offset))?;
        file.take(room as u64).read_to_end(&mut self.window)?;
        Ok(())
    }

    /// What of the window stands at and after `offset`.
    fn rest(&self, offset: u64) -> &[u8] {
        let skip = offset.checked_sub(self.window_at).and_then(|skip| usize::try_from(skip).ok());
        skip.and_then(|skip| self.window.get(skip..)).unwrap_or_default()
    }

    fn report(&self, damaged: u64, offset: u64) {
        if damaged > 0 {
            let (journal, segment) = (self.name.journal, self.name.number);
            tracing::warn!(%journal, segment, damaged, offset, "a journal has damaged bytes (a torn end, as a crash leaves it, or a broken disk); they are left out");
        }
    }
}

/// How many bytes to step over. The last of the window may be a record that is whole only with what follows.
fn damage(bytes: &[u8], offset: u64, end: u64) -> u64 {
    let damage = record::damage(bytes);
    let all_seen = offset + bytes.len() as u64 >= end;
    let skip =
        if damage < bytes.len() || all_seen { damage } else { damage.saturating_sub(MAX_RECORD_BYTES) };
    skip.max(1) as u64
}
