//! Subjects of a block: the key, the model and the deployment of its events, which are mostly the same few. Each stands there once, in the order of its first use, after a byte that says how many
//! there are.

use std::collections::HashSet;

use bailiwick_domain::{
    id::{DeploymentId, ModelId},
    jurisdiction::{ForeignRegion, Jurisdiction},
    key::KeyId,
    usage::UsageEvent,
};

use super::numbers::Left;
use crate::usage::block::MOST;

/// Length of a subject.
pub(super) const BYTES: usize = 3 * 16;

/// What a call was made with and where it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Subject {
    pub(super) key: KeyId,
    pub(super) model: ModelId,
    pub(super) deployment: DeploymentId,
}

/// Appends the subjects of a block's events; for each event the place of its own.
pub(super) fn write(
    out: &mut Vec<u8>,
    home: &Jurisdiction,
    events: &[&UsageEvent],
) -> Result<[u8; MOST], ForeignRegion> {
    let mut places = [0; MOST];
    let mut met = Met::new();
    let count_at = out.len();
    out.push(0);
    for (place, event) in places.iter_mut().zip(events) {
        let count = met.count;
        *place = met.place(event);
        if *place == count {
            append(out, home, event)?;
        }
    }
    if let Some(count) = out.get_mut(count_at) {
        *count = met.count;
    }
    Ok(places)
}

/// R2: each is admitted, once for all events that have it.
fn append(out: &mut Vec<u8>, home: &Jurisdiction, event: &UsageEvent) -> Result<(), ForeignRegion> {
    out.extend_from_slice(&home.admit(event.key)?.local_bytes());
    out.extend_from_slice(&home.admit(event.model)?.local_bytes());
    out.extend_from_slice(&home.admit(event.deployment)?.local_bytes());
    Ok(())
}

/// Slots of the table by which a subject is found again.
const SLOTS: usize = 256;
/// Looking for one that is not there ends at a free slot.
const _: () = assert!(MOST < SLOTS && SLOTS == 1 << u8::BITS);

/// Subjects that were met so far. Nothing is allocated for them: many a block has one event.
struct Met<'e> {
    count: u8,
    /// By place: an event that has it.
    firsts: [Option<&'e UsageEvent>; MOST],
    /// Places, from 1, at or behind where [`spread`] wants them; 0: free.
    slots: [u8; SLOTS],
    last: Option<(&'e UsageEvent, u8)>,
}

impl<'e> Met<'e> {
    fn new() -> Self {
        Self { count: 0, firsts: [None; MOST], slots: [0; SLOTS], last: None }
    }

    /// The place of an event's subject, which is the count before where it is new.
    fn place(&mut self, event: &'e UsageEvent) -> u8 {
        let place = match self.last {
            Some((last, place)) if are_same(last, event) => place,
            _ => self.find(event),
        };
        self.last = Some((event, place));
        place
    }

    fn find(&mut self, event: &'e UsageEvent) -> u8 {
        let mut slot = spread(event);
        loop {
            match self.held(slot) {
                Some((place, first)) if are_same(first, event) => return place,
                Some(_) => slot = slot.wrapping_add(1),
                None => return self.add(slot, event),
            }
        }
    }

    fn held(&self, slot: u8) -> Option<(u8, &'e UsageEvent)> {
        let place = self.slots.get(usize::from(slot))?.checked_sub(1)?;
        self.firsts.get(usize::from(place)).copied().flatten().map(|first| (place, first))
    }

    fn add(&mut self, slot: u8, event: &'e UsageEvent) -> u8 {
        let place = self.count;
        self.count += 1;
        if let Some(slot) = self.slots.get_mut(usize::from(slot)) {
            *slot = self.count;
        }
        if let Some(first) = self.firsts.get_mut(usize::from(place)) {
            *first = Some(event);
        }
        place
    }
}

/// By whole identifiers: the bytes that are written do not tell another region's from this one's (R2).
fn are_same(one: &UsageEvent, other: &UsageEvent) -> bool {
    one.key == other.key && one.model == other.model && one.deployment == other.deployment
}

/// A slot to begin with. Identifiers are random in some of their bytes, so all of them are taken together.
fn spread(event: &UsageEvent) -> u8 {
    let number = u128::from_be_bytes;
    let all = number(event.key.local_bytes())
        ^ number(event.model.local_bytes())
        ^ number(event.deployment.local_bytes());
    all.to_be_bytes().into_iter().fold(0, |slot: u8, byte| slot.rotate_left(3) ^ byte)
}

/// Subjects, read back.
pub(super) struct Subjects {
    all: Vec<Subject>,
    /// So many of them events have had.
    used: usize,
}

impl Subjects {
    /// `None`: they are not all there, are not those of any calls, or one is there twice.
    pub(super) fn read(left: &mut Left<'_>, home: &Jurisdiction) -> Option<Self> {
        let [count] = left.take()?;
        let all = (0..count).map(|_| Subject::read(left, home)).collect::<Option<Vec<_>>>()?;
        let distinct: HashSet<_> = all.iter().collect();
        (distinct.len() == all.len()).then_some(Self { all, used: 0 })
    }

    /// The subject of the next event. `None`: there is none, or another one's turn to be first used is before.
    pub(super) fn at(&mut self, place: u8) -> Option<Subject> {
        let place = usize::from(place);
        if place == self.used {
            self.used += 1;
        }
        self.all.get(place).filter(|_| place < self.used).copied()
    }

    pub(super) fn are_all_used(&self) -> bool {
        self.used == self.all.len()
    }
}

impl Subject {
    fn read(left: &mut Left<'_>, home: &Jurisdiction) -> Option<Self> {
        Some(Self {
            key: home.key_identified(left.take()?)?.into_inner(),
            model: home.identified(left.take()?).into_inner(),
            deployment: home.identified(left.take()?).into_inner(),
        })
    }
}
