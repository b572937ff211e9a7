//! The vocabulary of an orderly end: whoever decides holds the [`Signal`], whoever has work under way holds a [`Watch`], and the end
//! has come when every watch is gone.

use tokio::sync::watch;

/// Makes a signal and the first of its watches.
pub fn channel() -> (Signal, Watch) {
    let (sender, receiver) = watch::channel(false);
    (Signal { sender }, Watch { receiver })
}

/// The right to say that it is time to finish.
#[derive(Debug)]
pub struct Signal {
    sender: watch::Sender<bool>,
}

impl Signal {
    /// Asks every holder of a [`Watch`] to take no new work and to finish what it has. Idempotent.
    pub fn drain(&self) {
        self.sender.send_replace(true);
    }

    /// Resolves when every [`Watch`] was dropped: nothing is under way any more.
    pub async fn drained(&self) {
        self.sender.closed().await;
    }
}

/// Held while there is work that should be finished. A clone counts as another piece of work.
#[derive(Debug, Clone)]
pub struct Watch {
    receiver: watch::Receiver<bool>,
}

impl Watch {
    /// Resolves when it is time to finish; also when the [`Signal`] is gone, since nobody could ask any more.
    pub async fn signalled(&self) {
        let mut receiver = self.receiver.clone();
        let _gone_or_true = receiver.wait_for(|draining| *draining).await;
    }

    /// Whether it is time to finish.
    pub fn is_draining(&self) -> bool {
        *self.receiver.borrow()
    }
}
