//! The task that has tokens issued, and renews them.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{Arc, Weak, atomic::Ordering},
    time::{Duration, Instant},
};

use tokio::{
    sync::mpsc,
    task::{Id, JoinError, JoinSet},
    time::sleep_until,
};
use tokio_util::sync::CancellationToken;

use super::{
    MOST_WANTED,
    exchange::Exchange,
    exchanged::{Exchanged, NoToken, Token},
    failure::{Failed, Why},
    reading::Issued,
};

/// Exchanges at once. The others wait in order.
const MOST_AT_ONCE: usize = 16;
/// Of them, one organization's: where an issuer does not answer is its own affair.
const MOST_OF_ONE: usize = 4;
/// The part of a token's life after which it is renewed: somewhere in between, so that workers do not come all at once.
const RENEWED_AFTER: std::ops::Range<f64> = 0.6..0.8;
/// A token is renewed no sooner than this after it was issued, however short it lives.
const SOONEST: Duration = Duration::from_secs(1);
/// A token is not shown so near to its end: a tenth of its life, and no more than this.
const MARGIN: Duration = Duration::from_secs(30);
/// After a failure nobody asks for this long; twice as long each time, up to the longest, give or take a quarter.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// An issuer that wants to be left alone for longer is asked again all the same.
const LONGEST_ASKED_PAUSE: Duration = Duration::from_secs(300);

type Outcome = Result<Issued, Failed>;

/// It ends when it is told to; calls that wait then find no token.
pub(crate) struct Keeper {
    heard: mpsc::Receiver<Arc<Exchanged>>,
    exchange: Arc<Exchange>,
    /// No more than were heard and those that are due, each once.
    waiting: VecDeque<Arc<Exchanged>>,
    /// What is being exchanged.
    running: HashMap<Id, (Arc<Exchanged>, Instant)>,
    /// When what is renewed or tried again, by the turn that it was told in. One entry a credential counts; those of credentials that are gone are dropped when due.
    due: BTreeMap<(Instant, u64), Weak<Exchanged>>,
    /// Counts what was told: serials of tokens are turns.
    turn: u64,
}

impl Keeper {
    pub(super) fn new(heard: mpsc::Receiver<Arc<Exchanged>>, exchange: Exchange) -> Self {
        let exchange = Arc::new(exchange);
        let (waiting, running, due) = (VecDeque::new(), HashMap::new(), BTreeMap::new());
        Self { heard, exchange, waiting, running, due, turn: 0 }
    }

    /// Until it is told to stop.
    pub(crate) async fn run(mut self, stopping: CancellationToken) {
        let mut running = JoinSet::new();
        loop {
            self.begin(&mut running);
            let next = self.due.first_key_value().map(|((at, _), _)| *at);
            let due = async {
                match next {
                    Some(at) => sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stopping.cancelled() => return,
                Some(ended) = running.join_next_with_id() => self.ended(ended),
                Some(secret) = self.heard.recv(), if self.waiting.len() < MOST_WANTED => self.waiting.push_back(secret),
                () = due => self.renew(Instant::now()),
            }
        }
    }

    fn begin(&mut self, running: &mut JoinSet<Outcome>) {
        while running.len() < MOST_AT_ONCE {
            let next = self.waiting.iter().position(|secret| self.may_begin(secret));
            let Some(secret) = next.and_then(|next| self.waiting.remove(next)) else { return };
            let (exchange, exchanged) = (Arc::clone(&self.exchange), Arc::clone(&secret));
            let task = running.spawn(async move { exchange.run(&exchanged.grant).await });
            self.running.insert(task.id(), (secret, Instant::now()));
        }
    }

    fn may_begin(&self, secret: &Exchanged) -> bool {
        let of_the_same = |(other, _): &&(Arc<Exchanged>, Instant)| other.organization == secret.organization;
        self.running.values().filter(of_the_same).count() < MOST_OF_ONE
    }

    /// What is due and still in use.
    fn renew(&mut self, now: Instant) {
        while let Some(entry) = self.due.first_entry() {
            let (at, turn) = *entry.key();
            if at > now {
                return;
            }
            let Some(secret) = entry.remove().upgrade() else { continue };
            let is_wanted = secret.is_turn(turn) && secret.used.swap(false, Ordering::Relaxed);
            if is_wanted && !secret.asked.swap(true, Ordering::AcqRel) {
                self.waiting.push_back(secret);
            }
        }
    }

    fn ended(&mut self, ended: Result<(Id, Outcome), JoinError>) {
        // Only a fault of ours ends one without an outcome.
        let (id, outcome) = ended.unwrap_or_else(|fault| (fault.id(), Err(Why::Broken.into())));
        if let Some((secret, begun)) = self.running.remove(&id) {
            self.done(&secret, begun, outcome);
        }
    }

    fn done(&mut self, secret: &Arc<Exchanged>, begun: Instant, outcome: Outcome) {
        self.turn += 1;
        let turn = self.turn;
        let at = match outcome {
            Ok(Issued { authorization, lifetime }) => {
                let ends = begun + lifetime.saturating_sub(MARGIN.min(lifetime / 10));
                secret.renewed(Token { authorization, serial: turn, ends }, turn);
                let seconds = lifetime.as_secs();
                tracing::info!(credential = %secret.credential, seconds, "a provider's token was issued");
                begun + lifetime.mul_f64(rand::random_range(RENEWED_AFTER)).max(SOONEST)
            }
            Err(failed) => self.failed(secret, &failed, turn),
        };
        self.due.insert((at, turn), Arc::downgrade(secret));
    }

    /// When it is tried again, if it is still in use then.
    fn failed(&self, secret: &Exchanged, failed: &Failed, turn: u64) -> Instant {
        let times = secret.failures().saturating_add(1);
        let grown = SHORTEST_PAUSE.saturating_mul(1_u32.checked_shl(times - 1).unwrap_or(u32::MAX));
        let grown = grown.min(LONGEST_PAUSE).mul_f64(rand::random_range(0.75..1.25));
        let pause = failed.after.map_or(grown, |after| grown.max(after.min(LONGEST_ASKED_PAUSE)));
        let until = Instant::now() + pause;
        let why = NoToken::from(failed.why);
        let millis = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
        tracing::warn!(
            credential = %secret.credential, issuer = %secret.grant.issuer().host(), reason = %failed.why, millis,
            "no token was issued"
        );
        secret.failed(why, times, until, turn);
        until
    }
}

#[cfg(test)]
mod tests;
