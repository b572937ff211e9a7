//! Usage events, encoded out of the domain's types: without their messages between, because this is done twice for each call.

use bailiwick_domain::{
    packed::{MAX_PACKED_BYTES, Packed as _},
    usage::UsageEvent,
};
use prost::encoding::{WireType, encode_key};

use crate::convert::{call_end_to_wire, call_type_to_wire, source_to_wire, usage::Offsets};

/// The field of an event that names its subject.
pub(super) const SUBJECT: u32 = 3;

/// A subject takes no more: four fields with an identifier each.
pub const MAX_SUBJECT_BYTES: usize = 4 * (2 + MAX_PACKED_BYTES);
/// An event takes no more: two names, and its numbers.
pub const MAX_EVENT_BYTES: usize = 2 * (2 + 16) + NUMBERS * NUMBER_BYTES;

/// Appends the first part of a [`crate::worker::v1::UsageSubject`], byte for byte as [`crate::convert::usage_subject_to_wire`] would have it encoded: whose call, and for what. It never changes, so
/// who has it encoded need not do it again.
pub fn append_asked(out: &mut Vec<u8>, event: &UsageEvent) {
    append_bytes(out, 1, |out| event.organization.append_packed(out));
    append_bytes(out, 2, |out| event.key.append_packed(out));
    append_bytes(out, 3, |out| event.model.append_packed(out));
}

/// The rest of it: where the call was served.
pub fn append_served(out: &mut Vec<u8>, event: &UsageEvent) {
    append_bytes(out, 4, |out| event.deployment.append_packed(out));
}

/// Appends a [`crate::worker::v1::UsageEvent`] that names no subject, byte for byte as [`crate::convert::usage_event_to_wire`] would have it encoded.
pub fn append_event(out: &mut Vec<u8>, event: &UsageEvent) {
    append_bytes(out, 1, |out| out.extend_from_slice(event.event_id.as_bytes()));
    append_bytes(out, 2, |out| out.extend_from_slice(event.request_id.as_bytes()));
    let (tokens, media, times) = (&event.tokens, &event.media, Offsets::of(event));
    let numbers: [Option<u64>; NUMBERS] = [
        enumeration(call_type_to_wire(event.call_type).into()),
        present(event.status.into()),
        enumeration(call_end_to_wire(event.end).into()),
        enumeration(source_to_wire(event.source).into()),
        present(tokens.prompt),
        present(tokens.completion),
        present(event.cost.as_nanos().cast_unsigned()),
        present(event.priced.into()),
        present(zigzag(times.started)),
        times.first_byte.map(zigzag),
        present(zigzag(times.finished)),
        present(event.attempts.into()),
        present(event.stream.into()),
        present(tokens.cached_prompt),
        present(tokens.reasoning),
        present(tokens.cache_write),
        present(tokens.cache_write_hour),
        present(media.images),
        present(media.audio_millis),
    ];
    let mut written = Written { bytes: [0; _], length: 0 };
    for (tag, number) in (SUBJECT as u64 + 1..).zip(numbers) {
        if let Some(number) = number {
            written.varint(tag << 3);
            written.varint(number);
        }
    }
    out.extend_from_slice(written.bytes.get(..written.length).unwrap_or_default());
}

/// How many numbers an event has.
const NUMBERS: usize = 19;
/// A tag has two bytes at most, a number ten.
const NUMBER_BYTES: usize = 2 + 10;

/// What is 0 is left out: <https://protobuf.dev/programming-guides/proto3/#default>.
fn present(number: u64) -> Option<u64> {
    (number != 0).then_some(number)
}

/// `int32` is written as the 64 bits of its two's complement.
fn enumeration(number: i32) -> Option<u64> {
    present(i64::from(number).cast_unsigned())
}

/// `sint64`: <https://protobuf.dev/programming-guides/encoding/#signed-ints>.
fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)).cast_unsigned()
}

/// Numbers as they are written, with room for all that an event has: so it is looked once whether what they go to has it, where the library's way looks for each byte.
struct Written {
    bytes: [u8; NUMBERS * NUMBER_BYTES],
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
