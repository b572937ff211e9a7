//! Usage events from the wire, read where they lie: a control plane takes them by the ten thousand a second.

use bailiwick_domain::{
    guard::Guard,
    id::OrganizationId,
    jurisdiction::{Jurisdiction, Local, Regional},
    money::NanoUsd,
    packed::Packed,
    price::{MediaCounts, TokenCounts},
    time::Timestamp,
    usage::{EventId, RequestId, UsageEvent},
};
use prost::encoding::{DecodeContext, WireType, decode_varint, skip_field};

use super::{ConvertError, call_end_from_wire, call_type_from_wire, invalid, source_from_wire};

/// A usage event from its encoded [`crate::worker::v1::UsageEvent`]. Counts and cost must fit signed 64 bits; the cost is not negative.
///
/// # Errors
/// The bytes are no such message, a field breaks its rule, or an identifier is another region's.
pub fn usage_event_from_wire(
    jurisdiction: &Jurisdiction,
    encoded: &[u8],
) -> Result<Local<UsageEvent>, ConvertError> {
    let fields = Fields::read(encoded).ok_or_else(|| invalid("bytes", "are no usage event"))?;
    let [event_id, request_id, organization, key, model, deployment] = fields.names;
    let [call_type, stream, status, end, source, prompt, completion, cached_prompt, reasoning, ..] =
        fields.numbers;
    let [
        ..,
        cost,
        priced,
        started,
        first_byte,
        finished,
        attempts,
        cache_write,
        cache_write_hour,
        images,
        audio_millis,
    ] = fields.numbers;
    let event = UsageEvent {
        event_id: EventId::from_bytes(sixteen("event_id", event_id)?)
            .map_err(|error| invalid("event_id", error))?,
        request_id: RequestId::from_bytes(sixteen("request_id", request_id)?),
        organization: identifier(jurisdiction, "organization_id", organization)?,
        key: identifier(jurisdiction, "key_id", key)?,
        model: identifier(jurisdiction, "model_id", model)?,
        deployment: identifier(jurisdiction, "deployment_id", deployment)?,
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
        started: Timestamp::from_micros(started.cast_signed()),
        first_byte: (first_byte != 0).then(|| Timestamp::from_micros(first_byte.cast_signed())),
        finished: Timestamp::from_micros(finished.cast_signed()),
        attempts: small("attempts", attempts)?,
    };
    Ok(jurisdiction.admit_at(Guard::UsageIdentifiers, event)?)
}

/// The organization that an encoded event names, of whatever region: for the record of its refusal. Empty: none.
pub fn organization_named(encoded: &[u8]) -> String {
    let [_, _, organization, ..] = Fields::read(encoded).map(|fields| fields.names).unwrap_or_default();
    OrganizationId::from_packed(organization).map(|id| id.to_string()).unwrap_or_default()
}

/// The fields of an encoded event; those that are missing have their defaults. Charges are passed over: the control plane makes nothing of them.
#[derive(Default)]
struct Fields<'a> {
    /// Those with the tags 1 to 6, bytes.
    names: [&'a [u8]; 6],
    /// Those with the tags 7 to 25, varints.
    numbers: [u64; 19],
}

impl<'a> Fields<'a> {
    /// `None`: the bytes are no such message.
    fn read(mut rest: &'a [u8]) -> Option<Self> {
        let mut fields = Self::default();
        while !rest.is_empty() {
            let key = u32::try_from(varint(&mut rest)?).ok()?;
            let (tag, kind) = (key >> 3, WireType::try_from(u64::from(key & 7)).ok()?);
            let place = usize::try_from(tag).ok()?.checked_sub(1)?;
            if let Some(name) = fields.names.get_mut(place) {
                *name = (kind == WireType::LengthDelimited).then(|| delimited(&mut rest))??;
            } else if let Some(number) = fields.numbers.get_mut(place - fields.names.len()) {
                *number = (kind == WireType::Varint).then(|| varint(&mut rest))??;
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
