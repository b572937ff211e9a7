//! Messages whose parts are encoded already: on the wire they are what the contract says, and nobody decodes and encodes on the way what was written once.

use std::fmt;

use bailiwick_domain::{packed::Packed as _, usage::UsageEvent};
use prost::{
    DecodeError, Message,
    bytes::{Buf, BufMut, Bytes},
    encoding::{self, DecodeContext, WireType, encode_key, encode_varint},
};

use crate::convert::{
    call_end_to_wire, call_type_to_wire, source_to_wire,
    usage::{delimited, varint},
};

/// `bailiwick.worker.v1.ReportRequest`, with its events as they are encoded: a worker keeps them so in its journals, and a control plane reads them where they lie.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ReportRequest {
    /// A ULID.
    pub journal_id: String,
    /// Sequence of the first event.
    pub first_sequence: u64,
    /// 1 to 1000 of [`crate::worker::v1::UsageEvent`].
    pub events: EncodedEvents,
}

const JOURNAL_ID: u32 = 1;
const FIRST_SEQUENCE: u32 = 2;
const EVENTS: u32 = 3;

impl Message for ReportRequest {
    fn encode_raw(&self, buf: &mut impl BufMut) {
        if !self.journal_id.is_empty() {
            encoding::string::encode(JOURNAL_ID, &self.journal_id, buf);
        }
        if self.first_sequence != 0 {
            encoding::uint64::encode(FIRST_SEQUENCE, &self.first_sequence, buf);
        }
        buf.put_slice(&self.events.fields);
    }

    fn merge_field(
        &mut self,
        tag: u32,
        wire_type: WireType,
        buf: &mut impl Buf,
        ctx: DecodeContext,
    ) -> Result<(), DecodeError> {
        match tag {
            JOURNAL_ID => encoding::string::merge(wire_type, &mut self.journal_id, buf, ctx),
            FIRST_SEQUENCE => encoding::uint64::merge(wire_type, &mut self.first_sequence, buf, ctx),
            EVENTS => {
                if self.events.is_empty() {
                    // No more than what is left of the message.
                    self.events.fields.reserve(buf.remaining());
                }
                let mut event = Bytes::new();
                encoding::bytes::merge(wire_type, &mut event, buf, ctx)?;
                self.events.push(&event);
                Ok(())
            }
            _ => encoding::skip_field(wire_type, tag, buf, ctx),
        }
    }

    fn encoded_len(&self) -> usize {
        let journal_id = (!self.journal_id.is_empty())
            .then(|| encoding::string::encoded_len(JOURNAL_ID, &self.journal_id));
        let first_sequence = (self.first_sequence != 0)
            .then(|| encoding::uint64::encoded_len(FIRST_SEQUENCE, &self.first_sequence));
        journal_id.unwrap_or_default() + first_sequence.unwrap_or_default() + self.events.fields.len()
    }

    fn clear(&mut self) {
        *self = Self::default();
    }
}

/// Usage events, each as it is encoded, one behind the other in one piece of memory: a thousand pieces would each be allocated, counted, and given back on another thread.
#[derive(Clone, Default, PartialEq)]
pub struct EncodedEvents {
    /// As fields of a [`ReportRequest`]: each behind its key and its length.
    fields: Vec<u8>,
    count: usize,
}

impl EncodedEvents {
    /// None, with room for so many bytes of them.
    pub fn with_capacity(bytes: usize) -> Self {
        Self { fields: Vec::with_capacity(bytes), count: 0 }
    }

    /// Adds one.
    pub fn push(&mut self, event: &[u8]) {
        encode_key(EVENTS, WireType::LengthDelimited, &mut self.fields);
        encode_varint(event.len() as u64, &mut self.fields);
        self.fields.extend_from_slice(event);
        self.count += 1;
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Each of them, in the order in which they were added.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = &*self.fields;
        std::iter::from_fn(move || {
            let _key = varint(&mut rest)?;
            delimited(&mut rest)
        })
    }
}

impl<E: AsRef<[u8]>> FromIterator<E> for EncodedEvents {
    fn from_iter<I: IntoIterator<Item = E>>(events: I) -> Self {
        let mut all = Self::default();
        events.into_iter().for_each(|event| all.push(event.as_ref()));
        all
    }
}

/// Their number alone: who prints one wants no thousand.
impl fmt::Debug for EncodedEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} events", self.count)
    }
}

/// Appends a [`crate::worker::v1::UsageEvent`], byte for byte as [`crate::convert::usage_event_to_wire`] would have it encoded, without
/// its message between: this is done twice for each call.
pub fn append_usage_event(out: &mut Vec<u8>, event: &UsageEvent) {
    append_names(out, event);
    append_outcome(out, event);
}

/// The first part of an event: what names it and its call. It never changes, so who has it encoded need not do it again.
pub fn append_names(out: &mut Vec<u8>, event: &UsageEvent) {
    append_bytes(out, 1, |out| out.extend_from_slice(event.event_id.as_bytes()));
    append_bytes(out, 2, |out| out.extend_from_slice(event.request_id.as_bytes()));
    append_bytes(out, 3, |out| event.organization.append_packed(out));
    append_bytes(out, 4, |out| event.key.append_packed(out));
    append_bytes(out, 5, |out| event.model.append_packed(out));
}

/// The rest of it: where it was served, and what became of it.
pub fn append_outcome(out: &mut Vec<u8>, event: &UsageEvent) {
    append_bytes(out, 6, |out| event.deployment.append_packed(out));
    let (tokens, media) = (&event.tokens, &event.media);
    let numbers: [u64; NUMBERS] = [
        enumeration(call_type_to_wire(event.call_type).into()),
        event.stream.into(),
        event.status.into(),
        enumeration(call_end_to_wire(event.end).into()),
        enumeration(source_to_wire(event.source).into()),
        tokens.prompt,
        tokens.completion,
        tokens.cached_prompt,
        tokens.reasoning,
        integer(event.cost.as_nanos()),
        event.priced.into(),
        integer(event.started.as_micros()),
        integer(event.first_byte.map_or(0, |at| at.as_micros())),
        integer(event.finished.as_micros()),
        event.attempts.into(),
        tokens.cache_write,
        tokens.cache_write_hour,
        media.images,
        media.audio_millis,
    ];
    let mut written = Written { bytes: [0; _], length: 0 };
    for (tag, number) in (7..).zip(numbers) {
        // What is 0 is left out: <https://protobuf.dev/programming-guides/proto3/#default>.
        if number != 0 {
            written.varint(tag << 3);
            written.varint(number);
        }
    }
    out.extend(written.bytes.get(..written.length).unwrap_or_default());
}

/// How many numbers an event has.
const NUMBERS: usize = 19;

/// Numbers as they are written, with room for all that an event has: so it is looked once whether what they go to has it, where the library's way looks for each byte.
struct Written {
    /// A tag has two bytes at most, a number ten.
    bytes: [u8; NUMBERS * (2 + 10)],
    length: usize,
}

impl Written {
    fn varint(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.byte(number.to_le_bytes()[0] | 0x80);
            number >>= 7;
        }
        self.byte(number.to_le_bytes()[0]);
    }

    fn byte(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(self.length) {
            (*place, self.length) = (byte, self.length + 1);
        }
    }
}

/// At most 127 bytes, as identifiers have: then their length is one byte.
fn append_bytes(out: &mut Vec<u8>, tag: u32, append: impl FnOnce(&mut Vec<u8>)) {
    encode_key(tag, WireType::LengthDelimited, out);
    let place = out.len();
    out.push(0);
    append(out);
    let length = out.len() - place - 1;
    if let Some(byte) = out.get_mut(place) {
        *byte = u8::try_from(length).unwrap_or(u8::MAX);
    }
}

/// `int32` and `int64` are written as the 64 bits of their two's complement.
fn integer(number: i64) -> u64 {
    u64::from_ne_bytes(number.to_ne_bytes())
}

fn enumeration(number: i32) -> u64 {
    integer(number.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::v1 as wire;

    /// The message as the contract has it.
    #[derive(Clone, PartialEq, prost::Message)]
    struct Plain {
        #[prost(string, tag = "1")]
        journal_id: String,
        #[prost(uint64, tag = "2")]
        first_sequence: u64,
        #[prost(message, repeated, tag = "3")]
        events: Vec<wire::UsageEvent>,
    }

    fn event(status: u32) -> wire::UsageEvent {
        wire::UsageEvent { status, key_id: b"key".as_slice().into(), ..wire::UsageEvent::default() }
    }

    fn same(plain: &Plain) -> ReportRequest {
        let events = plain.events.iter().map(Message::encode_to_vec).collect();
        ReportRequest { journal_id: plain.journal_id.clone(), first_sequence: plain.first_sequence, events }
    }

    #[test]
    fn a_report_of_encoded_events_is_a_report() {
        // The second is longer than what one byte tells the length of, the third empty.
        let long = wire::UsageEvent { key_id: vec![b'k'; 300].into(), ..event(404) };
        let full = Plain {
            journal_id: "journal".to_owned(),
            first_sequence: 7,
            events: vec![event(200), long, wire::UsageEvent::default()],
        };
        for plain in [full, Plain::default()] {
            let encoded = same(&plain);
            assert_eq!(encoded.encode_to_vec(), plain.encode_to_vec());
            assert_eq!(encoded.encoded_len(), plain.encoded_len());
            assert_eq!(ReportRequest::decode(&*plain.encode_to_vec()), Ok(encoded.clone()));
            let read: Vec<_> = encoded.events.iter().map(wire::UsageEvent::decode).collect();
            let expected: Vec<_> = plain.events.iter().cloned().map(Ok).collect();
            assert_eq!((read, encoded.events.len()), (expected, plain.events.len()));
            assert_eq!(encoded.events.is_empty(), plain.events.is_empty());
        }
    }

    #[test]
    fn what_is_no_report_is_refused_and_what_is_not_known_passed_over() {
        let plain = Plain { journal_id: "j".to_owned(), first_sequence: 7, events: vec![event(200)] };
        let bytes = plain.encode_to_vec();
        for cut in 1..bytes.len() {
            let expected = Plain::decode(&bytes[..cut]).ok().map(|plain| same(&plain));
            assert_eq!(ReportRequest::decode(&bytes[..cut]).ok(), expected, "{cut}");
        }
        let with_more = [&bytes[..], &[0x7a, 2, 0, 0]].concat();
        assert_eq!(ReportRequest::decode(&*with_more), Ok(same(&plain)));
        assert!(ReportRequest::decode(&[0x18, 1][..]).is_err(), "a number where events stand");
        let mut cleared = same(&plain);
        cleared.clear();
        assert_eq!(cleared, ReportRequest::default());
    }
}
