//! The region's configuration log, in memory: every resource at the newest revision, and the way there from recent ones.
//!
//! [`Log`] holds one [`State`] behind a watch: the push channel to subscribers and the data are the same thing, so a
//! revocation is on the wire as soon as it is in here. One task ([`follow`]) writes; subscribers ([`subscription`])
//! and snapshots ([`snapshot`]) read, and a slow reader holds up nobody: it reads from a cursor, and falls off the bounded
//! [`history`] when it does not come along.
//!
//! What must never happen here: a gap between two revisions on one stream; a resource that stops the log (one that cannot
//! be opened is withdrawn and shown); a secret in a log line.

pub(crate) mod encode;
pub(crate) mod entry;
pub(crate) mod follow;
pub(crate) mod history;
pub(crate) mod metrics;
pub(crate) mod resources;
pub(crate) mod snapshot;
pub(crate) mod state;
pub(crate) mod subscription;

use bailiwick_core::records::Revision;
use tokio::sync::watch;

use self::state::{Change, State};

/// The log. All clones of a receiver see every step.
#[derive(Debug)]
pub(crate) struct Log {
    state: watch::Sender<State>,
}

impl Log {
    /// A log that begins at `state`.
    pub(crate) fn new(state: State) -> Self {
        Self { state: watch::Sender::new(state) }
    }

    /// Follows the log. Borrow it briefly: the writer waits meanwhile.
    pub(crate) fn subscribe(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    /// Reads from the newest state. `read` must be brief: the writer waits meanwhile.
    pub(crate) fn read<T>(&self, read: impl FnOnce(&State) -> T) -> T {
        read(&self.state.borrow())
    }

    /// The newest revision in the log.
    pub(crate) fn revision(&self) -> Revision {
        self.read(|state| state.revision)
    }

    /// Takes one step and wakes every subscriber. A change that does not begin where the log stands is left out.
    pub(crate) fn apply(&self, change: Change) {
        self.state.send_if_modified(|state| state.apply(change));
    }

    /// Begins anew: the store was restored. Subscribers end their streams, and workers take a snapshot.
    pub(crate) fn replace(&self, state: State) {
        self.state.send_replace(state);
    }
}

#[cfg(test)]
mod tests;
