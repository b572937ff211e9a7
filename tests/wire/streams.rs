//! What was said in each direction of each TCP connection, put together from its segments: a word may lie on both sides of a border between two.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
};

use crate::packets::Packet;

/// One direction of a connection.
type Direction = (IpAddr, IpAddr, u16, u16);

/// All connections of one interface. Keeps as much of each as the longest word has.
pub struct Streams {
    streams: HashMap<Direction, Stream>,
    overlap: usize,
}

#[derive(Default)]
struct Stream {
    /// Number of the next byte in order; unknown until the first segment.
    next: Option<u32>,
    /// Segments that came before their turn, by their first byte's number.
    early: BTreeMap<u32, Vec<u8>>,
    /// The last bytes in order.
    end: Vec<u8>,
}

impl Streams {
    /// `overlap`: how many bytes are given again with those that follow.
    pub fn new(overlap: usize) -> Self {
        Self { streams: HashMap::new(), overlap }
    }

    /// Takes a packet in, and gives what can be read further of its stream by it. Empty when that is nothing.
    pub fn take(&mut self, packet: &Packet<'_>) -> Vec<u8> {
        let Some(segment) = &packet.segment else { return Vec::new() };
        let direction = (packet.source, packet.destination, segment.ports.0, segment.ports.1);
        let stream = self.streams.entry(direction).or_default();
        if segment.opens {
            *stream = Stream { next: Some(segment.sequence.wrapping_add(1)), ..Stream::default() };
            return Vec::new();
        }
        if segment.payload.is_empty() {
            return Vec::new();
        }
        // Sent again, it may come with more behind it.
        let early = stream.early.entry(segment.sequence).or_default();
        if early.len() < segment.payload.len() {
            *early = segment.payload.to_vec();
        }
        let known = stream.end.len();
        stream.advance(segment.sequence);
        if stream.end.len() == known {
            return Vec::new();
        }
        let read = stream.end.clone();
        stream.end.drain(..read.len().saturating_sub(self.overlap));
        read
    }

    /// How many bytes came that nothing led up to. They were searched as packets, and as no stream.
    pub fn left_over(&self) -> usize {
        self.streams.values().flat_map(|stream| stream.early.values()).map(Vec::len).sum()
    }
}

impl Stream {
    /// Moves all to the end whose turn it is.
    fn advance(&mut self, first: u32) {
        let mut next = *self.next.get_or_insert(first);
        while let Some((at, bytes)) = self.early.iter().find(|(at, _)| !is_after(**at, next)) {
            let (at, known) = (*at, next.wrapping_sub(*at) as usize);
            if let Some(new) = bytes.get(known..) {
                self.end.extend_from_slice(new);
                next = next.wrapping_add(u32::try_from(new.len()).expect("a segment"));
            }
            self.early.remove(&at);
        }
        self.next = Some(next);
    }
}

/// Numbers go around (RFC 9293, section 3.4).
fn is_after(number: u32, other: u32) -> bool {
    number != other && number.wrapping_sub(other) < 1 << 31
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packets::{frame, packet};

    fn said(segments: &[(u32, bool, &str)]) -> (Vec<String>, usize) {
        let mut streams = Streams::new(4);
        let mut read = Vec::new();
        for (sequence, opens, text) in segments {
            let bytes = frame([10, 0, 0, 1], [10, 0, 0, 2], *sequence, *opens, text.as_bytes());
            let taken = streams.take(&packet(&bytes).expect("IP"));
            read.push(String::from_utf8(taken).expect("text"));
        }
        (read, streams.left_over())
    }

    #[test]
    fn a_word_is_whole_that_two_segments_share() {
        let (read, left) = said(&[(99, true, ""), (100, false, "the fin"), (107, false, "ch sings")]);
        assert_eq!((read, left), (vec![String::new(), "the fin".into(), " finch sings".into()], 0));
    }

    #[test]
    fn segments_are_read_in_their_order_once() {
        // Numbers that go around, one that came early, one twice, one that overlaps.
        let first = u32::MAX - 1;
        let (read, left) = said(&[
            (first.wrapping_sub(1), true, ""),
            (first.wrapping_add(3), false, "def"),
            (first, false, "abc"),
            (first, false, "abc"),
            (first.wrapping_add(4), false, "efgh"),
        ]);
        assert_eq!(read, ["", "", "abcdef", "", "cdefgh"]);
        assert_eq!(left, 0);
    }

    #[test]
    fn what_nothing_led_up_to_is_counted() {
        let (read, left) = said(&[(0, true, ""), (1, false, "a"), (9, false, "late")]);
        assert_eq!((read, left), (vec![String::new(), "a".into(), String::new()], 4));
    }
}
