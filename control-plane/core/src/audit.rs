//! The hash chain of audit records.

use aws_lc_rs::digest;

use crate::records::{AuditDraft, AuditRecord, Chain, Revision};

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
    let AuditDraft { chain, at, actor, action, subject } = draft;
    hash(
        previous,
        *chain,
        [
            &sequence.to_be_bytes(),
            &at.as_micros().to_be_bytes(),
            &actor.0,
            action.as_bytes(),
            subject.as_bytes(),
            &revision.map_or(0, |r| r.0).to_be_bytes(),
        ],
    )
}

/// The hash that a stored record should have.
pub fn record_hash(previous: &[u8; 32], record: &AuditRecord) -> [u8; 32] {
    hash(
        previous,
        record.chain,
        [
            &record.sequence.to_be_bytes(),
            &record.at.as_micros().to_be_bytes(),
            &record.actor.0,
            record.action.as_bytes(),
            record.subject.as_bytes(),
            &record.revision.map_or(0, |r| r.0).to_be_bytes(),
        ],
    )
}

fn hash(previous: &[u8; 32], chain: Chain, fields: [&[u8]; 6]) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(previous);
    let chain = chain_name(chain);
    for field in std::iter::once(chain.as_bytes()).chain(fields) {
        context.update(&(field.len() as u64).to_be_bytes());
        context.update(field);
    }
    let mut hash = GENESIS;
    hash.copy_from_slice(context.finish().as_ref());
    hash
}
