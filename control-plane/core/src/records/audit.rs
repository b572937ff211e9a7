//! Audit records (R11).

use bailiwick_domain::{id::OrganizationId, jurisdiction::Local, time::Timestamp};

use super::Revision;
use crate::ports::vault::Sealed;

/// Which audit chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Chain {
    /// The region's own.
    Region,
    /// One organization's.
    Organization(Local<OrganizationId>),
}

/// An audit record before it has its place in the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditDraft {
    /// Chain it goes to.
    pub chain: Chain,
    /// When.
    pub at: Timestamp,
    /// Who, sealed (`audit_records.actor`, row = the chain's text form).
    pub actor: Sealed,
    /// What, e.g. `key.revoke`.
    pub action: &'static str,
    /// To what: text form of an identifier.
    pub subject: String,
}

/// An audit record in its chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditRecord {
    /// Chain it is in.
    pub chain: Chain,
    /// Counts from 1, gap-free.
    pub sequence: u64,
    /// When.
    pub at: Timestamp,
    /// Who, sealed.
    pub actor: Sealed,
    /// What.
    pub action: String,
    /// To what.
    pub subject: String,
    /// Revision of the change; `None` where it does not concern workers.
    pub revision: Option<Revision>,
    /// See [`crate::audit::leaf_hash`].
    pub hash: [u8; 32],
}
