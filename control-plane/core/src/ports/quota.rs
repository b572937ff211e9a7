//! What whoever lends a region's limits keeps in its store. Not audited: nothing of it is anybody's decision.
//!
//! One is in office at a time, and has a *term*: a number that is larger than that of all who were in office before. What is written under a term that is over is refused, so a control plane that
//! was taken for dead and is not can lend nothing more.

use std::collections::BTreeMap;

use async_trait::async_trait;
use bailiwick_domain::{id::OrganizationId, jurisdiction::Local};
use bailiwick_quota::{
    allocator::{AccountUse, Row, Stored},
    limit::Limit,
    protocol::HolderId,
};

use super::store::StoreError;
use crate::records::Revision;

/// The rule that stands against what is written under a term that is over.
pub const NOT_IN_OFFICE: &str = "another control plane, which lends the region's limits now";

/// What whoever takes office begins with, read in the transaction that makes the term.
#[derive(Clone, Debug)]
pub struct Office {
    /// Larger than all before.
    pub term: u64,
    /// Of the limits.
    pub revision: Revision,
    /// All limits of organizations that are not deleted.
    pub limits: Vec<Limit>,
    /// What is lent, and what was used.
    pub stored: Stored,
    /// Whose names they are: names of workers, as their certificates have them.
    pub workers: BTreeMap<HolderId, String>,
}

/// Limits of organizations that changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitsChanged {
    /// Up to and including this revision.
    pub to: Revision,
    /// Each changed organization with all its limits; none where it is deleted.
    pub changed: Vec<(OrganizationId, Vec<Limit>)>,
    /// The log no longer reaches back: read everything anew.
    pub truncated: bool,
}

/// The part of a region's store that lending limits needs.
#[async_trait]
pub trait QuotaStore: Send + Sync {
    /// Begins a term: at least this one, and larger than all before. Forgets what is stored of limits that are no more.
    async fn take_office(&self, at_least: u64) -> Result<Office, StoreError>;

    /// Writes changes in their order, in one transaction. `workers`: whose the names of holders in `rows` are. Conflict with [`NOT_IN_OFFICE`] when the term is over: nothing is written then.
    async fn write_quota(
        &self,
        term: u64,
        rows: &[Row],
        workers: &BTreeMap<HolderId, String>,
    ) -> Result<(), StoreError>;

    /// Limits of the organizations that changed after a revision.
    async fn limits_since(&self, since: Revision) -> Result<LimitsChanged, StoreError>;
}

/// Tells how limits stand at this moment: whoever is in office knows.
#[async_trait]
pub trait LimitUse: Send + Sync {
    /// Each account of the organization that anything is used or lent of, by limit. `None`: nobody here is in office at the moment.
    async fn of(&self, organization: Local<OrganizationId>) -> Option<Vec<AccountUse>>;
}
