//! Tells the region's control plane what is used and lacked, and hears what is lent. Beside the cores, never on a call's path (R9).
//!
//! A message goes every half second, and at once when a call waits or something is recalled. While one is not answered, calls that begin to wait ask with the next: so however many wait, the
//! control plane hears one message for each that it answers.

use std::{
    collections::VecDeque,
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use bailiwick_domain::jurisdiction::Jurisdiction;
use bailiwick_proto::{
    convert::{
        ConvertError,
        quota::{from_holder_to_wire, to_holder_from_wire},
    },
    status,
    worker::v1::{ExchangeRequest, ExchangeResponse, quota_service_client::QuotaServiceClient},
};
use bailiwick_quota::{
    limit::Account,
    protocol::{FromHolder, HolderId, Settlement, ToHolder},
};
use bailiwick_runtime::backoff::Backoff;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming, transport::Channel};

use super::{lent::Lent, names::Names};
use crate::snapshot::{Snapshot, SnapshotHandle};

/// How often a message goes that nobody waits for.
const INTERVAL: Duration = Duration::from_millis(500);
/// Messages that are on their way. Each is answered, so more than a few mean that nobody reads them.
const WINDOW: usize = 16;
/// After this long without a word the stream is taken for dead: calls are then answered with what there is, rather than waiting.
const SILENCE: Duration = Duration::from_secs(3);
/// How long a stream may take to stand.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the last message may take to be answered.
const FAREWELL: Duration = Duration::from_secs(2);
/// How often accounts are forgotten whose limit, key or model is no more.
const FORGET_INTERVAL: Duration = Duration::from_secs(300);
/// What an earlier life used is said again after so long, when nobody has answered.
const SAY_AGAIN: Duration = Duration::from_secs(5);
/// Ten thousand leases of at most 400 bytes each.
const MAX_MESSAGE_BYTES: usize = 8 << 20;

/// Why a stream ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExchangeError {
    /// The control plane is gone, or refuses.
    #[error("the control plane answered: {}", .0.message())]
    Refused(#[from] Status),
    /// It said what cannot be, or something of another region (R5).
    #[error("the control plane broke the protocol: {0}")]
    Protocol(#[from] ConvertError),
    /// It stops, or was told to.
    #[error("the control plane ended the stream")]
    Ended,
    /// No word in time, or nobody reads what is sent.
    #[error("the control plane fell silent")]
    Silence,
}

/// Exchanges what this worker needs for what it is lent.
pub(crate) struct Exchanger {
    client: QuotaServiceClient<Channel>,
    jurisdiction: Jurisdiction,
    lent: Arc<Lent>,
    names: Names,
    snapshots: SnapshotHandle,
    backoff: Backoff,
    /// What earlier lives used, and when the first of it was last said.
    settlements: VecDeque<Settlement>,
    said: Option<Instant>,
    /// The reason why nothing is lent, as it was logged last.
    trouble: Option<String>,
    forgot: Instant,
}

impl Exchanger {
    /// Over a channel of its own. `names` are those that `lent` was made with.
    pub(crate) fn new(
        channel: Channel,
        jurisdiction: Jurisdiction,
        lent: Arc<Lent>,
        names: Names,
        snapshots: SnapshotHandle,
    ) -> Self {
        let client = QuotaServiceClient::new(channel)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        let (backoff, forgot, settlements) = (Backoff::default(), Instant::now(), names.settlements().into());
        let (said, trouble) = (None, None);
        Self { client, jurisdiction, lent, names, snapshots, backoff, settlements, said, trouble, forgot }
    }

    /// Exchanges until `finish` is asked for; then gives back what is left, and says farewell.
    pub(crate) async fn run(mut self, finish: CancellationToken) {
        while !finish.is_cancelled() {
            let Err(error) = self.attend(&finish).await else { return };
            self.lent.disconnected();
            let pause = self.pause_after(&error);
            tokio::select! {
                () = finish.cancelled() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    fn pause_after(&mut self, error: &ExchangeError) -> Duration {
        let reason = Some(error.to_string());
        // Once per reason: an outage of an hour is one line.
        if reason != self.trouble {
            let lease_seconds = self.lent.lease_left().as_secs();
            tracing::warn!(reason, lease_seconds, "limits are not exchanged; calls use what is lent");
            self.trouble = reason;
        }
        let wanted = match error {
            ExchangeError::Refused(refusal) => status::retry_after_of(refusal),
            _ => None,
        };
        self.backoff.next_wait().max(wanted.unwrap_or_default())
    }

    /// One stream, as long as it goes well.
    async fn attend(&mut self, finish: &CancellationToken) -> Result<(), ExchangeError> {
        let (up, requests) = mpsc::channel(WINDOW);
        let mut stream = Sent { up, unanswered: false, heard: Instant::now() };
        stream.say(&self.lent.next_message())?;
        let standing = self.client.exchange(ReceiverStream::new(requests));
        let standing = tokio::time::timeout(CONNECT_TIMEOUT, standing).await;
        let mut down = standing.map_err(|_late| ExchangeError::Silence)??.into_inner();
        // From here on whoever is there now is told everything.
        self.lent.connected();
        self.said = None;
        stream.heard = Instant::now();
        let mut ticks = tokio::time::interval(INTERVAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let due = tokio::select! {
                message = down.message() => {
                    stream.heard = Instant::now();
                    self.hear(message?.ok_or(ExchangeError::Ended)?, &mut stream).await?
                }
                () = self.lent.asked(), if !stream.unanswered => true,
                _ = ticks.tick() => true,
                () = finish.cancelled() => return self.leave(stream, &mut down).await,
            };
            if stream.heard.elapsed() > SILENCE {
                return Err(ExchangeError::Silence);
            }
            if due {
                stream.say(&self.lent.next_message())?;
            }
            self.forget_what_is_gone();
        }
    }

    /// Whether the next message should go at once.
    async fn hear(&mut self, message: ExchangeResponse, stream: &mut Sent) -> Result<bool, ExchangeError> {
        let message = to_holder_from_wire(&self.jurisdiction, &message)?;
        stream.unanswered = false;
        let at_once = self.lent.hear(&message);
        match &message {
            ToHolder::Leases(_) => {
                self.recovered();
                self.tell_of_earlier_lives(stream)?;
            }
            ToHolder::Welcome { holder, .. } => {
                let holder = *holder;
                if let Err(error) = self.note(move |names| names.named(holder)).await {
                    tracing::warn!(%error, "this worker's name is not on disk: what it is lent would count as used for as long as its lease lives, should it be killed");
                }
            }
            ToHolder::Settled { holder } => self.settled(*holder).await,
            // It was forgotten, so nothing of it counts any more.
            ToHolder::Unknown { holder } if self.is_told_of(*holder) => self.settled(*holder).await,
            ToHolder::Unknown { .. } => tracing::warn!("the control plane has ended this worker's leases"),
        }
        Ok(at_once)
    }

    /// Says the first of what is to be said of earlier lives. Leases are heard: so the control plane has heard the hello, which says that those lives are over.
    fn tell_of_earlier_lives(&mut self, stream: &Sent) -> Result<(), ExchangeError> {
        let Some(first) = self.settlements.front() else { return Ok(()) };
        if self.said.is_some_and(|said| said.elapsed() < SAY_AGAIN) {
            return Ok(());
        }
        self.said = Some(Instant::now());
        stream.tell(&FromHolder::Settlement(first.clone()))
    }

    fn is_told_of(&self, holder: HolderId) -> bool {
        self.settlements.front().is_some_and(|first| first.holder == holder)
    }

    /// What an earlier life used is written down where limits are lent.
    async fn settled(&mut self, holder: HolderId) {
        if !self.is_told_of(holder) {
            return;
        }
        self.settlements.pop_front();
        self.said = None;
        tracing::info!(holder = holder.0, "what an earlier life of this worker used of limits is settled");
        if let Err(error) = self.note(move |names| names.settled(holder)).await {
            // Said twice, it counts once.
            tracing::warn!(%error, "that an earlier life of this worker is settled is not on disk; the next one says it again");
        }
    }

    /// Off this thread, because disks can be slow.
    async fn note(
        &mut self,
        change: impl FnOnce(&mut Names) -> io::Result<()> + Send + 'static,
    ) -> io::Result<()> {
        let mut names = self.names.clone();
        let writing = tokio::task::spawn_blocking(move || {
            let outcome = change(&mut names);
            (names, outcome)
        });
        let (names, outcome) = writing.await.map_err(io::Error::other)?;
        self.names = names;
        outcome
    }

    fn recovered(&mut self) {
        self.backoff.reset();
        if self.trouble.take().is_some() {
            tracing::info!("limits are exchanged again");
        }
    }

    /// All calls are over: what is left goes back. What cannot be told counts as used until the lease ends, or the next life says that this one is over.
    async fn leave(
        &self,
        mut stream: Sent,
        down: &mut Streaming<ExchangeResponse>,
    ) -> Result<(), ExchangeError> {
        let farewell = self.lent.holder().leave(self.lent.now());
        let FromHolder::Exchange(exchange) = &farewell else { return Ok(()) };
        stream.say(&farewell)?;
        let answered = async {
            while let Some(message) = down.message().await? {
                if let Ok(ToHolder::Leases(leases)) = to_holder_from_wire(&self.jurisdiction, &message)
                    && leases.answers >= exchange.sequence
                {
                    break;
                }
            }
            Ok::<_, Status>(())
        };
        let _answered_or_not = tokio::time::timeout(FAREWELL, answered).await;
        Ok(())
    }

    fn forget_what_is_gone(&mut self) {
        if self.forgot.elapsed() < FORGET_INTERVAL {
            return;
        }
        self.forgot = Instant::now();
        let snapshot = self.snapshots.load_full();
        self.lent.holder().retain(|account| is_there(&snapshot, account));
    }
}

/// One stream's sending end.
struct Sent {
    up: mpsc::Sender<ExchangeRequest>,
    unanswered: bool,
    heard: Instant,
}

impl Sent {
    fn say(&mut self, message: &FromHolder) -> Result<(), ExchangeError> {
        // One hello on a stream: each is a name.
        if self.unanswered && matches!(message, FromHolder::Hello(_)) {
            return Ok(());
        }
        self.unanswered = true;
        self.tell(message)
    }

    /// Without waiting for the answer before anything else is said.
    fn tell(&self, message: &FromHolder) -> Result<(), ExchangeError> {
        self.up.try_send(from_holder_to_wire(message)).map_err(|_full_or_closed| ExchangeError::Silence)
    }
}

/// Numbers of limits, and identifiers of keys, models and deployments, are never given twice.
fn is_there(snapshot: &Snapshot, account: &Account) -> bool {
    let organization = snapshot.organization(&account.limit.organization);
    let limits = organization.and_then(|organization| organization.limits.as_deref()).unwrap_or_default();
    limits.iter().any(|limit| limit.owns(account))
        && account.key.is_none_or(|key| snapshot.key(&key).is_some())
        && account.model.is_none_or(|model| snapshot.has_model(&model))
        && account.deployment.is_none_or(|deployment| snapshot.deployment(&deployment).is_some())
}
#[cfg(test)]
mod tests;
