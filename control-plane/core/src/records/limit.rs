//! Limits.

use bailiwick_domain::{
    id::{DeploymentId, ModelId, OrganizationId},
    jurisdiction::Local,
    key::KeyId,
    time::Timestamp,
};
use bailiwick_quota::limit::{Limit, Measure, Over};

/// The rule that stands against one limit more.
pub const TOO_MANY_LIMITS: &str = "the number of limits that an organization can have";
/// The rule that stands against another limit of the same measure for the same keys, models and deployments.
pub const SAME_LIMIT: &str = "another limit of this measure for the same keys, models and deployments";

/// How much of something an organization's calls may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitRecord {
    /// Whose it is.
    pub organization: Local<OrganizationId>,
    /// What is limited, for whom, and how much. Never for members: there are none yet.
    pub limit: Limit,
    /// When it was made.
    pub created_at: Timestamp,
}

/// A limit before it has its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitDraft {
    /// Whose it will be.
    pub organization: Local<OrganizationId>,
    /// What it counts.
    pub measure: Measure,
    /// For which keys.
    pub keys: Over<Local<KeyId>>,
    /// For which models.
    pub models: Over<Local<ModelId>>,
    /// For which deployments; [`Over::All`]: for calls, wherever they go.
    pub deployments: Over<Local<DeploymentId>>,
    /// How much, at most [`bailiwick_quota::limit::MAX_AMOUNT`].
    pub amount: u64,
    /// When it is made.
    pub created_at: Timestamp,
}
