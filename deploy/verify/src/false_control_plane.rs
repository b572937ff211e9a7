//! A control plane that lies. It holds a certificate of the worker's own region, so the worker takes it for its own; what it tells is up to whoever
//! scripts it.

use std::{net::SocketAddr, time::Duration};

use bailiwick_domain::spiffe::ProcessRole;
use bailiwick_proto::{
    config::v1::Resource,
    convert::resource_id,
    digest::{Shards, resource_digest, shard_of},
    worker::v1::{
        Bookmark, Hello, Refusal, SnapshotChunk, SnapshotPayload, SnapshotRequest, SubscribeRequest,
        SubscribeResponse, Welcome,
        configuration_service_server::{ConfigurationService, ConfigurationServiceServer},
        subscribe_request,
        subscribe_response::Message,
    },
};
use bailiwick_runtime::{
    grpc,
    identity::{Acceptor, Identity},
};
use futures_util::{StreamExt as _, stream::BoxStream};
use prost::Message as _;
use tokio::{net::TcpListener, sync::mpsc, task::JoinSet, time::timeout};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{Request, Response, Status, Streaming, transport::Server};

/// For each word of the worker.
const TIMEOUT: Duration = Duration::from_secs(20);
const LEASE_MILLIS: u64 = 60_000;
const COMPRESSION: i32 = 1;
/// One chunk holds everything.
const EPOCH: &str = "00000000000000000000000000";

/// It serves until it is dropped.
pub(crate) struct FalseControlPlane {
    pub(crate) address: SocketAddr,
    sessions: mpsc::UnboundedReceiver<Session>,
    _serving: JoinSet<()>,
}

impl FalseControlPlane {
    /// Presents `identity`; answers `Snapshot` with these resources, at revision 1.
    pub(crate) async fn start(identity: Identity, snapshot: Vec<Resource>) -> Result<Self, String> {
        let failed = |error: &dyn std::fmt::Display| format!("the false control plane cannot serve: {error}");
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(|error| failed(&error))?;
        let address = listener.local_addr().map_err(|error| failed(&error))?;
        let acceptor = Acceptor::new(identity, &[ProcessRole::Worker]).map_err(|error| failed(&error))?;
        let payload = SnapshotPayload { resources: snapshot }.encode_to_vec();
        let payload = zstd::bulk::compress(&payload, COMPRESSION).map_err(|error| failed(&error))?;
        let (opened, sessions) = mpsc::unbounded_channel();
        let service = ConfigurationServiceServer::new(Log { opened, payload });
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let incoming = grpc::incoming(listener, &acceptor);
            // It ends with the run; what a worker notices of that is its own affair.
            let _ended = Server::builder().add_service(service).serve_with_incoming(incoming).await;
        });
        Ok(Self { address, sessions, _serving: serving })
    }

    /// The worker's next subscription.
    pub(crate) async fn session(&mut self) -> Result<Session, String> {
        let next = timeout(TIMEOUT, self.sessions.recv()).await;
        next.ok().flatten().ok_or_else(|| "the worker does not subscribe".to_owned())
    }
}

/// A worker that has said hello.
pub(crate) struct Session {
    pub(crate) hello: Hello,
    up: Streaming<SubscribeRequest>,
    down: mpsc::UnboundedSender<Result<SubscribeResponse, Status>>,
}

impl Session {
    pub(crate) fn welcome(&self, take_snapshot: bool) {
        let epoch = EPOCH.to_owned();
        let welcome = Welcome { epoch, revision: 1, protocol: 1, take_snapshot, lease_millis: LEASE_MILLIS };
        self.say(Message::Welcome(welcome));
    }

    /// As whoever holds exactly these resources says it: the worker takes what it holds for complete.
    pub(crate) fn bookmark<'a>(&self, revision: u64, resources: impl Iterator<Item = &'a Resource>) {
        let mut shards = Shards::default();
        for (id, resource) in resources.filter_map(|resource| Some((resource_id(resource)?, resource))) {
            shards.toggle(shard_of(id.kind(), &id.id), &resource_digest(resource));
        }
        let shard_digests = shards.to_wire();
        self.say(Message::Bookmark(Bookmark { revision, lease_millis: LEASE_MILLIS, shard_digests }));
    }

    pub(crate) fn say(&self, message: Message) {
        // A worker that has gone is noticed when it does not answer.
        let _gone = self.down.send(Ok(SubscribeResponse { message: Some(message) }));
    }

    /// What it refuses before it says that it has applied a revision.
    pub(crate) async fn refused_until(&mut self, revision: u64) -> Result<Vec<Refusal>, String> {
        let mut refused = Vec::new();
        loop {
            let said = timeout(TIMEOUT, self.up.message()).await;
            let said = said.map_err(|_elapsed| "the worker fell silent".to_owned())?;
            let said = said.map_err(|status| format!("the worker left: {}", status.message()))?;
            match said.ok_or("the worker left")?.message {
                Some(subscribe_request::Message::Refusal(refusal)) => refused.push(refusal),
                Some(subscribe_request::Message::Acknowledgement(done)) if done.revision >= revision => {
                    return Ok(refused);
                }
                _ => {}
            }
        }
    }
}

struct Log {
    opened: mpsc::UnboundedSender<Session>,
    payload: Vec<u8>,
}

#[tonic::async_trait]
impl ConfigurationService for Log {
    type SubscribeStream = UnboundedReceiverStream<Result<SubscribeResponse, Status>>;
    type SnapshotStream = BoxStream<'static, Result<SnapshotChunk, Status>>;

    async fn subscribe(
        &self,
        request: Request<Streaming<SubscribeRequest>>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        let mut up = request.into_inner();
        let first = up.message().await?.and_then(|message| message.message);
        let Some(subscribe_request::Message::Hello(hello)) = first else {
            return Err(Status::invalid_argument("no hello"));
        };
        let (down, messages) = mpsc::unbounded_channel();
        let session = Session { hello, up, down };
        self.opened.send(session).map_err(|_| Status::unavailable("nobody listens any more"))?;
        Ok(Response::new(UnboundedReceiverStream::new(messages)))
    }

    async fn snapshot(
        &self,
        _request: Request<SnapshotRequest>,
    ) -> Result<Response<Self::SnapshotStream>, Status> {
        let (crc32, payload) = (crc32fast::hash(&self.payload), self.payload.clone().into());
        let (epoch, revision) = (EPOCH.to_owned(), 1);
        let whole = SnapshotChunk { epoch, revision, index: 0, last: true, payload, crc32 };
        Ok(Response::new(futures_util::stream::iter([Ok(whole)]).boxed()))
    }
}
