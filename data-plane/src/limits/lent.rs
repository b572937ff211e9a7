//! What this worker was lent, for all of its cores: the holder of leases, its clock, and how waiting calls and the exchange wake each other.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use bailiwick_quota::{
    holder::{Holder, Monotonic},
    policy::Policy,
    protocol::{FromHolder, HolderId, ToHolder},
};
use tokio::sync::{Notify, watch};

/// One for all cores, and for the task that exchanges.
#[derive(Debug)]
pub(crate) struct Lent {
    holder: Holder,
    /// The instant that the holder's clock counts from.
    began: Instant,
    /// A call has begun to wait.
    asked: Notify,
    /// Changes whenever something was heard, or nothing will be.
    heard: watch::Sender<()>,
    connected: AtomicBool,
}

impl Lent {
    /// Nothing yet. `supersedes` are earlier names of this worker, where it is certain that those lives are over.
    pub(crate) fn new(policy: Policy, supersedes: Vec<HolderId>) -> Self {
        let holder = Holder::new(policy, rand::random(), supersedes);
        // The first calls wait for the first connection, rather than being refused because there is none yet.
        holder.connected();
        Self {
            holder,
            began: Instant::now(),
            asked: Notify::new(),
            heard: watch::Sender::new(()),
            connected: AtomicBool::new(false),
        }
    }

    pub(super) fn holder(&self) -> &Holder {
        &self.holder
    }

    /// This worker's time, as leases are reckoned in.
    pub(super) fn now(&self) -> Monotonic {
        Monotonic::from_micros(u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    /// The same instant for timers.
    pub(super) fn instant(&self, at: Monotonic) -> Instant {
        // Far away is as good as never.
        self.began.checked_add(Duration::from_micros(at.as_micros())).unwrap_or(self.began)
    }

    /// For a call that waits: asks the exchange to ask now, and tells when something was heard.
    pub(super) fn ask(&self) -> watch::Receiver<()> {
        let heard = self.heard.subscribe();
        self.asked.notify_one();
        heard
    }

    /// Resolves when a call has begun to wait since it was last looked.
    pub(super) async fn asked(&self) {
        self.asked.notified().await;
    }

    /// The next message to the control plane.
    pub(super) fn next_message(&self) -> FromHolder {
        self.holder.exchange(self.now())
    }

    /// A stream to the control plane stands.
    pub(super) fn connected(&self) {
        self.holder.connected();
        self.connected.store(true, Ordering::Relaxed);
    }

    /// It has ended: whoever waits is answered with what there is.
    pub(super) fn disconnected(&self) {
        self.holder.disconnected();
        self.connected.store(false, Ordering::Relaxed);
        self.heard.send_replace(());
    }

    /// Takes in what the control plane says, and lets those who wait try again. Answers whether the next message should go at once.
    pub(super) fn hear(&self, message: &ToHolder) -> bool {
        let at_once = self.holder.hear(message, self.now());
        self.heard.send_replace(());
        at_once
    }

    /// How long the leases live without another answer.
    pub(crate) fn lease_left(&self) -> Duration {
        self.holder.lease_left(self.now())
    }

    /// Whether a stream to the control plane stands.
    pub(crate) fn is_connected(&self) -> bool {
        self.connected.load(Ordering::Relaxed)
    }

    /// Accounts that this worker knows.
    pub(crate) fn accounts(&self) -> u64 {
        self.holder.accounts() as u64
    }
}
