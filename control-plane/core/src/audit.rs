//! The hash chain of audit records.

use aws_lc_rs::digest;

use crate::records::{AuditDraft, Chain, Revision};

/// The hash before a chain's first record.
pub const GENESIS: [u8; 32] = [0; 32];

/// The text form of a chain: the organization's identifier, or `region`.
pub fn chain_name(chain: Chain) -> String {
    match chain {
        Chain::Region => "region".to_owned(),
        Chain::Organization(id) => id.to_string(),
    }
}

/// SHA-256 over the previous hash and every field of the record, each preceded by its length. The actor goes in as its
/// sealed bytes, so destroying a data key leaves the chain verifiable.
pub fn leaf_hash(
    previous: &[u8; 32],
    sequence: u64,
    draft: &AuditDraft,
    revision: Option<Revision>,
) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(previous);
    for field in [
        chain_name(draft.chain).as_bytes(),
        &sequence.to_be_bytes(),
        &draft.at.as_micros().to_be_bytes(),
        &draft.actor.0,
        draft.action.as_bytes(),
        draft.subject.as_bytes(),
        &revision.map_or(0, |r| r.0).to_be_bytes(),
    ] {
        context.update(&(field.len() as u64).to_be_bytes());
        context.update(field);
    }
    let mut hash = GENESIS;
    hash.copy_from_slice(context.finish().as_ref());
    hash
}
