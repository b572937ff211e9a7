//! Records of a fixed length, as stores of before hold them (form 1): identifiers and numbers, each in its place, the most significant byte first. They are read, and never written.

use bailiwick_domain::{
    id::OrganizationId,
    jurisdiction::{Jurisdiction, Local},
    money::NanoUsd,
    price::{MediaCounts, TokenCounts},
    time::Timestamp,
    usage::{EventId, RequestId, UsageEvent},
};

use super::{
    numbers::Left,
    words::{CALL_TYPES, ENDS, SOURCES, word},
};

const BYTES: usize = 168;

/// Flags of one byte.
const STREAM: u8 = 1;
const PRICED: u8 = 2;

/// Stands for a time that there is not.
const NEVER: i64 = i64::MIN;

/// The events of a block, as many as it has identifiers. `None`: its records are not those of as many events.
pub(super) fn read(
    home: &Jurisdiction,
    organization: Local<OrganizationId>,
    ids: &[[u8; 16]],
    records: &[u8],
) -> Option<Vec<UsageEvent>> {
    let (records, rest) = records.as_chunks::<BYTES>();
    if records.len() != ids.len() || !rest.is_empty() {
        return None;
    }
    let event =
        |(id, record): (&[u8; 16], _)| read_event(home, organization, EventId::from_bytes(*id).ok()?, record);
    ids.iter().zip(records).map(event).collect()
}

fn read_event(
    home: &Jurisdiction,
    organization: Local<OrganizationId>,
    event_id: EventId,
    record: &[u8; BYTES],
) -> Option<UsageEvent> {
    let mut left = Left(record);
    let request_id = RequestId::from_bytes(left.take()?);
    let key = home.key_identified(left.take()?)?.into_inner();
    let model = home.identified(left.take()?).into_inner();
    let deployment = home.identified(left.take()?).into_inner();
    let [call_type, end, source, flags] = left.take()?;
    let (status, attempts) = (u16::from_be_bytes(left.take()?), u16::from_be_bytes(left.take()?));
    let mut count = || left.take().map(u64::from_be_bytes);
    let tokens = TokenCounts {
        prompt: count()?,
        completion: count()?,
        cached_prompt: count()?,
        cache_write: count()?,
        cache_write_hour: count()?,
        reasoning: count()?,
    };
    let media = MediaCounts { images: count()?, audio_millis: count()? };
    let mut number = || left.take().map(i64::from_be_bytes);
    let (cost, started, first_byte, finished) = (number()?, number()?, number()?, number()?);
    let event = UsageEvent {
        event_id,
        request_id,
        organization: organization.into_inner(),
        key,
        model,
        deployment,
        call_type: word(CALL_TYPES, call_type)?,
        stream: flags & STREAM != 0,
        status,
        end: word(ENDS, end)?,
        source: word(SOURCES, source)?,
        tokens,
        media,
        cost: NanoUsd::from_nanos(cost),
        priced: flags & PRICED != 0,
        started: Timestamp::from_micros(started),
        first_byte: (first_byte != NEVER).then(|| Timestamp::from_micros(first_byte)),
        finished: Timestamp::from_micros(finished),
        attempts,
    };
    (flags & !(STREAM | PRICED) == 0).then_some(event)
}

#[cfg(test)]
mod tests;
