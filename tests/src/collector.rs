//! A collector of spans (OTLP over gRPC): it keeps every byte that it is sent, to be searched.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    trace::v1::Span,
};
use prost::Message as _;
use tokio::{net::TcpListener, task::JoinSet};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status, transport::Server};

use crate::network::Network;

/// A collector that runs until it is dropped.
pub struct Collector {
    /// Where it listens.
    pub address: SocketAddr,
    received: Received,
    _server: JoinSet<()>,
}

#[derive(Clone, Default)]
struct Received(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    bytes: Vec<u8>,
    spans: Vec<Span>,
}

impl Collector {
    /// Starts one on a port that is free, where every region reaches it.
    pub async fn start() -> Self {
        let outside = Network::outside_of(Network::of_this_run().as_ref());
        let listener = TcpListener::bind((outside, 0)).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let received = Received::default();
        let service = TraceServiceServer::new(received.clone());
        let mut server = JoinSet::new();
        server.spawn(async move {
            let incoming = TcpListenerStream::new(listener);
            Server::builder().add_service(service).serve_with_incoming(incoming).await.expect("it serves");
        });
        Self { address, received, _server: server }
    }

    /// What came, as it is on the wire, with the metadata of each call.
    pub fn bytes(&self) -> Vec<u8> {
        self.received.0.lock().expect("lock").bytes.clone()
    }

    /// The spans that came.
    pub fn spans(&self) -> Vec<Span> {
        self.received.0.lock().expect("lock").spans.clone()
    }
}

#[tonic::async_trait]
impl TraceService for Received {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let mut inner = self.0.lock().expect("lock");
        inner.bytes.extend_from_slice(format!("{:?}\n", request.metadata()).as_bytes());
        let message = request.into_inner();
        inner.bytes.extend(message.encode_to_vec());
        let spans = message.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
        inner.spans.extend(spans.flat_map(|scope| scope.spans));
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}
