//! Why a use case does not do what it was asked.

use std::time::Duration;

use bailiwick_domain::{
    jurisdiction::ForeignRegion,
    permission::{Permission, Role},
};

use crate::{
    ports::{store::StoreError, vault::VaultError},
    process_audit::ProcessAuditError,
};

/// One class for each answer that a caller can get. What stands in the texts, callers may see; sources go to the log.
#[derive(Debug, thiserror::Error)]
pub enum UseCaseError {
    /// It is not there, or belongs to someone whom the caller may not know of.
    #[error("{what} is not found")]
    NotFound {
        /// For people, e.g. `the key`.
        what: &'static str,
    },
    /// The request breaks rules.
    #[error("the request is invalid")]
    Invalid(Vec<Violation>),
    /// It concerns another region.
    #[error(transparent)]
    Foreign(#[from] ForeignRegion),
    /// The table of permissions does not allow it.
    #[error("the role {role} may not do this")]
    Denied {
        /// The caller's role.
        role: Role,
        /// What was asked for.
        permission: Permission,
    },
    /// It would give more than the caller has.
    #[error("{message}")]
    Forbidden {
        /// Stable, lower_snake_case.
        reason: &'static str,
        /// For people, with what to do.
        message: String,
    },
    /// What the caller presents does not prove who it is. One answer for all that can be wrong with it.
    #[error("{message}")]
    Unauthenticated {
        /// Stable, lower_snake_case.
        reason: &'static str,
        /// For people, with what to do.
        message: &'static str,
    },
    /// The state of things stands against it.
    #[error("{message}")]
    Refused {
        /// Stable, lower_snake_case.
        reason: &'static str,
        /// For people, with what to do.
        message: String,
        /// Whether something of the same name is in the way, rather than another state.
        exists: bool,
    },
    /// Signing up is not open here.
    #[error("signing up is closed in this region: ask its operator for an organization")]
    SignupClosed,
    /// A bound on how often was reached.
    #[error("too many of these within a minute")]
    Exhausted {
        /// Stable, lower_snake_case.
        reason: &'static str,
        /// When it will be possible again.
        retry_after: Duration,
    },
    /// The store is away. Trying again can help.
    #[error("the control plane's store is unavailable")]
    Unavailable(#[source] StoreError),
    /// The key management service is away. Trying again can help.
    #[error("the region's key management service is unavailable")]
    KeysUnavailable(#[source] VaultError),
    /// Ours to mend.
    #[error("internal error")]
    Internal(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// A field of a request, and the rule that it breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Path of the field.
    pub field: String,
    /// The rule; never repeats a secret.
    pub description: String,
}

impl UseCaseError {
    /// One field breaks a rule.
    pub fn invalid(field: &str, description: impl Into<String>) -> Self {
        Self::Invalid(vec![Violation { field: field.to_owned(), description: description.into() }])
    }

    /// Another state is needed first.
    pub fn refused(reason: &'static str, message: impl Into<String>) -> Self {
        Self::Refused { reason, message: message.into(), exists: false }
    }
}

impl From<StoreError> for UseCaseError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(_) => Self::Unavailable(error),
            StoreError::NotFound => Self::NotFound { what: "it" },
            StoreError::PageToken => Self::invalid("page.page_token", error.to_string()),
            StoreError::Conflict(rule) => Self::refused("conflict", format!("it conflicts with {rule}")),
            other => Self::Internal(Box::new(other)),
        }
    }
}

impl From<VaultError> for UseCaseError {
    fn from(error: VaultError) -> Self {
        match error {
            VaultError::Unavailable(_) => Self::KeysUnavailable(error),
            other => Self::Internal(Box::new(other)),
        }
    }
}

impl From<ProcessAuditError> for UseCaseError {
    fn from(error: ProcessAuditError) -> Self {
        match error {
            ProcessAuditError::Store(store) => store.into(),
            ProcessAuditError::Vault(vault) => vault.into(),
            other => Self::Internal(Box::new(other)),
        }
    }
}
