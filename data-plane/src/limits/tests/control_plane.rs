//! A control plane that lends by the real rules, keeps nothing, and can be made to fall silent or to go away.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bailiwick_domain::{id::OrganizationId, jurisdiction::Jurisdiction, time::Timestamp};
use bailiwick_proto::{
    convert::quota::{from_holder_from_wire, to_holder_to_wire},
    worker::v1::{
        ExchangeRequest, ExchangeResponse, QuotaAccount, QuotaLease, QuotaLeases, exchange_response,
        quota_service_server::{QuotaService, QuotaServiceServer},
    },
};
use bailiwick_quota::{
    allocator::{Allocator, Committed, Step, Stored},
    limit::Limit,
    policy::Policy,
    protocol::{FromHolder, HolderId, ToHolder},
};
use futures_util::{StreamExt as _, stream::BoxStream};
use tokio::{net::TcpListener, sync::mpsc, task::JoinSet};
use tokio_stream::wrappers::{TcpListenerStream, UnboundedReceiverStream};
use tokio_util::sync::CancellationToken;
use tonic::{
    Request, Response, Status, Streaming,
    transport::{Channel, Endpoint, Server},
};

use super::home;
use crate::{
    limits::{Exchanger, Lent, Names},
    snapshot::SnapshotHandle,
};

/// Its clock begins with a minute, so that no test sees another begin.
const BEGAN: Timestamp = Timestamp::from_micros(1_790_000_040_000_000);

type Down = mpsc::UnboundedSender<Result<ExchangeResponse, Status>>;

pub(crate) struct ControlPlane {
    address: SocketAddr,
    state: Arc<State>,
    serving: JoinSet<()>,
    lending: JoinSet<()>,
    /// Ends the exchanges that it was made to serve.
    pub(crate) stop: CancellationToken,
}

struct State {
    jurisdiction: Jurisdiction,
    began: Instant,
    book: Mutex<Book>,
    silent: AtomicBool,
    opened: AtomicUsize,
}

struct Book {
    allocator: Allocator,
    stored: Stored,
    streams: Vec<(HolderId, Down)>,
    heard: Vec<FromHolder>,
}

impl ControlPlane {
    pub(crate) async fn start(limits: impl IntoIterator<Item = Limit>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stored = Stored::default();
        let allocator = Allocator::take_office(1, Policy::default(), limits, &stored, BEGAN);
        let book = Book { allocator, stored, streams: Vec::new(), heard: Vec::new() };
        let state = Arc::new(State {
            jurisdiction: home(),
            began: Instant::now(),
            book: Mutex::new(book),
            silent: AtomicBool::new(false),
            opened: AtomicUsize::new(0),
        });
        let mut serving = JoinSet::new();
        let lending = Lending(Arc::clone(&state));
        serving.spawn(async move {
            let incoming = TcpListenerStream::new(listener);
            let server = Server::builder().add_service(QuotaServiceServer::new(lending));
            server.serve_with_incoming(incoming).await.unwrap();
        });
        let ticking = Arc::clone(&state);
        serving.spawn(async move {
            let mut ticks = tokio::time::interval(Duration::from_millis(20));
            loop {
                ticks.tick().await;
                ticking.act(|allocator, now| allocator.tick(now), None);
            }
        });
        Self { address, state, serving, lending: JoinSet::new(), stop: CancellationToken::new() }
    }

    pub(crate) fn channel(&self) -> Channel {
        Endpoint::from_shared(format!("http://{}", self.address)).unwrap().connect_lazy()
    }

    /// Lends to a worker, until it is stopped.
    pub(crate) fn lend(&mut self, lent: &Arc<Lent>, names: Names) {
        let exchanger =
            Exchanger::new(self.channel(), home(), Arc::clone(lent), names, SnapshotHandle::default());
        self.lending.spawn(exchanger.run(self.stop.clone()));
    }

    /// A limit is changed.
    pub(crate) fn set_limit(&self, limit: Limit) {
        let act = |allocator: &mut Allocator, now| {
            allocator.set_limit(limit);
            allocator.tick(now)
        };
        self.state.act(act, None);
    }

    /// The workers that it lends to are killed.
    pub(crate) fn kill_workers(&mut self) {
        self.lending.abort_all();
        self.end_streams();
    }

    /// It hears, and says nothing.
    pub(crate) fn fall_silent(&self) {
        self.state.silent.store(true, Ordering::SeqCst);
    }

    /// All streams end.
    pub(crate) fn end_streams(&self) {
        for (_, down) in self.state.book.lock().unwrap().streams.drain(..) {
            let _gone = down.send(Err(Status::unavailable("stopping")));
        }
    }

    /// Lends every worker of an organization that is another region's.
    pub(crate) fn lend_of(&self, organization: OrganizationId) {
        let book = self.state.book.lock().unwrap();
        for (holder, down) in &book.streams {
            let account =
                QuotaAccount { organization_id: organization.to_string(), limit: 1, ..Default::default() };
            let lease = QuotaLease { account: Some(account), window_ends_micros: 1, ..Default::default() };
            let leases = QuotaLeases { holder: holder.0, term: 1, leases: vec![lease], ..Default::default() };
            let kind = Some(exchange_response::Kind::Leases(leases));
            let _gone = down.send(Ok(ExchangeResponse { kind }));
        }
    }

    /// Streams that were opened.
    pub(crate) fn streams(&self) -> usize {
        self.state.opened.load(Ordering::SeqCst)
    }

    /// What workers said.
    pub(crate) fn heard(&self) -> Vec<FromHolder> {
        self.state.book.lock().unwrap().heard.clone()
    }

    /// It goes away, and whoever calls is refused.
    pub(crate) fn go_away(&mut self) {
        self.end_streams();
        self.serving.abort_all();
    }
}

impl State {
    fn now(&self) -> Timestamp {
        BEGAN.saturating_add(self.began.elapsed())
    }

    /// One step, and what is to be said. A welcome goes to whom it is said to.
    fn act(&self, step: impl FnOnce(&mut Allocator, Timestamp) -> Step, asking: Option<&Down>) {
        let mut book = self.book.lock().unwrap();
        let step = step(&mut book.allocator, self.now());
        book.stored.apply(step.rows());
        for message in step.stored(Committed::after_the_transaction()) {
            if let (ToHolder::Welcome { holder, .. }, Some(down)) = (&message, asking) {
                book.streams.push((*holder, down.clone()));
            }
            let holder = match &message {
                ToHolder::Welcome { holder, .. } | ToHolder::Unknown { holder } => Some(*holder),
                ToHolder::Leases(leases) => Some(leases.holder),
                // To whoever said it.
                ToHolder::Settled { .. } => None,
            };
            if let (ToHolder::Settled { .. }, Some(down)) = (&message, asking) {
                for part in to_holder_to_wire(&message) {
                    let _gone = down.send(Ok(part));
                }
            }
            let down = book.streams.iter().rev().find(|(of, _)| Some(*of) == holder);
            if let Some((_, down)) = down.filter(|_| !self.silent.load(Ordering::SeqCst)) {
                for part in to_holder_to_wire(&message) {
                    let _gone = down.send(Ok(part));
                }
            }
        }
    }

    fn hear(&self, message: &ExchangeRequest, down: &Down) {
        let message = from_holder_from_wire(&self.jurisdiction, message).unwrap();
        {
            let mut book = self.book.lock().unwrap();
            book.heard.push(message.clone());
            if let FromHolder::Exchange(exchange) = &message {
                book.streams.push((exchange.holder, down.clone()));
            }
        }
        self.act(|allocator, now| allocator.hear(&message, now), Some(down));
    }
}

struct Lending(Arc<State>);

#[tonic::async_trait]
impl QuotaService for Lending {
    type ExchangeStream = BoxStream<'static, Result<ExchangeResponse, Status>>;

    async fn exchange(
        &self,
        request: Request<Streaming<ExchangeRequest>>,
    ) -> Result<Response<Self::ExchangeStream>, Status> {
        let (down, messages) = mpsc::unbounded_channel();
        let state = Arc::clone(&self.0);
        state.opened.fetch_add(1, Ordering::SeqCst);
        // Polled with what goes down: hears as long as the stream lives.
        let hearing = request.into_inner().filter_map(move |message| {
            if let Ok(message) = message {
                state.hear(&message, &down);
            }
            std::future::ready(None)
        });
        let speaking = UnboundedReceiverStream::new(messages);
        Ok(Response::new(futures_util::stream::select(speaking, hearing).boxed()))
    }
}
