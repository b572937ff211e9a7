//! Sends usage to the region's control plane, and nowhere else.
//!
//! At least once on the wire, exactly once in the store: whatever is not acknowledged when a stream ends is sent again, with the same event
//! ids.

use std::time::{Duration, Instant};

use bailiwick_proto::worker::v1::{ReportRequest, ReportResponse, usage_service_client::UsageServiceClient};
use bailiwick_runtime::backoff::Backoff;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming, transport::Channel};
use ulid::Ulid;

use super::tail::{Batch, Tail};

/// Batches that are sent and not acknowledged.
const WINDOW: usize = 8;
/// How long events are collected for a batch.
const INTERVAL: Duration = Duration::from_millis(50);
/// After this long without an acknowledgement that is due, the stream is taken for dead.
const SILENCE: Duration = Duration::from_secs(30);

/// Why a stream ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReportError {
    /// The control plane is gone, or refuses.
    #[error("the control plane answered: {}", .0.message())]
    Refused(#[from] Status),
    /// It breaks the contract.
    #[error("the control plane broke the protocol: {0}")]
    Protocol(&'static str),
    /// It stops, or was told to.
    #[error("the control plane ended the stream")]
    Ended,
    /// No acknowledgement in time.
    #[error("the control plane fell silent")]
    Silence,
    /// A task of this process failed.
    #[error("reading the journals failed")]
    Reading,
}

/// The reading ends of all journals.
#[derive(Debug)]
pub(crate) struct Queue {
    tails: Vec<Tail>,
}

impl Queue {
    pub(super) fn new(tails: Vec<Tail>) -> Self {
        Self { tails }
    }

    fn in_flight(&self) -> usize {
        self.tails.iter().map(Tail::in_flight).sum()
    }

    fn has_work(&self) -> bool {
        self.tails.iter().any(Tail::has_work)
    }

    /// Whether everything is sent and acknowledged, and nothing more will be written.
    fn is_done(&self) -> bool {
        self.tails.is_empty()
    }

    /// Fills the window, each journal in its turn; one that cannot be read holds up none of the others. Reads and deletes files.
    fn read(&mut self) -> Vec<Batch> {
        let mut batches = Vec::new();
        let room = WINDOW.saturating_sub(self.in_flight());
        loop {
            let before = batches.len();
            for tail in &mut self.tails {
                if batches.len() < room {
                    batches.extend(tail.read());
                }
            }
            self.tails.retain(|tail| !tail.is_done());
            if batches.len() == before || batches.len() >= room {
                return batches;
            }
        }
    }

    fn acknowledge(&mut self, journal: Ulid, sequence: u64) -> Result<(), ReportError> {
        // A journal that is done was acknowledged whole.
        let Some(tail) = self.tails.iter_mut().find(|tail| tail.journal() == journal) else { return Ok(()) };
        if tail.acknowledge(sequence) {
            Ok(())
        } else {
            Err(ReportError::Protocol("acknowledged what was not sent"))
        }
    }

    fn rewind(&mut self) {
        self.tails.iter_mut().for_each(Tail::rewind);
    }
}

/// Sends what the journals hold.
pub(crate) struct Reporter {
    channel: Channel,
    queue: Queue,
    backoff: Backoff,
    /// The reason why nothing is sent, as it was logged last.
    trouble: Option<String>,
}

impl Reporter {
    /// A reporter of these journals.
    pub(crate) fn new(channel: Channel, queue: Queue) -> Self {
        Self { channel, queue, backoff: Backoff::default(), trouble: None }
    }

    /// Sends until `finish` is asked for, and then what is left: everything, when the writers are gone and no call is open. What cannot be
    /// sent within `flush` waits on disk for the next start.
    pub(crate) async fn run(self, finish: CancellationToken, flush: Duration) {
        let flushed = {
            let finish = finish.clone();
            async move {
                finish.cancelled().await;
                tokio::time::sleep(flush).await;
            }
        };
        tokio::select! {
            () = self.send_all(finish) => tracing::info!("all usage is sent"),
            () = flushed => tracing::warn!("usage is left in the journal; the next start sends it"),
        }
    }

    async fn send_all(mut self, finish: CancellationToken) {
        while !(finish.is_cancelled() && self.queue.is_done()) {
            let Err(error) = self.send(&finish).await else { continue };
            self.queue.rewind();
            let reason = Some(error.to_string());
            // Once per reason: an outage of an hour is one line.
            if reason != self.trouble {
                tracing::warn!(reason, "usage is not sent; it waits in the journal");
                self.trouble = reason;
            }
            tokio::time::sleep(self.backoff.next_wait()).await;
        }
    }

    /// Waits for something to send, and sends on one stream as long as it goes well.
    async fn send(&mut self, finish: &CancellationToken) -> Result<(), ReportError> {
        let mut ticks = tokio::time::interval(INTERVAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let batches = loop {
            ticks.tick().await;
            let batches = self.read().await?;
            if !batches.is_empty() {
                break batches;
            }
            if finish.is_cancelled() && self.queue.is_done() {
                return Ok(());
            }
        };
        // Room for every batch of a window, so that sending never waits.
        let (up, requests) = mpsc::channel(WINDOW * 2);
        send(&up, batches)?;
        let mut client = UsageServiceClient::new(self.channel.clone());
        let mut down = client.report(ReceiverStream::new(requests)).await?.into_inner();
        let mut heard = Instant::now();
        loop {
            let acknowledged = tokio::select! {
                answer = answer(&mut down) => {
                    self.acknowledged(&answer?)?;
                    heard = Instant::now();
                    // What waits is sent at once while there is a backlog, and collected for a moment when there is none.
                    self.queue.in_flight() + 1 >= WINDOW
                }
                _ = ticks.tick() => true,
            };
            if acknowledged {
                send(&up, self.read().await?)?;
            }
            if self.queue.in_flight() == 0 {
                heard = Instant::now();
                if finish.is_cancelled() && self.queue.is_done() {
                    return Ok(());
                }
            }
            if heard.elapsed() > SILENCE {
                return Err(ReportError::Silence);
            }
        }
    }

    /// What there is to send. Off this thread, because disks can be slow.
    async fn read(&mut self) -> Result<Vec<Batch>, ReportError> {
        if !self.queue.has_work() || self.queue.in_flight() >= WINDOW {
            return Ok(Vec::new());
        }
        let mut queue = std::mem::replace(&mut self.queue, Queue::new(Vec::new()));
        let reading = tokio::task::spawn_blocking(move || {
            let batches = queue.read();
            (queue, batches)
        });
        let (queue, batches) = reading.await.map_err(|_panicked| ReportError::Reading)?;
        self.queue = queue;
        Ok(batches)
    }

    fn acknowledged(&mut self, answer: &ReportResponse) -> Result<(), ReportError> {
        let journal =
            Ulid::from_string(&answer.journal_id).map_err(|_| ReportError::Protocol("names no journal"))?;
        if answer.refused > 0 {
            tracing::error!(
                events = answer.refused,
                "the control plane refused usage events: they name organizations that it does not have"
            );
        }
        self.queue.acknowledge(journal, answer.acknowledged_sequence)?;
        self.backoff.reset();
        if self.trouble.take().is_some() {
            tracing::info!("usage is sent again");
        }
        Ok(())
    }
}

fn send(up: &mpsc::Sender<ReportRequest>, batches: Vec<Batch>) -> Result<(), ReportError> {
    for batch in batches {
        let Batch { journal, first_sequence, events } = batch;
        let request = ReportRequest { journal_id: journal.to_string(), first_sequence, events };
        up.try_send(request).map_err(|_full_or_closed| ReportError::Protocol("stopped reading"))?;
    }
    Ok(())
}

async fn answer(down: &mut Streaming<ReportResponse>) -> Result<ReportResponse, ReportError> {
    down.message().await?.ok_or(ReportError::Ended)
}
