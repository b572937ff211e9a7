//! How a record stands in a journal: `[payload length, u32 LE][CRC-32 of kind and payload, u32 LE][kind, u8][payload]`.

use std::ops::Range;

use bailiwick_domain::usage::UsageEvent;
use bailiwick_quota::holder::Charge;

use super::payload;

/// What stands before a payload.
pub(super) const FRAME_BYTES: usize = 9;
/// A call takes about 200 bytes, and 37 for each limit of money that it was charged to, of which there are at most a hundred; what claims to be larger than this is damaged.
const MAX_PAYLOAD_BYTES: usize = 16 << 10;
/// The largest record.
pub(super) const MAX_RECORD_BYTES: usize = FRAME_BYTES + MAX_PAYLOAD_BYTES;

/// What a record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// First in a segment: see [`super::segment::Header`].
    Header,
    /// A call started. The payload is the event that stands when nothing follows.
    Started,
    /// A call ended.
    Event,
    /// At a segment's beginning: what an account was charged in the segments before. See [`super::charged`].
    Sum,
    /// The same: there are more accounts than are carried.
    SumsUnknown,
    /// Those were all.
    SumsEnd,
}

impl Kind {
    const fn byte(self) -> u8 {
        match self {
            Self::Header => b'H',
            Self::Started => b'S',
            Self::Event => b'E',
            Self::Sum => b'T',
            Self::SumsUnknown => b'U',
            Self::SumsEnd => b'Z',
        }
    }

    fn of(byte: u8) -> Option<Self> {
        [Self::Header, Self::Started, Self::Event, Self::Sum, Self::SumsUnknown, Self::SumsEnd]
            .into_iter()
            .find(|kind| kind.byte() == byte)
    }
}

/// A record in a buffer.
#[derive(Debug, PartialEq)]
pub(super) struct Record<'a> {
    pub(super) kind: Kind,
    pub(super) payload: &'a [u8],
}

impl Record<'_> {
    /// With its frame.
    pub(super) fn size(&self) -> usize {
        FRAME_BYTES + self.payload.len()
    }
}

/// Appends the record of a call that starts: this event stands when nothing follows. Tells where in it stands what was asked.
pub(super) fn append_started(out: &mut Vec<u8>, event: &UsageEvent) -> Range<usize> {
    let mut asked = 0..0;
    append(out, Kind::Started, |out| asked = payload::append(out, None, event, &[]));
    FRAME_BYTES + asked.start..FRAME_BYTES + asked.end
}

/// Appends the record of a call that ended, and was charged this. `asked`: what was, as it is encoded, where it is.
pub(super) fn append_event(out: &mut Vec<u8>, asked: Option<&[u8]>, event: &UsageEvent, charges: &[Charge]) {
    append(out, Kind::Event, |out| {
        payload::append(out, asked, event, charges);
    });
}

/// Appends a record whose payload is what `write` appends.
pub(super) fn append(out: &mut Vec<u8>, kind: Kind, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; FRAME_BYTES]);
    write(out);
    let record = out.get_mut(start..).unwrap_or_default();
    let Some((length, rest)) = record.split_first_chunk_mut::<4>() else { return };
    let Some((checksum, summed)) = rest.split_first_chunk_mut::<4>() else { return };
    let Some((of_kind, payload)) = summed.split_first_mut() else { return };
    *of_kind = kind.byte();
    *length = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_le_bytes();
    *checksum = crc32fast::hash(summed).to_le_bytes();
}

/// The record at the start of `bytes`; `None` when there is no whole and undamaged one.
pub(super) fn first(bytes: &[u8]) -> Option<Record<'_>> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (expected, rest) = rest.split_first_chunk::<4>()?;
    let length =
        usize::try_from(u32::from_le_bytes(*length)).ok().filter(|length| *length <= MAX_PAYLOAD_BYTES)?;
    let summed = rest.get(..1 + length)?;
    let (kind, payload) = summed.split_first()?;
    let kind = Kind::of(*kind)?;
    (crc32fast::hash(summed) == u32::from_le_bytes(*expected)).then_some(Record { kind, payload })
}

/// How many bytes of damage stand before the next record: all of them when there is none.
pub(super) fn damage(bytes: &[u8]) -> usize {
    (0..bytes.len()).find(|skip| bytes.get(*skip..).and_then(first).is_some()).unwrap_or(bytes.len())
}

#[cfg(test)]
mod tests;
