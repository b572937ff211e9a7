//! Certificates that the region has revoked before their end.
//!
//! A revocation names a holder and a moment: whatever certificate of that holder became valid up to then is refused, also one that nobody remembers
//! having issued. The set belongs to the [`Identity`](super::Identity), and the verifiers of all its listeners and connectors ask it: no server
//! can forget to. It only ever grows, until an entry outlives every certificate that it could refuse: what was heard once is not unheard (R12).

use std::collections::HashMap;
use std::sync::Arc;

use bailiwick_domain::spiffe::SpiffeId;
use bailiwick_domain::time::Timestamp;
use tokio::sync::watch;

use super::peer::Leaf;

/// How many revocations a region may have at a time: each is of another name, and ends with the certificates that it refuses.
pub const MAX_REVOCATIONS: usize = 10_000;

/// Certificates of one holder that are refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revocation {
    /// Whose they are.
    pub holder: SpiffeId,
    /// Those are refused whose validity begins at or before this time.
    pub issued_until: Timestamp,
    /// When the last of them would have ended by itself.
    pub expires: Timestamp,
}

/// What a process knows of its region's revocations. Cheap to clone; all clones see the same.
#[derive(Debug, Clone, Default)]
pub struct Revocations {
    refused: Arc<watch::Sender<HashMap<SpiffeId, Refused>>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Refused {
    issued_until: Timestamp,
    expires: Timestamp,
}

impl Revocations {
    /// Adds what is new, and forgets what refuses nothing any more at `now`. Says whether anything was added or widened.
    pub fn learn(&self, revocations: impl IntoIterator<Item = Revocation>, now: Timestamp) -> bool {
        let mut grown = false;
        self.refused.send_if_modified(|refused| {
            let before = refused.len();
            refused.retain(|_, refused| refused.expires > now);
            let shrunk = refused.len() != before;
            for Revocation { holder, issued_until, expires } in revocations {
                if expires <= now {
                    continue;
                }
                let new = Refused { issued_until, expires };
                let known = refused.entry(holder).or_insert_with(|| {
                    grown = true;
                    new
                });
                let wider = Refused {
                    issued_until: known.issued_until.max(issued_until),
                    expires: known.expires.max(expires),
                };
                grown |= wider != *known;
                *known = wider;
            }
            grown || shrunk
        });
        grown
    }

    /// Whether a certificate of this holder that became valid at `issued` is refused.
    pub fn refuse(&self, holder: &SpiffeId, issued: Timestamp) -> bool {
        self.refused.borrow().get(holder).is_some_and(|refused| issued <= refused.issued_until)
    }

    /// Resolves once a certificate of this holder that became valid at `issued` is refused.
    pub(super) async fn refused(&self, holder: &SpiffeId, issued: Timestamp) {
        let mut changes = self.refused.subscribe();
        let is_refused = |refused: &HashMap<SpiffeId, Refused>| {
            refused.get(holder).is_some_and(|refused| issued <= refused.issued_until)
        };
        if changes.wait_for(is_refused).await.is_err() {
            // The sender lives as long as `self` does.
            std::future::pending::<()>().await;
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.refused.borrow().len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn refuse_leaf(&self, leaf: &Leaf) -> bool {
        self.refuse(&leaf.spiffe_id, leaf.issued)
    }
}
