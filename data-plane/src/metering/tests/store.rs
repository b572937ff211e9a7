//! A control plane's usage intake, which misbehaves as told.

use std::{
    collections::{HashMap, VecDeque},
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use bailiwick_proto::worker::v1::{
    ReportRequest, ReportResponse, UsageEvent,
    usage_service_server::{UsageService, UsageServiceServer},
};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream::BoxStream};
use prost::Message as _;
use tokio::{net::TcpListener, task::JoinSet};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{
    Request, Response, Status, Streaming,
    transport::{Channel, Endpoint, Server},
};

#[derive(Default)]
struct Stored {
    events: HashMap<Bytes, UsageEvent>,
    delivered: usize,
    plan: VecDeque<&'static str>,
}

/// Keeps one of each event id, as the store does.
pub(super) struct FakeStore {
    stored: Arc<Mutex<Stored>>,
    address: SocketAddr,
    _serving: JoinSet<()>,
}

impl FakeStore {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stored = Arc::new(Mutex::new(Stored::default()));
        let service = UsageServiceServer::new(Intake(Arc::clone(&stored)));
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let incoming = TcpListenerStream::new(listener);
            Server::builder().add_service(service).serve_with_incoming(incoming).await.unwrap();
        });
        Self { stored, address, _serving: serving }
    }

    /// What is done with the next batches; those after are stored and acknowledged.
    pub(super) fn misbehave(&self, plan: &[&'static str]) {
        self.stored.lock().unwrap().plan = plan.iter().copied().collect();
    }

    pub(super) fn channel(&self) -> Channel {
        Endpoint::from_shared(format!("http://{}", self.address)).unwrap().connect_lazy()
    }

    pub(super) fn events(&self) -> HashMap<Bytes, UsageEvent> {
        self.stored.lock().unwrap().events.clone()
    }

    /// Events that came, duplicates counted.
    pub(super) fn delivered(&self) -> usize {
        self.stored.lock().unwrap().delivered
    }

    pub(super) async fn wait_for(&self, events: usize) {
        crate::polling::eventually(|| self.stored.lock().unwrap().events.len() >= events).await;
    }
}

struct Intake(Arc<Mutex<Stored>>);

impl Intake {
    fn take(&self, batch: ReportRequest) -> Vec<Result<ReportResponse, Status>> {
        assert!((1..=1000).contains(&batch.events.len()));
        let mut stored = self.0.lock().unwrap();
        let what = stored.plan.pop_front().unwrap_or("ok");
        if what == "refuse" {
            return vec![Err(Status::unavailable("the store is away"))];
        }
        let acknowledgement = ReportResponse {
            journal_id: batch.journal_id,
            acknowledged_sequence: batch.first_sequence + batch.events.len() as u64 - 1,
            inserted: 0,
            refused: 0,
        };
        for event in batch.events.iter() {
            let event = UsageEvent::decode(event).unwrap();
            stored.delivered += 1;
            stored.events.entry(event.event_id.clone()).or_insert(event);
        }
        match what {
            "lose" => vec![Err(Status::unavailable("the acknowledgement is lost"))],
            "silent" => Vec::new(),
            "twice" => vec![Ok(acknowledgement.clone()), Ok(acknowledgement)],
            _ => vec![Ok(acknowledgement)],
        }
    }
}

#[tonic::async_trait]
impl UsageService for Intake {
    type ReportStream = BoxStream<'static, Result<ReportResponse, Status>>;

    async fn report(
        &self,
        request: Request<Streaming<ReportRequest>>,
    ) -> Result<Response<Self::ReportStream>, Status> {
        let intake = Self(Arc::clone(&self.0));
        let answers = request.into_inner().flat_map(move |batch| {
            futures_util::stream::iter(
                batch.map_or_else(|status| vec![Err(status)], |batch| intake.take(batch)),
            )
        });
        Ok(Response::new(answers.boxed()))
    }
}
