//! What the record of a call says: `[length, u8][subject][number of charges, u16][charges, 37 bytes each][event]`.
//!
//! Subject and event are as they are sent ([`bailiwick_proto::encoded`]). What a call was charged stays here: a next life of this worker sums it up ([`super::charged`]).

use std::ops::Range;

use bailiwick_domain::{time::Timestamp, usage::UsageEvent};
use bailiwick_proto::encoded::{append_asked, append_event, append_served};
use bailiwick_quota::{holder::Charge, protocol::HolderId, window::Window};

/// A charge: `[limit's number, u32][what the account is of, u8][window: from, i64][to, i64][holder, u64][units, u64]`, all little-endian.
const CHARGE_BYTES: usize = 37;

/// The account is one key's, model's, or deployment's: which, its event's subject tells.
const OF_KEY: u8 = 1;
const OF_MODEL: u8 = 2;
const OF_DEPLOYMENT: u8 = 4;

/// The record of a call, where it lies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Payload<'a> {
    /// A [`bailiwick_proto::worker::v1::UsageSubject`].
    pub(super) subject: &'a [u8],
    charges: &'a [[u8; CHARGE_BYTES]],
    /// A [`bailiwick_proto::worker::v1::UsageEvent`], which names no subject.
    pub(super) event: &'a [u8],
}

impl<'a> Payload<'a> {
    /// `None`: the bytes are no such payload.
    pub(super) fn read(bytes: &'a [u8]) -> Option<Self> {
        let (length, rest) = bytes.split_first()?;
        let (subject, rest) = rest.split_at_checked(usize::from(*length))?;
        let (count, rest) = rest.split_first_chunk()?;
        let charges_bytes = usize::from(u16::from_le_bytes(*count)) * CHARGE_BYTES;
        let (charges, event) = rest.split_at_checked(charges_bytes)?;
        Some(Self { subject, charges: charges.as_chunks().0, event })
    }

    /// What the call was charged.
    pub(super) fn charges(&self) -> impl Iterator<Item = RecordedCharge> + use<'a> {
        self.charges.iter().filter_map(RecordedCharge::read)
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

/// Appends what a record says of a call, and tells where in it stands what was [asked](append_asked). `asked`: the same as it is encoded, where it is.
pub(super) fn append(
    out: &mut Vec<u8>,
    asked: Option<&[u8]>,
    event: &UsageEvent,
    charges: &[Charge],
) -> Range<usize> {
    let begins = out.len();
    out.push(0);
    match asked {
        Some(asked) => out.extend_from_slice(asked),
        None => append_asked(out, event),
    }
    let asked = 1..out.len() - begins;
    append_served(out, event);
    let subject_bytes = out.len() - begins - 1;
    if let Some(length) = out.get_mut(begins) {
        *length = u8::try_from(subject_bytes).unwrap_or(u8::MAX);
    }
    append_charges(out, charges);
    append_event(out, event);
    asked
}

fn append_charges(out: &mut Vec<u8>, charges: &[Charge]) {
    // Of limits of money that it comes under a call has at most a hundred.
    out.extend_from_slice(&u16::try_from(charges.len()).unwrap_or(u16::MAX).to_le_bytes());
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
