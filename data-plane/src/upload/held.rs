//! What of a form is held: copied into blocks, so that what it takes is what is counted, however small the pieces were that it came in.

use std::{collections::VecDeque, ops::Range};

use bailiwick_runtime::serving::ApiError;
use bytes::{Bytes, BytesMut};

use crate::{error, memory::Hold};

/// Bytes that are taken from the system, and counted, at once.
const BLOCK: usize = 64 << 10;

/// It grows.
pub(super) struct Growing {
    hold: Hold,
    full: Vec<Bytes>,
    last: BytesMut,
    /// Of all blocks, with the room in them.
    taken: usize,
    bytes: usize,
    announced: Option<usize>,
}

/// It is as large as it will be.
pub(super) struct Held {
    blocks: Vec<Bytes>,
    bytes: usize,
    model_at: Range<usize>,
    /// As long as anybody has a part of it.
    _hold: Hold,
}

impl Held {
    /// Nothing, yet. `announced`: bytes of the whole form, where they are known.
    #[expect(clippy::new_ret_no_self, reason = "it grows first")]
    pub(super) fn new(hold: Hold, announced: Option<u64>) -> Growing {
        let announced = announced.and_then(|bytes| usize::try_from(bytes).ok());
        Growing { hold, full: Vec::new(), last: BytesMut::new(), taken: 0, bytes: 0, announced }
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn blocks(&self) -> &[Bytes] {
        &self.blocks
    }

    /// Where the model's name stands in it.
    pub(super) fn model_at(&self) -> &Range<usize> {
        &self.model_at
    }

    /// All of it, with another name of the model. Nothing is copied.
    pub(super) fn with_model(&self, model: &str) -> VecDeque<Bytes> {
        let Range { start, end } = self.model_at;
        let mut pieces = VecDeque::with_capacity(self.blocks.len() + 2);
        let (mut at, mut is_told) = (0, false);
        for block in &self.blocks {
            let within = |place: usize| place.saturating_sub(at).min(block.len());
            let (before, behind) = (within(start), within(end));
            pieces.extend(Some(block.slice(..before)).filter(|piece| !piece.is_empty()));
            at += block.len();
            if at > start && !is_told {
                is_told = true;
                pieces.push_back(Bytes::copy_from_slice(model.as_bytes()));
            }
            pieces.extend(Some(block.slice(behind..)).filter(|piece| !piece.is_empty()));
        }
        pieces
    }
}

impl Growing {
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Errors: 503, when the worker holds as much as it may.
    pub(super) fn push(&mut self, mut piece: &[u8]) -> Result<(), ApiError> {
        while !piece.is_empty() {
            let room = self.last.capacity() - self.last.len();
            if room == 0 {
                self.grow()?;
                continue;
            }
            let (now, later) = piece.split_at(room.min(piece.len()));
            self.last.extend_from_slice(now);
            self.bytes += now.len();
            piece = later;
        }
        Ok(())
    }

    fn grow(&mut self) -> Result<(), ApiError> {
        let left = self.announced.map(|announced| announced.saturating_sub(self.bytes));
        let block = left.map_or(BLOCK, |left| left.clamp(1, BLOCK));
        self.taken = self.taken.saturating_add(block);
        self.hold.grow_to(self.taken).map_err(|_full| error::overloaded())?;
        let full = std::mem::replace(&mut self.last, BytesMut::with_capacity(block));
        self.full.extend(Some(full.freeze()).filter(|full| !full.is_empty()));
        Ok(())
    }

    pub(super) fn finish(self, model_at: Range<usize>) -> Held {
        let Self { hold, full: mut blocks, last, bytes, .. } = self;
        blocks.extend(Some(last.freeze()).filter(|last| !last.is_empty()));
        Held { blocks, bytes, model_at, _hold: hold }
    }
}
