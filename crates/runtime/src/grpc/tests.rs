use std::convert::Infallible;

use bailiwick_domain::spiffe::ProcessRole;
use bailiwick_domain::time::{Clock, SystemClock};
use futures_util::StreamExt;
use http::{Request, Response};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tonic::body::Body;
use tonic::server::NamedService;
use tonic::{Code, Status};

use super::*;
use crate::identity::tests::authority::{Authority, PATIENCE};
use crate::identity::{Acceptor, Connector, Peer, Revocation};

/// Answers every call with the caller's name as an error's message: enough to see who arrived, without a contract.
#[derive(Clone)]
struct WhoCalls;

impl NamedService for WhoCalls {
    const NAME: &'static str = "who.Calls";
}

impl tower::Service<Request<Body>> for WhoCalls {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Infallible>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let name = request.extensions().get::<Peer>().map(|peer| peer.spiffe.to_string());
        let status = Status::already_exists(name.unwrap_or_default());
        std::future::ready(Ok(status.into_http()))
    }
}

async fn call(channel: Channel) -> Status {
    let mut client = tonic::client::Grpc::new(channel);
    let ready = tokio::time::timeout(PATIENCE, client.ready()).await.expect("in time");
    if let Err(error) = ready {
        return Status::unavailable(error.to_string());
    }
    let path = http::uri::PathAndQuery::from_static("/who.Calls/Ask");
    let codec = tonic_prost::ProstCodec::<(), ()>::default();
    client.unary(tonic::Request::new(()), path, codec).await.expect_err("this service answers so")
}

async fn serve(authority: &Authority, serving: &mut JoinSet<()>) -> String {
    let acceptor =
        Acceptor::new(authority.identity(ProcessRole::ControlPlane), &[ProcessRole::Worker]).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    serving.spawn(async move {
        let connections = incoming(listener, &acceptor);
        tonic::transport::Server::builder()
            .add_service(WhoCalls)
            .serve_with_incoming(connections)
            .await
            .unwrap();
    });
    address.to_string()
}

#[tokio::test]
async fn handlers_know_the_verified_caller() {
    let authority = Authority::of("eu-central-1");
    let mut serving = JoinSet::new();
    let address = serve(&authority, &mut serving).await;
    // Somebody who connects and says nothing holds up nobody.
    let _silent = TcpStream::connect(&address).await.unwrap();

    let worker = Connector::new(authority.identity(ProcessRole::Worker), ProcessRole::ControlPlane).unwrap();
    let answer = call(channel(&address, &worker).unwrap()).await;
    assert_eq!(
        (answer.code(), answer.message()),
        (Code::AlreadyExists, "spiffe://eu-central-1.local/worker/one")
    );
    // By name, too.
    let port = address.rsplit_once(':').unwrap().1;
    let answer = call(channel(&format!("localhost:{port}"), &worker).unwrap()).await;
    assert_eq!(answer.code(), Code::AlreadyExists);
}

#[tokio::test]
async fn r3_calls_across_regions_never_arrive() {
    let (ours, theirs) = (Authority::of("eu-central-1"), Authority::of("us-east-1"));
    let mut serving = JoinSet::new();
    let address = serve(&ours, &mut serving).await;
    for (authority, role) in [(&theirs, ProcessRole::Worker), (&ours, ProcessRole::Operator)] {
        let connector = Connector::new(authority.identity(role), ProcessRole::ControlPlane).unwrap();
        let answer = call(channel(&address, &connector).unwrap()).await;
        assert_ne!(answer.code(), Code::AlreadyExists, "{answer:?}");
    }
}

#[tokio::test]
async fn a_connection_ends_with_its_callers_certificate() {
    let authority = Authority::of("eu-central-1");
    let acceptor =
        Acceptor::new(authority.identity(ProcessRole::ControlPlane), &[ProcessRole::Worker]).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let worker = authority.short_lived(ProcessRole::Worker, Duration::from_secs(2));
    let connector = Connector::new(worker, ProcessRole::ControlPlane).unwrap();
    let mut connections = std::pin::pin!(incoming(listener, &acceptor));
    let (accepted, dialled) = tokio::join!(connections.next(), connector.connect(address));
    let _caller = dialled.unwrap();
    let mut connection = accepted.unwrap().unwrap();
    let ended = tokio::time::timeout(PATIENCE, connection.read_u8()).await.expect("in time");
    assert_eq!(ended.expect_err("closed").kind(), io::ErrorKind::UnexpectedEof);
}

#[tokio::test]
async fn r3_a_connection_ends_when_its_caller_is_revoked() {
    let authority = Authority::of("eu-central-1");
    let server = authority.identity(ProcessRole::ControlPlane);
    let acceptor = Acceptor::new(server.clone(), &[ProcessRole::Worker]).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let connector =
        Connector::new(authority.identity(ProcessRole::Worker), ProcessRole::ControlPlane).unwrap();
    let mut connections = std::pin::pin!(incoming(listener, &acceptor));
    let (accepted, dialled) = tokio::join!(connections.next(), connector.connect(address));
    let _caller = dialled.unwrap();
    let mut connection = accepted.unwrap().unwrap();
    let now = SystemClock.now();
    let holder = authority.name(ProcessRole::Worker).parse().unwrap();
    let expires = now.saturating_add(Duration::from_secs(60));
    let revoked =
        async { server.revocations().learn([Revocation { holder, issued_until: now, expires }], now) };
    let (ended, _) = tokio::time::timeout(PATIENCE, async { tokio::join!(connection.read_u8(), revoked) })
        .await
        .expect("in time");
    assert_eq!(ended.expect_err("closed").kind(), io::ErrorKind::UnexpectedEof);
}

#[test]
fn what_is_no_address_is_refused() {
    let authority = Authority::of("eu-central-1");
    let connector =
        Connector::new(authority.identity(ProcessRole::Worker), ProcessRole::ControlPlane).unwrap();
    for wrong in ["", "host", "host:", ":1", "host:99999", "http://host:1", "ho st:1"] {
        assert!(channel(wrong, &connector).is_err(), "{wrong}");
    }
}
