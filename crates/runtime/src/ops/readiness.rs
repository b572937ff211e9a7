//! Whether a process can do its work: the conjunction of named conditions, each owned by the part that knows.

use std::sync::{Arc, PoisonError, RwLock};

use bailiwick_domain::guard::Guard;
use serde::Serialize;

/// All conditions of a process. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Readiness {
    conditions: Arc<RwLock<Vec<Row>>>,
}

#[derive(Clone, Debug, Serialize)]
struct Row {
    name: &'static str,
    ready: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// What `/readyz` answers.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) ready: bool,
    conditions: Vec<Row>,
    /// Guards that this process goes without, as it may in a test.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    removed_guards: Vec<&'static str>,
}

impl Readiness {
    /// Adds a condition, at first not met, for the reason "starting".
    pub fn register(&self, name: &'static str) -> Condition {
        let row = Row { name, ready: false, reason: Some("starting".to_owned()) };
        let mut conditions = self.conditions.write().unwrap_or_else(PoisonError::into_inner);
        conditions.push(row);
        Condition { conditions: Arc::clone(&self.conditions), index: conditions.len() - 1 }
    }

    /// Whether all conditions are met.
    pub fn is_ready(&self) -> bool {
        self.report().ready
    }

    pub(super) fn report(&self) -> Report {
        let conditions = self.conditions.read().unwrap_or_else(PoisonError::into_inner).clone();
        Report {
            ready: conditions.iter().all(|condition| condition.ready),
            conditions,
            removed_guards: Guard::removed().map(Guard::name).collect(),
        }
    }
}

/// One condition, held by the part of the process that knows whether it is met.
#[derive(Clone, Debug)]
pub struct Condition {
    conditions: Arc<RwLock<Vec<Row>>>,
    index: usize,
}

impl Condition {
    /// It is met.
    pub fn ready(&self) {
        self.set(true, None);
    }

    /// It is met, and will not be for long. The reason is for operators, as in [`Self::not_ready`].
    pub fn ready_for_now(&self, reason: impl Into<String>) {
        self.set(true, Some(reason.into()));
    }

    /// It is not met. The reason is for operators; it names no secret and no tenant.
    pub fn not_ready(&self, reason: impl Into<String>) {
        self.set(false, Some(reason.into()));
    }

    fn set(&self, ready: bool, reason: Option<String>) {
        let mut conditions = self.conditions.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(row) = conditions.get_mut(self.index) {
            if row.ready != ready {
                tracing::info!(condition = row.name, ready, reason = reason.as_deref(), "readiness changed");
            }
            row.ready = ready;
            row.reason = reason;
        }
    }
}
