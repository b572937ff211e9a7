//! A control plane's configuration log, which says what a test scripts.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use bailiwick_proto::{
    config::v1::Resource,
    worker::v1::{
        Acknowledgement, Bookmark, Hello, Refusal, SnapshotChunk, SnapshotPayload, SnapshotRequest,
        SubscribeRequest, SubscribeResponse, Welcome,
        configuration_service_server::{ConfigurationService, ConfigurationServiceServer},
        subscribe_request,
        subscribe_response::Message,
    },
};
use futures_util::{StreamExt as _, stream::BoxStream};
use prost::Message as _;
use tokio::{net::TcpListener, sync::mpsc, task::JoinSet};
use tokio_stream::wrappers::{TcpListenerStream, UnboundedReceiverStream};
use tonic::{
    Request, Response, Status, Streaming,
    transport::{Channel, Endpoint, Server},
};

use crate::snapshot::tests::digests;

/// What a worker said, and where its stream can be spoken into.
pub(super) struct Session {
    pub(super) hello: Hello,
    down: mpsc::UnboundedSender<Result<SubscribeResponse, Status>>,
    heard: Arc<Mutex<Vec<subscribe_request::Message>>>,
}

impl Session {
    pub(super) fn say(&self, message: Message) {
        self.down.send(Ok(SubscribeResponse { message: Some(message) })).unwrap();
    }

    pub(super) fn welcome(&self, epoch: &str, revision: u64, take_snapshot: bool) {
        let (epoch, lease_millis) = (epoch.into(), 60_000);
        self.say(Message::Welcome(Welcome { epoch, revision, protocol: 1, take_snapshot, lease_millis }));
    }

    /// A bookmark of a control plane that has these resources.
    pub(super) fn bookmark<'a>(&self, revision: u64, resources: impl IntoIterator<Item = &'a Resource>) {
        let shard_digests = digests(resources).to_wire();
        self.say(Message::Bookmark(Bookmark { revision, lease_millis: 60_000, shard_digests }));
    }

    pub(super) fn acknowledged(&self) -> Option<u64> {
        let heard = self.heard.lock().unwrap();
        heard.iter().rev().find_map(|message| match message {
            subscribe_request::Message::Acknowledgement(Acknowledgement { revision }) => Some(*revision),
            _ => None,
        })
    }

    pub(super) fn refusals(&self) -> Vec<Refusal> {
        let heard = self.heard.lock().unwrap();
        let refusals = heard.iter().filter_map(|message| match message {
            subscribe_request::Message::Refusal(refusal) => Some(refusal.clone()),
            _ => None,
        });
        refusals.collect()
    }

    /// The control plane stops.
    pub(super) fn end(self) {
        self.down.send(Err(Status::unavailable("stopping"))).unwrap();
    }

    /// Whether the worker has gone.
    pub(super) fn is_over(&self) -> bool {
        self.down.is_closed()
    }
}

pub(super) struct FakeControlPlane {
    address: SocketAddr,
    sessions: mpsc::UnboundedReceiver<Session>,
    snapshot: Arc<Mutex<Vec<SnapshotChunk>>>,
    _serving: JoinSet<()>,
}

impl FakeControlPlane {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (opened, sessions) = mpsc::unbounded_channel();
        let snapshot = Arc::default();
        let log = Log { opened, snapshot: Arc::clone(&snapshot) };
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let service = ConfigurationServiceServer::new(log);
            let incoming = TcpListenerStream::new(listener);
            Server::builder().add_service(service).serve_with_incoming(incoming).await.unwrap();
        });
        Self { address, sessions, snapshot, _serving: serving }
    }

    pub(super) fn channel(&self) -> Channel {
        Endpoint::from_shared(format!("http://{}", self.address)).unwrap().connect_lazy()
    }

    /// The worker's next subscription.
    pub(super) async fn session(&mut self) -> Session {
        let next = tokio::time::timeout(std::time::Duration::from_secs(20), self.sessions.recv());
        next.await.expect("the worker did not subscribe").unwrap()
    }

    /// What `Snapshot` answers from now on: one chunk a resource.
    pub(super) fn snapshot(&self, epoch: &str, revision: u64, resources: &[Resource]) {
        let chunk = |index: usize, resources: Vec<Resource>, last| {
            let payload = zstd::bulk::compress(&SnapshotPayload { resources }.encode_to_vec(), 1).unwrap();
            let crc32 = crc32fast::hash(&payload);
            let index = u32::try_from(index).unwrap();
            SnapshotChunk { epoch: epoch.into(), revision, index, last, payload: payload.into(), crc32 }
        };
        let chunks = resources.iter().enumerate().map(|(index, it)| chunk(index, vec![it.clone()], false));
        let last = chunk(resources.len(), Vec::new(), true);
        *self.snapshot.lock().unwrap() = chunks.chain([last]).collect();
    }
}

struct Log {
    opened: mpsc::UnboundedSender<Session>,
    snapshot: Arc<Mutex<Vec<SnapshotChunk>>>,
}

#[tonic::async_trait]
impl ConfigurationService for Log {
    type SubscribeStream = BoxStream<'static, Result<SubscribeResponse, Status>>;
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
        let heard = Arc::default();
        self.opened.send(Session { hello, down, heard: Arc::clone(&heard) }).unwrap();
        // Polled with what goes down: hears as long as the stream lives.
        let hearing = up.filter_map(move |message| {
            heard.lock().unwrap().extend(message.ok().and_then(|message| message.message));
            std::future::ready(None)
        });
        let speaking = UnboundedReceiverStream::new(messages);
        Ok(Response::new(futures_util::stream::select(speaking, hearing).boxed()))
    }

    async fn snapshot(
        &self,
        request: Request<SnapshotRequest>,
    ) -> Result<Response<Self::SnapshotStream>, Status> {
        assert_eq!(request.into_inner().region, "eu-central-1");
        let chunks = self.snapshot.lock().unwrap().clone();
        Ok(Response::new(futures_util::stream::iter(chunks.into_iter().map(Ok)).boxed()))
    }
}
