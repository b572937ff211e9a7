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
    let (mut places, mut count) = ([0; MOST], 0);
    let count_at = out.len();
    out.push(count);
    for (number, event) in events.iter().enumerate().take(MOST) {
        let earlier = same_before(events.get(..number).unwrap_or_default(), event);
        let known = earlier.and_then(|earlier| places.get(earlier).copied());
        let place = known.unwrap_or(count);
        if place == count {
            append(out, home, event)?;
            count += 1;
        }
        if let Some(of_event) = places.get_mut(number) {
            *of_event = place;
        }
    }
    if let Some(place) = out.get_mut(count_at) {
        *place = count;
    }
    Ok(places)
}

/// An event of the same subject. That is mostly the last one, or among the first: a block has few subjects, or few events.
fn same_before(before: &[&UsageEvent], event: &UsageEvent) -> Option<usize> {
    match before.split_last() {
        Some((last, rest)) if are_same(last, event) => Some(rest.len()),
        _ => before.iter().position(|other| are_same(other, event)),
    }
}

/// R2: each is admitted, once for all events that have it.
fn append(out: &mut Vec<u8>, home: &Jurisdiction, event: &UsageEvent) -> Result<(), ForeignRegion> {
    out.extend_from_slice(&home.admit(event.key)?.local_bytes());
    out.extend_from_slice(&home.admit(event.model)?.local_bytes());
    out.extend_from_slice(&home.admit(event.deployment)?.local_bytes());
    Ok(())
}

/// By whole identifiers: the bytes that are written do not tell another region's from this one's (R2).
fn are_same(one: &UsageEvent, other: &UsageEvent) -> bool {
    one.key == other.key && one.model == other.model && one.deployment == other.deployment
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
