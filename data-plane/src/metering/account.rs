//! How much the journals hold, for all cores together.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::writer::JournalFull;

/// Space that is kept free for the end of each call that has started, which takes about 100 bytes, and as many again where no other of its key is written with it. Its start takes no more.
pub(super) const EVENT_RESERVE_BYTES: u64 = 512;

/// Whether calls can be recorded. Those that cannot are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// They can.
    Good,
    /// As much waits for the control plane as may.
    AtBound,
    /// A disk is full, or broken.
    Unwritable,
}

/// Bytes on disk and events on their way.
#[derive(Debug)]
pub(crate) struct Account {
    max_bytes: u64,
    bytes: AtomicU64,
    reserved: AtomicU64,
    warned: AtomicBool,
    /// Journals whose disk did not take the last record.
    unwritable: AtomicU64,
    disk_failures: AtomicU64,
    recorded: AtomicU64,
    acknowledged: AtomicU64,
    unpriced: AtomicU64,
}

impl Account {
    /// New calls are refused past `max_bytes`. Calls that have started always find room for their event; what is carried from one segment
    /// to the next (the records of calls that are open) may go past the bound.
    pub(super) fn new(max_bytes: u64) -> Self {
        Self {
            max_bytes,
            bytes: AtomicU64::new(0),
            reserved: AtomicU64::new(0),
            warned: AtomicBool::new(false),
            unwritable: AtomicU64::new(0),
            disk_failures: AtomicU64::new(0),
            recorded: AtomicU64::new(0),
            acknowledged: AtomicU64::new(0),
            unpriced: AtomicU64::new(0),
        }
    }

    /// Whether calls can be recorded.
    pub(crate) fn standing(&self) -> Standing {
        let reserved = self.reserved.load(Ordering::Relaxed);
        if self.unwritable() > 0 {
            Standing::Unwritable
        } else if self.bytes().saturating_add(reserved).saturating_add(2 * EVENT_RESERVE_BYTES)
            > self.max_bytes
        {
            Standing::AtBound
        } else {
            Standing::Good
        }
    }

    /// Journals whose disk did not take the last record.
    pub(crate) fn unwritable(&self) -> u64 {
        self.unwritable.load(Ordering::Relaxed)
    }

    /// Records that a disk did not take at first.
    pub(crate) fn disk_failures(&self) -> u64 {
        self.disk_failures.load(Ordering::Relaxed)
    }

    /// A disk did not take a record; whether its journal could be written until then.
    pub(super) fn disk_failed(&self, was_writable: bool) {
        self.disk_failures.fetch_add(1, Ordering::Relaxed);
        if was_writable {
            self.unwritable.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A journal that could not be written can be, or is gone.
    pub(super) fn disk_recovered(&self) {
        self.unwritable.fetch_sub(1, Ordering::Relaxed);
    }

    /// Bytes on disk.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// The bound.
    pub(crate) fn max_bytes(&self) -> u64 {
        self.max_bytes
    }

    /// Events that the control plane has acknowledged since this process started.
    pub(crate) fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    /// Calls that were settled without a price.
    pub(crate) fn unpriced(&self) -> u64 {
        self.unpriced.load(Ordering::Relaxed)
    }

    /// A call was settled without a price.
    pub(super) fn settled_unpriced(&self) {
        self.unpriced.fetch_add(1, Ordering::Relaxed);
    }

    /// Events that were recorded, or read back from an earlier process's journals, and are not acknowledged.
    pub(crate) fn unsent(&self) -> u64 {
        self.recorded.load(Ordering::Relaxed).saturating_sub(self.acknowledged())
    }

    /// Calls that have started and have no event.
    pub(crate) fn open_calls(&self) -> u64 {
        self.reserved.load(Ordering::Relaxed) / EVENT_RESERVE_BYTES
    }

    /// Makes room for a call: for its start, and for its end.
    pub(super) fn admit(&self) -> Result<(), JournalFull> {
        let reserved = self.reserved.fetch_add(EVENT_RESERVE_BYTES, Ordering::Relaxed) + EVENT_RESERVE_BYTES;
        if self.bytes().saturating_add(reserved).saturating_add(EVENT_RESERVE_BYTES) > self.max_bytes {
            self.release();
            return Err(JournalFull::Bound { max_bytes: self.max_bytes });
        }
        Ok(())
    }

    /// A call that was admitted has its event, or did not start after all.
    pub(super) fn release(&self) {
        self.reserved.fetch_sub(EVENT_RESERVE_BYTES, Ordering::Relaxed);
    }

    /// Bytes are written, or about to be.
    pub(super) fn written(&self, size: u64) {
        let bytes = self.bytes.fetch_add(size, Ordering::Relaxed).saturating_add(size);
        let warn_at = self.max_bytes / 5 * 4;
        if bytes > warn_at && !self.warned.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                bytes,
                max_bytes = self.max_bytes,
                "the usage journal is at 80 % of its bound; calls are refused when it is full"
            );
        }
    }

    /// Bytes were not written after all.
    pub(super) fn not_written(&self, size: u64) {
        self.bytes.fetch_sub(size, Ordering::Relaxed);
    }

    /// Bytes were deleted.
    pub(super) fn deleted(&self, size: u64) {
        let before = self.bytes.fetch_sub(size, Ordering::Relaxed);
        if before.saturating_sub(size) < self.max_bytes / 2 {
            self.warned.store(false, Ordering::Relaxed);
        }
    }

    /// Events are on disk.
    pub(super) fn recorded(&self, events: u64) {
        self.recorded.fetch_add(events, Ordering::Relaxed);
    }

    /// Events are in the store.
    pub(super) fn stored(&self, events: u64) {
        self.acknowledged.fetch_add(events, Ordering::Relaxed);
    }
}
