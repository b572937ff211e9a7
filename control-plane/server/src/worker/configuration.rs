//! `ConfigurationService`: one subscription for each worker, and snapshots on connections of their own.

use std::{sync::Arc, time::Duration};

use bailiwick_core::{
    enrollment::Enrollment,
    fleet::{Arrival, Fleet},
    ports::store::Store,
    records::{Revision, WorkerRecord},
};
use bailiwick_domain::{jurisdiction::Jurisdiction, region::Regions, spiffe::SpiffeId, time::Clock};
use bailiwick_proto::{
    digest::Shards,
    status::Refusal,
    worker::v1::{
        Hello, SnapshotChunk, SnapshotRequest, SubscribeRequest, SubscribeResponse,
        configuration_service_server::ConfigurationService, subscribe_request::Message,
    },
};
use bailiwick_runtime::identity::Peer;
use futures_util::{StreamExt as _, stream::BoxStream};
use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{Code, Request, Response, Status, Streaming};

use super::{
    attendance::{Standing, WorkerAttendance},
    membership,
};
use crate::configuration::{
    Log,
    metrics::LogMetrics,
    snapshot::Snapshot,
    state::Held,
    subscription::{PROTOCOL, QUEUE, Subscription, Terms},
};

/// How long a new stream may take to say hello.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);
/// A worker may have heard of a revision from a replica that is a moment ahead of this one.
const CATCH_UP: Duration = Duration::from_secs(1);
/// Chunks between packing and the connection.
const SNAPSHOT_QUEUE: usize = 2;
/// How long the connection may take to take a chunk.
const SNAPSHOT_STALL: Duration = Duration::from_secs(30);
/// A slot is likely to be free again after this.
const SNAPSHOT_RETRY: Duration = Duration::from_millis(500);
const MAX_TEXT: usize = 64;
const MAX_ADDRESS: usize = 255;

/// The service.
pub(crate) struct ConfigurationGrpc {
    pub(crate) log: Arc<Log>,
    pub(crate) enrollment: Arc<Enrollment>,
    pub(crate) jurisdiction: Jurisdiction,
    pub(crate) regions: Regions,
    pub(crate) fleet: Arc<Fleet>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) terms: Terms,
    pub(crate) snapshots: Arc<Semaphore>,
    pub(crate) metrics: LogMetrics,
    /// Owns the streams' tasks.
    pub(crate) tasks: TaskTracker,
    pub(crate) drain: CancellationToken,
}

#[tonic::async_trait]
impl ConfigurationService for ConfigurationGrpc {
    type SubscribeStream = ReceiverStream<Result<SubscribeResponse, Status>>;
    type SnapshotStream = BoxStream<'static, Result<SnapshotChunk, Status>>;

    async fn subscribe(
        &self,
        request: Request<Streaming<SubscribeRequest>>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        let peer = membership::peer(&request)?;
        let member = self.enrollment.member(&peer.spiffe).await;
        let member = member.map_err(|error| membership::refusal(error, &self.regions))?;
        let mut incoming = request.into_inner();
        let hello = first_hello(&mut incoming).await?;
        membership::admit_region(&self.jurisdiction, &self.regions, &hello.region)?;
        check(&hello)?;
        let attendance = self.attendance(&member, &peer, &hello);
        let held = held(hello)?;
        if let Some(held) = &held {
            self.await_revision(held).await;
        }

        let (outgoing, answers) = mpsc::channel(QUEUE);
        let (log, metrics) = (self.log.subscribe(), self.metrics.clone());
        let subscription = Subscription::new(log, outgoing, attendance, self.terms, metrics);
        let served = subscription.run(held, incoming, self.drain.clone());
        let (store, clock) = (Arc::clone(&self.store), Arc::clone(&self.clock));
        self.tasks.spawn(async move {
            note_seen(store.as_ref(), clock.as_ref(), &member).await;
            served.await;
            note_seen(store.as_ref(), clock.as_ref(), &member).await;
        });
        Ok(Response::new(ReceiverStream::new(answers)))
    }

    async fn snapshot(
        &self,
        request: Request<SnapshotRequest>,
    ) -> Result<Response<Self::SnapshotStream>, Status> {
        let peer = membership::peer(&request)?;
        let member = self.enrollment.member(&peer.spiffe).await;
        member.map_err(|error| membership::refusal(error, &self.regions))?;
        membership::admit_region(&self.jurisdiction, &self.regions, &request.get_ref().region)?;
        let Ok(slot) = Arc::clone(&self.snapshots).try_acquire_owned() else {
            self.metrics.snapshots_limited.inc();
            return Err(snapshot_limit().into());
        };
        self.metrics.snapshots.inc();
        let snapshot = self.log.read(Snapshot::of);
        let (outgoing, chunks) = mpsc::channel(SNAPSHOT_QUEUE);
        self.tasks.spawn_blocking(move || pack(&snapshot, &outgoing, slot));
        let chunks = ReceiverStream::new(chunks).boxed();
        Ok(Response::new(self.standing(&peer.spiffe).guard(chunks)))
    }
}

impl ConfigurationGrpc {
    fn standing(&self, spiffe: &SpiffeId) -> Standing {
        Standing { enrollment: Arc::clone(&self.enrollment), spiffe: spiffe.clone() }
    }

    fn attendance(&self, member: &WorkerRecord, peer: &Peer, hello: &Hello) -> WorkerAttendance {
        let arrival = Arrival {
            id: member.id,
            role: member.role,
            name: member.name.clone(),
            build: hello.build.clone(),
            address: hello.advertise_address.clone(),
            boot_id: hello.boot_id.clone(),
            certificate: peer.fingerprint,
        };
        let membership = self.fleet.arrive(arrival, self.clock.now());
        WorkerAttendance::new(membership, self.standing(&peer.spiffe), Arc::clone(&self.clock))
    }

    async fn await_revision(&self, held: &Held) {
        let mut states = self.log.subscribe();
        let reached = states.wait_for(|state| *state.epoch != *held.epoch || state.revision >= held.revision);
        // Past the time the worker is told to take a snapshot.
        let _ = tokio::time::timeout(CATCH_UP, reached).await.map(|reached| reached.is_ok());
    }
}

/// Packs on a blocking thread; the slot is free when the last chunk is out, or the connection has stalled.
fn pack(
    snapshot: &Snapshot,
    outgoing: &mpsc::Sender<Result<SnapshotChunk, Status>>,
    slot: OwnedSemaphorePermit,
) {
    let runtime = Handle::current();
    let send = |chunk| {
        let sent = async { tokio::time::timeout(SNAPSHOT_STALL, outgoing.send(chunk)).await };
        runtime.block_on(sent).is_ok_and(|sent| sent.is_ok())
    };
    if let Err(error) = snapshot.pack(|chunk| send(Ok(chunk))) {
        send(Err(membership::internal(&error).into()));
    }
    drop(slot);
}

async fn first_hello(incoming: &mut Streaming<SubscribeRequest>) -> Result<Hello, Status> {
    let late = || Refusal::invalid("hello", "did not come within 10 seconds of the stream's start");
    let first =
        tokio::time::timeout(HELLO_TIMEOUT, incoming.message()).await.map_err(|_| Status::from(late()))??;
    match first.and_then(|first| first.message) {
        Some(Message::Hello(hello)) => Ok(hello),
        _ => Err(Refusal::invalid("hello", "must be the first message of the stream").into()),
    }
}

/// Checks what the worker says of itself.
fn check(hello: &Hello) -> Result<(), Refusal> {
    if !(hello.protocol_min..=hello.protocol_max).contains(&PROTOCOL) {
        let message = format!(
            "this control plane speaks protocol {PROTOCOL}, the worker {} to {}: upgrade the older of the two",
            hello.protocol_min, hello.protocol_max
        );
        return Err(Refusal::new(Code::FailedPrecondition, "unsupported_protocol", message));
    }
    for (field, text, limit) in [
        ("hello.build", &hello.build, MAX_TEXT),
        ("hello.boot_id", &hello.boot_id, MAX_TEXT),
        ("hello.advertise_address", &hello.advertise_address, MAX_ADDRESS),
    ] {
        if text.is_empty() || text.len() > limit || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Refusal::invalid(field, format!("is not 1 to {limit} printable characters")));
        }
    }
    Ok(())
}

/// What the worker says that it holds.
fn held(hello: Hello) -> Result<Option<Held>, Refusal> {
    if hello.epoch.is_empty() {
        return Ok(None);
    }
    let digests = Shards::from_wire(&hello.shard_digests)
        .ok_or_else(|| Refusal::invalid("hello.shard_digests", "are not 256 digests of 16 bytes"))?;
    Ok(Some(Held { epoch: hello.epoch, revision: Revision(hello.revision), digests }))
}

/// For people who look for absent workers; nothing is decided by it.
async fn note_seen(store: &dyn Store, clock: &dyn Clock, worker: &WorkerRecord) {
    if let Err(error) = store.worker_seen(worker.id, clock.now()).await {
        tracing::debug!(%error, worker = %worker.id, "when a worker was seen could not be noted");
    }
}

fn snapshot_limit() -> Refusal {
    Refusal::new(Code::ResourceExhausted, "snapshot_limit", "as many snapshots as are allowed run already")
        .retry_after(SNAPSHOT_RETRY)
}
