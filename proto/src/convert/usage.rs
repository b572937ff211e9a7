//! Usage events from the wire, read where they lie: a control plane takes them by the ten thousand a second.

use bailiwick_domain::{
    guard::Guard,
    id::{DeploymentId, ModelId, OrganizationId},
    jurisdiction::{Jurisdiction, Local, Regional},
    key::KeyId,
    money::NanoUsd,
    packed::Packed,
    price::{MediaCounts, TokenCounts},
    time::Timestamp,
    usage::{EventId, RequestId, UsageEvent},
};
use prost::encoding::{DecodeContext, WireType, decode_varint, skip_field};

use super::{ConvertError, call_end_from_wire, call_type_from_wire, invalid, source_from_wire};

/// Whose call an event is of, what was asked for, and what served it: all of this region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UsageSubject {
    organization: OrganizationId,
    key: KeyId,
    model: ModelId,
    deployment: DeploymentId,
}

/// A subject from its encoded [`crate::worker::v1::UsageSubject`].
///
/// # Errors
/// The bytes are no such message, or an identifier is malformed or another region's.
pub fn usage_subject_from_wire(
    jurisdiction: &Jurisdiction,
    encoded: &[u8],
) -> Result<UsageSubject, ConvertError> {
    let fields: Fields<'_, 4, 0> =
        Fields::read(encoded).ok_or_else(|| invalid("bytes", "are no usage subject"))?;
    let [organization, key, model, deployment] = fields.names;
    Ok(UsageSubject {
        organization: identifier(jurisdiction, "organization_id", organization)?,
        key: identifier(jurisdiction, "key_id", key)?,
        model: identifier(jurisdiction, "model_id", model)?,
        deployment: identifier(jurisdiction, "deployment_id", deployment)?,
    })
}

/// The organization that an encoded subject names, of whatever region: for the record of its refusal. Empty: none.
pub fn organization_named(encoded: &[u8]) -> String {
    let fields: Option<Fields<'_, 4, 0>> = Fields::read(encoded);
    let [organization, ..] = fields.map(|fields| fields.names).unwrap_or_default();
    OrganizationId::from_packed(organization).map(|id| id.to_string()).unwrap_or_default()
}

/// An encoded [`crate::worker::v1::UsageEvent`], whose numbers are not looked at yet.
#[derive(Debug)]
pub struct EncodedEvent<'a>(Fields<'a, 2, 20>);

impl<'a> EncodedEvent<'a> {
    /// # Errors
    /// The bytes are no such message.
    pub fn read(encoded: &'a [u8]) -> Result<Self, ConvertError> {
        Fields::read(encoded).map(Self).ok_or_else(|| invalid("bytes", "are no usage event"))
    }

    /// The place of its subject in the report.
    pub fn subject(&self) -> usize {
        let [subject, ..] = self.0.numbers;
        usize::try_from(subject).unwrap_or(usize::MAX)
    }

    /// The event, of this subject. Counts and cost must fit signed 64 bits; the cost is not negative.
    ///
    /// # Errors
    /// A field breaks its rule.
    pub fn of(
        &self,
        jurisdiction: &Jurisdiction,
        subject: &UsageSubject,
    ) -> Result<Local<UsageEvent>, ConvertError> {
        let [event_id, request_id] = self.0.names;
        let [
            _subject,
            call_type,
            status,
            end,
            source,
            prompt,
            completion,
            cost,
            priced,
            started,
            first_byte,
            finished,
            attempts,
            stream,
            cached_prompt,
            reasoning,
            cache_write,
            cache_write_hour,
            images,
            audio_millis,
        ] = self.0.numbers;
        let event_id = EventId::from_bytes(sixteen("event_id", event_id)?)
            .map_err(|error| invalid("event_id", error))?;
        let has_first_byte = self.0.seen & FIRST_BYTE != 0;
        let offsets = Offsets {
            started: signed(started),
            first_byte: has_first_byte.then(|| signed(first_byte)),
            finished: signed(finished),
        };
        let (started, first_byte, finished) = offsets.times(event_id);
        let event = UsageEvent {
            event_id,
            request_id: RequestId::from_bytes(sixteen("request_id", request_id)?),
            organization: subject.organization,
            key: subject.key,
            model: subject.model,
            deployment: subject.deployment,
            call_type: call_type_from_wire(word(call_type))?,
            stream: stream != 0,
            status: small("status", status)?,
            end: call_end_from_wire(word(end))?,
            source: source_from_wire(word(source))?,
            tokens: TokenCounts {
                prompt: count("prompt_tokens", prompt)?,
                completion: count("completion_tokens", completion)?,
                cached_prompt: count("cached_prompt_tokens", cached_prompt)?,
                cache_write: count("cache_write_tokens", cache_write)?,
                cache_write_hour: count("cache_write_hour_tokens", cache_write_hour)?,
                reasoning: count("reasoning_tokens", reasoning)?,
            },
            media: MediaCounts {
                images: count("images", images)?,
                audio_millis: count("audio_millis", audio_millis)?,
            },
            cost: not_negative("cost_nanos_usd", cost)?,
            priced: priced != 0,
            started,
            first_byte,
            finished,
            attempts: small("attempts", attempts)?,
        };
        Ok(jurisdiction.admit_at(Guard::UsageIdentifiers, event)?)
    }
}

/// Among the [`Fields::seen`] of an event, its time of the first byte.
const FIRST_BYTE: u32 = 1 << 10;

/// The times of an event as they are told: microseconds, the first from the time in the event's identifier, the others from the first. What is too far apart for that wraps, and so comes back as it was.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Offsets {
    pub(crate) started: i64,
    pub(crate) first_byte: Option<i64>,
    pub(crate) finished: i64,
}

impl Offsets {
    pub(crate) fn of(event: &UsageEvent) -> Self {
        let since =
            |later: Timestamp, earlier: Timestamp| later.as_micros().wrapping_sub(earlier.as_micros());
        Self {
            started: since(event.started, event.event_id.time()),
            first_byte: event.first_byte.map(|at| since(at, event.started)),
            finished: since(event.finished, event.started),
        }
    }

    /// When the call started, when its first byte came, and when it ended.
    fn times(self, event: EventId) -> (Timestamp, Option<Timestamp>, Timestamp) {
        let after = |earlier: Timestamp, offset: i64| {
            Timestamp::from_micros(earlier.as_micros().wrapping_add(offset))
        };
        let started = after(event.time(), self.started);
        (started, self.first_byte.map(|offset| after(started, offset)), after(started, self.finished))
    }
}

/// The fields of an encoded message, first those that are bytes, then those that are varints; those that are missing have their defaults.
#[derive(Debug)]
struct Fields<'a, const NAMES: usize, const NUMBERS: usize> {
    /// Those with the tags from 1 on.
    names: [&'a [u8]; NAMES],
    /// Those with the tags behind.
    numbers: [u64; NUMBERS],
    /// Which of the numbers there are: the first is the lowest bit.
    seen: u32,
}

impl<'a, const NAMES: usize, const NUMBERS: usize> Fields<'a, NAMES, NUMBERS> {
    /// `None`: the bytes are no such message.
    fn read(mut rest: &'a [u8]) -> Option<Self> {
        let mut fields = Self { names: [&[]; NAMES], numbers: [0; NUMBERS], seen: 0 };
        while !rest.is_empty() {
            let key = u32::try_from(varint(&mut rest)?).ok()?;
            let (tag, kind) = (key >> 3, WireType::try_from(u64::from(key & 7)).ok()?);
            let place = usize::try_from(tag).ok()?.checked_sub(1)?;
            if let Some(name) = fields.names.get_mut(place) {
                *name = (kind == WireType::LengthDelimited).then(|| delimited(&mut rest))??;
            } else if let Some(number) = fields.numbers.get_mut(place - NAMES) {
                *number = (kind == WireType::Varint).then(|| varint(&mut rest))??;
                fields.seen |= 1 << (place - NAMES);
            } else {
                skip_field(kind, tag, &mut rest, DecodeContext::default()).ok()?;
            }
        }
        Some(fields)
    }
}

/// A varint (<https://protobuf.dev/programming-guides/encoding/#varints>), of at most 64 bits. Most have one byte.
pub(crate) fn varint(rest: &mut &[u8]) -> Option<u64> {
    match rest.split_first() {
        Some((byte @ ..0x80, behind)) => {
            *rest = behind;
            Some(u64::from(*byte))
        }
        _ => decode_varint(rest).ok(),
    }
}

/// What stands behind its length.
pub(crate) fn delimited<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(varint(rest)?).ok()?;
    let (bytes, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(bytes)
}

fn sixteen(field: &'static str, bytes: &[u8]) -> Result<[u8; 16], ConvertError> {
    bytes.try_into().map_err(|_| invalid(field, format!("has {} bytes, not 16", bytes.len())))
}

fn identifier<T: Packed + Regional>(
    jurisdiction: &Jurisdiction,
    field: &'static str,
    packed: &[u8],
) -> Result<T, ConvertError> {
    let id = T::from_packed(packed)
        .ok_or_else(|| invalid(field, "is not the short form of a region and 16 bytes behind it"))?;
    Ok(jurisdiction.admit_at(Guard::UsageIdentifiers, id)?.into_inner())
}

/// A word of one of the enumerations. What does not fit is none.
fn word<T: TryFrom<i32> + Default>(number: u64) -> T {
    i32::try_from(number).ok().and_then(|number| T::try_from(number).ok()).unwrap_or_default()
}

/// From an `sint64`: <https://protobuf.dev/programming-guides/encoding/#signed-ints>.
fn signed(number: u64) -> i64 {
    (number >> 1).cast_signed() ^ -((number & 1).cast_signed())
}

fn small(field: &'static str, number: u64) -> Result<u16, ConvertError> {
    u16::try_from(number).map_err(|error| invalid(field, error))
}

fn count(field: &'static str, number: u64) -> Result<u64, ConvertError> {
    let fits = i64::try_from(number).is_ok();
    fits.then_some(number).ok_or_else(|| invalid(field, "is over 2^63 - 1"))
}

fn not_negative(field: &'static str, number: u64) -> Result<NanoUsd, ConvertError> {
    // As the wire has it, a negative number is one that does not fit.
    let nanos = i64::try_from(number).map_err(|_| invalid(field, "is negative"))?;
    Ok(NanoUsd::from_nanos(nanos))
}

#[cfg(test)]
mod tests;
