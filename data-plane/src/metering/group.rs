//! What one write brings to a journal: calls that start and calls that end, and of each subject (organization, key, model, deployment) once what it is.
//!
//! `[subjects' bytes, u16][calls that end, u16]`, subjects `[length, u8][subject]`, and then calls: `[kind, u8][where in the subjects its own stands, u16][charges, u16][event's bytes, u16]`, charges, and
//! the event as it is sent. All numbers are little-endian. What a report does not say of a call, what it was charged to limits, stands here alone.

use std::ops::Range;

use bailiwick_domain::{time::Timestamp, usage::UsageEvent};
use bailiwick_proto::encoded::{
    MAX_EVENT_BYTES, MAX_SUBJECT_BYTES, append_asked, append_event, append_served,
};
use bailiwick_quota::{holder::Charge, limit::MAX_LIMITS, protocol::HolderId, window::Window};

use super::record::{self, FRAME_BYTES, Kind, MAX_PAYLOAD_BYTES};

/// A charge: `[limit's number, u32][what the account is of, u8][window: from, i64][to, i64][holder, u64][units, u64]`.
const CHARGE_BYTES: usize = 37;
/// What stands before the subjects.
const HEAD_BYTES: usize = 4;
/// What stands before a call's charges.
const CALL_HEAD_BYTES: usize = 7;
/// Calls that have gathered to this much are written.
pub(super) const GATHERED_BYTES: usize = 8 << 10;
/// What one call adds, at most: a charge for each limit that its organization may have.
const LARGEST_CALL_BYTES: usize =
    1 + MAX_SUBJECT_BYTES + CALL_HEAD_BYTES + MAX_LIMITS * CHARGE_BYTES + MAX_EVENT_BYTES;
// A call that ends is added to what has gathered by then, and one that starts, which has no charges, before it is looked whether that is enough: of both there is room.
const _: () = assert!(HEAD_BYTES + GATHERED_BYTES + 2 * LARGEST_CALL_BYTES <= MAX_PAYLOAD_BYTES);
/// A call takes no less: its event names itself and its request.
const SMALLEST_CALL_BYTES: usize = CALL_HEAD_BYTES + 2 * 16;
/// A group has no more calls.
pub(super) const MOST_CALLS: usize = MAX_PAYLOAD_BYTES / SMALLEST_CALL_BYTES;
/// So many subjects are looked at, the latest first, for one that is there already: calls that are ready at once are often of few keys. One that is said twice costs its bytes and nothing else.
const LOOKED_AT: usize = 8;

/// The account is one key's, model's, or deployment's: which, its event's subject tells.
const OF_KEY: u8 = 1;
const OF_MODEL: u8 = 2;
const OF_DEPLOYMENT: u8 = 4;

/// What is said of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// It started. Its event stands when nothing follows.
    Start,
    /// It ended so.
    End,
}

impl Said {
    const fn byte(self) -> u8 {
        match self {
            Self::Start => b'S',
            Self::End => b'E',
        }
    }

    fn of(byte: u8) -> Option<Self> {
        [Self::Start, Self::End].into_iter().find(|said| said.byte() == byte)
    }
}

/// A call, as it is recorded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Call<'a> {
    pub(super) said: Said,
    /// A [`bailiwick_proto::worker::v1::UsageSubject`].
    pub(super) subject: &'a [u8],
    charges: &'a [u8],
    /// A [`bailiwick_proto::worker::v1::UsageEvent`], which names no subject.
    pub(super) event: &'a [u8],
}

impl<'a> Call<'a> {
    /// What it was charged.
    pub(super) fn charges(&self) -> impl Iterator<Item = RecordedCharge> + use<'a> {
        self.charges.as_chunks().0.iter().filter_map(RecordedCharge::read)
    }
}

/// A call that is encoded, by itself.
#[derive(Debug, Default)]
pub(super) struct EncodedCall {
    bytes: Vec<u8>,
    asked: usize,
    subject: usize,
    charges: usize,
}

impl EncodedCall {
    /// Encodes this one in the room of the last. `asked`: what was, [as it is encoded](append_asked), where it is.
    pub(super) fn set(&mut self, asked: Option<&[u8]>, event: &UsageEvent, charges: &[Charge]) {
        let bytes = &mut self.bytes;
        bytes.clear();
        match asked {
            Some(asked) => bytes.extend_from_slice(asked),
            None => append_asked(bytes, event),
        }
        self.asked = bytes.len();
        append_served(bytes, event);
        self.subject = bytes.len();
        append_charges(bytes, charges);
        self.charges = bytes.len();
        append_event(bytes, event);
    }

    pub(super) fn says(&self, said: Said) -> Call<'_> {
        let part = |range: Range<usize>| self.bytes.get(range).unwrap_or_default();
        Call {
            said,
            subject: part(0..self.subject),
            charges: part(self.subject..self.charges),
            event: part(self.charges..self.bytes.len()),
        }
    }

    /// Of a call that starts, what is needed until it ends.
    pub(super) fn kept(&self) -> Started {
        Started { bytes: self.bytes.as_slice().into(), asked: self.asked, subject: self.subject }
    }
}

/// A call that has started, and was charged nothing yet.
#[derive(Debug)]
pub(super) struct Started {
    /// Its subject, and its event.
    bytes: Box<[u8]>,
    asked: usize,
    subject: usize,
}

impl Started {
    /// What it asked, [as it is encoded](append_asked): its end says the same.
    pub(super) fn asked(&self) -> &[u8] {
        self.bytes.get(..self.asked).unwrap_or_default()
    }

    /// It has.
    pub(super) fn call(&self) -> Call<'_> {
        let (subject, event) = self.bytes.split_at_checked(self.subject).unwrap_or_default();
        Call { said: Said::Start, subject, charges: &[], event }
    }

    /// The same of one that was read.
    pub(super) fn of(call: &Call<'_>) -> Self {
        Self { bytes: [call.subject, call.event].concat().into(), asked: 0, subject: call.subject.len() }
    }
}

/// Calls that are to be written together.
#[derive(Debug, Default)]
pub(super) struct Group {
    subjects: Vec<u8>,
    /// Where each of them begins.
    places: Vec<u16>,
    calls: Vec<u8>,
    ends: u16,
}

impl Group {
    pub(super) fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    /// What its record takes.
    pub(super) fn record_bytes(&self) -> usize {
        if self.is_empty() { 0 } else { FRAME_BYTES + HEAD_BYTES + self.subjects.len() + self.calls.len() }
    }

    /// How many calls end in it.
    pub(super) fn ends(&self) -> u64 {
        self.ends.into()
    }

    /// Adds a call.
    pub(super) fn push(&mut self, call: &Call<'_>) {
        let Call { said, subject, charges, event } = *call;
        let place = self.place(subject).to_le_bytes();
        let charge_count = u16::try_from(charges.len() / CHARGE_BYTES).unwrap_or(u16::MAX).to_le_bytes();
        let event_bytes = u16::try_from(event.len()).unwrap_or(u16::MAX).to_le_bytes();
        self.calls.reserve(CALL_HEAD_BYTES + charges.len() + event.len());
        self.calls.push(said.byte());
        self.calls.extend_from_slice([place, charge_count, event_bytes].as_flattened());
        self.calls.extend_from_slice(charges);
        self.calls.extend_from_slice(event);
        self.ends += u16::from(said == Said::End);
    }

    /// Where the subject stands; it is added where it is not seen.
    fn place(&mut self, subject: &[u8]) -> u16 {
        let is_it = |place: &&u16| subject_at(&self.subjects, **place) == Some(subject);
        if let Some(place) = self.places.iter().rev().take(LOOKED_AT).find(is_it) {
            return *place;
        }
        let place = u16::try_from(self.subjects.len()).unwrap_or(u16::MAX);
        self.places.push(place);
        self.subjects.push(u8::try_from(subject.len()).unwrap_or(u8::MAX));
        self.subjects.extend_from_slice(subject);
        place
    }

    /// Appends its record; nothing, where it is empty.
    pub(super) fn append(&self, out: &mut Vec<u8>) {
        if self.is_empty() {
            return;
        }
        out.reserve(self.record_bytes());
        record::append(out, Kind::Calls, |out| {
            out.extend_from_slice(&u16::try_from(self.subjects.len()).unwrap_or(u16::MAX).to_le_bytes());
            out.extend_from_slice(&self.ends.to_le_bytes());
            out.extend_from_slice(&self.subjects);
            out.extend_from_slice(&self.calls);
        });
    }

    /// The calls in it.
    pub(super) fn calls(&self) -> Calls<'_> {
        Calls { subjects: &self.subjects, rest: &self.calls }
    }

    /// Empties it, and keeps its room.
    pub(super) fn clear(&mut self) {
        self.subjects.clear();
        self.places.clear();
        self.calls.clear();
        self.ends = 0;
    }
}

fn subject_at(subjects: &[u8], place: u16) -> Option<&[u8]> {
    let (length, rest) = subjects.get(usize::from(place)..)?.split_first()?;
    rest.get(..usize::from(*length))
}

/// A group, where its record lies.
#[derive(Clone, Copy, Debug)]
pub(super) struct RecordedGroup<'a> {
    /// How many calls end in it.
    pub(super) ends: usize,
    pub(super) calls: Calls<'a>,
}

impl<'a> RecordedGroup<'a> {
    /// `None`: the bytes are no group.
    pub(super) fn read(bytes: &'a [u8]) -> Option<Self> {
        let (subject_bytes, rest) = bytes.split_first_chunk()?;
        let (ends, rest) = rest.split_first_chunk()?;
        let (subjects, rest) = rest.split_at_checked(u16::from_le_bytes(*subject_bytes).into())?;
        Some(Self { ends: u16::from_le_bytes(*ends).into(), calls: Calls { subjects, rest } })
    }
}

/// The calls of a group, in their order. Ends at what is no call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Calls<'a> {
    subjects: &'a [u8],
    rest: &'a [u8],
}

impl Calls<'_> {
    /// Whether all was read.
    pub(super) fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }
}

impl<'a> Iterator for Calls<'a> {
    type Item = Call<'a>;

    fn next(&mut self) -> Option<Call<'a>> {
        let ([said, numbers @ ..], rest) = self.rest.split_first_chunk::<CALL_HEAD_BYTES>()?;
        let [place, charge_count, event_bytes] = *numbers.as_chunks().0 else { return None };
        let charge_bytes = usize::from(u16::from_le_bytes(charge_count)) * CHARGE_BYTES;
        let (charges, rest) = rest.split_at_checked(charge_bytes)?;
        let (event, rest) = rest.split_at_checked(u16::from_le_bytes(event_bytes).into())?;
        let subject = subject_at(self.subjects, u16::from_le_bytes(place))?;
        let said = Said::of(*said)?;
        self.rest = rest;
        Some(Call { said, subject, charges, event })
    }
}

/// A charge as it is recorded, without what its event names.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct RecordedCharge {
    pub(super) limit: u32,
    pub(super) of_key: bool,
    pub(super) of_model: bool,
    pub(super) of_deployment: bool,
    pub(super) window: Window,
    pub(super) holder: HolderId,
    pub(super) units: u64,
}

impl RecordedCharge {
    fn read(bytes: &[u8; CHARGE_BYTES]) -> Option<Self> {
        let (limit, rest) = bytes.split_first_chunk()?;
        let (of, rest) = rest.split_first()?;
        let (starts, rest) = rest.split_first_chunk()?;
        let (ends, rest) = rest.split_first_chunk()?;
        let (holder, units) = rest.split_first_chunk()?;
        let at = |micros| Timestamp::from_micros(i64::from_le_bytes(micros));
        Some(Self {
            limit: u32::from_le_bytes(*limit),
            of_key: of & OF_KEY != 0,
            of_model: of & OF_MODEL != 0,
            of_deployment: of & OF_DEPLOYMENT != 0,
            window: Window { starts: at(*starts), ends: at(*ends) },
            holder: HolderId(u64::from_le_bytes(*holder)),
            units: u64::from_le_bytes(units.try_into().ok()?),
        })
    }
}

fn append_charges(out: &mut Vec<u8>, charges: &[Charge]) {
    for Charge { account, window, holder, units } in charges {
        let of = |is_part, flag| if is_part { flag } else { 0 };
        let of_key = of(account.key.is_some(), OF_KEY);
        let of_model = of(account.model.is_some(), OF_MODEL);
        let of_deployment = of(account.deployment.is_some(), OF_DEPLOYMENT);
        out.extend_from_slice(&account.limit.number.to_le_bytes());
        out.push(of_key | of_model | of_deployment);
        out.extend_from_slice(&window.starts.as_micros().to_le_bytes());
        out.extend_from_slice(&window.ends.as_micros().to_le_bytes());
        out.extend_from_slice(&holder.0.to_le_bytes());
        out.extend_from_slice(&units.to_le_bytes());
    }
}

#[cfg(test)]
mod tests;
