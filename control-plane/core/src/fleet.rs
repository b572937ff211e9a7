//! Workers and routers that are connected now. Nothing of it is stored: who is absent is known from the store, who is here from its stream.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use bailiwick_domain::{id::WorkerId, jurisdiction::Local, spiffe::ProcessRole, time::Timestamp};
use tokio::sync::watch;

use crate::records::Revision;

/// All that are connected.
#[derive(Debug)]
pub struct Fleet {
    live: RwLock<HashMap<Local<WorkerId>, Member>>,
    /// Until when those who have gone may serve.
    gone: RwLock<HashMap<Local<WorkerId>, Timestamp>>,
    /// Until when whoever has not been here yet may serve, by a lease that an earlier process of this control plane gave.
    unseen: Option<Timestamp>,
    /// Counts up whenever the set of workers that can be routed to may have changed.
    changes: watch::Sender<u64>,
}

#[derive(Debug)]
struct Member {
    live: Live,
    connection: u64,
    removed: watch::Sender<bool>,
}

/// What is known of a connected process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Live {
    /// Identifier in the store.
    pub id: Local<WorkerId>,
    /// Worker or router.
    pub role: ProcessRole,
    /// Name in its certificate.
    pub name: String,
    /// How far it is.
    pub state: LiveState,
    /// What it has acknowledged.
    pub applied: Revision,
    /// End of its lease.
    pub lease_expires_at: Option<Timestamp>,
    /// Build that it names.
    pub build: String,
    /// What it last refused, and why.
    pub last_refusal: Option<String>,
    /// Where routers reach it.
    pub address: String,
    /// New at every start of the process.
    pub boot_id: String,
    /// SHA-256 of the certificate (DER) that it is connected with.
    pub certificate: [u8; 32],
    /// When it was last heard of.
    pub last_seen_at: Timestamp,
}

/// How far a connected process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LiveState {
    /// Has not acknowledged yet.
    Syncing,
    /// Serves.
    Ready,
    /// Was told to go, or goes by itself.
    Draining,
}

/// What a process says of itself when it connects.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// Identifier in the store.
    pub id: Local<WorkerId>,
    /// Worker or router.
    pub role: ProcessRole,
    /// Name in its certificate.
    pub name: String,
    /// Build that it names.
    pub build: String,
    /// Where routers reach it; empty for a router.
    pub address: String,
    /// New at every start of the process.
    pub boot_id: String,
    /// SHA-256 of the certificate (DER) that it connects with.
    pub certificate: [u8; 32],
}

impl Default for Fleet {
    fn default() -> Self {
        Self {
            live: RwLock::default(),
            gone: RwLock::default(),
            unseen: None,
            changes: watch::Sender::new(0),
        }
    }
}

impl Fleet {
    /// A fleet of a control plane that starts at `now` and gives leases of `lease`.
    pub fn starting(now: Timestamp, lease: Duration) -> Self {
        Self { unseen: Some(now.saturating_add(lease)), ..Self::default() }
    }

    /// Until when a process may serve by what it was told: exactly, where it was here since this control plane started; at the latest, where not. `None`:
    /// nobody knows.
    pub fn lease_end(&self, id: Local<WorkerId>) -> Option<Timestamp> {
        let live = self.live(id).and_then(|live| live.lease_expires_at);
        let gone = || self.gone.read().unwrap_or_else(PoisonError::into_inner).get(&id).copied();
        live.or_else(gone).or(self.unseen)
    }

    /// A process has connected. It is here until the membership is dropped; a newer connection of the same process takes its place.
    pub fn arrive(self: &Arc<Self>, arrival: Arrival, now: Timestamp) -> Membership {
        let (removed, is_removed) = watch::channel(false);
        // What it was lent before holds until it is lent anew.
        let lease_expires_at = self.lease_end(arrival.id);
        let live = Live {
            id: arrival.id,
            role: arrival.role,
            name: arrival.name,
            state: LiveState::Syncing,
            applied: Revision(0),
            lease_expires_at,
            build: arrival.build,
            last_refusal: None,
            address: arrival.address,
            boot_id: arrival.boot_id,
            certificate: arrival.certificate,
            last_seen_at: now,
        };
        let connection = rand::random();
        let mut members = self.live.write().unwrap_or_else(PoisonError::into_inner);
        members.insert(arrival.id, Member { live, connection, removed });
        drop(members);
        self.changed();
        Membership { fleet: Arc::clone(self), id: arrival.id, connection, removed: is_removed }
    }

    /// What is known of one process, if it is connected.
    pub fn live(&self, id: Local<WorkerId>) -> Option<Live> {
        self.live.read().unwrap_or_else(PoisonError::into_inner).get(&id).map(|member| member.live.clone())
    }

    /// Workers that routers may send calls to, by name.
    pub fn ready_workers(&self) -> Vec<Live> {
        let members = self.live.read().unwrap_or_else(PoisonError::into_inner);
        let ready = |live: &&Live| live.role == ProcessRole::Worker && live.state == LiveState::Ready;
        let mut workers: Vec<Live> =
            members.values().map(|member| &member.live).filter(ready).cloned().collect();
        workers.sort_by(|one, other| one.name.cmp(&other.name));
        workers
    }

    /// Tells when [`Fleet::ready_workers`] may have changed.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Ends the streams of a process that was removed from the region.
    pub fn remove(&self, id: Local<WorkerId>) {
        self.gone.write().unwrap_or_else(PoisonError::into_inner).remove(&id);
        let members = self.live.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(member) = members.get(&id) {
            member.removed.send_replace(true);
        }
    }

    fn changed(&self) {
        self.changes.send_modify(|count| *count = count.wrapping_add(1));
    }
}

/// A connected process's own entry.
#[derive(Debug)]
pub struct Membership {
    fleet: Arc<Fleet>,
    id: Local<WorkerId>,
    connection: u64,
    removed: watch::Receiver<bool>,
}

impl Membership {
    /// Whose it is.
    pub fn id(&self) -> Local<WorkerId> {
        self.id
    }

    /// The process may serve until then.
    pub fn leased(&self, until: Timestamp, now: Timestamp) {
        self.update(|live| {
            live.lease_expires_at = Some(until);
            live.last_seen_at = now;
        });
    }

    /// The process has applied everything up to here: it is ready.
    pub fn acknowledged(&self, revision: Revision, now: Timestamp) {
        let became_ready = self.update(|live| {
            live.applied = live.applied.max(revision);
            live.last_seen_at = now;
            let first = live.state == LiveState::Syncing;
            if first {
                live.state = LiveState::Ready;
            }
            first
        });
        if became_ready == Some(true) {
            self.fleet.changed();
        }
    }

    /// The process could not apply one resource.
    pub fn refused(&self, what: String, now: Timestamp) {
        self.update(|live| {
            live.last_refusal = Some(what);
            live.last_seen_at = now;
        });
    }

    /// The process is going: no new calls for it.
    pub fn draining(&self) {
        self.update(|live| live.state = LiveState::Draining);
        self.fleet.changed();
    }

    /// Resolves when the process was removed from the region. May be dropped and called again.
    pub async fn removed(&mut self) {
        if self.removed.wait_for(|removed| *removed).await.is_err() {
            // Its place was taken by a newer connection; that one hears of it.
            std::future::pending::<()>().await;
        }
    }

    fn update<T>(&self, change: impl FnOnce(&mut Live) -> T) -> Option<T> {
        let mut members = self.fleet.live.write().unwrap_or_else(PoisonError::into_inner);
        members
            .get_mut(&self.id)
            .filter(|member| member.connection == self.connection)
            .map(|member| change(&mut member.live))
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        let mut members = self.fleet.live.write().unwrap_or_else(PoisonError::into_inner);
        if members.get(&self.id).is_some_and(|member| member.connection == self.connection)
            && let Some(Member { live, removed, .. }) = members.remove(&self.id)
            && let Some(lease_end) = live.lease_expires_at
            // Who was shut out has none any more, and does not come back.
            && !*removed.borrow()
        {
            let mut gone = self.fleet.gone.write().unwrap_or_else(PoisonError::into_inner);
            gone.insert(self.id, lease_end);
        }
        drop(members);
        self.fleet.changed();
    }
}

#[cfg(test)]
mod tests;
