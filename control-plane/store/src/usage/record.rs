//! What calls were and cost, in few bytes: the records of a block, up to 128 events of one organization. Many columns of narrow values would cost more than what they say, and so do bytes: each is
//! copied several times on its way to the disk.
//!
//! First the block's subjects ([`subjects`]). Then its events, in the order of their identifiers, which stand in a column of their own: the request's identifier, places of subject and words, flags, and
//! numbers, each as short as it is ([`numbers`]). Regions are left out, because the row names its own.
//!
//! A block has one form: what is read here would be written the same again, and all else is refused. Stores of before hold records of a fixed length ([`fixed`]), which nobody writes any more.
//!
//! R8: the places are all taken, and none of them holds text.

mod fixed;
mod numbers;
mod subjects;
mod words;

use bailiwick_domain::{
    id::OrganizationId,
    jurisdiction::{ForeignRegion, Jurisdiction, Local},
    money::NanoUsd,
    price::{MediaCounts, TokenCounts},
    time::Timestamp,
    usage::{EventId, RequestId, UsageEvent},
};

use self::{
    numbers::{Left, append_number, append_signed},
    subjects::Subjects,
    words::{CALL_TYPES, ENDS, SOURCES, place, word},
};

/// Forms of a block's records, as the table names them.
const FIXED: i64 = 1;
const NARROW: i64 = 2;

/// Flags of one byte.
const STREAM: u8 = 1;
const PRICED: u8 = 2;
const FIRST_BYTE: u8 = 4;

/// Room for a usual event, so that a usual block is allocated once.
const USUAL: usize = 48;

/// The records of a block, [`NARROW`]. Errors: an event names a key, model or deployment of another region; read back, it would be taken for one of this region (R2).
pub(super) fn write(home: &Jurisdiction, events: &[&UsageEvent]) -> Result<Vec<u8>, ForeignRegion> {
    let mut out = Vec::with_capacity(1 + subjects::BYTES + events.len() * USUAL);
    let places = subjects::write(&mut out, home, events)?;
    out.reserve(events.len() * USUAL);
    for (event, subject) in events.iter().zip(places) {
        append(&mut out, event, subject);
    }
    Ok(out)
}

fn append(out: &mut Vec<u8>, event: &UsageEvent, subject: u8) {
    out.extend_from_slice(event.request_id.as_bytes());
    let words = place(ENDS, event.end) << 4 | place(SOURCES, event.source);
    out.extend_from_slice(&[subject, place(CALL_TYPES, event.call_type), words, flags(event)]);
    append_number(out, event.status.into());
    append_number(out, event.attempts.into());
    let counts = counts(event);
    out.push(mask(&counts));
    for count in counts.into_iter().filter(|count| *count != 0) {
        append_number(out, count);
    }
    // Not negative by the wire's rule; one that is takes ten bytes.
    append_number(out, event.cost.as_nanos().cast_unsigned());
    append_later(out, event.event_id.time(), event.started);
    if let Some(first_byte) = event.first_byte {
        append_later(out, event.started, first_byte);
    }
    append_later(out, event.started, event.finished);
}

fn flags(event: &UsageEvent) -> u8 {
    let flag = |set: bool, flag: u8| if set { flag } else { 0 };
    flag(event.stream, STREAM) | flag(event.priced, PRICED) | flag(event.first_byte.is_some(), FIRST_BYTE)
}

fn counts(event: &UsageEvent) -> [u64; 8] {
    let (tokens, media) = (&event.tokens, &event.media);
    [
        tokens.prompt,
        tokens.completion,
        tokens.cached_prompt,
        tokens.cache_write,
        tokens.cache_write_hour,
        tokens.reasoning,
        media.images,
        media.audio_millis,
    ]
}

/// A bit for each count that is not 0, the first one lowest.
fn mask(counts: &[u64; 8]) -> u8 {
    counts.iter().rev().fold(0, |mask, count| mask << 1 | u8::from(*count != 0))
}

/// A time, by how much later than another it is. Every two times have a difference, where it must be around the end of all numbers.
fn append_later(out: &mut Vec<u8>, from: Timestamp, to: Timestamp) {
    append_signed(out, to.as_micros().wrapping_sub(from.as_micros()));
}

/// The events of a block, as many as it has identifiers. `None`: its records are not those of as many events.
pub(super) fn read(
    form: i64,
    home: &Jurisdiction,
    organization: Local<OrganizationId>,
    ids: &[[u8; 16]],
    records: &[u8],
) -> Option<Vec<UsageEvent>> {
    match form {
        FIXED => fixed::read(home, organization, ids, records),
        NARROW => read_narrow(home, organization, ids, records),
        _ => None,
    }
}

fn read_narrow(
    home: &Jurisdiction,
    organization: Local<OrganizationId>,
    ids: &[[u8; 16]],
    records: &[u8],
) -> Option<Vec<UsageEvent>> {
    let mut left = Left(records);
    let mut subjects = Subjects::read(&mut left, home)?;
    let mut event =
        |id: &[u8; 16]| read_event(&mut left, &mut subjects, organization, EventId::from_bytes(*id).ok()?);
    let events = ids.iter().map(&mut event).collect::<Option<Vec<_>>>()?;
    (left.is_empty() && subjects.are_all_used()).then_some(events)
}

fn read_event(
    left: &mut Left<'_>,
    subjects: &mut Subjects,
    organization: Local<OrganizationId>,
    event_id: EventId,
) -> Option<UsageEvent> {
    let request_id = RequestId::from_bytes(left.take()?);
    let [subject, call_type, words, flags] = left.take()?;
    let subject = subjects.at(subject)?;
    let (status, attempts) = (left.small()?, left.small()?);
    let [prompt, completion, cached_prompt, cache_write, cache_write_hour, reasoning, images, audio_millis] =
        read_counts(left)?;
    let cost = NanoUsd::from_nanos(left.number()?.cast_signed());
    let started = read_later(left, event_id.time())?;
    let first_byte = if flags & FIRST_BYTE == 0 { None } else { Some(read_later(left, started)?) };
    let event = UsageEvent {
        event_id,
        request_id,
        organization: organization.into_inner(),
        key: subject.key,
        model: subject.model,
        deployment: subject.deployment,
        call_type: word(CALL_TYPES, call_type)?,
        stream: flags & STREAM != 0,
        status,
        end: word(ENDS, words >> 4)?,
        source: word(SOURCES, words & 0xf)?,
        tokens: TokenCounts { prompt, completion, cached_prompt, cache_write, cache_write_hour, reasoning },
        media: MediaCounts { images, audio_millis },
        cost,
        priced: flags & PRICED != 0,
        started,
        first_byte,
        finished: read_later(left, started)?,
        attempts,
    };
    (flags & !(STREAM | PRICED | FIRST_BYTE) == 0).then_some(event)
}

fn read_counts(left: &mut Left<'_>) -> Option<[u64; 8]> {
    let [mask] = left.take()?;
    let mut counts = [0; 8];
    for (bit, count) in counts.iter_mut().enumerate() {
        if mask >> bit & 1 == 1 {
            *count = left.number().filter(|count| *count != 0)?;
        }
    }
    Some(counts)
}

fn read_later(left: &mut Left<'_>, from: Timestamp) -> Option<Timestamp> {
    Some(Timestamp::from_micros(from.as_micros().wrapping_add(left.signed()?)))
}

#[cfg(test)]
mod tests;
