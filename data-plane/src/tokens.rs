//! Tokens that a credential is exchanged for, and that end: Entra's for Azure OpenAI, Google's for Vertex.
//!
//! A credential's [`Exchanged`] holds its newest token where every core finds it with one load of a pointer. [`Tokens`] is what a call asks: only the first call with a
//! credential waits, and not for long. [`Keeper`] is the one task, beside the cores, that has tokens issued, and renews those that are in use before they end; `exchange`
//! is how one is asked for, `reading` what is made of the answer. Start reading at [`Tokens::of`].
//!
//! Whoever issues tokens is called by the region's egress policy alone (R7): judged by its name each time, and by the address that is dialled. It hears who asks, and
//! nothing of a call. What it answers goes to nobody but the provider; what it says when it refuses goes to nobody at all.

mod exchange;
mod exchanged;
mod failure;
mod keeper;
mod reading;

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use tokio::{sync::mpsc, time::timeout};

pub(crate) use self::{
    exchange::Exchange,
    exchanged::{Exchanged, Grant, NoToken, Shown},
    keeper::Keeper,
};

/// How long a call waits for a token.
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// Credentials whose tokens are waited for at once. What comes beyond that is refused as if there were no token to be had.
const MOST_WANTED: usize = 4096;

/// What calls ask for tokens. Clones ask the same keeper.
#[derive(Clone)]
pub(crate) struct Tokens {
    wanted: mpsc::Sender<Arc<Exchanged>>,
}

impl Tokens {
    /// It, and the keeper that hears it.
    pub(crate) fn new(exchange: Exchange) -> (Self, Keeper) {
        let (wanted, heard) = mpsc::channel(MOST_WANTED);
        (Self { wanted }, Keeper::new(heard, exchange))
    }

    /// The token to show: the newest, at once; where there is none, the one that is issued now. `refused` names one that the provider did not take: then a newer one.
    ///
    /// # Errors
    /// None can be had, or not within [`LONGEST_WAIT`]. What failed a moment ago is not waited for again.
    pub(crate) async fn of(&self, secret: &Arc<Exchanged>, refused: Option<u64>) -> Result<Shown, NoToken> {
        match secret.shown(Instant::now(), refused) {
            Some(shown) => Ok(shown),
            // On the heap: few calls come here.
            None => Box::pin(self.first(secret, refused)).await,
        }
    }

    async fn first(&self, secret: &Arc<Exchanged>, refused: Option<u64>) -> Result<Shown, NoToken> {
        timeout(LONGEST_WAIT, self.wait(secret, refused)).await.unwrap_or(Err(NoToken::Late))
    }

    async fn wait(&self, secret: &Arc<Exchanged>, refused: Option<u64>) -> Result<Shown, NoToken> {
        secret.used.store(true, Ordering::Relaxed);
        loop {
            // Heard from here on: what is told after the look below wakes this call.
            let mut told = std::pin::pin!(secret.told.notified());
            told.as_mut().enable();
            let now = Instant::now();
            if let Some(shown) = secret.shown(now, refused) {
                return Ok(shown);
            }
            if let Some(why) = secret.trouble(now) {
                return Err(why);
            }
            if !secret.asked.swap(true, Ordering::AcqRel) && self.wanted.try_send(Arc::clone(secret)).is_err()
            {
                secret.asked.store(false, Ordering::Release);
                return Err(NoToken::Overloaded);
            }
            told.await;
        }
    }
}
