//! Messages whose parts are encoded already: on the wire they are what the contract says, and nobody decodes and encodes on the way what was written once.

mod event;

use std::{collections::HashMap, fmt, ops::Range};

use prost::{
    DecodeError, Message,
    bytes::{Buf, BufMut, Bytes},
    encoding::{self, DecodeContext, WireType, encode_key, encode_varint},
};

pub use self::event::{MAX_EVENT_BYTES, MAX_SUBJECT_BYTES, append_asked, append_event, append_served};
use crate::convert::usage::{delimited, varint};

/// `bailiwick.worker.v1.ReportRequest`, with its events as they are encoded: a worker keeps them so in its journals, and a control plane reads them where they lie.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ReportRequest {
    /// A ULID.
    pub journal_id: String,
    /// Sequence of the first event.
    pub first_sequence: u64,
    /// 1 to 1000 of them.
    pub events: EncodedEvents,
}

const JOURNAL_ID: u32 = 1;
const FIRST_SEQUENCE: u32 = 2;
const EVENTS: u32 = 3;
const SUBJECTS: u32 = 4;

impl Message for ReportRequest {
    fn encode_raw(&self, buf: &mut impl BufMut) {
        if !self.journal_id.is_empty() {
            encoding::string::encode(JOURNAL_ID, &self.journal_id, buf);
        }
        if self.first_sequence != 0 {
            encoding::uint64::encode(FIRST_SEQUENCE, &self.first_sequence, buf);
        }
        buf.put_slice(&self.events.events.fields);
        buf.put_slice(&self.events.subjects.fields);
    }

    fn merge_field(
        &mut self,
        tag: u32,
        wire_type: WireType,
        buf: &mut impl Buf,
        ctx: DecodeContext,
    ) -> Result<(), DecodeError> {
        let EncodedEvents { events, subjects } = &mut self.events;
        match tag {
            JOURNAL_ID => encoding::string::merge(wire_type, &mut self.journal_id, buf, ctx),
            FIRST_SEQUENCE => encoding::uint64::merge(wire_type, &mut self.first_sequence, buf, ctx),
            EVENTS => events.merge(tag, wire_type, buf, ctx),
            SUBJECTS => subjects.merge(tag, wire_type, buf, ctx),
            _ => encoding::skip_field(wire_type, tag, buf, ctx),
        }
    }

    fn encoded_len(&self) -> usize {
        let journal_id = (!self.journal_id.is_empty())
            .then(|| encoding::string::encoded_len(JOURNAL_ID, &self.journal_id));
        let first_sequence = (self.first_sequence != 0)
            .then(|| encoding::uint64::encoded_len(FIRST_SEQUENCE, &self.first_sequence));
        let EncodedEvents { events, subjects } = &self.events;
        journal_id.unwrap_or_default()
            + first_sequence.unwrap_or_default()
            + events.fields.len()
            + subjects.fields.len()
    }

    fn clear(&mut self) {
        *self = Self::default();
    }
}

/// Usage events, each as it is encoded, and their subjects.
#[derive(Clone, Default, PartialEq)]
pub struct EncodedEvents {
    events: Encoded,
    subjects: Encoded,
}

impl EncodedEvents {
    /// How many events there are.
    pub fn len(&self) -> usize {
        self.events.count
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Each [`crate::worker::v1::UsageEvent`], in the order in which they were added.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.events.iter()
    }

    /// How many subjects there are.
    pub fn subject_count(&self) -> usize {
        self.subjects.count
    }

    /// Each [`crate::worker::v1::UsageSubject`], as events count them.
    pub fn subjects(&self) -> impl Iterator<Item = &[u8]> {
        self.subjects.iter()
    }
}

/// Their number alone: who prints one wants no thousand.
impl fmt::Debug for EncodedEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} events of {} subjects", self.len(), self.subject_count())
    }
}

/// Messages of one field that is repeated, in one piece of memory: a thousand pieces would each be allocated, counted, and given back on another thread.
#[derive(Clone, Default, PartialEq)]
struct Encoded {
    /// As fields of a [`ReportRequest`]: each behind its key and its length.
    fields: Vec<u8>,
    count: usize,
}

impl Encoded {
    /// Adds one whose encoding may be in two pieces. Tells where it stands.
    fn push(&mut self, tag: u32, message: &[u8], rest: &[u8]) -> Range<usize> {
        encode_key(tag, WireType::LengthDelimited, &mut self.fields);
        encode_varint((message.len() + rest.len()) as u64, &mut self.fields);
        let begins = self.fields.len();
        self.fields.extend_from_slice(message);
        self.fields.extend_from_slice(rest);
        self.count += 1;
        begins..self.fields.len()
    }

    fn merge(
        &mut self,
        tag: u32,
        wire_type: WireType,
        buf: &mut impl Buf,
        ctx: DecodeContext,
    ) -> Result<(), DecodeError> {
        if self.count == 0 && tag == EVENTS {
            // No more than what is left of the report, most of which is events.
            self.fields.reserve(buf.remaining());
        }
        // Where it stands in one piece it is copied once, and nobody counts who holds it.
        let mut rest = buf.chunk();
        if wire_type == WireType::LengthDelimited
            && let Some(message) = delimited(&mut rest)
        {
            self.push(tag, message, &[]);
            let read = buf.chunk().len() - rest.len();
            buf.advance(read);
            return Ok(());
        }
        let mut message = Bytes::new();
        encoding::bytes::merge(wire_type, &mut message, buf, ctx)?;
        self.push(tag, &message, &[]);
        Ok(())
    }

    fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = &*self.fields;
        std::iter::from_fn(move || {
            let _key = varint(&mut rest)?;
            delimited(&mut rest)
        })
    }
}

/// What the field takes that names an event's subject, at most: its key, and a varint of 32 bits.
const SUBJECT_FIELD_BYTES: usize = 6;

/// Gathers events, and says each of their subjects once.
#[derive(Debug, Default)]
pub struct EventGatherer {
    gathered: EncodedEvents,
    places: HashMap<Box<[u8]>, Place>,
    /// Of the last event's subject: often that of the next, too.
    last: Option<Place>,
}

/// Where a subject stands.
#[derive(Clone, Debug)]
struct Place {
    /// Among the subjects.
    number: u32,
    bytes: Range<usize>,
}

impl EventGatherer {
    /// Of none, with room for so many bytes of events.
    pub fn with_capacity(bytes: usize) -> Self {
        let events = Encoded { fields: Vec::with_capacity(bytes), count: 0 };
        Self { gathered: EncodedEvents { events, ..EncodedEvents::default() }, ..Self::default() }
    }

    /// Adds one, which names no subject yet, and the subject that it has.
    pub fn push(&mut self, subject: &[u8], event: &[u8]) {
        let number = self.number(subject);
        let mut field = [0; SUBJECT_FIELD_BYTES];
        let mut free = field.as_mut_slice();
        // What is 0 is left out, as everywhere.
        if number != 0 {
            encoding::uint32::encode(event::SUBJECT, &number, &mut free);
        }
        let used = SUBJECT_FIELD_BYTES - free.len();
        // Fields of a message may come in any order.
        self.gathered.events.push(EVENTS, event, field.get(..used).unwrap_or_default());
    }

    fn number(&mut self, subject: &[u8]) -> u32 {
        let said = &mut self.gathered.subjects;
        if let Some(last) = &self.last
            && said.fields.get(last.bytes.clone()) == Some(subject)
        {
            return last.number;
        }
        let place = match self.places.get(subject) {
            Some(place) => place.clone(),
            None => {
                let number = u32::try_from(said.count).unwrap_or(u32::MAX);
                let place = Place { number, bytes: said.push(SUBJECTS, subject, &[]) };
                self.places.insert(subject.into(), place.clone());
                place
            }
        };
        let number = place.number;
        self.last = Some(place);
        number
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.gathered.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.gathered.is_empty()
    }

    /// All that were added.
    pub fn finish(self) -> EncodedEvents {
        self.gathered
    }
}

#[cfg(test)]
mod tests;
