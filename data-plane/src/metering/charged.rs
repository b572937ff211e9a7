//! What a journal's calls were charged to limits of money, summed up as it is written: so that a next life of this worker can say what this one used, when it was killed.
//!
//! The record of a call's end says what it was charged. A segment that follows another begins with the sums of those before it ([`Sums::append`]), and with a mark that these are all; so the last segment of a journal tells everything,
//! and the last one is there as long as its writer lives.

use std::{
    collections::{BTreeMap, HashMap, hash_map::Entry},
    path::Path,
};

use bailiwick_domain::{id::OrganizationId, packed::Packed, time::Timestamp};
use bailiwick_proto::worker::v1::{QuotaAccount, UsageSubject};
use bailiwick_quota::{
    holder::Charge,
    limit::{Account, LimitId},
    protocol::{HolderId, MAX_SETTLED},
    window::Window,
};
use prost::Message as _;
use ulid::Ulid;

use super::{
    group::{Call, RecordedCharge, RecordedGroup},
    record::{self, Kind},
    segment::{Header, SegmentName},
    tail::SegmentReader,
};

/// What one account's sum takes at a segment's beginning, about.
const SUM_BYTES: u64 = 160;
/// The sums at a segment's beginning take at most one part in so many of it.
const PART: u64 = 4;

/// The last window of each account in which anything was charged, and how much.
#[derive(Clone, Debug)]
pub(super) struct Sums {
    sums: HashMap<(HolderId, Account), (Window, u64)>,
    most: usize,
    /// The latest beginning of a window: those that ended by then are over.
    latest: Timestamp,
    /// There were more accounts than are kept, so that nothing is known of any.
    overflown: bool,
}

/// What the calls of a journal were charged; `None`: something of it is unknown.
pub(crate) type Charged = Option<Vec<Charge>>;

impl Sums {
    /// For segments of so many bytes: no more accounts than are small beside them.
    pub(super) fn for_segments_of(bytes: u64) -> Self {
        let most = usize::try_from(bytes / PART / SUM_BYTES).unwrap_or(usize::MAX).min(MAX_SETTLED);
        let latest = Window::ALWAYS.starts;
        Self { sums: HashMap::new(), most, latest, overflown: false }
    }

    /// Adds a charge. Answers false when from now on nothing is known.
    pub(super) fn add(&mut self, charge: &Charge) -> bool {
        if self.overflown {
            return true;
        }
        let Charge { account, window, holder, units } = *charge;
        self.latest = self.latest.max(window.starts);
        if self.sums.len() >= self.most {
            self.sums.retain(|_, (window, _)| window.ends > self.latest);
        }
        let is_full = self.sums.len() >= self.most;
        match self.sums.entry((holder, account)) {
            Entry::Occupied(mut sum) => {
                let (latest, sum) = sum.get_mut();
                if window.starts > latest.starts {
                    (*latest, *sum) = (window, units);
                } else if window.starts == latest.starts {
                    *sum = sum.saturating_add(units);
                }
            }
            Entry::Vacant(_) if is_full => {
                (self.overflown, self.sums) = (true, HashMap::new());
                return false;
            }
            Entry::Vacant(place) => {
                place.insert((window, units));
            }
        }
        true
    }

    /// Writes them to the beginning of a segment.
    pub(super) fn append(&self, out: &mut Vec<u8>) {
        if self.overflown {
            record::append(out, Kind::SumsUnknown, |_| {});
        }
        for ((holder, account), (window, units)) in &self.sums {
            // Limits of members have no form outside.
            let Some(account) = bailiwick_proto::convert::quota::account_to_wire(account) else { continue };
            record::append(out, Kind::Sum, |payload| {
                payload.extend_from_slice(&window.starts.as_micros().to_le_bytes());
                payload.extend_from_slice(&window.ends.as_micros().to_le_bytes());
                payload.extend_from_slice(&holder.0.to_le_bytes());
                payload.extend_from_slice(&units.to_le_bytes());
                // A vector grows as it must, so there is nothing that could fail.
                let _infallible = account.encode(payload);
            });
        }
        record::append(out, Kind::SumsEnd, |_| {});
    }

    fn into_charges(self) -> Charged {
        let charges = self.sums.into_iter().map(|((holder, account), (window, units))| Charge {
            account,
            window,
            holder,
            units,
        });
        (!self.overflown).then(|| charges.collect())
    }
}

/// Adds what calls say, and tells whether any ended. `None`: they say what cannot be.
fn add_calls(sums: &mut Sums, payload: &[u8]) -> Option<bool> {
    let RecordedGroup { ends, mut calls } = RecordedGroup::read(payload)?;
    for call in calls.by_ref() {
        add_call(sums, &call)?;
    }
    calls.is_at_end().then_some(ends > 0)
}

fn add_call(sums: &mut Sums, call: &Call<'_>) -> Option<()> {
    if call.charges().next().is_none() {
        return Some(());
    }
    let subject = UsageSubject::decode(call.subject).ok()?;
    let organization = OrganizationId::from_packed(&subject.organization_id)?;
    for charge in call.charges() {
        let account = Account {
            limit: LimitId { organization, number: charge.limit },
            key: part(charge.of_key, &subject.key_id)?,
            member: None,
            model: part(charge.of_model, &subject.model_id)?,
            deployment: part(charge.of_deployment, &subject.deployment_id)?,
        };
        let RecordedCharge { window, holder, units, .. } = charge;
        sums.add(&Charge { account, window, holder, units });
    }
    Some(())
}

/// What an account is one's own by. `None`: the call's subject does not say whose.
fn part<T: Packed>(is_part: bool, packed: &[u8]) -> Option<Option<T>> {
    if is_part { T::from_packed(packed).map(Some) } else { Some(None) }
}

fn add_sum(sums: &mut Sums, payload: &[u8]) -> Option<()> {
    let (starts, rest) = payload.split_first_chunk::<8>()?;
    let (ends, rest) = rest.split_first_chunk::<8>()?;
    let (holder, rest) = rest.split_first_chunk::<8>()?;
    let (units, rest) = rest.split_first_chunk::<8>()?;
    let account = QuotaAccount::decode(rest).ok()?;
    let part = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    let account = Account {
        limit: LimitId { organization: account.organization_id.parse().ok()?, number: account.limit },
        key: part(&account.key_id).map(|id| id.parse()).transpose().ok()?,
        member: None,
        model: part(&account.model_id).map(|id| id.parse()).transpose().ok()?,
        deployment: part(&account.deployment_id).map(|id| id.parse()).transpose().ok()?,
    };
    let window = Window {
        starts: Timestamp::from_micros(i64::from_le_bytes(*starts)),
        ends: Timestamp::from_micros(i64::from_le_bytes(*ends)),
    };
    let (holder, units) = (HolderId(u64::from_le_bytes(*holder)), u64::from_le_bytes(*units));
    sums.add(&Charge { account, window, holder, units });
    Some(())
}

/// What the calls of journals were charged that earlier processes left, by the segments that are there of each. Reads the last segment of each.
pub(super) fn of_left(directory: &Path, journals: &BTreeMap<Ulid, Vec<u32>>) -> BTreeMap<Ulid, Charged> {
    let charged =
        |(journal, segments): (&Ulid, &Vec<u32>)| (*journal, of_journal(directory, *journal, segments));
    journals.iter().map(charged).collect()
}

fn of_journal(directory: &Path, journal: Ulid, segments: &[u32]) -> Charged {
    let mut segments = segments.to_vec();
    segments.sort_unstable();
    // One whose beginning was not written whole has no events: its writer had died, or went on with the one before.
    segments
        .into_iter()
        .rev()
        .take(2)
        .find_map(|number| of_segment(directory, SegmentName { journal, number }))?
}

/// `None`: its beginning is not whole. `Some(None)`: something of it is unknown.
fn of_segment(directory: &Path, name: SegmentName) -> Option<Charged> {
    let mut opened = None;
    // One that cannot be read just now may hold what was used: that is unknown, and not nothing.
    let Ok(reader) = SegmentReader::of(&mut opened, directory, name) else { return Some(None) };
    let Ok(end) = std::fs::metadata(name.path(directory)).map(|file| file.len()) else { return Some(None) };
    let mut sums = Sums { most: usize::MAX, ..Sums::for_segments_of(0) };
    let (mut at, mut begun, mut has_more, mut unknown) = (0, false, false, false);
    loop {
        let (record, next) = match reader.next(at, end) {
            Ok(Some(found)) => found,
            Ok(None) => break,
            Err(_) => return Some(None),
        };
        let size = record.size() as u64;
        // What stands between two records is damage: nobody knows what it was. At the end it is what a killed writer left half-written.
        unknown |= next.saturating_sub(size) != at;
        at = next;
        let added = match record.kind {
            Kind::Header => {
                begun |= name.number == 0 && Header::parse(record.payload).is_some();
                Some(())
            }
            Kind::SumsEnd => {
                begun = true;
                Some(())
            }
            Kind::Sum => add_sum(&mut sums, record.payload),
            Kind::SumsUnknown => None,
            Kind::Calls => {
                let added = add_calls(&mut sums, record.payload);
                has_more |= added != Some(false);
                added.map(|_| ())
            }
        };
        unknown |= added.is_none();
    }
    // What follows a beginning that is not whole follows damage.
    (begun || has_more).then(|| sums.into_charges().filter(|_| begun && !unknown))
}

#[cfg(test)]
mod tests;
