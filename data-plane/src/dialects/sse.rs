//! Server-sent events, as they pass (<https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream>).
//!
//! Bytes may be cut anywhere. An event is held until its blank line; past a bound it is let go unread.

use bytes::{Buf, Bytes, BytesMut};

/// Bytes of one event.
const LARGEST_EVENT: usize = 1 << 20;

/// Cuts a stream of bytes into events.
#[derive(Debug)]
pub(crate) struct Events {
    buffer: BytesMut,
    /// How far `buffer` was searched for an end.
    searched: usize,
    /// The event was too large to hold: it passes unread until its end.
    oversized: bool,
    /// Bytes of an event that are held.
    largest: usize,
}

impl Default for Events {
    fn default() -> Self {
        Self { buffer: BytesMut::new(), searched: 0, oversized: false, largest: LARGEST_EVENT }
    }
}

/// An event with everything that belongs to it, its blank line included; or a piece of one that was too large.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Raw {
    pub(crate) bytes: Bytes,
    /// Whether it is a whole event, which can be read.
    pub(crate) whole: bool,
}

impl Events {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next event that has come whole.
    pub(crate) fn next(&mut self) -> Option<Raw> {
        if let Some(end) = end_of_event(&self.buffer, self.searched) {
            self.searched = 0;
            let whole = !std::mem::take(&mut self.oversized);
            return Some(Raw { bytes: self.buffer.split_to(end).freeze(), whole });
        }
        // An end has at most four bytes: three of them may be here already.
        self.searched = self.buffer.len().saturating_sub(3);
        if self.buffer.len() > self.largest {
            self.oversized = true;
            let piece = self.buffer.split_to(self.searched).freeze();
            self.searched = 0;
            return Some(Raw { bytes: piece, whole: false });
        }
        None
    }

    /// Bytes of an event that has not come whole.
    pub(crate) fn held_bytes(&self) -> usize {
        self.buffer.len()
    }

    /// From now on no more of an event is held than this.
    pub(crate) fn hold_at_most(&mut self, bytes: usize) {
        self.largest = bytes;
    }

    /// Whether a part of an event has come.
    pub(crate) fn is_amid(&self) -> bool {
        !self.buffer.is_empty() || self.oversized
    }

    /// Whether a part of an event, too large to hold, was let go.
    pub(crate) fn is_oversized(&self) -> bool {
        self.oversized
    }

    /// What is left when the stream ends.
    pub(crate) fn rest(&mut self) -> Bytes {
        self.searched = 0;
        self.buffer.copy_to_bytes(self.buffer.len())
    }
}

/// Where the first event ends: behind a line end that another line end follows.
fn end_of_event(buffer: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    loop {
        at += memchr::memchr2(b'\n', b'\r', buffer.get(at..)?)?;
        let after = line_end(buffer, at)?;
        match buffer.get(after) {
            Some(b'\n' | b'\r') => return line_end(buffer, after),
            Some(_) => at = after,
            None => return None,
        }
    }
}

/// Behind the line end at `at`. `None`: a CR is the last byte, and an LF may follow.
fn line_end(buffer: &[u8], at: usize) -> Option<usize> {
    match (buffer.get(at), buffer.get(at + 1)) {
        (Some(b'\r'), Some(b'\n')) => Some(at + 2),
        (Some(b'\r'), None) => None,
        _ => Some(at + 1),
    }
}

/// The data of an event: its `data` lines, joined.
pub(crate) fn data(event: &Bytes) -> Bytes {
    let mut lines =
        event.split(|byte| matches!(byte, b'\n' | b'\r')).filter_map(|line| line.strip_prefix(b"data:"));
    let (Some(first), second) = (lines.next(), lines.next()) else { return Bytes::new() };
    let Some(second) = second else { return event.slice_ref(first) };
    let mut joined = BytesMut::from(first);
    for line in std::iter::once(second).chain(lines) {
        joined.extend_from_slice(b"\n");
        joined.extend_from_slice(line);
    }
    joined.freeze()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cut(chunks: &[&[u8]]) -> (Vec<Vec<u8>>, Vec<u8>) {
        let mut events = Events::default();
        let mut found = Vec::new();
        for chunk in chunks {
            events.push(chunk);
            while let Some(raw) = events.next() {
                assert!(raw.whole);
                found.push(raw.bytes.to_vec());
            }
        }
        (found, events.rest().to_vec())
    }

    proptest! {
        #[test]
        fn the_same_events_come_out_however_the_bytes_are_cut(
            lines in prop::collection::vec(("(data: ?|: |event: )[a-z]{0,6}", prop::sample::select(vec!["\n", "\r\n", "\r"]), any::<bool>()), 0..12),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
        ) {
            // A line that is followed by another kind of line end would merge with it; one kind for each stream.
            let end = lines.first().map_or("\n", |(_, end, _)| *end);
            let text: String = lines.iter().map(|(line, _, last)| format!("{line}{end}{}", if *last { end } else { "" })).collect();
            let bytes = text.as_bytes();
            let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).chain([0, bytes.len()]).collect();
            places.sort_unstable();
            let chunks: Vec<&[u8]> = places.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
            let (events, rest) = cut(&chunks);
            let together: Vec<u8> = events.iter().flatten().copied().chain(rest.iter().copied()).collect();
            prop_assert_eq!(&together, bytes, "no byte is lost or moved");
            let (at_once, _) = cut(&[bytes]);
            prop_assert_eq!(events, at_once);
        }
    }

    #[test]
    fn data_lines_are_joined() {
        assert_eq!(
            data(&Bytes::from_static(b"event: x\r\ndata: one\r\ndata:two\r\n\r\n")).as_ref(),
            b" one\ntwo"
        );
        assert_eq!(data(&Bytes::from_static(b": comment\n\n")).as_ref(), b"");
    }

    #[test]
    fn an_endless_event_passes_unread_in_pieces() {
        let mut events = Events::default();
        let mut passed = 0;
        for _ in 0..40 {
            events.push(&[b'x'; 100_000]);
            while let Some(raw) = events.next() {
                assert!(!raw.whole);
                passed += raw.bytes.len();
            }
            assert!(events.buffer.len() <= LARGEST_EVENT + 100_000);
        }
        assert!(passed > 2_000_000);
        events.push(b"\n\ndata: [DONE]\n\n");
        assert!(!events.next().expect("the end of the large one").whole);
        assert_eq!(events.next().expect("the next").bytes.as_ref(), b"data: [DONE]\n\n");
    }
}
