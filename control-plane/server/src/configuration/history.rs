//! The recent steps of the log, bounded: from any revision within it a worker can resume.

use std::{collections::VecDeque, sync::Arc};

use bailiwick_core::records::Revision;
use bailiwick_proto::worker::v1 as wire;

use super::{
    entry::{Entry, Name},
    resources::Toggle,
};

/// Steps that are kept.
pub(crate) const MAX_STEPS: usize = 4096;
/// Encoded size of a step that still fits one message (gRPC's default bound is 4 MiB).
pub(crate) const MAX_STEP_BYTES: usize = 3 * 1024 * 1024;
/// Encoded size of all steps that are kept.
const MAX_BYTES: usize = 64 * 1024 * 1024;

/// One resource changed or is gone.
#[derive(Clone, Debug)]
pub(crate) enum Operation {
    Put(Arc<Entry>),
    Gone(Name),
}

impl Operation {
    fn size(&self) -> usize {
        const FRAMING: usize = 16;
        FRAMING
            + match self {
                Self::Put(entry) => entry.encoding.len(),
                Self::Gone(name) => name.id.len(),
            }
    }

    fn to_wire(&self) -> wire::Operation {
        use wire::operation::Operation as Wire;
        let operation = match self {
            Self::Put(entry) => Wire::Put(entry.to_wire()),
            Self::Gone(name) => Wire::Gone(name.to_wire()),
        };
        wire::Operation { operation: Some(operation) }
    }
}

/// What leads from one revision to a later one. Every operation is absolute (the state at `to`), so whoever holds a revision between
/// the two may take it as well.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) from: Revision,
    pub(crate) to: Revision,
    pub(crate) operations: Vec<Operation>,
    /// What it did to the digests.
    pub(crate) toggles: Vec<Toggle>,
}

impl Step {
    pub(crate) fn size(&self) -> usize {
        self.operations.iter().map(Operation::size).sum()
    }

    /// The message for a worker that has applied `from`, which lies in the step.
    pub(crate) fn to_wire(&self, from: Revision) -> wire::Batch {
        wire::Batch {
            from: from.0,
            to: self.to.0,
            operations: self.operations.iter().map(Operation::to_wire).collect(),
        }
    }
}

/// Steps without a gap between them.
#[derive(Debug, Default)]
pub(crate) struct History {
    steps: VecDeque<Arc<Step>>,
    bytes: usize,
}

impl History {
    /// Adds the newest step. One that is too large for a message empties the history: who is behind it takes a snapshot.
    pub(crate) fn push(&mut self, step: Arc<Step>) {
        let size = step.size();
        if size > MAX_STEP_BYTES {
            *self = Self::default();
            return;
        }
        self.bytes += size;
        self.steps.push_back(step);
        while self.steps.len() > MAX_STEPS || self.bytes > MAX_BYTES {
            let Some(oldest) = self.steps.pop_front() else { break };
            self.bytes = self.bytes.saturating_sub(oldest.size());
        }
    }

    /// The steps that lead on from `revision`, oldest first; `None` when the history does not reach back so far.
    pub(crate) fn since(&self, revision: Revision, now: Revision) -> Option<Vec<Arc<Step>>> {
        if revision == now {
            return Some(Vec::new());
        }
        let reaches_back = self.steps.front().is_some_and(|oldest| oldest.from <= revision);
        if !reaches_back || revision > now {
            return None;
        }
        let first = self.steps.partition_point(|step| step.to <= revision);
        Some(self.steps.range(first..).cloned().collect())
    }
}
