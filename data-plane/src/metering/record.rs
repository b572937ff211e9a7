//! How a record stands in a journal: `[payload length, u32 LE][CRC-32 of kind and payload, u32 LE][kind, u8][payload]`.

/// What stands before a payload.
pub(super) const FRAME_BYTES: usize = 9;
/// What claims to be larger is damaged. The largest that is written are [groups](super::group).
pub(super) const MAX_PAYLOAD_BYTES: usize = 16 << 10;
/// The largest record.
pub(super) const MAX_RECORD_BYTES: usize = FRAME_BYTES + MAX_PAYLOAD_BYTES;

/// What a record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// First in a segment: see [`super::segment::Header`].
    Header,
    /// Calls started, or ended: see [`super::group`].
    Calls,
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
            Self::Calls => b'C',
            Self::Sum => b'T',
            Self::SumsUnknown => b'U',
            Self::SumsEnd => b'Z',
        }
    }

    fn of(byte: u8) -> Option<Self> {
        [Self::Header, Self::Calls, Self::Sum, Self::SumsUnknown, Self::SumsEnd]
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
