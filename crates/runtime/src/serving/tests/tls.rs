use bailiwick_domain::spiffe::ProcessRole;

use super::*;
use crate::identity::tests::authority::Authority;
use bailiwick_domain::time::{Clock, SystemClock};

use crate::identity::{Acceptor, Connector, Identity, Revocation};

fn serve_tls(authority: &Authority) -> (Signal, Serving) {
    serve_as(&authority.identity(ProcessRole::Worker))
}

fn serve_as(worker: &Identity) -> (Signal, Serving) {
    let (signal, watch) = channel();
    let tls = Acceptor::new(worker.clone(), &[ProcessRole::Router]).unwrap();
    let listen = Listen { address: "127.0.0.1:0".parse().unwrap(), transport: Transport::Mutual(tls) };
    (signal, serve_per_core(vec![listen], 2, HttpLimits::default(), watch, |_core| Echo).unwrap())
}

async fn ask(serving: &Serving, connector: &Connector) -> std::io::Result<String> {
    let mut stream = connector.connect(serving.addresses()[0]).await?;
    stream.write_all(b"GET /peer HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n").await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

#[tokio::test]
async fn services_know_the_verified_caller() {
    let authority = Authority::of("eu-central-1");
    let (_signal, serving) = serve_tls(&authority);
    let router = Connector::new(authority.identity(ProcessRole::Router), ProcessRole::Worker).unwrap();
    let answer = ask(&serving, &router).await.unwrap();
    assert!(answer.ends_with("spiffe://eu-central-1.local/router/one"), "{answer}");
}

#[tokio::test]
async fn r3_a_router_of_another_region_reaches_no_worker() {
    let (ours, theirs) = (Authority::of("eu-central-1"), Authority::of("us-east-1"));
    let (_signal, serving) = serve_tls(&ours);
    let foreign = Connector::new(theirs.identity(ProcessRole::Router), ProcessRole::Worker).unwrap();
    ask(&serving, &foreign).await.expect_err("refused");
    let wrong_role = Connector::new(ours.identity(ProcessRole::Operator), ProcessRole::Worker).unwrap();
    ask(&serving, &wrong_role).await.expect_err("refused");
}

#[tokio::test]
async fn a_connection_ends_with_its_callers_certificate() {
    let authority = Authority::of("eu-central-1");
    let (_signal, serving) = serve_tls(&authority);
    let router = authority.short_lived(ProcessRole::Router, Duration::from_secs(2));
    let connector = Connector::new(router, ProcessRole::Worker).unwrap();
    let mut stream = connector.connect(serving.addresses()[0]).await.unwrap();
    stream.write_all(b"GET /peer HTTP/1.1\r\nhost: here\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    let closed = stream.read_to_string(&mut answer);
    tokio::time::timeout(PATIENCE, closed).await.expect("in time").expect("in order");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn r3_a_connection_ends_when_its_caller_is_revoked() {
    let authority = Authority::of("eu-central-1");
    let worker = authority.identity(ProcessRole::Worker);
    let (_signal, serving) = serve_as(&worker);
    let connector = Connector::new(authority.identity(ProcessRole::Router), ProcessRole::Worker).unwrap();
    let mut stream = connector.connect(serving.addresses()[0]).await.unwrap();
    stream.write_all(b"GET /peer HTTP/1.1\r\nhost: here\r\n\r\n").await.unwrap();
    stream.read_u8().await.expect("answered");

    let now = SystemClock.now();
    let holder = authority.name(ProcessRole::Router).parse().unwrap();
    let expires = now.saturating_add(Duration::from_secs(60));
    assert!(worker.revocations().learn([Revocation { holder, issued_until: now, expires }], now));
    let mut rest = Vec::new();
    let closed = stream.read_to_end(&mut rest);
    let _how = tokio::time::timeout(PATIENCE, closed).await.expect("in time");
    ask(&serving, &connector).await.expect_err("and none is opened any more");
}
