//! What a call was and cost, in 168 bytes: identifiers and numbers, each in its place, the most significant byte first.
//!
//! R8: the places are all taken, and none of them holds text.

use bailiwick_domain::{
    id::OrganizationId,
    jurisdiction::{ForeignRegion, Jurisdiction, Local},
    money::NanoUsd,
    price::{MediaCounts, TokenCounts},
    time::Timestamp,
    usage::{CallEnd, CallType, EventId, RequestId, UsageEvent, UsageSource},
};

/// Length of a record; the table's schema checks it too.
pub(super) const BYTES: usize = 168;

/// A word is stored as its place here, from 1. Places are never given anew: what is new comes last.
const CALL_TYPES: &[CallType] = &[
    CallType::ChatCompletion,
    CallType::Completion,
    CallType::Embedding,
    CallType::Response,
    CallType::Message,
    CallType::TokenCount,
    CallType::Image,
    CallType::Speech,
    CallType::Moderation,
    CallType::Transcription,
    CallType::AudioTranslation,
];
const ENDS: &[CallEnd] = &[
    CallEnd::Completed,
    CallEnd::CallerLeft,
    CallEnd::ProviderFailed,
    CallEnd::TimedOut,
    CallEnd::Interrupted,
];
const SOURCES: &[UsageSource] = &[UsageSource::ProviderFinal, UsageSource::Partial, UsageSource::Estimated];

/// Flags of one byte.
const STREAM: u8 = 1;
const PRICED: u8 = 2;

/// Stands for a time that there is not.
const NEVER: i64 = i64::MIN;

/// Appends an event's record. Regions are left out, because the row names its own: so an identifier of another one is refused (R2).
pub(super) fn append(
    out: &mut Vec<u8>,
    home: &Jurisdiction,
    event: &UsageEvent,
) -> Result<(), ForeignRegion> {
    out.extend_from_slice(event.request_id.as_bytes());
    out.extend_from_slice(&home.admit(event.key)?.local_bytes());
    out.extend_from_slice(&home.admit(event.model)?.local_bytes());
    out.extend_from_slice(&home.admit(event.deployment)?.local_bytes());
    out.extend_from_slice(&[
        place(CALL_TYPES, event.call_type),
        place(ENDS, event.end),
        place(SOURCES, event.source),
        if event.stream { STREAM } else { 0 } | if event.priced { PRICED } else { 0 },
    ]);
    out.extend_from_slice(&event.status.to_be_bytes());
    out.extend_from_slice(&event.attempts.to_be_bytes());
    let (tokens, media) = (&event.tokens, &event.media);
    for count in [
        tokens.prompt,
        tokens.completion,
        tokens.cached_prompt,
        tokens.cache_write,
        tokens.cache_write_hour,
        tokens.reasoning,
        media.images,
        media.audio_millis,
    ] {
        out.extend_from_slice(&count.to_be_bytes());
    }
    let first_byte = event.first_byte.map_or(NEVER, Timestamp::as_micros);
    for number in [event.cost.as_nanos(), event.started.as_micros(), first_byte, event.finished.as_micros()] {
        out.extend_from_slice(&number.to_be_bytes());
    }
    Ok(())
}

/// The event of this organization and name whose record these bytes are. `None`: of no event.
pub(super) fn read(
    home: &Jurisdiction,
    organization: Local<OrganizationId>,
    event_id: EventId,
    record: &[u8],
) -> Option<UsageEvent> {
    let mut places = Places(record);
    let request_id = RequestId::from_bytes(places.next()?);
    let key = home.key_identified(places.next()?)?.into_inner();
    let model = home.identified(places.next()?).into_inner();
    let deployment = home.identified(places.next()?).into_inner();
    let [call_type, end, source, flags] = places.next()?;
    let (status, attempts) = (u16::from_be_bytes(places.next()?), u16::from_be_bytes(places.next()?));
    let tokens = TokenCounts {
        prompt: places.count()?,
        completion: places.count()?,
        cached_prompt: places.count()?,
        cache_write: places.count()?,
        cache_write_hour: places.count()?,
        reasoning: places.count()?,
    };
    let media = MediaCounts { images: places.count()?, audio_millis: places.count()? };
    let (cost, started) = (places.number()?, places.number()?);
    let (first_byte, finished) = (places.number()?, places.number()?);
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
    (places.0.is_empty() && flags & !(STREAM | PRICED) == 0).then_some(event)
}

/// What is left to be read.
struct Places<'a>(&'a [u8]);

impl Places<'_> {
    fn next<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*first)
    }

    fn count(&mut self) -> Option<u64> {
        self.next().map(u64::from_be_bytes)
    }

    fn number(&mut self) -> Option<i64> {
        self.next().map(i64::from_be_bytes)
    }
}

fn place<T: Copy + PartialEq>(words: &[T], word: T) -> u8 {
    let place = words.iter().position(|known| *known == word);
    place.and_then(|place| u8::try_from(place + 1).ok()).unwrap_or_default()
}

fn word<T: Copy>(words: &[T], place: u8) -> Option<T> {
    words.get(usize::from(place).checked_sub(1)?).copied()
}

#[cfg(test)]
mod tests;
