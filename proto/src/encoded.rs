//! Messages whose parts are encoded already: on the wire they are what the contract says, and nobody decodes and encodes on the way what was written once.

use bailiwick_domain::{packed::Packed as _, usage::UsageEvent};
use prost::{
    bytes::Bytes,
    encoding::{WireType, encode_key, encode_varint},
};

use crate::convert::{call_end_to_wire, call_type_to_wire, source_to_wire};

/// `bailiwick.worker.v1.ReportRequest`, with its events as they are encoded: a worker keeps them so in its journals, and a control plane reads them where they lie.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ReportRequest {
    /// A ULID.
    #[prost(string, tag = "1")]
    pub journal_id: String,
    /// Sequence of the first event.
    #[prost(uint64, tag = "2")]
    pub first_sequence: u64,
    /// 1 to 1000 of [`crate::worker::v1::UsageEvent`].
    #[prost(bytes = "bytes", repeated, tag = "3")]
    pub events: Vec<Bytes>,
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
    let numbers = [
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
    for (tag, number) in (7..).zip(numbers) {
        // What is 0 is left out: <https://protobuf.dev/programming-guides/proto3/#default>.
        if number != 0 {
            encode_key(tag, WireType::Varint, out);
            encode_varint(number, out);
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
    use prost::Message as _;

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

    #[test]
    fn a_report_of_encoded_events_is_a_report() {
        let event = |status| wire::UsageEvent {
            status,
            key_id: b"key".as_slice().into(),
            ..wire::UsageEvent::default()
        };
        let plain = Plain {
            journal_id: "journal".to_owned(),
            first_sequence: 7,
            events: vec![event(200), event(404)],
        };
        let events = plain.events.iter().map(|event| event.encode_to_vec().into()).collect();
        let encoded = ReportRequest { journal_id: plain.journal_id.clone(), first_sequence: 7, events };
        assert_eq!(encoded.encode_to_vec(), plain.encode_to_vec());
        assert_eq!(ReportRequest::decode(&*plain.encode_to_vec()), Ok(encoded));
    }
}
